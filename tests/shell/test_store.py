"""The store: what was acknowledged is there again, and disk trouble is an answer."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from agentd.core.errors import StorageTrouble
from agentd.database import Database, migrate
from agentd.store import OPERATIONS_KEPT, Saved, Store


def now() -> str:
    return "2026-11-23T16:00:00.000Z"


async def opened(folder: Path) -> Store:
    return await Store.open(folder / "encap.db", now)


def operation(number: int, state: str = "running", service: str = "web") -> Saved:
    return Saved({"id": f"{number:026d}", "service": service, "action": "start", "state": state}, True)


CLAIM = {"instance": "web", "operation": "01", "claimant": "hv1", "action": "start", "to": ""}


async def test_operations_events_and_keys_are_there_again_after_a_restart(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.operations.create(operation(1), "alice", "key-1", "sha")
    store.operations.post(operation(1), [{"id": 1, "kind": "started"}])
    await store.operations.save(operation(1, "ended"), [{"id": 2, "kind": "end"}])
    await store.operations.create(operation(2))
    await store.close()

    store = await opened(tmp_path)
    assert await store.operations.get(operation(1).document["id"]) == operation(1, "ended")
    assert [e["id"] for e in await store.operations.events(operation(1).document["id"])] == [1, 2]
    assert await store.operations.events(operation(1).document["id"], after=1) == [{"id": 2, "kind": "end"}]
    assert await store.operations.last_event(operation(1).document["id"]) == 2
    assert await store.operations.of_key("alice", "key-1") == ("sha", operation(1).document["id"])
    assert await store.operations.of_key("bob", "key-1") is None
    assert await store.operations.unended() == [operation(2)]
    assert await store.operations.find("web") == [operation(2), operation(1, "ended")]
    assert await store.operations.find("db") == []
    assert await store.operations.get("nope") is None
    await store.close()


async def test_only_the_newest_operations_are_kept_and_never_a_running_one_is_lost(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.operations.create(operation(0), "alice", "old", "sha")
    for number in range(1, OPERATIONS_KEPT + 3):
        store.operations.post(operation(number, "ended"), [{"id": 1}])
    await store.operations.create(operation(OPERATIONS_KEPT + 3))
    kept = await store.operations.find(limit=5000)
    assert len(kept) == OPERATIONS_KEPT + 1
    assert kept[-1] == operation(0)
    assert await store.operations.events(operation(1).document["id"]) == []
    await store.close()


async def test_claims_are_replaced_as_a_whole(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.claims.save([CLAIM, {**CLAIM, "instance": "web/encap"}])
    assert await store.claims.load() == [CLAIM, {**CLAIM, "instance": "web/encap"}]
    with pytest.raises(StorageTrouble):
        await store.claims.save([CLAIM, CLAIM])
    assert len(await store.claims.load()) == 2
    await store.claims.save([])
    assert await store.claims.load() == []
    await store.close()


async def test_intents_revisions_and_flags(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.intents.declare("01", "web", "container#0", "start")
    assert await store.intents.of("01") == [
        {"operation": "01", "service": "web", "rid": "container#0", "action": "start", "at": now()}]
    await store.intents.forget("01")
    assert await store.intents.of() == []

    revisions = store.revisions
    assert await revisions.newest("web") is None
    assert await revisions.append("web", "sha256:a", "a", origin="hv1", author="alice") == 1
    assert await revisions.append("web", "sha256:a", "a", origin="hv1", author="alice") == 1
    assert await revisions.append("web", "sha256:b", "b", origin="hv1", author="bob", base="sha256:a") == 2
    assert await revisions.append("web", "sha256:c", "c", origin="vm1", author="vm1", number=2) == 2
    assert {r["text"] for r in await revisions.of("web")} == {"a", "b", "c"}
    assert await revisions.numbers() == {
        ("web", "sha256:a"): 1, ("web", "sha256:b"): 2, ("web", "sha256:c"): 2}

    await store.flags.set("web", "frozen", {"by": "alice"}, durable=True)
    await store.flags.set("web", "expected", True)
    await store.flags.set("", "boot", "b-1")
    assert await store.flags.all() == {
        "web": {"frozen": {"by": "alice"}, "expected": True}, "": {"boot": "b-1"}}
    await store.flags.clear("web", "frozen")
    await store.flags.clear("")
    assert await store.flags.all() == {"web": {"expected": True}}
    await store.close()


async def test_the_audit_trail_only_grows_and_shows_tampering(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    for number in range(4):
        await store.audit.append("alice", "assume-down", "web", node=f"hv{number}", text="\ud800" * 3)
    assert await store.audit.append("bob" * 1000, "x", detail="y" * 10_000) == 5
    rows = await store.audit.tail(2)
    assert [r["number"] for r in rows] == [4, 5]
    assert rows[0]["detail"]["node"] == "hv3"
    assert len(rows[1]["who"]) == 256
    assert await store.audit.broken() is None
    with pytest.raises(StorageTrouble, match="append-only"):
        await store.database.run(lambda c: c.execute("DELETE FROM audit WHERE number = 5"))
    await store.close()

    with sqlite3.connect(tmp_path / "encap.db") as database:
        database.execute("DROP TRIGGER audit_is_never_changed")
        database.execute("UPDATE audit SET subject = 'db' WHERE number = 2")
    database.close()
    store = await opened(tmp_path)
    assert await store.audit.broken() == 2
    await store.close()


async def test_what_piles_up_is_one_transaction_and_one_bad_piece_spoils_no_other(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    commits: list[str] = []
    await store.database.run(lambda c: c.set_trace_callback(commits.append))
    writes = [store.flags.set("web", str(n), n) for n in range(50)]
    await asyncio.gather(*writes)
    assert 1 <= commits.count("COMMIT") <= 2
    results = await asyncio.gather(store.flags.set("web", "good", 1), store.claims.save([CLAIM, CLAIM]),
                                   return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], StorageTrouble)
    assert (await store.flags.all())["web"]["good"] == 1
    await store.close()


async def test_durable_work_is_synced_and_ordinary_work_is_not(tmp_path: Path) -> None:
    store = await opened(tmp_path)

    async def synchronous(durable: bool) -> int:
        work = store.database.run(lambda c: c.execute("PRAGMA synchronous").fetchone()[0], durable=durable)
        return int(await work)

    assert await synchronous(durable=False) == 1
    assert await synchronous(durable=True) == 2
    assert await synchronous(durable=False) == 1
    await store.close()


async def test_the_backlog_is_bounded_and_nothing_waits_for_ever(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("agentd.database.BACKLOG", 3)
    store = await opened(tmp_path)
    hold = threading.Event()
    slow = asyncio.create_task(store.database.run(lambda _: hold.wait(10)))
    await asyncio.sleep(0.05)
    for number in range(4):
        store.operations.post(operation(number))
    assert store.database.lost == 1
    with pytest.raises(StorageTrouble, match="too slow"):
        await store.flags.set("web", "x", 1)
    hold.set()
    await slow
    await store.flags.set("web", "x", 1)
    assert store.trouble is None
    await store.close()


async def test_the_database_is_private_and_idle_it_does_nothing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = await opened(tmp_path)
    finally:
        os.umask(before)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    assert modes == dict.fromkeys(("encap.db", "encap.db-wal", "encap.db-shm"), 0o600)
    await store.close()


async def test_a_migration_goes_forward_after_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    first = await Database.open(path, ["CREATE TABLE a (x);"])
    await first.run(lambda c: c.execute("INSERT INTO a VALUES (1)"))
    await first.close()
    script = "ALTER TABLE a ADD y;\nINSERT INTO a VALUES (2, 2);"
    second = await Database.open(path, ["CREATE TABLE a (x);", script])
    assert await second.run(lambda c: c.execute("SELECT x, y FROM a").fetchall()) == [(1, None), (2, 2)]
    await second.close()
    copy = sqlite3.connect(tmp_path / "x.db.1")
    assert copy.execute("SELECT * FROM a").fetchall() == [(1,)]
    copy.close()
    with pytest.raises(StorageTrouble, match="newer version"):
        await Database.open(path, ["CREATE TABLE a (x);"])


def test_a_migration_that_fails_leaves_everything_as_it_was() -> None:
    database = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(sqlite3.Error):
        migrate(database, ["CREATE TABLE a (x);", "CREATE TABLE a (x);"], None)
    assert database.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    assert database.execute("PRAGMA user_version").fetchone() == (0,)
    database.close()


async def test_a_damaged_database_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "encap.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StorageTrouble, match="damaged") as caught:
        await opened(tmp_path)
    assert "twice" in caught.value.hint
    store = await Store.open(path, now, stand_in=True)
    assert store.trouble is not None
    with pytest.raises(StorageTrouble, match="damaged"):
        await store.claims.save([CLAIM])
    with pytest.raises(StorageTrouble, match="damaged"):
        await store.intents.declare("01", "web", "container#0", "start")
    await store.operations.save(operation(1))
    assert await store.operations.unended() == [operation(1)]
    assert store.trouble is not None
    await store.close()
    assert path.read_bytes() == b"this is no database" * 1000


async def test_a_folder_that_is_a_file_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(StorageTrouble, match="cannot open"):
        await Store.open(tmp_path / "var" / "encap.db", now)


async def test_the_store_works_in_virtual_time(tmp_path: Path, virtual_loop) -> None:
    def scenario() -> float:
        async def main() -> float:
            store = await opened(tmp_path)
            await asyncio.gather(store.flags.set("web", "x", 1), asyncio.sleep(3600))
            await store.close()
            return asyncio.get_running_loop().time()

        with asyncio.Runner(loop_factory=virtual_loop) as runner:
            return runner.run(main())

    assert await asyncio.to_thread(scenario) == 3600


WRITER = """
import asyncio, sys
from pathlib import Path
from agentd.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]), lambda: "now")
    number = 0
    while True:
        number += 1
        store.database.post(lambda c: c.execute("REPLACE INTO flags VALUES ('', 'n', ?)", (str(number),)))
        await store.intents.declare(f"{number:06d}", "web", "container#0", "start")
        await store.audit.append("alice", "start", "web", number=number)
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.real
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    source = str(Path(__import__("agentd").__file__ or "").parent.parent)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "encap.db")], cwd=tmp_path,
                              env={**os.environ, "PYTHONPATH": source}, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    try:
        for _ in range(20):
            assert writer.stdout.readline()
    finally:
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
        writer.wait()
        writer.stdout.close()
    acknowledged = max([20, *(int(n) for n in rest.split("\n")[:-1] if n)])

    async def look() -> tuple[int, int, int | None]:
        store = await opened(tmp_path)
        try:
            (row,) = (await store.audit.tail(1))
            return len(await store.intents.of()), row["number"], await store.audit.broken()
        finally:
            await store.close()

    intents, audited, broken = asyncio.run(look())
    assert acknowledged <= intents <= acknowledged + 1
    assert acknowledged <= audited <= acknowledged + 1
    assert broken is None


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Any:
    """A file system of one mebibyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    with file.open("wb", buffering=0) as ballast, pytest.raises(OSError, match="space"):
        while True:
            ballast.write(b"x" * 4096)


@pytest.mark.real
async def test_a_full_disk_refuses_what_must_be_durable_and_heals(tiny_disk: Path) -> None:
    store = await opened(tiny_disk)
    try:
        await store.claims.save([CLAIM])
        fill(tiny_disk / "ballast")
        with pytest.raises(StorageTrouble) as caught:
            for number in range(2000):
                await store.audit.append("alice", "start", "web", number=number, text="x" * 2000)
        assert "full" in caught.value.text
        assert store.trouble is not None
        store.operations.post(operation(1), [{"id": n, "text": "x" * 4000} for n in range(300)])
        assert await store.claims.load() == [CLAIM]
        assert store.database.lost == 1
        assert store.trouble is not None
        (tiny_disk / "ballast").unlink()
        await store.claims.save([])
        assert store.trouble is None
        assert await store.audit.broken() is None
    finally:
        await store.close()


@pytest.mark.real
async def test_a_read_only_disk_is_an_answer(tiny_disk: Path) -> None:
    store = await opened(tiny_disk)
    await store.claims.save([CLAIM])
    await store.close()
    await asyncio.to_thread(
        subprocess.run, ["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(StorageTrouble, match="read-only"):
        await opened(tiny_disk)
    store = await Store.open(tiny_disk / "encap.db", now, stand_in=True)
    with pytest.raises(StorageTrouble, match="read-only"):
        await store.claims.save([])
    await store.close()

"""The registry of operations: following, cancelling, one at a time, restarts, full disks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentd.bus import Bus, Message
from agentd.core.errors import ActionFailed, Busy, InvalidRequest, NotFound, Refused, StorageTrouble
from agentd.core.events import Happening, Kind
from agentd.core.plan import Plan, Step
from agentd.executor import Done, Ending, Outcome, execute
from agentd.operation import EVENTS_IN_MEMORY, Lagged, Operation, Origin
from agentd.operations import Operations
from agentd.store import Store
from agentd.ulid import is_ulid

ALICE = Origin("alice")


@dataclass
class SetClock:
    """A clock that stands still until it is told otherwise."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        return datetime(2026, 11, 23, 16, tzinfo=UTC) + timedelta(seconds=self.seconds)


@dataclass
class Node:
    """A store and a registry over a folder, as after a start of the daemon."""

    folder: Path
    clock: SetClock = field(default_factory=SetClock)
    bus: Bus = field(default_factory=Bus)

    async def __aenter__(self) -> Node:
        self.store = await Store.open(self.folder / "encap.db", lambda: "now", stand_in=True)
        self.operations = Operations(self.store, self.clock, self.bus, "hv1")
        await self.operations.load()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.operations.close()
        await self.store.close()


def work(result: str = "succeeded", **more: Any) -> Callable[[Operation], Awaitable[Outcome]]:
    async def do(operation: Operation) -> Outcome:
        operation.emit(Happening(Kind.PHASE, "reachable"))
        return Outcome(result, **more)

    return do


async def for_ever(operation: Operation) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError("never")


async def all_events(operation: Operation, after: int = 0) -> list[dict[str, Any]]:
    return [event async for event in operation.follow(after)]


async def test_an_operation_from_its_creation_to_the_store(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start", plan={"steps": []}, origin=ALICE)
        assert is_ulid(operation.id)
        assert operation.document() == {
            "schema": "encap.operation/1", "id": operation.id, "service": "web", "action": "start",
            "node": "hv1", "origin": {"who": "alice", "node": "", "operation": ""}, "state": "queued",
            "result": None, "undone": None, "phase": None, "plan": {"steps": []},
            "request": None, "created_at": "2026-11-23T16:00:00.000Z", "started_at": None, "ended_at": None, "problem": None}
        node.clock.seconds = 1.5
        problem = ActionFailed("no", hint="h")
        assert node.operations.run(operation, work("failed", undone=True, problem=problem))
        assert operation.state == "running"
        assert await operation.wait(10)
        told = await all_events(operation)
        document = operation.document()
    assert [(e["id"], e["kind"]) for e in told] == [(1, "phase"), (2, "end")]
    assert told[1] == {"id": 2, "at": "2026-11-23T16:00:01.500Z", "operation": operation.id, "kind": "end",
                       "step": None, "where": "", "what": "", "text": "no", "under": None, "result": "failed"}
    assert (document["state"], document["result"], document["undone"]) == ("ended", "failed", True)
    assert document["problem"]["code"] == "action-failed"
    assert document["problem"]["hint"] == "h"
    assert document["problem"]["node"] == "hv1"

    async with Node(tmp_path) as node:
        again = await node.operations.get(operation.id)
        assert again.document() == document
        assert await all_events(again) == told
        assert await all_events(again, 1) == told[1:]
        assert await all_events(again, 99) == []
        assert await again.wait(0)
        assert node.operations.interrupted() == []


async def test_unknown_operations_are_not_found(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        for number in ("0" * 26, "nope", "../../etc/passwd", "x" * 5000):
            with pytest.raises(NotFound):
                await node.operations.get(number)


async def test_followers_get_all_events_whenever_they_come(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        go = asyncio.Event()

        async def slowly(operation: Operation) -> Outcome:
            for number in range(3):
                operation.emit(Happening(Kind.LOG, str(number)))
            await go.wait()
            operation.emit(Happening(Kind.LOG, "3"))
            return Outcome("succeeded")

        early = asyncio.create_task(all_events(operation))
        await asyncio.sleep(0)
        node.operations.run(operation, slowly)
        await asyncio.sleep(0)
        middle = asyncio.create_task(all_events(operation, 2))
        await asyncio.sleep(0)
        go.set()
        assert [e["text"] for e in await early] == ["0", "1", "2", "3", ""]
        assert [e["id"] for e in await middle] == [3, 4, 5]
        assert [e["id"] for e in await all_events(operation)] == [1, 2, 3, 4, 5]


async def test_a_follower_far_behind_reads_from_the_store(tmp_path: Path) -> None:
    many = EVENTS_IN_MEMORY + 700

    async def chatter(operation: Operation) -> Outcome:
        for number in range(many):
            operation.emit(Happening(Kind.LOG, str(number)))
        return Outcome("succeeded")

    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        node.operations.run(operation, chatter)
        assert [e["id"] for e in await all_events(operation)] == list(range(1, many + 2))
        assert len(operation.events.recent()) == EVENTS_IN_MEMORY


async def test_one_mutating_operation_a_service(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        first = await node.operations.create("web", "start")
        with pytest.raises(Busy) as caught:
            await node.operations.create("web", "stop")
        assert caught.value.details["operation"]["id"] == first.id
        assert first.id in caught.value.hint
        other = await node.operations.create("db", "start")
        harmless = await node.operations.create("web", "freeze", mutating=False)
        assert node.operations.running("web") is first
        for operation in (first, other, harmless):
            node.operations.run(operation, work())
            await operation.wait()
        assert node.operations.running("web") is None
        assert (await node.operations.create("web", "stop")).state == "queued"


async def test_of_two_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        answers = await asyncio.gather(*(node.operations.create("web", "start") for _ in range(5)),
                                       return_exceptions=True)
        assert [type(a) for a in answers].count(Operation) == 1
        assert [type(a) for a in answers].count(Busy) == 4


async def test_an_idempotency_key_gives_the_same_operation_also_after_a_restart(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        asks = [node.operations.create("web", "start", origin=ALICE, key="k", body=b"{}") for _ in range(3)]
        first, *others = await asyncio.gather(*asks)
        assert all(o is first for o in others)
        assert node.operations.run(first, work())
        assert not node.operations.run(first, work())
        await first.wait()
        again = await node.operations.create("web", "start", origin=ALICE, key="k", body=b"{}")
        assert again.id == first.id
    async with Node(tmp_path) as node:
        again = await node.operations.create("web", "start", origin=ALICE, key="k", body=b"{}")
        assert (again.id, again.ended) == (first.id, True)
        assert not node.operations.run(again, work())
        with pytest.raises(InvalidRequest) as caught:
            await node.operations.create("web", "start", origin=ALICE, key="k", body=b"{ }")
        assert caught.value.code == "idempotency-mismatch"
        bob = await node.operations.create("web", "start", origin=Origin("bob"), key="k", body=b"{}")
        assert bob.id != first.id


@pytest.mark.parametrize("key", ["x" * 256, "\u00e9", "a\nb", "\x00"])
async def test_bad_idempotency_keys(tmp_path: Path, key: str) -> None:
    async with Node(tmp_path) as node:
        with pytest.raises(InvalidRequest):
            await node.operations.create("web", "start", key=key)


async def test_errors_end_the_operation_and_are_never_lost(tmp_path: Path) -> None:
    async def known(operation: Operation) -> Outcome:
        raise StorageTrouble("the disk is full")

    async def unexpected(operation: Operation) -> Outcome:
        raise KeyError("oops")

    async with Node(tmp_path) as node:
        for do, code in ((known, "storage"), (unexpected, "internal")):
            operation = await node.operations.create("web", "start")
            node.operations.run(operation, do)
            assert await operation.wait(5)
            assert operation.document()["result"] == "failed"
            assert operation.document()["problem"]["code"] == code


async def test_cancel_is_seen_by_the_work_and_refused_at_the_end(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")

        async def until_cancelled(operation: Operation) -> Outcome:
            await operation.cancelling.wait()
            return Outcome("cancelled", True)

        node.operations.run(operation, until_cancelled)
        operation.cancel("alice")
        operation.cancel("alice")
        assert operation.state == "cancelling"
        await operation.wait()
        assert [e["text"] for e in await all_events(operation)] == ["cancel asked for by alice", ""]
        assert operation.document()["result"] == "cancelled"
        with pytest.raises(Refused):
            operation.cancel()


async def test_what_a_stop_of_the_daemon_interrupts_is_found_and_resolved(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start", key="k")
        node.operations.run(operation, for_ever)
        await asyncio.sleep(0)
        operation.emit(Happening(Kind.STARTED, step=1))
    async with Node(tmp_path) as node:
        (found,) = node.operations.interrupted()
        assert (found.id, found.state, found.ended) == (operation.id, "running", False)
        assert not node.operations.run(found, work())
        with pytest.raises(Busy):
            await node.operations.create("web", "start")
        assert (await node.operations.create("web", "start", key="k")) is found
        following = asyncio.create_task(all_events(found))
        await asyncio.sleep(0)
        await node.operations.resolve(found, "failed", "container#0 was found down after a restart")
        assert [(e["id"], e["kind"]) for e in await following] == [(1, "started"), (2, "end")]
        assert found.document()["problem"]["code"] == "interrupted"
        assert node.operations.interrupted() == []
        assert node.operations.running("web") is None
    async with Node(tmp_path) as node:
        assert node.operations.interrupted() == []
        assert (await node.operations.get(operation.id)).document()["result"] == "failed"


async def test_listing_prefers_what_is_in_memory(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        done = await node.operations.create("web", "start", plan={"steps": []})
        node.operations.run(done, work())
        await done.wait()
        node.clock.seconds = 1
        live = await node.operations.create("web", "stop")
        other = await node.operations.create("db", "stop")
        node.operations.run(live, for_ever)
        listed = await node.operations.list()
        assert [d["id"] for d in listed] == [other.id, live.id, done.id]
        assert listed[2]["plan"] is None
        assert [d["id"] for d in await node.operations.list("web")] == [live.id, done.id]
        assert [d["id"] for d in await node.operations.list(state="running")] == [live.id]
        assert [d["id"] for d in await node.operations.list(limit=1)] == [other.id]


async def test_the_bus_hears_of_states(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        with node.bus.subscribe(["operation"]) as heard:
            operation = await node.operations.create("web", "start")
            node.operations.run(operation, work())
            await operation.wait()
            node.bus.close()
            states = [(m.item["state"], m.item["phase"]) async for m in heard if isinstance(m, Message)]
    assert states == [("running", None), ("running", "reachable"), ("ended", None)]


async def test_a_full_disk_does_not_stop_operations(tmp_path: Path) -> None:
    (tmp_path / "encap.db").write_bytes(b"damaged" * 999)
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "stop", key="k")
        node.operations.run(operation, work())
        assert await operation.wait(5)
        assert (await node.operations.get(operation.id)).document()["result"] == "succeeded"
        assert [e["kind"] for e in await all_events(operation)] == ["log", "phase", "end"]
        assert node.store.trouble is not None
        with pytest.raises(StorageTrouble):
            await node.store.intents.declare(operation.id, "web", "container#0", "start")


async def test_an_unsaved_operation_says_so_and_lives_on_in_memory(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        await node.store.database.run(lambda c: c.execute("PRAGMA query_only = ON"))
        operation = await node.operations.create("web", "stop")
        node.operations.run(operation, work())
        assert await operation.wait(5)
        assert await node.operations.get(operation.id) is operation
        assert "not saved" in (await all_events(operation))[0]["text"]
        assert node.store.trouble is not None
        await node.store.database.run(lambda c: c.execute("PRAGMA query_only = OFF"))
        later = await node.operations.create("web", "stop")
        assert node.store.trouble is None
        assert later.id > operation.id


async def test_who_goes_away_before_the_begin_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        asking = asyncio.create_task(node.operations.create("web", "start", key="k"))
        for _ in range(1000):
            await asyncio.sleep(0)
            if node.operations.running("web") is not None:
                break
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert node.operations.running("web") is None
        again = await node.operations.create("web", "start", key="k")
        assert again.state == "queued"
        node.operations.run(again, work())
        await again.wait()
    async with Node(tmp_path) as node:
        assert node.operations.interrupted() == []


# --- events of other agents ----------------------------------------------------------------


def remote(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "kind": "done", "step": 3, "where": "vm1", "what": "app#1", "text": "up"} | more


async def test_other_agents_events_are_told_under_their_step(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        assert operation.relay(7, remote())
        assert operation.relay(7, remote(kind="phase", text="mounting"))
        assert not operation.relay(7, remote(kind="end"))
        (event, phase) = operation.events.recent()
        assert {k: event[k] for k in ("kind", "step", "where", "what", "text", "under")} == {
            "kind": "done", "step": 3, "where": "vm1", "what": "app#1", "text": "up", "under": 7}
        assert phase["under"] == 7
        assert operation.document()["phase"] is None


@pytest.mark.parametrize("event", [
    {}, {"kind": "explode"}, {"kind": None}, {"kind": ["done"]}, {"kind": "end"}])
async def test_what_is_no_event_is_not_told(tmp_path: Path, event: dict[str, Any]) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        assert not operation.relay(1, event)
        assert operation.events.recent() == []


async def test_hostile_fields_are_cut_to_size(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        hostile = remote(step="1; drop", where=["vm1"], what="x" * 10_000, text="\ud800" * 9999)
        assert operation.relay(1, hostile)
        (event,) = operation.events.recent()
        assert event["step"] is None
        assert event["where"] == ""
        assert len(event["what"]) == 256
        assert event["text"] == "?" * 4096


async def test_a_chattering_agent_is_slowed_down_and_told_once(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        told = sum(operation.relay(1, remote(n)) for n in range(1000))
        assert told == 200
        logs = [e for e in operation.events.recent() if e["kind"] == "log"]
        assert len(logs) == 1
        assert "20 events a second" in logs[0]["text"]
        node.clock.seconds += 2
        assert sum(operation.relay(1, remote(n)) for n in range(1000)) == 40


async def test_a_flooding_agent_is_cut_for_good(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        for _ in range(1000):
            node.clock.seconds += 1
            operation.relay(1, remote(text="x" * 5000))
        texts = [e["text"] for e in operation.events.recent()]
        assert sum(map(len, texts)) < (1 << 20) + 5000
        assert texts[-1] == "the other agents tell more than 1 MiB: the rest is not shown"
        assert not operation.relay(1, remote())


async def test_own_chatter_is_bounded_and_steps_are_told_to_the_end(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        for _ in range(2000):
            operation.emit(Happening(Kind.LOG, "x" * 9999))
        operation.emit(Happening(Kind.DONE, step=1))
        *_, notice, done = operation.events.recent()
        assert "further log lines are not kept" in notice["text"]
        assert (done["kind"], done["step"]) == ("done", 1)
        assert done["id"] < 1100


async def test_a_follower_whose_events_are_gone_is_told(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start")
        await node.store.database.run(lambda c: c.execute("DELETE FROM operations"))
        for _ in range(EVENTS_IN_MEMORY + 1):
            operation.emit(Happening(Kind.PHASE if operation.events.told < 0 else Kind.LOG, "x"))
        with pytest.raises(Lagged):
            await all_events(operation)
        assert len(operation.events.recent()) == EVENTS_IN_MEMORY


async def test_a_plan_is_carried_out_as_an_operation(tmp_path: Path) -> None:
    """The pieces together: registry, executor, events."""
    plan = Plan("web", "start", "hv1", (Step(1, "hv1", "start", "ip#0", undo="stop"),
                                        Step(2, "hv1", "start", "fs#1", (1,), "stop")))

    async def perform(step: Step, emit: Callable[[Happening], None]) -> Ending:
        if (step.id, step.action) == (2, "start"):
            raise ActionFailed("no such device")
        return Done()

    async with Node(tmp_path) as node:
        operation = await node.operations.create("web", "start", plan=plan.document())
        node.operations.run(operation, lambda o: execute(plan, perform, o.emit, o.cancelling))
        told = [(e["kind"], e["step"]) async for e in operation.follow()]
        assert await operation.wait(5)
    assert told == [("started", 1), ("done", 1), ("started", 2), ("failed", 2),
                    ("undo", 2), ("undone", 2), ("undo", 1), ("undone", 1), ("end", None)]
    assert operation.document()["undone"] is True

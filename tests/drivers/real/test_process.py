"""Detached processes for real: the guest of type process, and applications in the foreground."""

# ruff: noqa: ASYNC110, ASYNC240 a test may poll, and may read a small file
from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.core.errors import ActionFailed
from agentd.core.status import Status
from agentd.host import LocalHost
from drivers import processes
from drivers.app.simple import Simple
from drivers.base import ContainerState, Setting
from drivers.container.process import Process

from ..memory import resource  # noqa: TID252 of the same tests

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

AGENT = """\
import os, signal, subprocess, sys, time
from pathlib import Path
verb, root = sys.argv[1], Path(sys.argv[sys.argv.index("--root") + 1])
if verb == "run":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (root / "run/encap").mkdir(parents=True, exist_ok=True)
    subprocess.Popen(["sleep", "300"], start_new_session=True)
    (root / "run/encap/listen").write_text("127.0.0.1:4321\\n10.0.0.1:80\\nnonsense\\n")
    while True:
        time.sleep(1)
print(verb, sys.argv[2], sys.stdin.read(), (root / "etc/encap/agentd.toml").read_text())
"""


@pytest.fixture
async def guest(host: LocalHost, tmp_path: Path) -> AsyncIterator[Process]:
    (tmp_path / "agent.py").write_text(AGENT)

    class Guest(Process):
        PROGRAM = (sys.executable, "-I", str(tmp_path / "agent.py"))

    setting = Setting("shop", "hv1", str(tmp_path / "state"), str(tmp_path / "run"))
    options = {"name": "c1", "hostname": "vm1", "start_timeout": 10, "stop_timeout": 5}
    driver = Guest(resource("container#0", "process", **options), host, setting)
    yield driver
    await driver.stop()


async def until_it_listens(guest: Process) -> None:
    async with asyncio.timeout(10):
        while not await guest.addresses():
            await asyncio.sleep(0.02)


async def marked(guest: Process) -> int:
    return len(await processes.marked(guest.host, guest.root))


async def test_the_life_of_a_guest(guest: Process) -> None:
    assert (await guest.probe()).state is ContainerState.ABSENT
    assert await guest.addresses() == ()
    await guest.start()
    await until_it_listens(guest)
    assert (await guest.probe()).status is Status.UP
    assert await guest.addresses() == ("127.0.0.1:4321",), "only what is on loopback is believed"
    assert Path(guest.root, "etc/encap/agentd.toml").read_text() == 'node = "vm1"\nlisten = ["127.0.0.1:0"]\n'

    result = await guest.execute("agentd", "join", "--pipe", stdin=b"certificate")
    assert result.out.startswith("join --pipe certificate node = "), result
    result = await guest.execute("sh", "-c", "echo $ENCAP_ROOT; pwd")
    assert result.out.split() == [guest.root, guest.root]

    await guest.pause()
    assert (await guest.probe()).state is ContainerState.PAUSED
    await guest.stop()
    assert (await guest.probe()).state is ContainerState.DOWN
    assert await marked(guest) == 0, "like a power switch: what the guest had started is gone, too"


async def test_another_daemon_knows_the_guest_again(guest: Process, tmp_path: Path) -> None:
    await guest.start()
    other = LocalHost(tmp_path)
    again = type(guest)(guest.resource, other, guest.setting)
    assert (await again.probe()).status is Status.UP
    await again.start()
    await again.stop()
    assert (await guest.probe()).status is Status.DOWN
    await other.close()


async def test_a_recycled_process_id_is_not_the_guest(guest: Process) -> None:
    await guest.start()
    await guest.stop()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    Path(guest.run_path("pid")).write_text(f"{os.getpid()} 1 {boot}\n")
    assert (await guest.probe()).status is Status.DOWN
    await guest.stop()
    os.kill(os.getpid(), 0)


async def test_a_start_that_was_cut_short_leaves_no_guest_that_nobody_knows_of(guest: Process) -> None:
    await guest.start()
    await until_it_listens(guest)
    first = await processes.recall(guest.host, guest.run_path("pid"))
    Path(guest.run_path("pid")).write_text("begun\n")  # the daemon was killed before it wrote more
    assert (await guest.probe()).state is ContainerState.CRASHED
    await guest.start()
    second = await processes.recall(guest.host, guest.run_path("pid"))
    assert first is not None
    assert second is not None
    assert first.pid != second.pid
    assert not await processes.alive(guest.host, first), "two agents with one root"
    Path(guest.run_path("pid")).write_text("begun\n")
    await guest.stop()
    assert (await marked(guest), (await guest.probe()).state) == (0, ContainerState.DOWN)


async def test_a_record_that_makes_no_sense_is_no_proof(guest: Process) -> None:
    await guest.start()
    record = Path(guest.run_path("pid"))
    text = record.read_text()
    record.write_text("nonsense\n")
    assert (await guest.probe()).status is Status.UNDEF
    record.write_text(text)


async def test_a_killed_agent_is_a_crashed_guest_while_its_applications_live(guest: Process) -> None:
    await guest.start()
    await until_it_listens(guest)
    pid = int(Path(guest.run_path("pid")).read_text().split()[0])
    os.killpg(pid, 9)
    async with asyncio.timeout(5):
        while (await guest.probe()).state is ContainerState.UP:
            await asyncio.sleep(0.02)
    found = await guest.probe()
    assert (found.state, found.status) == (ContainerState.CRASHED, Status.WARN)
    assert await marked(guest) == 1
    await guest.stop()
    assert (await guest.probe()).state is ContainerState.DOWN
    assert await marked(guest) == 0


def simple(host: LocalHost, folder: Path, **options: object) -> Simple:
    setting = Setting("shop", "hv1", str(folder / "state"), str(folder / "run"))
    return Simple(resource("app#1", "simple", **options), host, setting)


async def test_an_application_in_the_foreground(host: LocalHost, tmp_path: Path) -> None:
    app = simple(host, tmp_path, start="sh -c 'echo $GREETING; exec sleep 60'", environment="GREETING=hello")
    assert (await app.probe()).status is Status.DOWN
    await app.start()
    await app.start()
    assert (await app.probe()).status is Status.UP
    await asyncio.sleep(0.2)
    assert Path(app.run_path("log")).read_text() == "hello\n", "started once"
    await app.stop()
    assert (await app.probe()).status is Status.DOWN


@pytest.mark.parametrize(("kill", "left"), [("parent", True), ("tree", False)])
async def test_kill_says_who_is_told_to_end(host: LocalHost, tmp_path: Path, kill: str, left: bool) -> None:
    file = tmp_path / "child"
    app = simple(host, tmp_path, start=f"sh -c 'sleep 60 & echo $! > {file}; wait'", kill=kill)
    await app.start()
    async with asyncio.timeout(5):
        while not (file.exists() and file.read_text().strip()):
            await asyncio.sleep(0.02)
    child = int(file.read_text())
    await app.stop()
    await asyncio.sleep(0.1)
    state = await host.probe("ps", "-o", "stat=", "-p", str(child))
    assert (state.out.strip() not in ("", "Z")) is left
    if left:
        os.kill(child, 9)


async def test_a_deaf_application_is_killed(host: LocalHost, tmp_path: Path) -> None:
    app = simple(host, tmp_path, start='sh -c "trap : TERM; while :; do sleep 0.1; done"', stop_timeout="1s")
    await app.start()
    await asyncio.sleep(0.1)
    began = host.now()
    await app.stop()
    assert 1 <= host.now() - began < 4
    assert (await app.probe()).status is Status.DOWN


async def test_a_program_that_does_not_exist_is_a_clear_error(host: LocalHost, tmp_path: Path) -> None:
    app = simple(host, tmp_path, start="/no/such/program")
    with pytest.raises(Exception, match="tool missing: /no/such/program"):
        await app.start()


async def test_a_program_that_ends_at_once_is_down_afterwards(host: LocalHost, tmp_path: Path) -> None:
    app = simple(host, tmp_path, start="/bin/false")
    with contextlib.suppress(ActionFailed):  # it depends on who is quicker
        await app.start()
    await asyncio.sleep(0.1)
    assert (await app.probe()).status is Status.DOWN

"""Calls of blocking libraries: bounded, with a deadline, and no backend in the way of another."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentd.core.errors import ActionFailed, Silent
from agentd.host import LocalHost

pytestmark = pytest.mark.real


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[LocalHost]:
    local = LocalHost(tmp_path)
    yield local
    await local.close()


class Stuck:
    """A backend that answers when it is let go, and counts the threads in it."""

    def __init__(self) -> None:
        self.gate, self.inside = threading.Event(), threading.Semaphore(0)

    def __call__(self) -> str:
        self.inside.release()
        self.gate.wait()
        return "late"

    async def entered(self, times: int = 1) -> None:
        for _ in range(times):
            assert await asyncio.to_thread(self.inside.acquire, timeout=5)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    backend = Stuck()
    yield backend
    backend.gate.set()


async def test_a_call_runs_in_another_thread_and_its_value_comes_back(host: LocalHost) -> None:
    assert await host.work(threading.get_ident, key="lib") != threading.get_ident()


async def test_what_a_call_raises_is_raised(host: LocalHost) -> None:
    def fail() -> None:
        raise ActionFailed("no such guest")

    with pytest.raises(ActionFailed, match="no such guest"):
        await host.work(fail, key="lib")


async def test_a_call_past_its_deadline_is_silence(host: LocalHost, stuck: Stuck) -> None:
    with pytest.raises(Silent, match=r"^lib: no answer within 0\.05 s$"):
        await host.work(stuck, key="lib", timeout=0.05)


async def test_a_backend_whose_threads_are_all_stuck_is_silent_at_once(host: LocalHost, stuck: Stuck) -> None:
    for _ in range(2):
        with pytest.raises(Silent):
            await host.work(stuck, key="lib", timeout=0.05, limit=2)
    began = time.monotonic()
    with pytest.raises(Silent, match="lib: no answer for"):
        await host.work(lambda: "never", key="lib", timeout=30, limit=2)
    assert time.monotonic() - began < 1
    assert threading.active_count() < 10


async def test_who_waits_for_a_place_is_turned_away_when_no_place_will_be_free(
    host: LocalHost, stuck: Stuck
) -> None:
    first = asyncio.create_task(host.work(stuck, key="lib", timeout=0.2, limit=1))
    await stuck.entered()
    began = time.monotonic()
    with pytest.raises(Silent, match="no answer for"):
        await host.work(lambda: "never", key="lib", timeout=30, limit=1)
    assert time.monotonic() - began < 5
    with pytest.raises(Silent):
        await first


async def test_another_backend_is_not_delayed(host: LocalHost, stuck: Stuck) -> None:
    hung = [asyncio.create_task(host.work(stuck, key="one", timeout=0.5)) for _ in range(20)]
    await stuck.entered(4)
    began = time.monotonic()
    assert await host.work(lambda: "here", key="two") == "here"
    assert time.monotonic() - began < 0.2
    assert [type(e) for e in await asyncio.gather(*hung, return_exceptions=True)] == [Silent] * 20


async def test_it_is_asked_again_once_a_stuck_call_has_come_back(
    host: LocalHost, stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Silent):
        await host.work(stuck, key="lib", timeout=0.05, limit=1)
    stuck.gate.set()
    async with asyncio.timeout(5):
        while not caplog.messages:
            await asyncio.to_thread(time.sleep, 0.01)
    assert "lib: a call came back" in caplog.text
    assert await host.work(lambda: "here", key="lib", limit=1) == "here"


async def test_no_more_than_the_limit_run_at_a_time_and_the_others_follow(host: LocalHost) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def call() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1

    await asyncio.gather(*(host.work(call, key="lib", limit=3) for _ in range(30)))
    assert most == 3


async def test_a_cancelled_caller_takes_its_place_only_until_the_call_is_over(
    host: LocalHost, stuck: Stuck
) -> None:
    task = asyncio.create_task(host.work(stuck, key="lib", timeout=30, limit=1))
    await stuck.entered()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    next_one = asyncio.create_task(host.work(lambda: "here", key="lib", limit=1))
    await asyncio.sleep(0)
    assert not next_one.done()
    stuck.gate.set()
    assert await next_one == "here"


def test_a_stuck_call_does_not_keep_the_daemon_from_ending(tmp_path: Path) -> None:
    code = (
        "import asyncio, threading; from pathlib import Path; from agentd.host import LocalHost\n"
        "from agentd.core.errors import Silent\n"
        "async def main():\n"
        f"    host = LocalHost(Path({str(tmp_path)!r}))\n"
        "    try: await host.work(threading.Event().wait, key='lib', timeout=0.05)\n"
        "    except Silent as error: print(error.text)\n"
        "    await host.close()\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "lib: no answer within 0.05 s\n", "")

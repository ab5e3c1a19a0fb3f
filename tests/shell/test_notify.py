"""What systemd is told."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from agentd.notify import Notify, Watchdog

pytestmark = pytest.mark.socket


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_reach_both_kinds_of_socket(tmp_path: Path, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        name = f"@encap-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        systemd.bind(f"\0{name[1:]}" if abstract else name)
        notify = Notify({"NOTIFY_SOCKET": name})
        assert notify.ready("3 services\nX=1")
        assert systemd.recv(1000) == b"READY=1\nSTATUS=3 services X=1"
        assert notify.reloading()
        reloading, when = systemd.recv(1000).split(b"\nMONOTONIC_USEC=")
        assert reloading == b"RELOADING=1"
        assert int(when) > 0
        assert notify.stopping()
        assert systemd.recv(1000).startswith(b"STOPPING=1")


def test_without_systemd_nothing_is_sent_and_a_dead_socket_is_no_error(tmp_path: Path) -> None:
    assert not Notify({}).ready()
    assert Notify({}).watchdog_interval == 0
    assert not Notify({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()


def test_the_watchdog_is_ours_only() -> None:
    assert Notify({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_interval == 30
    assert Notify({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_interval == 0
    assert Notify({"WATCHDOG_USEC": "soon"}).watchdog_interval == 0


async def test_the_watchdog_is_pinged_only_while_the_daemon_is_healthy(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        health = iter([True, False, True])
        asked: list[bool] = []

        def healthy() -> bool:
            asked.append(next(health, False))
            return asked[-1]

        task = asyncio.create_task(Watchdog(Notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}), 0.03).run(healthy))
        while len(asked) < 4:  # noqa: ASYNC110 - what is watched is a real clock's work, not an event
            await asyncio.sleep(0.005)
        task.cancel()
        pings = 0
        while True:
            try:
                assert systemd.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                break
            pings += 1
    assert pings == 2


async def test_no_watchdog_no_loop() -> None:
    await asyncio.wait_for(Watchdog(Notify({}), 0).run(lambda: True), 1)

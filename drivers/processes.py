"""Processes that are started detached and must be known again later, by another daemon too.

A process id alone is given to others in time. The pair of it and the moment of its start
is not, within one boot; the boot is part of the record.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from agentd.core.errors import NotFound
from drivers.base import Host, StateUnknown

SWEEP_SECONDS = 5.0
"""How long what a guest left running may take to end when asked, and then when forced."""

_POLL = 0.1
_LEFTOVERS = str(Path(__file__).with_name("leftovers.py"))


@dataclass(frozen=True, slots=True)
class Started:
    """A process of this boot. `ticks`: when it was started, in clock ticks since the boot."""

    pid: int
    ticks: int
    boot: str

    def __str__(self) -> str:
        return f"{self.pid} {self.ticks} {self.boot}\n"


async def identify(host: Host, pid: int) -> Started | None:
    """The record of a running process; None when there is none (a zombie is none)."""
    found = await _stat(host, pid)
    if found is None or found[0] in "ZX":
        return None
    return Started(pid, found[1], (await host.read("/proc/sys/kernel/random/boot_id")).strip())


async def remember(host: Host, path: str, pid: int) -> Started | None:
    """Write the record of `pid` to `path`; None when the process has ended already."""
    started = await identify(host, pid)
    if started:
        await host.write(path, str(started))
    return started


async def recall(host: Host, path: str) -> Started | None:
    """The record in `path`; None when there is none or it makes no sense."""
    try:
        pid, ticks, boot = (await host.read(path, 4096)).split()
        return Started(int(pid), int(ticks), boot)
    except (NotFound, ValueError):
        return None


async def alive(host: Host, started: Started) -> str:
    """The kernel's letter for its state (``S``, ``T`` ...); "" when it is not running any more."""
    now = await identify(host, started.pid)
    if now != started:
        return ""
    found = await _stat(host, started.pid)
    return found[0] if found else ""


async def end(host: Host, started: Started, seconds: float, *, group: bool = True) -> bool:
    """SIGTERM, and SIGKILL after `seconds`; whether it is gone."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        deadline = host.now() + patience
        if await alive(host, started):
            await host.kill(started.pid, number, group=group)
        while await alive(host, started):
            if host.now() >= deadline:
                break
            await host.sleep(_POLL)
        else:
            return True
    return False


async def marked(host: Host, root: str) -> tuple[int, ...]:
    """The processes whose environment has ENCAP_ROOT = `root`: all that a guest of type process runs."""
    answer = await host.probe(sys.executable, "-I", _LEFTOVERS, root)
    if answer.code:
        raise StateUnknown(f"cannot list the processes below {root}: {answer.err.strip()[-200:]}")
    return tuple(int(word) for word in answer.out.split())


async def sweep(host: Host, root: str) -> None:
    """End the processes that are `marked`: asked first, then forced."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = host.now() + SWEEP_SECONDS
        left = await marked(host, root)
        for pid in left:
            await host.kill(pid, number, group=False)
        while left and host.now() < deadline:
            await host.sleep(_POLL)
            left = await marked(host, root)


async def _stat(host: Host, pid: int) -> tuple[str, int] | None:
    """State and start ticks from /proc; the name in brackets may hold anything."""
    try:
        fields = (await host.read(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (NotFound, IndexError, ValueError):
        return None

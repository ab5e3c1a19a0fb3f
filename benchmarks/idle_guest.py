"""What the agent in a guest takes while nothing happens.

The guest holds one service without check commands. Measured over a minute, once alone and
once under a hypervisor's daemon that listens to it: memory (proportional set size, MiB),
wakeups (voluntary context switches of all its threads a second) and time on a processor
(percent of one core, from schedstat: the clock ticks of utime and stime are too coarse for
so little). Peer, in the same minute: an interpreter whose event loop wakes once a second and
does nothing, which is the least that looking at files once a second costs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _measuring import Figure, daemon, private_memory, processor_seconds, quick, show, until, wakeups

SERVICE = """\
[DEFAULT]
nodes = hv1
encapnodes = vm1
[container#0]
type = process
name = vm1
start_timeout = 60
[fs#1]
type = flag
tags = encap
"""
ALONE = "[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\n"
NOTHING = """\
import asyncio
async def nothing():
    while True:
        await asyncio.sleep(1)
asyncio.run(nothing())
"""
SETTLE = 12.0
"""Seconds after a start that do not count as idle."""


@dataclass(frozen=True, slots=True)
class Sight:
    """MiB, wakeups a second, percent of a core."""

    memory: float
    woken: float
    worked: float


def watched(pid: int, settle: float, seconds: float) -> tuple[Sight, Sight]:
    """What a process takes, and what the peer takes at the same time."""
    with subprocess.Popen([sys.executable, "-I", "-c", NOTHING]) as peer:
        try:
            time.sleep(settle)
            pids = (pid, peer.pid)
            began = time.monotonic()
            before = [(wakeups(each), processor_seconds(each)) for each in pids]
            time.sleep(seconds)
            passed = time.monotonic() - began
            found = [Sight(private_memory(each), (wakeups(each) - woken) / passed,
                           100 * (processor_seconds(each) - worked) / passed)
                     for each, (woken, worked) in zip(pids, before, strict=True)]
        finally:
            peer.kill()
    return found[0], found[1]


def figures(name: str, found: tuple[Sight, Sight]) -> list[Figure]:
    agent, peer = found
    return [Figure(f"{name}: PSS", agent.memory, 64, "MiB"),
            Figure(f"{name}: wakeups", agent.woken, 2, "/s"),
            Figure(f"{name}: processor", agent.worked, 0.05, "%"),
            Figure(f"{name}: processor of the peer that does nothing", peer.worked, None, "%")]


def main() -> None:
    settle, seconds = (0.5, 1.0) if quick(__doc__) else (SETTLE, 60.0)
    with daemon(services={"web": ALONE}) as served:
        served.svc("start", "web")
        alone = watched(served.pid, settle, seconds)
    with daemon(cluster=True, services={"web": SERVICE}) as served:
        served.svc("start", "web")
        until(lambda: served.get("/v1/services/web/status")["overall"] == "up", "the guest is up")
        subscribed = watched(served.guest_pid("web"), settle, seconds)
        served.svc("stop", "web")
    show(figures("alone", alone) + figures("with a hypervisor that listens", subscribed))


if __name__ == "__main__":
    main()

"""What the agent in a guest takes while nothing happens.

The guest holds one service without check commands. Measured over a minute, once alone and
once under a hypervisor's daemon that listens to it: memory (proportional set size, MiB),
wakeups (voluntary context switches of all its threads a second) and time on a processor
(percent of one core, from schedstat: the clock ticks of utime and stime are too coarse for
so little). Without a peer: `pacemaker-remoted` takes 2 wakeups and 0.017 % on such a machine.
"""

from __future__ import annotations

import sys
import time
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
SETTLE = 12.0
"""Seconds after a start that do not count as idle."""


def watched(pid: int, settle: float, seconds: float) -> tuple[float, float, float]:
    """MiB, wakeups a second, percent of a core."""
    time.sleep(settle)
    began, woken, worked = time.monotonic(), wakeups(pid), processor_seconds(pid)
    time.sleep(seconds)
    passed = time.monotonic() - began
    return (private_memory(pid), (wakeups(pid) - woken) / passed,
            100 * (processor_seconds(pid) - worked) / passed)


def figures(name: str, found: tuple[float, float, float]) -> list[Figure]:
    memory, woken, worked = found
    return [Figure(f"{name}: PSS", memory, 64, "MiB"), Figure(f"{name}: wakeups", woken, 2, "/s"),
            Figure(f"{name}: processor", worked, 0.05, "%")]


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

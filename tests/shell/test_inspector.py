"""Probes that overtake one another: what was seen last counts, not what was told last. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agentd.bus import Bus
from agentd.core.status import Probe, Status
from agentd.host import LocalHost
from agentd.inspector import Inspector
from agentd.registry import Registry
from agentd.settings import Settings
from drivers import catalogue
from drivers.fs.flag import Flag

from .agents import LoopClock

TEXT = "[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\n"
Virtual = Callable[[Coroutine[Any, Any, Any]], Any]


class Thing(Flag):
    """What it is, and how long a probe of it takes; a probe tells what it was when that began."""

    state, slowness = Status.UP, 0.0

    async def probe(self) -> Probe:
        found, seconds = Thing.state, Thing.slowness
        await asyncio.sleep(seconds)
        return Probe(found)


def inspector(root: Path) -> Inspector:
    registry = Registry(root, lambda: "hv1", catalogue())
    registry.install(registry.examine("web", TEXT), 1)
    types = SimpleNamespace(driver=lambda group, kind: Thing)
    return Inspector(registry, LocalHost(root), Settings(root=root, node="hv1"), LoopClock(), Bus(),
                     types, {})  # type: ignore[arg-type]


def test_a_slow_probe_does_not_cover_what_a_later_one_saw(virtual: Virtual, tmp_path: Path) -> None:
    async def scenario() -> None:
        looking = inspector(tmp_path)
        Thing.state, Thing.slowness = Status.UP, 5.0
        slow = asyncio.create_task(looking.refresh("web"))
        await asyncio.sleep(1)
        Thing.state, Thing.slowness = Status.DOWN, 0.0
        await looking.refresh("web")
        await slow
        assert looking.status("web")["fs#1"] is Status.DOWN
        Thing.state = Status.UP
        await looking.refresh("web")
        assert looking.status("web")["fs#1"] is Status.UP

    virtual(scenario())

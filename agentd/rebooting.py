"""Guests that booted anew: what is to be started in them again, until it was begun.

The boot that a guest was last seen in is kept once nothing is to be done about it any more,
so that a daemon that is killed in between finds it again.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from agentd.core.known import IS_DOWN
from agentd.core.model import Guest
from agentd.core.placement import counted
from agentd.guests import Guests
from agentd.knowing import Knowledge
from agentd.registry import Held, Registry
from agentd.store import FlagRows
from agentd.timers import Clock

AGAIN = 30.0
"""Seconds between two starts in one guest, however often it says that it booted."""


@dataclass(slots=True)
class _Boot:
    """`since`: monotonic time when the guest said so."""

    boot: str
    since: float


class Reboots:
    """By service and guest. `facts`: service -> key -> value."""

    def __init__(self, registry: Registry, guests: Guests, knowledge: Knowledge,
                 facts: MutableMapping[str, dict[str, Any]], flags: FlagRows, clock: Clock) -> None:
        self._registry, self._guests, self._knowledge = registry, guests, knowledge
        self._facts, self._flags, self._clock = facts, flags, clock
        self._pending: dict[tuple[str, str], _Boot] = {}
        self._tried: dict[tuple[str, str], float] = {}

    async def introduced(self, node: str, boot: str) -> None:
        """A guest said in which boot it is."""
        for service in [h.name for h in self._registry if any(g.node == node for g in h.service.guests)]:
            known, before = self._facts.get(service, {}).get(_key(node)), self._pending.get((service, node))
            if known is None:
                await self._keep(service, node, boot)
            elif known == boot:
                self._pending.pop((service, node), None)
            elif before is None or before.boot != boot:
                self._pending[service, node] = _Boot(boot, self._clock.monotonic())

    async def met(self, service: str, node: str, boot: str) -> None:
        """A start of the service came to a guest in this boot, and does what is to be done in it."""
        await self.introduced(node, boot)
        await self.settled(service, node)

    async def due(self, held: Held) -> Guest | None:
        """A guest in which the service is to be started again: it told that something is down."""
        now = self._clock.monotonic()
        for guest in held.service.guests:
            pending = self._pending.get((held.name, guest.node))
            report = self._guests.report(held.name, guest.container)
            if pending is None or report is None or report.received is None \
                    or report.received <= pending.since or (report.document or {}).get("frozen"):
                continue
            inside = self._knowledge.here(held).inside(guest)
            if not any(inside.get(r.rid) in IS_DOWN for r in counted(guest.resources)):
                await self.settled(held.name, guest.node)
            elif now >= self._tried.get((held.name, guest.node), -math.inf) + AGAIN:
                self._tried[held.name, guest.node] = now
                return guest
        return None

    async def settled(self, service: str, node: str) -> None:
        """Nothing more is to be done about the boot of a guest."""
        pending = self._pending.pop((service, node), None)
        if pending is not None:
            await self._keep(service, node, pending.boot)

    async def _keep(self, service: str, node: str, boot: str) -> None:
        self._facts.setdefault(service, {})[_key(node)] = boot
        await self._flags.set(service, _key(node), boot)


def _key(node: str) -> str:
    return f"boot {node}"

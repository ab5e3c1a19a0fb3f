"""What the resources of this node are like now: probed in turn, kept in memory.

The guests' own resources are told by their agents; the document folds them in.

A probe that fails or misses its deadline is undef with the reason, never down; the last
known status stays beside it. Reading a status costs no probe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.bus import Bus
from agentd.core.build import SYNC
from agentd.core.errors import EncapError
from agentd.core.folding import InstanceContext, instance_document
from agentd.core.guest_part import GuestReport
from agentd.core.model import Level, Resource
from agentd.core.status import LogLine, Observation, Probe, Status
from agentd.registry import Held, Registry
from agentd.settings import Settings
from agentd.timers import Clock, stamp
from drivers import Catalogue
from drivers.base import Driver, Host, Setting

log = logging.getLogger("encap.inspector")

AT_ONCE = 8
"""Probes that run at the same time."""


@dataclass(slots=True)
class Sights:
    """What others than the probes know of a service: asked each time a document is made.

    `reports`: by container rid, what is known of the agent inside; `in_step`: whether all
    copies of the configuration agree; `budgets`: restarts left, by rid; `notes`: lines about
    the whole instance; `chosen`: the guest that has the instance of a failover encap level.
    """

    reports: Callable[[Held], Mapping[str, GuestReport]] = lambda held: {}
    in_step: Callable[[Held], Probe] = lambda held: Probe(Status.UP)
    budgets: Callable[[Held], Mapping[str, Mapping[str, int]]] = lambda held: {}
    notes: Callable[[Held], tuple[LogLine, ...]] = lambda held: ()
    chosen: Callable[[Held], str] = lambda held: ""


class Inspector:
    """Observations by service and rid. `facts`: service -> key -> value, as kept in the store."""

    def __init__(self, registry: Registry, host: Host, settings: Settings, clock: Clock, bus: Bus,
                 types: Catalogue, facts: Mapping[str, Mapping[str, Any]]) -> None:
        self._registry, self._host, self._settings = registry, host, settings
        self._clock, self._bus, self._types, self._facts = clock, bus, types, facts
        self.sights = Sights()
        self._seen: dict[str, dict[str, Observation]] = {}
        self._round, self._rounds = 0, dict[tuple[str, str], int]()
        # The number of the last round of probes, and of the one that each observation is from.
        self._room = asyncio.Semaphore(AT_ONCE)

    def driver(self, held: Held, resource: Resource) -> Driver | None:
        """The driver of a resource, None when its type has none."""
        kind = self._types.driver(resource.group, resource.type)
        if kind is None:
            return None
        paths = self._settings.paths
        state, run = paths.service_state(held.name), paths.service_run(held.name)
        return kind(resource, self._host, Setting(held.name, held.service.node, str(state), str(run)))

    async def refresh(self, name: str, rids: Iterable[str] | None = None) -> None:
        """Probe the resources of a service now (all, or those of `rids`)."""
        held = self._registry.get(name)
        wanted = set(rids) if rids is not None else None
        chosen = [r for r in held.service.resources if wanted is None or r.rid in wanted]
        before = self._statuses(name)
        self._round = number = self._round + 1
        probes = await asyncio.gather(*(self._probe(held, r) for r in chosen))
        if self._registry.find(name) is None:
            self.forget(name)  # deleted meanwhile
            return
        seen = self._seen.setdefault(name, {})
        for resource, probe in zip(chosen, probes, strict=True):
            if self._rounds.get((name, resource.rid), 0) > number:
                continue  # a round that began later was quicker: what this one saw is old
            self._rounds[name, resource.rid] = number
            seen[resource.rid] = self._observation(seen.get(resource.rid), probe)
        if wanted is None or self._statuses(name) != before:
            # Told even when nothing changed: a listener learns how fresh it is.
            self.tell(name)

    async def refresh_all(self) -> None:
        for held in list(self._registry):
            if held.service.level is not Level.NONE and held.name in self._registry:
                await self.refresh(held.name)

    def document(self, name: str, operation: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The status document of this node's instance (encap.status/1), from memory."""
        held = self._registry.get(name)
        notes = tuple(LogLine("warn", f"the text on disk is not accepted: {t}") for t in held.trouble)
        seen = self._seen.get(name, {})
        step = self.sights.in_step(held)
        if any(r.internal and not r.disable for r in held.service.resources):
            seen = {**seen, SYNC: self._observation(seen.get(SYNC), step)}
        return instance_document(held.service, seen, self.sights.reports(held), InstanceContext(
            now=self._clock.monotonic(), observed_at=stamp(self._clock.wall()), revision=held.revision,
            hash=held.hash, frozen=self._facts.get(name, {}).get("frozen"),
            expected=bool(self._facts.get(name, {}).get("expected")), operation=operation,
            in_step={Status.UP: True, Status.WARN: False}.get(step.status),
            notes=(*notes, *self.sights.notes(held)), restart=self.sights.budgets(held),
            chosen=self.sights.chosen(held)))

    def tell(self, name: str) -> None:
        """Something of the service's status changed that is no probe."""
        self._bus.publish("status", name)

    def forget(self, name: str) -> None:
        """The service is deleted."""
        for rid in self._seen.pop(name, ()):
            self._rounds.pop((name, rid), None)

    def status(self, name: str) -> dict[str, Status]:
        """rid -> status, of what was probed."""
        return {rid: o.probe.status for rid, o in self._seen.get(name, {}).items()}

    def states(self, name: str) -> dict[str, str]:
        """container rid -> its exact state."""
        return {rid: o.probe.state for rid, o in self._seen.get(name, {}).items() if o.probe.state}

    def _statuses(self, name: str) -> dict[str, tuple[Status, tuple[LogLine, ...]]]:
        return {rid: (o.probe.status, o.probe.log) for rid, o in self._seen.get(name, {}).items()}

    async def _probe(self, held: Held, resource: Resource) -> Probe:
        if resource.internal:
            return self.sights.in_step(held)
        if resource.disable:
            return Probe(Status.NA)
        driver = self.driver(held, resource)
        if driver is None:
            return _unknown(f"no driver for {resource.group} of type {resource.type or '(none)'}")
        try:
            async with self._room:
                return await driver.probe()
        except EncapError as error:
            return _unknown(error.text)
        except Exception as error:
            log.exception("the driver of %s in %s is broken", resource.rid, held.name)
            return _unknown(f"the driver is broken: {type(error).__name__}")

    def _observation(self, before: Observation | None, probe: Probe) -> Observation:
        now, last, since = self._clock.monotonic(), None, None
        if probe.status is Status.UNDEF and before is not None:
            known = before.probe.status is not Status.UNDEF
            last = before.probe.status if known else before.last
            since = before.observed if known else before.last_observed
        return Observation(probe, now, stamp(self._clock.wall()), last=last, last_observed=since)


def _unknown(why: str) -> Probe:
    return Probe(Status.UNDEF, (LogLine("warn", why),))

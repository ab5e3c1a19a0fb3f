"""What happens by itself: restarts of resources, the start at boot, a guest that rebooted, the
end of a freeze. Each is an operation like a user's, by "monitor"; a busy service is left alone.

Nothing is started by the daemon's own start: only a new boot of the machine counts as one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agentd.acting import Actions
from agentd.chaining import Caller, Means
from agentd.core.errors import Busy, EncapError, HeldElsewhere, Silent
from agentd.core.known import IS_DOWN
from agentd.core.model import Level
from agentd.core.placement import counted
from agentd.core.plan import Request
from agentd.core.restarting import Budget, look
from agentd.core.status import LogLine
from agentd.operations import Operations
from agentd.registry import Held, Registry
from agentd.timers import stamp

log = logging.getLogger("encap.monitor")

WHO = "monitor"
BOOT_RETRY = 10.0
"""Seconds between two tries of a start at boot that could not be decided."""


class Monitor:
    """Looks once a second at what is known. `boot`: the id of this boot of the machine."""

    def __init__(self, registry: Registry, operations: Operations, actions: Actions, means: Means,
                 boot: str) -> None:
        self._registry, self._operations, self._actions, self._means = registry, operations, actions, means
        self._boot = boot
        self._budgets: dict[str, dict[str, Budget]] = {}
        self._rebooted: dict[tuple[str, str], float] = {}
        # (service, guest) -> when it said that it booted anew.
        self._waiting: dict[str, tuple[float, str]] = {}
        # Services to start because of the boot: when to try next, and what for they wait.

    async def begin(self) -> None:
        """At the daemon's start: is this another boot than that of its last run?"""
        known = self._facts("").get("boot")
        if known != self._boot:
            await self._keep("", "boot", self._boot)
        if known not in (None, self._boot):
            now = self._means.clock.monotonic()
            self._waiting = {held.name: (now, "") for held in self._registry if _starts_at_boot(held)}

    def begun(self, service: str) -> None:
        """A user acts on the service: what waited to be done by itself is theirs now, and
        resources have all their tries again."""
        self._waiting.pop(service, None)
        self._budgets.pop(service, None)

    async def met(self, service: str, node: str, boot: str) -> None:
        """A start of the service came to a guest in this boot, and does what is to be done in it."""
        await self.introduced(node, boot)
        self._rebooted.pop((service, node), None)

    async def introduced(self, node: str, boot: str) -> None:
        """A guest said in which boot it is."""
        key = f"boot {node}"
        known = self._facts("").get(key)
        if known == boot:
            return
        await self._keep("", key, boot)
        for held in self._registry if known is not None else ():
            if any(guest.node == node for guest in held.service.guests):
                self._rebooted[held.name, node] = self._means.clock.monotonic()

    # --- for the status document

    def budgets(self, held: Held) -> Mapping[str, Mapping[str, int]]:
        found = self._budgets.get(held.name, {})
        return {rid: {"left": budget.left, "of": budget.of} for rid, budget in found.items()}

    def notes(self, held: Held) -> tuple[LogLine, ...]:
        waits = self._waiting.get(held.name, (0.0, ""))[1]
        return (LogLine("warn", f"start at boot: {waits}"),) if waits else ()

    # --- once a second

    async def look(self) -> None:
        """Act on what is due. An error about one service keeps no other from its turn."""
        for held in list(self._registry):
            try:
                await self._look_at(held)
            except EncapError as error:
                log.warning("%s: %s", held.name, error.text)

    async def _look_at(self, held: Held) -> None:
        name = held.name
        frozen = self._facts(name).get("frozen")
        if frozen and _is_past(frozen.get("until"), self._means.clock.wall()):
            await self._act(name, Request("thaw", local=True))
            return
        if frozen or self._operations.running(name) is not None:
            return
        if name in self._waiting:
            await self._start_at_boot(held)
        elif self._facts(name).get("expected"):
            await self._rejoin(held)
            await self._restart(held)

    async def _start_at_boot(self, held: Held) -> None:
        due, _why = self._waiting[held.name]
        now = self._means.clock.monotonic()
        if now < due:
            return
        service = held.service
        nodes = (service.node,) if service.topology == "flex" else ()
        try:
            await self._actions.act(held.name, Request("start", nodes=nodes), Caller("boot", by_itself=True))
            self._waiting.pop(held.name, None)
        except (HeldElsewhere, Silent, Busy) as error:
            log.info("%s: start at boot: %s", held.name, error.text)
            self._waiting[held.name] = (now + BOOT_RETRY, _waiting_for(error))
            self._means.inspector.tell(held.name)
        except EncapError:
            self._waiting.pop(held.name, None)
            raise

    async def _rejoin(self, held: Held) -> None:
        """A guest that booted anew gets its part started again, once it told that it is down."""
        for guest in held.service.guests:
            since = self._rebooted.get((held.name, guest.node))
            report = self._means.guests.report(held.name, guest.container)
            if since is None or report is None or report.received is None or report.received <= since:
                continue
            del self._rebooted[held.name, guest.node]
            inside = self._means.knowledge.here(held).inside(guest)
            if any(inside.get(r.rid) in IS_DOWN for r in counted(guest.resources)):
                log.info("%s booted anew: %s is started in it again", guest.node, held.name)
                await self._act(held.name, Request("start", slave=(guest.node,), local=True))
                return

    async def _restart(self, held: Held) -> None:
        inspector = self._means.inspector
        status = inspector.status(held.name)
        before = self._budgets.get(held.name, {})
        budgets, due = look(held.service, status, before, self._means.clock.monotonic())
        if budgets:
            self._budgets[held.name] = budgets
        if due:
            log.info("%s: %s down and started again", held.name, ", ".join(due))
            await self._act(held.name, Request("start", rids=due, local=True))

    async def _act(self, name: str, request: Request) -> None:
        try:
            await self._actions.act(name, request, Caller(WHO, by_itself=True))
        except Busy as error:
            log.info("%s: %s", name, error.text)  # somebody was quicker; the next look sees what came of it

    def _facts(self, name: str) -> dict[str, Any]:
        return self._means.facts.get(name, {})

    async def _keep(self, name: str, key: str, value: Any) -> None:
        self._means.facts.setdefault(name, {})[key] = value
        await self._means.store.flags.set(name, key, value)


def _starts_at_boot(held: Held) -> bool:
    """The first of `nodes` starts a failover service; each of them its own instance of a flex one."""
    service = held.service
    if service.level is not Level.HOST or service.orchestrate != "start" or service.node not in service.nodes:
        return False
    return service.topology == "flex" or service.nodes[0] == service.node


def _waiting_for(error: EncapError) -> str:
    holder = error.details.get("holder")
    node = error.details.get("node") or (holder if isinstance(holder, str) else "")
    return f"waiting for {node}: {error.text}" if node else f"waiting: {error.text}"


def _is_past(until: object, wall: datetime) -> bool:
    """`until`: RFC 3339 as `agentd.timers.stamp` writes it, so that texts compare as moments."""
    return isinstance(until, str) and bool(until) and until <= stamp(wall)

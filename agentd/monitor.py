"""What happens by itself: restarts of resources, the start at boot, a guest that rebooted, the
end of a freeze. Each is an operation like a user's, by "monitor"; a busy service is left alone.

Nothing is started by the daemon's own start: only a new boot of the machine counts as one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agentd.acting import Actions
from agentd.chaining import Caller, Means
from agentd.core.errors import Busy, EncapError, HeldElsewhere, Silent, StorageTrouble
from agentd.core.expectation import RESTS
from agentd.core.model import Level
from agentd.core.plan import Request
from agentd.core.restarting import Budget, look
from agentd.core.status import LogLine
from agentd.operations import Operations
from agentd.rebooting import Reboots
from agentd.registry import Held, Registry
from agentd.timers import stamp

log = logging.getLogger("encap.monitor")

WHO = "monitor"
BOOT_RETRY = 10.0
"""Seconds between two tries of a start at boot that could not be decided."""
STARTS = "starts"
"""Kept with a service that is to be started because of the boot, until that was begun."""


class Monitor:
    """Looks once a second at what is known. `boot`: the id of this boot of the machine."""

    def __init__(self, registry: Registry, operations: Operations, actions: Actions, means: Means,
                 boot: str) -> None:
        self._registry, self._operations, self._actions, self._means = registry, operations, actions, means
        self._boot = boot
        self._budgets: dict[str, dict[str, Budget]] = {}
        self.reboots = Reboots(registry, means.guests, means.knowledge, means.facts, means.store.flags,
                               means.clock)
        self._waiting: dict[str, tuple[float, str]] = {}
        # Services to start because of the boot: when to try next, and what for they wait.

    async def begin(self) -> None:
        """At the daemon's start: is this another boot than that of its last run?"""
        known = self._facts("").get("boot")
        if known not in (None, self._boot):
            for held in self._registry:
                if _starts_at_boot(held):
                    await self._keep(held.name, STARTS, True)
                if self._facts(held.name).get("expected"):
                    await self._keep(held.name, RESTS, True)
        if known != self._boot:
            await self._keep("", "boot", self._boot)
        now, names = self._means.clock.monotonic(), [held.name for held in self._registry]
        self._waiting = {name: (now, "") for name in names if self._facts(name).get(STARTS)}

    def begun(self, service: str) -> None:
        """A user acts on the service: what waited to be done by itself is theirs now, and
        resources have all their tries again."""
        self._waiting.pop(service, None)
        self._budgets.pop(service, None)

    # --- for the status document

    def budgets(self, held: Held) -> Mapping[str, Mapping[str, int]]:
        found = self._budgets.get(held.name, {})
        return {rid: {"left": budget.left, "of": budget.of} for rid, budget in found.items()}

    def notes(self, held: Held) -> tuple[LogLine, ...]:
        waits = self._waiting.get(held.name, (0.0, ""))[1]
        return (LogLine("warn", f"start at boot: {waits}"),) if waits else ()

    # --- once a second

    async def look(self) -> None:
        """Act on what is due. A service that is waited for keeps no other from its turn, nor does
        an error about it."""
        waiting = [held for held in self._registry if held.name in self._waiting]
        for held in [held for held in self._registry if held.name not in self._waiting]:
            await self._look_safely(held)
        await asyncio.gather(*(self._look_safely(held) for held in waiting))

    async def _look_safely(self, held: Held) -> None:
        try:
            await self._look_at(held)
        except EncapError as error:
            log.warning("%s: %s", held.name, error.text)
        except Exception:
            log.exception("%s: an error of the program", held.name)

    async def _look_at(self, held: Held) -> None:
        name, facts = held.name, self._facts(held.name)
        frozen = facts.get("frozen")
        if frozen and _is_past(frozen.get("until"), self._means.clock.wall()):
            await self._act(name, Request("thaw", local=True))
            return
        if name not in self._waiting and facts.pop(STARTS, None):
            await self._means.store.flags.clear(name, STARTS)
        if frozen or self._operations.running(name) is not None:
            return
        if name in self._waiting:
            await self._start_at_boot(held)
        elif facts.get("expected"):
            guest = await self.reboots.due(held)
            if guest is not None:
                log.info("%s booted anew: %s is started in it again", guest.node, name)
                if await self._act(name, Request("start", slave=(guest.node,), local=True)):
                    await self.reboots.settled(name, guest.node)
            elif not facts.get(RESTS):
                await self._restart(held)

    async def _start_at_boot(self, held: Held) -> None:
        due, _why = self._waiting[held.name]
        now = self._means.clock.monotonic()
        if now < due:
            return
        service = held.service
        request = Request("start", nodes=(service.node,) if service.topology == "flex" else ())
        try:
            # Looked at first: each try that is refused would leave an operation behind.
            await self._actions.plan(held.name, request)
            if held.name in self._waiting:  # nobody has acted meanwhile
                await self._actions.act(held.name, request, Caller("boot", by_itself=True))
            self._waiting.pop(held.name, None)
        except (HeldElsewhere, Silent, Busy, StorageTrouble) as error:
            log.info("%s: start at boot: %s", held.name, error.text)
            if held.name in self._waiting:
                self._waiting[held.name] = (now + BOOT_RETRY, _waiting_for(error))
            self._means.inspector.tell(held.name)
        except EncapError:
            self._waiting.pop(held.name, None)
            raise

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

    async def _act(self, name: str, request: Request) -> bool:
        """Whether it was begun; not where somebody was quicker: the next look sees what came of it."""
        try:
            await self._actions.act(name, request, Caller(WHO, by_itself=True))
        except Busy as error:
            log.info("%s: %s", name, error.text)
            return False
        return True

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

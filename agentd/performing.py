"""Carrying out this node's plan: each step against its driver, and what follows the end.

A step probes, acts if needed and probes again: only the last probe says that it is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.core.errors import ActionFailed, NotSupported, Silent, StorageTrouble
from agentd.core.events import Happening, Kind
from agentd.core.expectation import Ended, after
from agentd.core.plan import Plan, Request, Step
from agentd.core.status import Status
from agentd.executor import Done, Emit, Outcome, SkippedStep, UnknownStep, execute
from agentd.inspector import Inspector
from agentd.operation import Operation
from agentd.registry import Held
from agentd.store import Store
from agentd.timers import Clock, stamp

Ending = Done | SkippedStep | UnknownStep

_IS_UP, _IS_DOWN = (Status.UP, Status.STDBY_UP), (Status.DOWN, Status.STDBY_DOWN)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for the audit, and what they said: `reason` and `until` of a freeze."""

    who: str = ""
    key: str = ""
    body: bytes = b""
    reason: str = ""
    until: str | None = None


class Performer:
    """The steps of one operation. `facts` is the node's: service -> key -> value."""

    def __init__(self, held: Held, caller: Caller, inspector: Inspector, store: Store, clock: Clock,
                 facts: dict[str, dict[str, Any]]) -> None:
        self._held, self._caller, self._inspector = held, caller, inspector
        self._store, self._clock, self._facts = store, clock, facts

    async def carry_out(self, plan: Plan, request: Request, operation: Operation) -> Outcome:
        async def perform(step: Step, _emit: Emit) -> Ending:
            if step.action in ("freeze", "thaw"):
                return await self._freeze(step.action)
            return await self._change(step, operation)

        whole = not (request.selective or request.master or request.slave or request.slaves)
        verify = self._verifier(request.action) if whole else None
        outcome = await execute(plan, perform, operation.emit, operation.cancelling, verify)
        try:
            await self._ended(Ended(request.action, outcome.result, whole), operation)
        except StorageTrouble as error:
            # What was done is done: its result stays, and the trouble is told beside it.
            operation.emit(Happening(Kind.LOG, f"not all of the end is saved: {error.text}"))
        return outcome

    def _verifier(self, action: str) -> Callable[[], Awaitable[None]] | None:
        """After a full start avail is up, after a full stop down; or there is nothing to say."""
        goal = {"start": _IS_UP, "restart": _IS_UP, "stop": _IS_DOWN, "shutdown": _IS_DOWN}.get(action)
        if goal is None:
            return None

        async def verify() -> None:
            name = self._held.name
            await self._inspector.refresh(name)
            avail = Status(self._inspector.document(name)["avail"])
            if avail is Status.UNDEF:
                raise Silent(f"whether {name} is {goal[0]} after {action} cannot be told")
            if avail not in (*goal, Status.NA):
                raise ActionFailed(f"every step of {action} went well, and {name} is {avail}")

        return verify

    async def _freeze(self, action: str) -> Done:
        name, caller = self._held.name, self._caller
        if action == "thaw":
            await self._store.flags.clear(name, "frozen", durable=True)
            self._facts.setdefault(name, {}).pop("frozen", None)
            return Done()
        frozen = {"by": caller.who, "reason": caller.reason, "since": stamp(self._clock.wall()),
                  "until": caller.until}
        await self._store.flags.set(name, "frozen", frozen, durable=True)
        self._facts.setdefault(name, {})["frozen"] = frozen
        return Done()

    async def _change(self, step: Step, operation: Operation) -> Ending:
        held = self._held
        resource = held.service.resource(step.what)
        driver = self._inspector.driver(held, resource) if resource is not None else None
        if driver is None:
            raise NotSupported(f"no driver for {step.what}")
        goal = _IS_UP if step.action == "start" else _IS_DOWN
        if (await driver.probe()).status in goal:
            return SkippedStep(f"already {goal[0]}")
        if step.what.startswith("container#"):
            await self._store.intents.declare(operation.id, held.name, step.what, step.action)
        await (driver.start() if step.action == "start" else driver.stop())
        await self._inspector.refresh(held.name, [step.what])
        found = self._inspector.status(held.name)[step.what]
        if found is Status.UNDEF:
            return UnknownStep(f"{step.what}: its state cannot be told after {step.action}; a probe will")
        if found not in (*goal, Status.NA):
            raise ActionFailed(f"{step.what} is {found} after {step.action}")
        return Done()

    async def _ended(self, ended: Ended, operation: Operation) -> None:
        name = self._held.name
        await self._inspector.refresh(name)
        await self._store.intents.forget(operation.id)
        facts = self._facts.setdefault(name, {})
        expected = after(bool(facts.get("expected")), ended)
        if expected != bool(facts.get("expected")):
            facts["expected"] = expected
            await self._store.flags.set(name, "expected", expected)


def refuse_what_needs_others(held: Held, request: Request, chosen: Plan) -> None:
    """Raises NotSupported, before anything is done, for what this version cannot do alone."""
    service = held.service
    later = sorted({s.action for s in chosen.own} - {"start", "stop", "freeze", "thaw"})
    if later:
        raise NotSupported(f"{', '.join(later)}: not yet supported by the daemon")
    if any(step.where != service.node for step in chosen.own):
        raise NotSupported("this version does not chain into guests",
                           hint="--master acts on this level only")
    others = [n for n in (*service.nodes, *service.drpnodes) if n != service.node]
    if service.topology == "failover" and others and any(s.action == "start" for s in chosen.own):
        # Any resource, at either level: a file system mounted twice is as bad as two containers.
        raise NotSupported(f"this version cannot ask {', '.join(others)} if {service.name} runs there",
                           hint="nothing of a failover service is started without asking")
    if request.nodes and set(request.nodes) != {service.node}:
        raise NotSupported("this version acts on its own node only")


def verdict(document: Mapping[str, Any], status: Mapping[str, Status]) -> tuple[str, str]:
    """The result of an interrupted operation, from what its resources are like now."""
    touched = [s["what"] for s in (document["plan"] or {}).get("steps", ()) if s["what"] in status]
    found = {rid: status[rid] for rid in touched}
    goal = Status.DOWN if document["action"].startswith(("stop", "shutdown")) else Status.UP
    told = ", ".join(f"{rid} {state}" for rid, state in found.items())
    if not found:
        return "unknown", "the daemon was interrupted, and no resource tells how far it came; repeat it"
    if Status.UNDEF in found.values():
        return "unknown", f"the daemon was interrupted; found {told}; a probe that answers will tell"
    done = all(state in (goal, Status.NA) for state in found.values())
    return ("succeeded" if done else "failed"), f"the daemon was interrupted; found {told}"

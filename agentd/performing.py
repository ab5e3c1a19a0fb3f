"""Carrying out a plan of this node: each step against its driver, or handed to another agent.

A step probes, acts if needed and probes again: only the last probe says that it is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from agentd.chaining import Caller, Chain, Found, Means
from agentd.core.claims import Claim, instance_name, order
from agentd.core.errors import ActionFailed, EncapError, NotSupported, Silent, StorageTrouble
from agentd.core.events import Happening, Kind
from agentd.core.expectation import Ended, after
from agentd.core.model import Level, Resource
from agentd.core.plan import Plan, Request, Step
from agentd.core.planner import plan as plan_here
from agentd.core.routing import all_nodes
from agentd.core.status import Probe, Status
from agentd.executor import Done, Emit, LeftAlone, Outcome, SkippedStep, TakenBack, UnknownStep, execute
from agentd.operation import Operation
from agentd.readiness import SHARES
from agentd.registry import Held
from agentd.timers import stamp
from agentd.triggers import Triggers, require
from drivers.base import ContainerState, Driver

Ending = Done | SkippedStep | UnknownStep

Verify = Callable[[], Awaitable[None]]

_HALVES = {"start": ("start", "start"), "stop": ("stop", "stop"), "shutdown": ("stop", "stop"),
           "restart": ("stop", "start")}
"""With which commands of DEFAULT an action begins and ends."""

_IS_UP, _IS_DOWN = (Status.UP, Status.STDBY_UP), (Status.DOWN, Status.STDBY_DOWN)


class Performer:
    """The steps of one operation on this node. `under`: the step of a larger plan that this
    is a part of, None when it is the whole."""

    def __init__(self, held: Held, caller: Caller, means: Means, operation: Operation,
                 under: int | None = None) -> None:
        self._held, self._caller, self._means = held, caller, means
        self._operation, self._under = operation, under
        self._planned: dict[int, Step] = {}
        self._found = Found()

    async def carry_out(self, plan: Plan, request: Request) -> Outcome:
        """Run a plan, and remember what follows from its end."""
        self._planned = {step.id: step for step in plan.steps}
        for left in plan.skipped:
            self._tell(Happening(Kind.SKIPPED, left.why, where=left.where, what=left.what))
        if self._spans_hypervisors(plan):
            return await execute(plan, self._perform, self._tell, self._operation.cancelling)
        if not self._concerns_us(plan):
            return Outcome("succeeded")
        if plan.chosen:
            self._means.knowledge.chose(self._held, plan.chosen)
        whole = is_whole(request)
        if not self._held.service.options.get("rollback", True):
            plan = _never_undone(plan)
        outcome = await self._whole(plan, request) if whole else await self._execute(plan)
        try:
            await self._ended(Ended(request.action, outcome.result, whole))
        except StorageTrouble as error:
            # What was done is done: its result stays, and the trouble is told beside it.
            self._tell(Happening(Kind.LOG, f"not all of the end is saved: {error.text}"))
        return outcome

    async def _execute(self, plan: Plan, verify: Verify | None = None) -> Outcome:
        return await execute(plan, self._perform, self._tell, self._operation.cancelling, verify)

    async def _whole(self, plan: Plan, request: Request) -> Outcome:
        """The action on the whole service, between the commands of DEFAULT that belong to it."""
        first, last = _HALVES.get(request.action, ("", ""))
        if not first or not plan.own:
            return await self._execute(plan, self._verifier(request.action))
        service = self._held.service
        about = {"ENCAP_SERVICE": service.name, "ENCAP_NODE": service.node, "ENCAP_RID": ""}
        triggers = Triggers(self._means.host, service.options, about, self._tell)
        looked = self._verifier(request.action)

        async def verify() -> None:
            if looked is not None:
                await looked()
            await triggers.after(last)

        try:
            await triggers.before(first)
        except EncapError as error:
            self._tell(Happening(Kind.FAILED, error.text, where=service.node, what=service.name))
            return Outcome("failed", None, error)
        return await self._execute(plan, verify)

    def _spans_hypervisors(self, plan: Plan) -> bool:
        """Whether the steps of a plan are the parts of whole hypervisors."""
        nodes = all_nodes(self._held.service)
        return any(step.request is not None and step.where in nodes for step in plan.own)

    def _concerns_us(self, plan: Plan) -> bool:
        """Whether there is anything for this node or its guests; else the service is another node's."""
        service = self._held.service
        ours = {service.node, *(guest.node for guest in service.guests)}
        return bool(plan.own) or any(left.where in ours for left in plan.skipped)

    async def claim(self, plan: Plan) -> None:
        """Before anything of a failover instance is started here, every hypervisor has to grant it."""
        service = self._held.service
        instance = instance_name(service)
        starts = any(s.action == "start" and s.where == service.node and s.request is None for s in plan.own)
        if instance and starts and service.level is Level.HOST:
            await self._means.claims.take(Claim(instance, self._operation.id, service.node), order(service),
                                          self._caller.assume_down, self._caller.who)

    def _tell(self, happening: Happening) -> None:
        if self._under is not None:
            happening = replace(happening, under=self._under)
        self._operation.emit(happening)

    async def _perform(self, step: Step, emit: Emit) -> Ending:
        service = self._held.service
        if step.request is not None:
            if step.where == service.node:
                return await self._own_part(step)
            return await Chain(self._held, self._caller, self._means, self._operation, self._planned,
                               self._under, self._found).hand_over(step, emit)
        if step.action in ("freeze", "thaw"):
            return await self._freeze(step.action)
        if step.action == "clear":
            await self._means.inspector.refresh(self._held.name)
            return Done()
        if step.action in ("enable", "disable"):
            await self._means.texts.mark(self._held.name, step.what, disable=step.action == "disable",
                                         who=self._caller.who)
            return Done()
        if step.action == "delete":
            await self._means.texts.remove(self._held.name, self._caller.who)
            return Done()
        return await self._change(step, emit)

    # --- what other agents do

    async def _own_part(self, step: Step) -> Ending:
        """This node's part of a plan over several hypervisors: planned now, with what is known now."""
        asked = step.request or Request(step.action)
        await self._means.inspector.refresh(self._held.name)
        part = plan_here(self._held.service, asked, await self._means.knowledge.for_part(self._held))
        inner = Performer(self._held, self._caller, self._means, self._operation, step.id)
        await inner.claim(part)
        outcome = await inner.carry_out(part, asked)
        if outcome.result == "succeeded":
            return Done() if part.own else SkippedStep("; ".join(dict.fromkeys(s.why for s in part.skipped)))
        problem = outcome.problem
        text = problem.text if problem is not None else outcome.result
        if outcome.result == "unknown":
            return UnknownStep(text)
        if problem is not None and outcome.undone is False:
            raise problem
        code, hint = (problem.code, problem.hint) if problem is not None else ("cancelled", "")
        raise TakenBack(text, code=code, hint=hint)

    # --- what this node does

    async def _freeze(self, action: str) -> Done:
        name, caller, facts = self._held.name, self._caller, self._means.facts
        flags = self._means.store.flags
        if action == "thaw":
            await flags.clear(name, "frozen", durable=True)
            facts.setdefault(name, {}).pop("frozen", None)
        else:
            frozen = {"by": caller.who, "reason": caller.reason, "since": stamp(self._means.clock.wall()),
                      "until": caller.until}
            await flags.set(name, "frozen", frozen, durable=True)
            facts.setdefault(name, {})["frozen"] = frozen
        self._means.inspector.tell(name)
        return Done()

    async def _change(self, step: Step, emit: Emit) -> Ending:
        held, inspector = self._held, self._means.inspector
        resource = held.service.resource(step.what)
        if resource is not None and step.action == "start" and held.service.guest(step.what):
            emit(Happening(Kind.PHASE, "up"))
            resource = _with_share(resource)
        driver = inspector.driver(held, resource) if resource is not None else None
        if driver is None:
            raise NotSupported(f"no driver for {step.what}")
        goal = _IS_UP if step.action == "start" else _IS_DOWN
        before = await driver.probe()
        if before.status in goal:
            return SkippedStep(f"already {goal[0]}")
        if step.what.startswith("container#"):
            await self._declare(step, emit)
        if step.action == "start" and not _was_off(before):
            return await _left_alone(self._acted_on(driver, step, emit))
        done = await self._acted_on(driver, step, emit)
        if step.action == "start":
            self._found.started.add(step.what)
        return done

    async def _acted_on(self, driver: Driver, step: Step, emit: Emit) -> Done:
        """Start or stop, and look; Silent when what came of it cannot be told."""
        goal = _IS_UP if step.action == "start" else _IS_DOWN
        inspector, name = self._means.inspector, self._held.name
        about = {"ENCAP_SERVICE": name, "ENCAP_NODE": self._held.service.node, "ENCAP_RID": step.what}
        triggers = Triggers(self._means.host, driver.options, about, emit)
        require(step.what, step.action, driver.options, inspector.status(name))
        await triggers.before(step.action)
        await (driver.start() if step.action == "start" else driver.stop())
        await inspector.refresh(name, [step.what])
        self._means.guests.look()
        found = inspector.status(name)[step.what]
        if found is Status.UNDEF:
            raise Silent(f"{step.what}: its state cannot be told after {step.action}; a probe will",
                         code="unknown")
        if found not in (*goal, Status.NA):
            raise ActionFailed(f"{step.what} is {found} after {step.action}")
        await triggers.after(step.action)
        if step.action == "start":
            await self._reach(step, emit)
        return Done()

    async def _declare(self, step: Step, emit: Emit) -> None:
        """What is about to be done to a container, on disk before it is done. Without that none is
        started; a stop makes nothing twice, so it goes on."""
        try:
            await self._means.store.intents.declare(self._operation.id, self._held.name, step.what,
                                                    step.action)
        except StorageTrouble as error:
            if step.action == "start":
                raise
            emit(Happening(Kind.LOG, f"{error.text}; going on"))

    async def _reach(self, step: Step, emit: Emit) -> None:
        """A guest of which the plan asks nothing (another one is chosen) is brought in step all the
        same; when that fails, the start of its container has not."""
        guest = self._held.service.guest(step.what)
        if guest is None or not guest.resources or any(s.where == guest.node for s in self._planned.values()):
            return
        try:
            await self._means.readiness.bring_up(
                self._held, guest, lambda phase: emit(Happening(Kind.PHASE, phase)), fresh=True,
                cancelling=self._operation.cancelling)
        except EncapError as error:
            emit(Happening(Kind.LOG, f"{error.text}; going on"))

    def _verifier(self, action: str) -> Verify | None:
        """After a full start avail is up, after a full stop down; or there is nothing to say."""
        goal = {"start": _IS_UP, "restart": _IS_UP, "stop": _IS_DOWN, "shutdown": _IS_DOWN}.get(action)
        if goal is None:
            return None

        async def verify() -> None:
            name = self._held.name
            await self._means.inspector.refresh(name)
            avail = Status(self._means.inspector.document(name)["avail"])
            if avail is Status.UNDEF:
                raise Silent(f"whether {name} is {goal[0]} after {action} cannot be told")
            standing = (Status.STDBY_UP,) if action == "stop" else ()
            if avail not in (*goal, Status.NA, *standing):
                raise ActionFailed(f"every step of {action} went well, and {name} is {avail}")

        return verify

    async def _ended(self, ended: Ended) -> None:
        name, facts = self._held.name, self._means.facts
        if ended.action == "delete" and ended.result == "succeeded":
            facts.pop(name, None)
            return
        await self._means.inspector.refresh(name)
        await self._means.store.intents.forget(self._operation.id)
        known = facts.setdefault(name, {})
        expected = after(bool(known.get("expected")), ended)
        if expected != bool(known.get("expected")):
            known["expected"] = expected
            await self._means.store.flags.set(name, "expected", expected)


def _was_off(probe: Probe) -> bool:
    """Whether a resource that is about to be started runs nothing yet. What is degraded, paused or
    not known may do its work: a start may mend it, and an undo is not to end it."""
    return probe.status in (*_IS_DOWN, Status.NA) or probe.state == ContainerState.CRASHED


async def _left_alone(start: Awaitable[Done]) -> Done:
    """The start of something that was there before: whatever comes of it, there is no undo."""
    try:
        return replace(await start, started=())
    except Silent as error:
        raise LeftAlone(error.text, hint=error.hint, code=error.code) from error
    except EncapError as error:
        raise TakenBack(error.text, hint=error.hint, code=error.code) from error


def _never_undone(plan: Plan) -> Plan:
    """The same plan for a service that says ``rollback = false``: what was started stays."""
    return replace(plan, steps=tuple(replace(step, undo="") for step in plan.steps))


def is_whole(request: Request) -> bool:
    return not (request.selective or request.master or request.slave or request.slaves or request.to)


def _with_share(container: Resource) -> Resource:
    """A container of which only the first phase is waited for: its share of start_timeout."""
    whole = container.options.get("start_timeout")
    if not whole:
        return container
    return replace(container, options={**container.options, "start_timeout": whole * SHARES["up"]})

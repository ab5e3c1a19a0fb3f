"""Carrying out a plan of this node: the steps of resources, the parts of other agents, and what
follows from the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from agentd.chaining import Caller, Chain, Found, Means
from agentd.changing import IS_DOWN, IS_UP, Change
from agentd.core.claims import Claim, instance_name, order
from agentd.core.errors import ActionFailed, EncapError, Silent, StorageTrouble
from agentd.core.events import Happening, Kind
from agentd.core.expectation import RESTS, Ended, after, starts_anew
from agentd.core.model import Level
from agentd.core.plan import Plan, Request, Step
from agentd.core.planner import plan as plan_here
from agentd.core.routing import all_nodes
from agentd.core.status import Status
from agentd.executor import Done, Emit, LeftOver, Outcome, SkippedStep, TakenBack, UnknownStep, execute
from agentd.operation import Operation
from agentd.registry import Held
from agentd.timers import stamp
from agentd.triggers import Triggers

Ending = Done | SkippedStep | UnknownStep

Verify = Callable[[], Awaitable[None]]

_HALVES = {"start": ("start", "start"), "stop": ("stop", "stop"), "shutdown": ("stop", "stop"),
           "restart": ("stop", "start")}
"""With which commands of DEFAULT an action begins and ends."""


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
        self._found.left.update(left.where for left in plan.skipped)
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
        return await Change(self._held, self._means, self._operation, self._planned,
                            self._found).carry_out(step, emit)

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
        code, hint = (problem.code, problem.hint) if problem is not None else ("cancelled", "")
        raise (LeftOver if outcome.undone is False else TakenBack)(text, code=code, hint=hint)

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

    def _verifier(self, action: str) -> Verify | None:
        """After a full start avail is up, after a full stop down; or there is nothing to say."""
        goal = {"start": IS_UP, "restart": IS_UP, "stop": IS_DOWN, "shutdown": IS_DOWN}.get(action)
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
        await remember(self._means, name, ended)


async def remember(means: Means, name: str, ended: Ended) -> None:
    """What follows for a service from the end of an operation on it."""
    facts, flags = means.facts.setdefault(name, {}), means.store.flags
    expected = after(bool(facts.get("expected")), ended)
    if expected != bool(facts.get("expected")):
        facts["expected"] = expected
        await flags.set(name, "expected", expected)
    if starts_anew(ended) and facts.pop(RESTS, None):
        await flags.clear(name, RESTS)


def _never_undone(plan: Plan) -> Plan:
    """The same plan for a service that says ``rollback = false``: what was started stays."""
    return replace(plan, steps=tuple(replace(step, undo="") for step in plan.steps))


def is_whole(request: Request) -> bool:
    return not (request.selective or request.master or request.slave or request.slaves or request.to)

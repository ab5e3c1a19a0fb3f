"""From a request to an operation: planned with what is known now, claimed, carried out.

What can be refused is refused before it is accepted: a caller hears at once that the service
is held elsewhere. What another agent asks for is accepted first, since that agent follows it.
"""

from __future__ import annotations

from agentd.chaining import Caller, Means
from agentd.core.errors import EncapError, Refused
from agentd.core.known import Known
from agentd.core.model import Level, Service
from agentd.core.plan import Plan, Request
from agentd.core.planner import plan as plan_here
from agentd.core.routing import plan_cluster
from agentd.core.verbs import read_verb
from agentd.delegating import request_body
from agentd.executor import Outcome, internal
from agentd.operation import Operation, Origin
from agentd.operations import Operations
from agentd.performing import Performer
from agentd.registry import Held, Registry

_FRESH = ("stop", "shutdown", "restart", "delete")
"""Verbs whose targets are found by a fresh look; a start is made safe by its claim."""


class Actions:
    """What can be done with the services of this node."""

    def __init__(self, registry: Registry, operations: Operations, means: Means) -> None:
        self._registry, self._operations, self._means = registry, operations, means

    async def plan(self, name: str, request: Request, assume_down: tuple[str, ...] = ()) -> Plan:
        """What `request` would do now. Raises as `agentd.core.planner.plan`, and where it is refused."""
        held = self._registry.get(name)
        return self._planned(held, request, await self._known(held, request), assume_down)

    async def act(self, name: str, request: Request, caller: Caller) -> Operation:
        """Begin an action; its operation, also when it is still being carried out.

        Raises what keeps it from being begun: Busy, HeldElsewhere, Refused, InvalidRequest.
        """
        body = name.encode() + b"\n" + caller.body  # a key means one request for one service
        made = await self._operations.made_before(caller.who, caller.key, body)
        if made is not None:
            return made
        held = self._registry.get(name)
        _check_place(held.service, request, caller)
        self._check(held, request)
        operation = await self._operations.create(
            name, request.action, origin=Origin(caller.who, *caller.origin), key=caller.key,
            body=body, request=request_body(request))
        if not operation.take():
            return operation  # the same key came twice at once: the first one goes on with it
        if not caller.by_itself:
            self._means.begun(name)
        if request.local:
            self._operations.run(operation, lambda running: self._all_of(held, request, caller, running))
            return operation
        try:
            performer, plan = await self._prepared(held, request, caller, operation)
        except Exception as error:
            problem = error if isinstance(error, EncapError) else internal(error)
            try:
                await self._over(operation)
            finally:
                await self._operations.finish(operation, Outcome("failed", None, problem))
            raise
        self._operations.run(operation, lambda running: self._carried_out(performer, plan, request, running))
        return operation

    def _check(self, held: Held, request: Request) -> None:
        """Find out without asking anybody whether the request makes sense at all."""
        try:
            plan_here(held.service, request, self._means.knowledge.here(held))
        except Refused:
            pass  # what is refused now may be allowed once everybody was asked, or the other way round

    async def _known(self, held: Held, request: Request) -> Known:
        """What is known for a plan: for a request to this node alone, from here."""
        await self._means.inspector.refresh(held.name)
        if request.local or held.service.level is not Level.HOST:
            return await self._means.knowledge.for_part(held)
        return await self._means.knowledge.everywhere(held, refresh=read_verb(request.action).name in _FRESH)

    def _planned(self, held: Held, request: Request, known: Known, assume_down: tuple[str, ...]) -> Plan:
        if request.local or held.service.level is not Level.HOST:
            return plan_here(held.service, request, known)
        return plan_cluster(held.service, request, known, assume_down=assume_down)

    async def _prepared(self, held: Held, request: Request, caller: Caller,
                        operation: Operation) -> tuple[Performer, Plan]:
        """The plan, and the claim that it needs."""
        known = await self._known(held, request)
        plan = self._planned(held, request, known, caller.assume_down)
        operation.plan_is(plan.document())
        performer = Performer(held, caller, self._means, operation)
        await performer.claim(plan)
        return performer, plan

    async def _all_of(self, held: Held, request: Request, caller: Caller, operation: Operation) -> Outcome:
        try:
            performer, plan = await self._prepared(held, request, caller, operation)
        except Exception:
            await self._over(operation)
            raise  # its end
        return await self._carried_out(performer, plan, request, operation)

    async def _carried_out(self, performer: Performer, plan: Plan, request: Request,
                           operation: Operation) -> Outcome:
        try:
            outcome = await performer.carry_out(plan, request)
        except Exception:
            await self._over(operation)
            raise
        # Not when the daemon stops in the middle: then the claim stays until this is resolved.
        await self._over(operation)
        return outcome

    async def _over(self, operation: Operation) -> None:
        await self._means.claims.finished(operation.id)


def _check_place(service: Service, request: Request, caller: Caller) -> None:
    """In one of several guests of a failover encap level, only a hypervisor may start: it knows
    the others. Raises Refused. A resource of the instance that is up here is restarted all the same."""
    starts = read_verb(request.action).name in ("start", "restart") and not caller.by_itself
    if service.level is Level.ENCAP and starts and not caller.origin[0] and service.topology != "flex" \
            and len(service.nodes) > 1:
        others = ", ".join(node for node in service.nodes if node != service.node)
        hint = f"on a hypervisor: svc start {service.name} --slave {service.node}"
        raise Refused(f"{service.name} may be up in another guest ({others}), which this one cannot ask",
                      code="not-from-here", hint=hint)

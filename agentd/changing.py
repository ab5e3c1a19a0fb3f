"""Starting and stopping one resource of this node: probed, acted on if needed, and probed again.

Only the last probe says that it is done. What was there before is not this operation's to end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace

from agentd.chaining import Found, Means
from agentd.core.errors import ActionFailed, EncapError, NotSupported, Silent, StorageTrouble
from agentd.core.events import Happening, Kind
from agentd.core.model import Resource
from agentd.core.plan import Step
from agentd.core.status import Probe, Status
from agentd.executor import Done, Emit, LeftAlone, SkippedStep, TakenBack
from agentd.operation import Operation
from agentd.readiness import SHARES
from agentd.registry import Held
from agentd.triggers import Triggers, require
from drivers.base import ContainerState, Driver

IS_UP, IS_DOWN = (Status.UP, Status.STDBY_UP), (Status.DOWN, Status.STDBY_DOWN)


class Change:
    """A step of `operation`. `planned`: the plan's steps by id; `found`: what was there before."""

    def __init__(self, held: Held, means: Means, operation: Operation, planned: Mapping[int, Step],
                 found: Found) -> None:
        self._held, self._means, self._operation = held, means, operation
        self._planned, self._found = planned, found

    async def carry_out(self, step: Step, emit: Emit) -> Done | SkippedStep:
        """Start or stop the resource of a step."""
        held, inspector = self._held, self._means.inspector
        resource = held.service.resource(step.what)
        if resource is not None and step.action == "start" and held.service.guest(step.what):
            emit(Happening(Kind.PHASE, "up"))
            resource = _with_share(resource)
        driver = inspector.driver(held, resource) if resource is not None else None
        if driver is None:
            raise NotSupported(f"no driver for {step.what}")
        goal = IS_UP if step.action == "start" else IS_DOWN
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
        goal = IS_UP if step.action == "start" else IS_DOWN
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
        same; when that fails, the start of its container has not. One that the plan does not speak
        of, in a start of the container alone, is still to be started where it is expected up."""
        guest = self._held.service.guest(step.what)
        if guest is None or not guest.resources or any(s.where == guest.node for s in self._planned.values()):
            return
        try:
            await self._means.readiness.bring_up(
                self._held, guest, lambda phase: emit(Happening(Kind.PHASE, phase)), fresh=True,
                cancelling=self._operation.cancelling, dealt_with=guest.node in self._found.left)
        except EncapError as error:
            emit(Happening(Kind.LOG, f"{error.text}; going on"))


def _was_off(probe: Probe) -> bool:
    """Whether a resource that is about to be started runs nothing yet. What is degraded, paused or
    not known may do its work: a start may mend it, and an undo is not to end it."""
    return probe.status in (*IS_DOWN, Status.NA) or probe.state == ContainerState.CRASHED


async def _left_alone(start: Awaitable[Done]) -> Done:
    """The start of something that was there before: whatever comes of it, there is no undo."""
    try:
        return replace(await start, started=())
    except Silent as error:
        raise LeftAlone(error.text, hint=error.hint, code=error.code) from error
    except EncapError as error:
        raise TakenBack(error.text, hint=error.hint, code=error.code) from error


def _with_share(container: Resource) -> Resource:
    """A container of which only the first phase is waited for: its share of start_timeout."""
    whole = container.options.get("start_timeout")
    if not whole:
        return container
    return replace(container, options={**container.options, "start_timeout": whole * SHARES["up"]})

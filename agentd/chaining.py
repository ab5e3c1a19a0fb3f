"""The parts of an operation that other agents carry out: guests of this node, other hypervisors.

A guest's part of a start comes after its agent was brought in step; its part of a stop goes
on without it where the plan says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import quote

from agentd.core.claims import Claim, encap_instance_name, order
from agentd.core.errors import EncapError, HeldElsewhere, Silent
from agentd.core.events import Happening, Kind
from agentd.core.known import IS_DOWN
from agentd.core.model import Guest
from agentd.core.placement import relocatable
from agentd.core.plan import Request, Step
from agentd.core.routing import SILENT
from agentd.core.status import Status
from agentd.delegating import Delegate, not_begun
from agentd.executor import Done, Emit, SkippedStep, UnknownStep
from agentd.guests import Guests
from agentd.inspector import Inspector
from agentd.knowing import REFRESH_TIMEOUT, Knowledge
from agentd.operation import Operation
from agentd.peers import Answer, Peers, Silence
from agentd.readiness import Readiness
from agentd.registry import Held
from agentd.settings import Settings
from agentd.store import Store
from agentd.subscription import Subscriptions
from agentd.timers import Clock
from drivers.base import Host

Ending = Done | SkippedStep | UnknownStep

HYPERVISOR_WORKS = 3600.0
"""Seconds that another hypervisor may tell nothing new while it works: its steps have deadlines."""


CLAIM_PATIENCE, CLAIM_PAUSE = 30.0, 1.0
"""Seconds that a guest which is booting elsewhere is waited for, and between two tries."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for the audit, and what they said: `reason` and `until` of a freeze, and the
    nodes that they vouch for to be down. `origin`: the node and operation of another agent.
    `by_itself`: nobody asked, this daemon does what is due."""

    who: str = ""
    key: str = ""
    body: bytes = b""
    reason: str = ""
    until: str | None = None
    assume_down: tuple[str, ...] = ()
    origin: tuple[str, str] = ("", "")
    by_itself: bool = False


class Texts(Protocol):
    """Changes of the configuration that an action makes."""

    async def mark(self, name: str, rid: str, *, disable: bool, who: str) -> None: ...
    async def remove(self, name: str, who: str) -> None: ...


class Claiming(Protocol):
    """The claimant's side of claims, see `agentd.claiming`."""

    async def take(self, claim: Claim, order: tuple[str, ...], assume_down: tuple[str, ...] = (),
                   who: str = "") -> None: ...
    async def finished(self, operation: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What carrying out an action needs of the node. `facts`: service -> key -> value;
    `begun(service)`: somebody acts on it, so that failed restarts are forgotten."""

    settings: Callable[[], Settings]
    inspector: Inspector
    host: Host
    store: Store
    clock: Clock
    facts: dict[str, dict[str, Any]]
    knowledge: Knowledge
    guests: Guests
    readiness: Readiness
    subscriptions: Subscriptions
    peers: Peers
    claims: Claiming
    texts: Texts
    begun: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What an operation must not take back, as it was found before. `started`: the containers
    that it started itself, in which nothing was up; `inside`: by the id of a guest's step, the
    resources that were not proven down in it."""

    started: set[str] = field(default_factory=set)
    inside: dict[int, frozenset[str]] = field(default_factory=dict)


class Chain:
    """Hands the delegated steps of `operation` to their agents. `planned`: the plan's steps by
    id; `under`: the step of a larger plan that this plan is a part of."""

    def __init__(self, held: Held, caller: Caller, means: Means, operation: Operation,
                 planned: Mapping[int, Step], under: int | None, found: Found) -> None:
        self._held, self._caller, self._means = held, caller, means
        self._operation, self._planned, self._under, self._found = operation, planned, under, found

    async def hand_over(self, step: Step, emit: Emit) -> Ending:
        """Carry out a delegated step, or its undo, by its agent."""
        guest = next((g for g in self._held.service.guests if g.node == step.where), None)
        if guest is None:
            return await self._on_hypervisor(step)
        if self._is_undo(step):
            rids = tuple(rid for rid in step.touches if rid not in self._found.inside.get(step.id, ()))
            if step.touches and not rids:
                return SkippedStep(f"nothing of it is known to have been started in {guest.node}")
            step = replace(step, touches=rids, request=replace(step.request or Request("stop"), rids=rids))
        return await self._in_guest(step, guest, emit)

    async def _on_hypervisor(self, step: Step) -> Ending:
        peers, settings = self._means.peers, self._means.settings()
        doubtful = step.where not in peers.heard or SILENT in step.why
        silent = peers.timeout if doubtful else settings.guest_silence
        return await self._delegated(step, working=HYPERVISOR_WORKS, silent=silent, rival=True)

    async def _in_guest(self, step: Step, guest: Guest, emit: Emit) -> Ending:
        """A guest's part. For a start its agent is brought in step first."""
        container = self._held.service.resource(guest.container)
        options: Mapping[str, Any] = container.options if container is not None else {}
        starts, patience = step.action.startswith("start"), self._means.settings().guest_silence
        if starts:
            try:
                refusal = await self._made_ready(step, guest, emit)
            except EncapError as error:
                raise not_begun(error) from error
            if refusal is not None:
                return refusal
            emit(Happening(Kind.PHASE, "resources"))
        elif self._means.subscriptions.agent(guest.node) != "answering":
            patience = self._means.peers.timeout
        working = float(options.get("start_timeout" if starts else "stop_timeout") or 240.0)
        try:
            ending = await self._delegated(step, working=working, silent=patience)
        except Silent:
            raise
        except EncapError as error:
            if not starts and error.code == "service-not-found":
                # It never got its view, so that it cannot say what runs of the service in it.
                raise Silent(error.text, hint=error.hint, code=error.code) from error
            await self._look_inside(guest)
            raise
        await self._look_inside(guest)
        return ending

    async def _made_ready(self, step: Step, guest: Guest, emit: Emit) -> SkippedStep | None:
        """Until a guest can be asked to start; why it is not to, where another one is chosen."""
        await self._means.readiness.bring_up(
            self._held, guest, lambda phase: emit(Happening(Kind.PHASE, phase)),
            fresh=any(s.what == guest.container and s.action == "start" for s in self._planned.values()),
            cancelling=self._operation.cancelling)
        if guest.container not in self._found.started:
            self._found.inside[step.id] = await self._there_before(guest)
        return await self._claim(guest, emit) if relocatable(guest) else None

    async def _there_before(self, guest: Guest) -> frozenset[str]:
        """The resources of a guest that are not proven down, by a fresh look. Raises Silent."""
        await self._look_inside(guest, refresh=True)
        report = self._means.subscriptions.report(self._held.name, guest)
        told = {} if report.document is None or report.reason else {
            row["rid"]: Status(row["status"]) for row in report.document["resources"]}
        return frozenset(r.rid for r in guest.resources if told.get(r.rid) not in (*IS_DOWN, Status.NA))

    async def _delegated(self, step: Step, *, working: float, silent: float, rival: bool = False) -> Ending:
        undoing = self._is_undo(step)
        number = f"{step.id}" if self._under is None else f"{self._under}-{step.id}"
        delegate = Delegate(self._means.peers, self._operation, step, working=working, silent=silent,
                            label=f"{number}.undo" if undoing else number, undoing=undoing, rival=rival,
                            under=step.id if self._under is None else self._under)
        return await delegate.carry_out(step.request or Request(step.action), self._caller.who, self._said())

    async def _claim(self, guest: Guest, emit: Emit) -> SkippedStep | None:
        """The claim on the one instance of a failover encap level; why not, where another guest
        has it. Raises HeldElsewhere where somebody could not be asked."""
        service = self._held.service
        claim = Claim(encap_instance_name(service), self._operation.id, service.node, to=guest.node)
        deadline = self._means.clock.monotonic() + CLAIM_PATIENCE
        while True:
            try:
                await self._means.claims.take(claim, order(service), self._caller.assume_down,
                                              self._caller.who)
                return None
            except HeldElsewhere as error:
                holder = error.details.get("holder")
                chosen = holder.get("to") if isinstance(holder, Mapping) else ""
                if not chosen and not error.details.get("silent"):
                    chosen = await self._means.knowledge.up_elsewhere(self._held)
                if isinstance(chosen, str) and chosen:
                    self._means.knowledge.chose(self._held, chosen)
                    return SkippedStep(f"{chosen} is the chosen one")
                # Another guest may be booting: its state is not known until its agent answers.
                late = self._means.clock.monotonic() > deadline
                if late or error.details.get("silent") or self._operation.cancelling.is_set():
                    raise
                emit(Happening(Kind.PROGRESS, f"waiting for the choice among the guests: {error.text}"))
            await asyncio.sleep(CLAIM_PAUSE)

    def _is_undo(self, step: Step) -> bool:
        planned = self._planned.get(step.id)
        return planned is not None and planned.action != step.action

    async def _look_inside(self, guest: Guest, *, refresh: bool = False) -> None:
        """The guest's status, without waiting for its stream to tell it. With `refresh` it looks
        itself first, and Silent is raised where nothing was heard."""
        path = f"/v1/services/{quote(self._held.name)}/status" + ("?refresh=true" if refresh else "")
        more = {"timeout": REFRESH_TIMEOUT} if refresh else {}
        answer = (await self._means.peers.fan_out([guest.node], "GET", path, **more))[guest.node]
        if isinstance(answer, Answer) and isinstance(answer.value, Mapping):
            self._means.subscriptions.take_in(guest.node, self._held.name, answer.value)
        elif refresh:
            why = answer.why if isinstance(answer, Silence) else "it tells no status"
            raise Silent(f"{guest.node} does not say what is up in it: {why}")

    def _said(self) -> dict[str, Any]:
        """What the caller said beside the request, for the other agent."""
        said = {"reason": self._caller.reason, "until": self._caller.until,
                "assume_down": list(self._caller.assume_down)}
        return {key: value for key, value in said.items() if value}

"""A guest's part of a start and its undo: nothing in it is stopped that this operation did not start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.chaining import Caller, Chain, Found, Means
from agentd.core.errors import Busy, HeldElsewhere, NotFound, Silent
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.plan import Request, Step, undo_of
from agentd.executor import Done, SkippedStep, TakenBack
from agentd.peers import Answer, Silence

from .agents import LoopClock, Memory, Other, done, operation

INSIDE = (Resource("fs#1", "flag", encap=True), Resource("app#1", "simple", encap=True))
CONTAINER = Resource("container#0", "process", options={"start_timeout": 60.0, "stop_timeout": 10.0})
START = Step(1, "vm1", "start", "web", undo="stop", request=Request("start", local=True),
             touches=("fs#1", "app#1"))
STARTS_CONTAINER = Step(0, "hv1", "start", "container#0", undo="stop")


def held(topology: str = "failover", *nodes: str) -> Any:
    guest = Guest("container#0", "vm1", INSIDE, topology, nodes or ("vm1",))
    service = Service("web", "hv1", Level.HOST, ("hv1",), resources=(CONTAINER,), guests=(guest,))
    return SimpleNamespace(name="web", service=service)


class Agent(Other):
    """One that also tells its status: `up` are the resources that are up in it."""

    up: tuple[str, ...] = ()
    asked_status = 0

    async def fan_out(self, nodes: list[str], method: str, path: str, **more: Any) -> dict[str, Answer | Silence]:
        assert path.startswith("/v1/services/web/status")
        self.asked_status += 1
        if any(since <= self.now < until for since, until in self.away):
            return {"vm1": Silence("vm1", "no answer")}
        rows = [{"rid": r.rid, "status": "up" if r.rid in self.up else "down"} for r in INSIDE]
        return {"vm1": Answer("vm1", {"resources": rows})}


class World:
    """A guest that gets ready as `ready` says, and a claim that is got as `claimed` says."""

    def __init__(self, other: Agent, *, ready: Exception | None = None, claimed: Exception | None = None,
                 service: Any = None, steps: tuple[Step, ...] = (START,)) -> None:
        self.other, self.ready, self.claimed = other, ready, claimed
        self.memory, self.unbelieved = Memory(), ""
        self.document: Mapping[str, Any] | None = None
        other.timeout, other.heard = 3.0, {}  # type: ignore[attr-defined]
        doors: dict[str, Any] = dict.fromkeys(field.name for field in fields(Means))
        doors |= {
            "settings": lambda: SimpleNamespace(guest_silence=15.0), "clock": LoopClock(), "peers": other,
            "readiness": self, "claims": self, "subscriptions": self,
            "knowledge": self}
        self.elsewhere, self.chosen = "", ""
        self.operation = operation(self.memory)
        self.found = Found()
        self.chain = Chain(service or held(), Caller("alice"), Means(**doors), self.operation,
                           {step.id: step for step in steps}, None, self.found)

    async def bring_up(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(1)
        if self.ready:
            raise self.ready

    async def take(self, *_: Any) -> None:
        if self.claimed:
            raise self.claimed

    def chose(self, held: Any, node: str) -> None:
        self.chosen = node

    async def up_elsewhere(self, held: Any) -> str:
        return self.elsewhere

    def agent(self, node: str) -> str:
        return "answering"

    def take_in(self, node: str, service: str, value: Mapping[str, Any]) -> None:
        self.document = value

    def report(self, service: str, guest: Guest) -> Any:
        return SimpleNamespace(document=self.document, reason=self.unbelieved)

    async def hand_over(self, step: Step = START) -> Any:
        return await self.chain.hand_over(step, lambda happening: None)


def test_a_guest_that_did_not_get_ready_was_asked_for_nothing_and_has_nothing_to_undo(virtual) -> None:
    async def scenario() -> None:
        world = World(Agent(), ready=Silent("vm1: phase 'agent answers' did not end"))
        with pytest.raises(TakenBack, match="agent answers") as caught:
            await world.hand_over()
        assert caught.value.code == "silent"
        assert world.other.requests == []

    virtual(scenario())


def test_a_claim_that_was_not_got_leaves_nothing_to_undo(virtual) -> None:
    async def scenario() -> None:
        world = World(Agent(), claimed=HeldElsewhere("hv2 does not answer", silent=True),
                      service=held("failover", "vm1", "vm2"))
        with pytest.raises(TakenBack, match="hv2 does not answer") as caught:
            await world.hand_over()
        assert caught.value.code == "held-elsewhere"
        assert world.other.requests == []

    virtual(scenario())


def test_a_claim_that_is_refused_since_another_guest_has_it_up_is_waited_for_no_longer(virtual) -> None:
    async def scenario() -> None:
        world = World(Agent(), claimed=HeldElsewhere("vm2 is up on hv2"), service=held("failover", "vm1", "vm2"))
        world.elsewhere = "vm2"
        assert await world.hand_over() == SkippedStep("vm2 is the chosen one")
        assert (world.chosen, world.other.now) == ("vm2", 1.0)

    virtual(scenario())


def test_a_guest_that_stays_busy_began_nothing(virtual) -> None:
    async def scenario() -> None:
        other = Agent()
        other.refusals = [Busy("busy") for _ in range(1000)]
        with pytest.raises(TakenBack) as caught:
            await World(other).hand_over()
        assert caught.value.code == "busy"

    virtual(scenario())


def silent_in_the_middle(*up: str) -> Agent:
    other = Agent((5.0, done("app#1")), (60.0, done("fs#1")))
    other.up, other.away = up, [(3.0, 50.0)]
    return other


def test_what_was_up_in_a_guest_before_is_not_stopped_when_it_falls_silent_in_the_middle(virtual) -> None:
    async def scenario() -> None:
        world = World(silent_in_the_middle("fs#1"))
        with pytest.raises(Silent):
            await world.hand_over()
        other = world.other
        await asyncio.sleep(50 - other.now)
        other.story, other.begun = [], None
        assert await world.hand_over(undo_of(START)) == SkippedStep("nothing to do")
        _key, body = other.requests[-1]
        assert (body["action"], body["rids"], body["force"]) == ("stop", ["app#1"], True)

    virtual(scenario())


def test_where_all_was_up_in_a_guest_before_nothing_is_asked_of_it(virtual) -> None:
    async def scenario() -> None:
        world = World(silent_in_the_middle("fs#1", "app#1"))
        with pytest.raises(Silent):
            await world.hand_over()
        asked = len(world.other.requests)
        ending = await world.hand_over(undo_of(START))
        assert isinstance(ending, SkippedStep)
        assert len(world.other.requests) == asked

    virtual(scenario())


def test_a_guest_that_is_not_believed_is_not_asked_to_stop_anything(virtual) -> None:
    async def scenario() -> None:
        world = World(silent_in_the_middle())
        world.unbelieved = "invalid reply"
        with pytest.raises(Silent):
            await world.hand_over()
        assert isinstance(await world.hand_over(undo_of(START)), SkippedStep)

    virtual(scenario())


def test_in_a_container_that_this_operation_started_all_is_its_own(virtual) -> None:
    async def scenario() -> None:
        world = World(silent_in_the_middle(), steps=(STARTS_CONTAINER, START))
        world.found.started.add("container#0")
        with pytest.raises(Silent):
            await world.hand_over()
        assert world.other.asked_status == 0
        await asyncio.sleep(50 - world.other.now)
        world.other.story, world.other.begun = [], None
        await world.hand_over(undo_of(START))
        assert world.other.requests[-1][1]["rids"] == ["fs#1", "app#1"]

    virtual(scenario())


def test_a_guest_that_cannot_be_looked_into_before_is_not_asked_to_start(virtual) -> None:
    async def scenario() -> None:
        other = Agent()
        other.away = [(0.0, 100.0)]
        world = World(other)
        with pytest.raises(TakenBack):
            await world.hand_over()
        assert other.requests == []

    virtual(scenario())


def test_what_a_guest_really_started_is_what_it_told(virtual) -> None:
    async def scenario() -> None:
        other = Agent((1.0, done("app#1")))
        other.up = ("fs#1",)
        assert await World(other).hand_over() == Done(started=("app#1",))

    virtual(scenario())


def test_a_guest_that_does_not_hold_the_service_does_not_keep_its_container_from_being_stopped(virtual) -> None:
    async def scenario() -> None:
        other = Agent()
        other.refusals = [NotFound("there is no service web on vm1", code="service-not-found")]
        stop = Step(1, "vm1", "stop", "web", request=Request("stop", local=True), on_silence="go on")
        with pytest.raises(Silent, match="there is no service web on vm1"):
            await World(other, steps=(stop,)).hand_over(stop)

    virtual(scenario())

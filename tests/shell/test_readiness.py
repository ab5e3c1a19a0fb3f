"""Bringing the agent of a guest in step: each phase has its time and its name. In virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.errors import ActionFailed, EncapError, Refused, Silent
from agentd.core.model import Guest, Level, Resource, Service
from agentd.peers import Peer
from agentd.readiness import Readiness
from drivers.base import Result

from .agents import LoopClock

GUEST = Guest("container#0", "vm1", (Resource("fs#1", "flag", encap=True),))


def held(start_timeout: float = 100.0) -> Any:
    container = Resource("container#0", "process", options={"start_timeout": start_timeout})
    return SimpleNamespace(name="web", service=Service(
        "web", "hv1", Level.HOST, ("hv1",), resources=(container,), guests=(GUEST,)))


class Driver:
    """A container's: commands run in it from `reachable_at` on."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def execute(self, *argv: str, stdin: bytes | None = None, timeout: float = 30) -> Result:
        assert argv == ("true",)
        late = self._world.now >= self._world.reachable_at
        return Result(0) if late else Result(1, "", "connect: no such file\n")


class World:
    """A guest that can be reached, answers and takes its view from given moments on; these are
    the doors of Readiness, all in one."""

    def __init__(self) -> None:
        self.reachable_at = self.answers_at = 0.0
        self.pushes: list[EncapError | None] = [None]
        self.enrolled, self.known = [], True
        self.phases: list[tuple[float, str]] = []
        self.told: list[tuple[str, ...]] = []
        self.answer: Any = {"boot_id": "b1"}
        self.heard_at: float | None = None
        self.cancelling = asyncio.Event()
        self._sight = SimpleNamespace(enrolling=False, heard=None)
        self.readiness = Readiness(self, self, self, self, self.push, self.met, LoopClock())  # type: ignore[arg-type]

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def bring_up(self, *, fresh: bool = True, timeout: float = 100.0, asks: bool = True) -> None:
        await self.readiness.bring_up(held(timeout), GUEST, lambda phase: self.phases.append((self.now, phase)),
                                      fresh=fresh, cancelling=self.cancelling, asks=asks)

    # the doors

    def driver(self, home: Any) -> Driver:
        return Driver(self)

    async def locate(self, node: str) -> bool:
        return True

    def find(self, node: str) -> Peer | None:
        return Peer("127.0.0.1:1", ("guest",))

    async def ask(self, node: str, method: str, path: str, *, timeout: float = 3.0) -> Any:
        assert (node, method, path) == ("vm1", "GET", "/v1/node")
        if self.now < self.answers_at or not self.known:
            await asyncio.sleep(0.5)
            raise Silent("connection refused")
        return self.answer

    async def needed(self, node: str, driver: Any, *, late: bool) -> bool:
        return not self.known

    async def enrol(self, node: str, driver: Any, container: Resource) -> None:
        assert self.sight(node).enrolling
        await asyncio.sleep(8)
        self.enrolled.append(node)
        self.known = True

    async def push(self, held: Any, guest: Guest) -> None:
        error = self.pushes.pop(0)
        if error is not None:
            raise error

    async def met(self, service: str, node: str, boot: str) -> None:
        self.told.append((service, node, boot))

    def sight(self, node: str) -> Any:
        self._sight.heard = self.heard_at
        return self._sight

    def heard(self, node: str) -> None:
        self.heard_at = self.now

    def wake(self, node: str) -> None:
        self.told.append(("woken", node))


def test_the_phases_come_one_after_the_other_and_the_boot_is_told(virtual) -> None:
    async def scenario() -> None:
        world = World()
        world.reachable_at, world.answers_at = 5.0, 12.0
        await world.bring_up()
        assert [phase for _at, phase in world.phases] == ["reachable", "agent", "config"]
        assert world.phases[0][0] == 0.0
        assert 5 <= world.phases[1][0] < 7
        assert 12 <= world.phases[2][0] < 15
        assert world.told == [("web", "vm1", "b1"), ("woken", "vm1")]
        assert world.heard_at is not None

    virtual(scenario())


@pytest.mark.parametrize(("phase", "doors", "least", "most"), [
    ("reachable", {"reachable_at": 1e9}, 20, 21),
    ("agent answers", {"answers_at": 1e9}, 22, 23),
    ("config in step", {"pushes": [Silent("no answer")] * 1000}, 13, 14),
])
def test_the_phase_that_is_stuck_is_named_when_its_time_is_over(
    virtual, phase: str, doors: dict[str, Any], least: float, most: float,
) -> None:
    async def scenario() -> None:
        world = World()
        for name, value in doors.items():
            setattr(world, name, value)
        with pytest.raises(Silent, match=f"phase '{phase}'") as caught:
            await world.bring_up(timeout=100.0)
        assert caught.value.details["phase"] == phase
        assert least <= world.now < most

    virtual(scenario())


def test_the_last_trouble_is_told_with_the_phase(virtual) -> None:
    async def scenario() -> None:
        world = World()
        world.reachable_at = 1e9
        with pytest.raises(Silent, match="connect: no such file"):
            await world.bring_up()

    virtual(scenario())


def test_a_guest_that_was_up_already_gets_little_time(virtual) -> None:
    async def scenario() -> None:
        world = World()
        world.answers_at, world.heard_at = 1e9, 0.0
        with pytest.raises(Silent):
            await world.bring_up(fresh=False)
        assert world.now < 6

    virtual(scenario())


def test_a_guest_that_never_answered_may_still_boot_or_be_enrolled(virtual) -> None:
    async def scenario() -> None:
        world = World()
        world.known = False
        await world.bring_up(fresh=False)
        assert world.enrolled == ["vm1"]
        assert not world.sight("vm1").enrolling

    virtual(scenario())


def test_a_refusal_of_the_view_is_final_and_silence_is_not(virtual) -> None:
    async def scenario() -> None:
        world = World()
        world.pushes = [Silent("no answer"), Silent("no answer"), None]
        await world.bring_up()
        world.pushes = [ActionFailed("the disk is full"), None]
        with pytest.raises(ActionFailed, match="the disk is full"):
            await world.bring_up()
        assert world.pushes == [None]

    virtual(scenario())


@pytest.mark.parametrize("boot", [None, 7, "", "x" * 65, ["b1"]])
def test_a_boot_that_is_none_is_not_told(virtual, boot: Any) -> None:
    async def scenario() -> None:
        world = World()
        world.answer = {"boot_id": boot}
        await world.bring_up()
        assert world.told == [("woken", "vm1")]

    virtual(scenario())


def test_a_boot_about_which_nobody_does_anything_stays_to_be_dealt_with(virtual) -> None:
    async def scenario() -> None:
        world = World()
        await world.bring_up(asks=False)
        assert world.told == [("woken", "vm1")]

    virtual(scenario())


@pytest.mark.parametrize("doors", [{"reachable_at": 1e9}, {"answers_at": 1e9}, {"pushes": [Silent("no")] * 1000}])
def test_a_cancel_ends_the_wait(virtual, doors: dict[str, Any]) -> None:
    async def scenario() -> None:
        world = World()
        for name, value in doors.items():
            setattr(world, name, value)
        waiting = asyncio.ensure_future(world.bring_up())
        await asyncio.sleep(6)
        world.cancelling.set()
        with pytest.raises(Refused) as caught:
            await waiting
        assert caught.value.code == "cancelled"
        assert world.now < 7

    virtual(scenario())

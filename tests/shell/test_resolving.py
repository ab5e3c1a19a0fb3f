"""The named result of an operation that a killed daemon left behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.status import Status
from agentd.resolving import Resolving, verdict

UP, DOWN, UNDEF, NA = Status.UP, Status.DOWN, Status.UNDEF, Status.NA


def document(action: str, *touched: tuple[str, str]) -> dict[str, Any]:
    return {"action": action, "node": "hv1",
            "plan": {"steps": [{"where": where, "what": what} for where, what in touched]}}


@pytest.mark.parametrize(("action", "status", "result"), [
    ("start", {("hv1", "fs#1"): UP, ("hv1", "app#1"): UP}, "succeeded"),
    ("start", {("hv1", "fs#1"): UP, ("hv1", "app#1"): NA}, "succeeded"),
    ("start", {("hv1", "fs#1"): UP, ("hv1", "app#1"): DOWN}, "failed"),
    ("start", {("hv1", "fs#1"): UP, ("hv1", "app#1"): UNDEF}, "unknown"),
    ("stop", {("hv1", "fs#1"): DOWN, ("hv1", "app#1"): DOWN}, "succeeded"),
    ("shutdown", {("hv1", "fs#1"): UP, ("hv1", "app#1"): DOWN}, "failed"),
    ("restart", {("hv1", "fs#1"): UP, ("hv1", "app#1"): UP}, "succeeded"),
    ("start", {("hv1", "container#0"): UP, ("vm1", "fs#1"): UP}, "succeeded"),
    ("start", {("hv1", "container#0"): UP, ("vm1", "fs#1"): DOWN}, "failed"),
    ("start", {("hv1", "container#0"): UP, ("vm1", "fs#1"): UNDEF}, "unknown"),
    ("stop", {("hv1", "web"): DOWN, ("hv2", "web"): UP}, "failed"),
])
def test_verdict_is_what_the_resources_say(
    action: str, status: dict[tuple[str, str], Status], result: str,
) -> None:
    found, text = verdict(document(action, *status), status)
    assert found == result
    for where, what in status:
        assert (f"{what} in {where}" if where != "hv1" else what) in text


def test_a_resource_of_the_same_name_at_another_level_is_another_one() -> None:
    touched = document("start", ("vm1", "fs#1"))
    assert verdict(touched, {("hv1", "fs#1"): UP, ("vm1", "fs#1"): DOWN})[0] == "failed"


def test_what_no_resource_tells_is_unknown() -> None:
    assert verdict(document("freeze", ("hv1", "web")), {("hv1", "fs#1"): UP})[0] == "unknown"
    assert verdict({"action": "start", "node": "hv1", "plan": None}, {})[0] == "unknown"


class World:
    """Interrupted operations by number; `slow` services take long to look at, `broken` ones cannot be."""

    def __init__(self, *services: str, slow: str = "", broken: str = "") -> None:
        self.left = [SimpleNamespace(id=f"{number}", service=name, action="start", node="hv1",
                                     document=lambda: {"action": "start", "node": "hv1", "plan": None})
                     for number, name in enumerate(services)]
        self.slow, self.broken = slow, broken
        self.ended: list[tuple[float, str, str]] = []
        self.over: list[str] = []
        clock = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time())
        nothing = SimpleNamespace(look=lambda: None, report=lambda *_: None, running=lambda *_: False)
        means = SimpleNamespace(
            inspector=self, guests=nothing, clock=clock, claims=self, facts={}, peers=self,
            settings=lambda: SimpleNamespace(guest_silence=15.0),
            store=SimpleNamespace(intents=self, flags=self))
        self.resolving = Resolving(self, self, means)  # type: ignore[arg-type]

    def interrupted(self) -> list[Any]:
        return self.left

    def find(self, name: str) -> Any:
        return SimpleNamespace(name=name, service=SimpleNamespace(node="hv1", name=name, guests=()))

    async def refresh(self, name: str) -> None:
        if name == self.broken:
            raise KeyError("an error of the program")
        await asyncio.sleep(300 if name == self.slow else 1)

    def status(self, name: str) -> dict[str, Status]:
        return {}

    def document(self, name: str) -> dict[str, Any]:
        return {"resources": []}

    async def resolve(self, operation: Any, result: str, text: str) -> None:
        self.ended.append((asyncio.get_running_loop().time(), operation.id, result))

    async def forget(self, operation: str) -> None: ...

    async def set(self, *_: Any) -> None: ...

    async def finished(self, operation: str) -> None:
        self.over.append(operation)


def test_a_service_that_is_waited_for_keeps_no_other_busy(virtual) -> None:
    async def scenario() -> None:
        world = World("slow", "web", "db", slow="slow")
        await world.resolving.all()
        assert [(number, result) for _at, number, result in world.ended] == [
            ("1", "unknown"), ("2", "unknown"), ("0", "unknown")]
        assert world.ended[1][0] < 5
        assert sorted(world.over) == ["0", "1", "2"]

    virtual(scenario())


def test_those_of_one_service_are_resolved_in_their_order(virtual) -> None:
    async def scenario() -> None:
        world = World("web", "web", "web")
        await world.resolving.all()
        assert [number for _at, number, _result in world.ended] == ["0", "1", "2"]

    virtual(scenario())


def test_an_error_of_the_program_leaves_no_service_busy_and_no_daemon_dead(virtual) -> None:
    async def scenario() -> None:
        world = World("bad", "web", broken="bad")
        await world.resolving.all()
        assert sorted((number, result) for _at, number, result in world.ended) == [
            ("0", "unknown"), ("1", "unknown")]
        assert sorted(world.over) == ["0", "1"]

    virtual(scenario())

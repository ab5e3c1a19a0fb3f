"""From a request to an operation: whatever goes wrong before it runs, it ends, and its service is free."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.acting import Actions
from agentd.bus import Bus
from agentd.chaining import Caller, Means
from agentd.core.errors import InvalidRequest, NotFound, Refused, Silent
from agentd.core.known import Known
from agentd.core.model import Level, Resource, Service
from agentd.core.plan import Request
from agentd.operations import Operations
from agentd.store import Store

from .agents import LoopClock


class World:
    """Two services of this node, and what is known of them; `trouble` is met when that is asked for."""

    def __init__(self, store: Store) -> None:
        self.operations = Operations(store, LoopClock(), Bus(), "hv1")
        self.trouble: Exception | None = None
        self.farmed = False
        self.over: list[str] = []
        doors: dict[str, Any] = dict.fromkeys(field.name for field in fields(Means))
        doors |= {"knowledge": self, "inspector": self, "claims": self, "clock": LoopClock(),
                  "begun": lambda service: None}
        self.actions = Actions(self, self.operations, Means(**doors))  # type: ignore[arg-type]

    def get(self, name: str) -> Any:
        if name not in ("web", "db"):
            raise NotFound(f"there is no service {name}")
        service = Service(name, "hv1", Level.HOST, ("hv1",), resources=(Resource("fs#1", "flag"),))
        if self.farmed:
            service = Service(name, "hv1", Level.ENCAP, ("vm2", "hv1"), resources=(Resource("fs#1", "flag"),))
        return SimpleNamespace(name=name, service=service)

    def here(self, held: Any) -> Known:
        return Known()

    async def refresh(self, name: str) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def finished(self, operation: str) -> None:
        self.over.append(operation)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await Store.open(tmp_path / "encap.db", lambda: "now")
    found = World(store)
    yield found
    await found.operations.close()
    await store.close()


@pytest.mark.parametrize("trouble", [Silent("no answer"), KeyError("an error of the program")])
async def test_trouble_while_planning_ends_the_operation_and_frees_the_service(
    world: World, trouble: Exception,
) -> None:
    world.trouble = trouble
    with pytest.raises(type(trouble)):
        await world.actions.act("web", Request("start"), Caller("alice"))
    (document,) = await world.operations.list()
    assert (document["state"], document["result"]) == ("ended", "failed")
    assert world.operations.running("web") is None
    assert world.over == [document["id"]]


@pytest.mark.parametrize("trouble", [Silent("no answer"), KeyError("an error of the program")])
async def test_the_same_for_what_another_agent_asked_for(world: World, trouble: Exception) -> None:
    world.trouble = trouble
    operation = await world.actions.act("web", Request("start", local=True), Caller("alice", origin=("hv2", "x")))
    assert await operation.wait(5)
    assert operation.document()["result"] == "failed"
    assert world.operations.running("web") is None
    assert world.over == [operation.id]


async def test_a_key_means_one_request_for_one_service(world: World) -> None:
    world.trouble = Silent("no answer")
    caller = Caller("alice", key="nightly", body=b'{"action": "start"}')
    with pytest.raises(Silent):
        await world.actions.act("web", Request("start"), caller)
    again = await world.actions.act("web", Request("start"), caller)
    assert again.service == "web"
    with pytest.raises(InvalidRequest) as caught:
        await world.actions.act("db", Request("start"), caller)
    assert caught.value.code == "idempotency-mismatch"


@pytest.mark.parametrize(("request_", "caller", "refused"), [
    (Request("start"), Caller("root"), True),
    (Request("startfs"), Caller("root"), True),
    (Request("start", rids=("fs#1",)), Caller("root"), True),
    (Request("restart"), Caller("root"), True),
    (Request("stop"), Caller("root"), False),
    (Request("start", local=True), Caller("root by hv1", origin=("hv1", "x")), False),
    (Request("start", rids=("fs#1",), local=True), Caller("monitor", by_itself=True), False),
])
async def test_who_may_start_in_one_of_several_guests(
    world: World, request_: Request, caller: Caller, refused: bool,
) -> None:
    world.farmed, world.trouble = True, Silent("it was not refused")
    with pytest.raises((Refused, Silent)) as caught:
        operation = await world.actions.act("web", request_, caller)
        await operation.wait(5)
        raise world.trouble  # that far it came
    assert (caught.value.code == "not-from-here") is refused

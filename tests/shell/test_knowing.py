"""What a plan is made from: this node from memory, the others as they answer, and nothing that cannot be relied on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.errors import ActionFailed
from agentd.core.known import GuestInstance
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.status import Status
from agentd.knowing import Knowledge, guest_instances, others_of, sort_out
from agentd.peers import Answer, Silence

INSIDE = (Resource("fs#1", "flag", encap=True),)
CONTAINER = Resource("container#0", "lxc")


def service(topology: str = "failover", *guests: str) -> Service:
    return Service("web", "hv1", Level.HOST, ("hv1", "hv2"), ("dr1",), resources=(CONTAINER,), topology=topology,
                   guests=(Guest("container#0", "vm1", INSIDE, "failover", guests or ("vm1",)),))


def document(node: str = "hv2", avail: str = "down", *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"service": "web", "node": node, "avail": avail, "overall": avail, "expected": False, "operation": None,
            "resources": list(rows), **more}


def row(status: str, guest: str = "vm2", avail: str = "down", **more: Any) -> dict[str, Any]:
    return {"rid": "container#0", "status": status, "disable": False,
            "guest": {"node": guest, "avail": avail, "agent": more.pop("agent", "answering")}, **more}


class World:
    """A hypervisor hv1 with its own document, and the answers of the others."""

    def __init__(self, service: Service, own: dict[str, Any] | None = None, **answers: Any) -> None:
        self.held: Any = SimpleNamespace(name="web", service=service)
        self.own = own or document("hv1")
        self.answers = {"hv2": Answer("hv2", document("hv2")), "dr1": Answer("dr1", document("dr1")), **answers}
        self.asked: list[tuple[str, Any]] = []
        self.timeout = 3.0
        self.facts: dict[str, dict[str, Any]] = {}
        self.knowledge = Knowledge(self, self, self.facts)  # type: ignore[arg-type]

    def document(self, name: str) -> dict[str, Any]:
        return self.own

    def status(self, name: str) -> dict[str, Status]:
        return {"container#0": Status.UP}

    def states(self, name: str) -> dict[str, str]:
        return {"container#0": "up"}

    async def fan_out(self, nodes: list[str], method: str, path: str, **more: Any) -> dict[str, Any]:
        self.asked.append((path, more.get("timeout")))
        return {node: self.answers[node] for node in nodes}


def guest_row(agent: str, status: str = "up", reason: str | None = None) -> dict[str, Any]:
    return {"rid": "container#0", "guest": {"node": "vm1", "agent": agent, "reason": reason,
                                            "resources": [{"rid": "fs#1", "status": status}]}}


@pytest.mark.parametrize(("guest", "inside", "silent"), [
    (guest_row("answering"), {"container#0": {"fs#1": Status.UP}}, False),
    (guest_row("answering", reason="invalid reply: a lie"), {}, True),
    (guest_row("silent", "undef"), {}, True),
    (guest_row("absent", "undef"), {}, True),
    (guest_row("enrolling", "undef"), {}, True),
    (guest_row("down", "down"), {}, False),
    ({"rid": "fs#0"}, {}, False),
])
def test_of_its_own_guests_only_what_one_answers_now_is_known(
    guest: dict[str, Any], inside: dict[str, Any], silent: bool,
) -> None:
    known = World(service(), document("hv1", "up", guest)).knowledge.here(World(service()).held)
    assert known.guests == inside
    assert known.guest_silent == (frozenset(("container#0",)) if silent else frozenset())
    assert known.peers == {"hv1": "up"}


def test_what_is_frozen_and_expected_here_is_known() -> None:
    world = World(service(), document("hv1", "up", expected=True))
    world.facts["web"] = {"frozen": {"by": "alice"}}
    known = world.knowledge.here(world.held)
    assert (known.frozen, known.expected) == (True, frozenset(("hv1",)))


async def test_the_others_are_asked_now_and_the_silent_ones_are_named() -> None:
    world = World(service(), hv2=Answer("hv2", document("hv2", "up", expected=True)),
                  dr1=Silence("dr1", "no answer", 7.0))
    known = await world.knowledge.everywhere(world.held, refresh=True)
    assert known.peers == {"hv1": "down", "hv2": "up", "dr1": "silent"}
    assert known.expected == frozenset(("hv2",))
    assert world.asked == [("/v1/services/web/status?refresh=true", 10.0)]
    await world.knowledge.everywhere(world.held, refresh=False)
    assert world.asked[1] == ("/v1/services/web/status", None)


@pytest.mark.parametrize("answer", [
    Silence("hv2", "no answer"), Answer("hv2", error=ActionFailed("broken")), Answer("hv2", None),
    Answer("hv2", document("hv3")), Answer("hv2", {**document(), "service": "db"}),
    Answer("hv2", {**document(), "avail": "fine"}), Answer("hv2", {**document(), "avail": ["up"]}),
    Answer("hv2", {**document(), "resources": None}), Answer("hv2", document("hv2", "up", {"rid": 7})),
    Answer("hv2", document("hv2", "up", {"rid": "fs#1", "status": "fine"})),
])
def test_an_answer_that_cannot_be_relied_on_is_no_answer(answer: Any) -> None:
    documents, silent = sort_out({"hv2": answer}, "web")
    assert documents == []
    assert [each["node"] for each in silent] == ["hv2"]
    assert silent[0]["why"]


def test_the_others_are_nodes_and_drpnodes_in_their_order() -> None:
    assert others_of(service()) == ["hv2", "dr1"]


# --- guests of other hypervisors, where there is a choice


@pytest.mark.parametrize(("status", "agent", "avail", "action", "found"), [
    ("up", "answering", "up", "", ("up", "up")),
    ("up", "answering", "warn", "", ("up", "up")),
    ("up", "answering", "down", "", ("down", "up")),
    ("up", "answering", "n/a", "", ("down", "up")),
    ("up", "answering", "undef", "", ("undef", "up")),
    ("up", "answering", "a lie", "", ("undef", "up")),
    ("down", "down", "down", "", ("down", "down")),
    ("down", "down", "up", "", ("down", "down")),
    ("down", "down", "down", "start", ("down", "starting")),
    ("down", "down", "down", "restart", ("down", "starting")),
    ("down", "down", "down", "stop", ("down", "down")),
    ("undef", "absent", "undef", "start", ("undef", "undef")),
    ("warn", "absent", "undef", "", ("undef", "undef")),
    ("warn", "absent", "undef", "start", ("down", "starting")),
    ("up", "absent", "undef", "start", ("down", "starting")),
    ("up", "enrolling", "undef", "start", ("down", "starting")),
    ("up", "absent", "undef", "", ("undef", "up")),
    ("up", "absent", "undef", "stop", ("undef", "up")),
    ("up", "silent", "undef", "start", ("undef", "up")),
    ("up", "answering", "up", "start", ("up", "up")),
])
def test_a_guest_elsewhere(status: str, agent: str, avail: str, action: str, found: tuple[str, str]) -> None:
    operation = {"action": action} if action else None
    documents = [document("hv2", "down", row(status, avail=avail, agent=agent), operation=operation)]
    assert guest_instances(documents, {"vm1"}) == {"vm2": GuestInstance(*found)}


def test_guests_that_run_here_and_containers_that_are_disabled_there_are_left_out() -> None:
    documents = [document("hv2", "up", row("up", "vm1"), row("up", "vm2", disable=True), {"rid": "fs#1", "status": "up"},
                          {"rid": "fs#2", "status": "up", "guest": "a lie"})]
    assert guest_instances(documents, {"vm1"}) == {}


async def test_for_a_part_the_others_are_asked_only_where_there_is_a_choice() -> None:
    world = World(service())
    await world.knowledge.for_part(world.held)
    assert world.asked == []
    farmed = World(service("flex", "vm1", "vm2"), hv2=Answer("hv2", document("hv2", "up", row("up", avail="up"))))
    known = await farmed.knowledge.for_part(farmed.held)
    assert known.elsewhere == {"vm2": GuestInstance("up", "up")}


async def test_the_chosen_guest_is_the_one_that_is_up_elsewhere_until_all_say_otherwise() -> None:
    up, down = document("hv2", "up", row("up", avail="up")), document("hv2", "up", row("up", avail="down"))
    starting = {**down, "operation": {"action": "start"}}
    world = World(service("flex", "vm1", "vm2"), hv2=Answer("hv2", up))
    assert world.knowledge.chosen(world.held) == ""
    for answer, chosen in ((Answer("hv2", up), "vm2"), (Silence("hv2", "no answer"), "vm2"),
                           (Answer("hv2", starting), "vm2"), (Answer("hv2", down), "")):
        world.answers["hv2"] = answer
        await world.knowledge.look([world.held])
        assert world.knowledge.chosen(world.held) == chosen


def test_a_choice_is_remembered_and_one_that_fell_here_is_told_by_the_guest_itself() -> None:
    world = World(service("flex", "vm1", "vm2"))
    world.knowledge.chose(world.held, "vm2")
    assert world.knowledge.chosen(world.held) == "vm2"
    world.knowledge.chose(world.held, "vm1")
    assert world.knowledge.chosen(world.held) == ""

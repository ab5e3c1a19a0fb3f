"""The look that a claim is answered by: whatever could be a second instance, and nothing from memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.claims import Ask, Claim, ClaimTable, Denied, decide
from agentd.core.errors import ActionFailed, NotFound, Refused
from agentd.core.known import Known
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.status import Status
from agentd.peers import Answer, Silence
from agentd.probing import Looking

INSIDE = (Resource("fs#7", "flag", encap=True),)
BY_HV2 = Claim("web", "01KAAAAAAAAAAAAAAAAAAAAAAA", "hv2")
ENCAP = Claim("web/encap", "01KAAAAAAAAAAAAAAAAAAAAAAA", "hv2", to="vm2")


def service(*resources: Resource, **more: Any) -> Service:
    return Service("web", "hv1", Level.HOST, ("hv1", "hv2"), resources=resources, **more)


class World:
    """This node hv1 with one service. `remembered`: what is known of the guest without asking it."""

    def __init__(self, service: Service, *, states: dict[str, str] | None = None, answer: Any = None,
                 remembered: Status = Status.DOWN, **status: Status) -> None:
        self.held = SimpleNamespace(name="web", service=service)
        self.exact, self.seen = states or {}, {rid.replace("_", "#"): found for rid, found in status.items()}
        self.answer, self.remembered, self.refreshed = answer, remembered, 0
        self.look = Looking(self, self, self, self, self)  # type: ignore[arg-type]

    def find(self, name: str) -> Any:
        return self.held if name == "web" else None

    async def refresh(self, name: str) -> None:
        self.refreshed += 1

    def states(self, name: str) -> dict[str, str]:
        return self.exact

    def status(self, name: str) -> dict[str, Status]:
        return self.seen

    def here(self, held: Any) -> Known:
        return Known(status=self.seen, states=self.exact, guests={"container#0": {"fs#7": self.remembered}})

    async def fan_out(self, nodes: list[str], *_: Any, **__: Any) -> dict[str, Any]:
        return dict.fromkeys(nodes, self.answer)

    def take_in(self, *_: Any) -> None: ...

    async def answered(self, claim: Claim) -> str:
        """"" when it is granted, else why not."""
        found = decide(ClaimTable(), Ask(claim), await self.look(claim), "hv1")
        return found.why if isinstance(found, Denied) else ""


@pytest.mark.parametrize(("resource", "status", "why"), [
    (Resource("fs#1", "ext4"), Status.UP, "fs#1 is up on hv1"),
    (Resource("fs#1", "ext4"), Status.WARN, "fs#1 is warn on hv1"),
    (Resource("fs#1", "ext4"), Status.UNDEF, "fs#1 is unknown on hv1"),
    (Resource("fs#1", "ext4"), Status.DOWN, ""),
    (Resource("fs#1", "ext4", optional=True), Status.UP, "fs#1 is up on hv1"),
    (Resource("fs#1", "ext4", optional=True), Status.UNDEF, "fs#1 is unknown on hv1"),
    (Resource("fs#1", "ext4", optional=True), Status.DOWN, ""),
    (Resource("fs#1", "directory"), Status.NA, ""),
    (Resource("fs#1", "ext4", standby=True), Status.STDBY_UP, ""),
    (Resource("fs#1", "ext4", disable=True), Status.NA, ""),
    (Resource("sync#1", "rsync"), Status.UP, ""),
    (Resource("task#1", "host"), Status.WARN, ""),
])
async def test_what_stands_in_the_way_of_a_start_elsewhere(resource: Resource, status: Status, why: str) -> None:
    world = World(service(resource), **{resource.rid.replace("#", "_"): status})
    assert await world.answered(BY_HV2) == why
    assert world.refreshed == 1


@pytest.mark.parametrize(("state", "why"), [
    ("down", ""), ("absent", ""), ("up", "container#0 is up on hv1"), ("paused", "container#0 is paused on hv1"),
    ("migrating", "container#0 is migrating on hv1"), ("unknown", "container#0 is unknown on hv1"),
])
async def test_a_container_stands_in_the_way_unless_it_is_proven_down(state: str, why: str) -> None:
    world = World(service(Resource("container#0", "lxc")), states={"container#0": state})
    assert await world.answered(BY_HV2) == why


async def test_of_its_own_a_claimant_is_kept_only_by_what_could_be_two() -> None:
    own = Claim("web", BY_HV2.operation, "hv1")
    up = World(service(Resource("container#0", "lxc"), Resource("fs#1", "ext4")),
               states={"container#0": "up"}, fs_1=Status.UP)
    assert await up.answered(own) == ""
    moving = World(service(Resource("container#0", "lxc")), states={"container#0": "migrating"})
    assert await moving.answered(own) == "container#0 is migrating on hv1"


async def test_without_the_configuration_nothing_is_granted_and_to_strangers_neither() -> None:
    world = World(service())
    assert "db is unknown" in await world.answered(Claim("db", BY_HV2.operation, "hv2"))
    with pytest.raises(Refused, match="hv9 is no hypervisor of web"):
        await world.answered(Claim("web", BY_HV2.operation, "hv9"))


def farmed() -> Service:
    guest = Guest("container#0", "vm1", INSIDE, "failover", ("vm1", "vm2"))
    return service(Resource("container#0", "lxc"), topology="flex", guests=(guest,))


@pytest.mark.parametrize(("state", "answer", "remembered", "why"), [
    ("up", Answer("vm1", {}), Status.DOWN, ""),
    ("up", Answer("vm1", {}), Status.UP, "vm1 is up on hv1"),
    ("up", Answer("vm1", {}), Status.UNDEF, "vm1 is undef on hv1"),
    ("up", Silence("vm1", "no answer"), Status.DOWN, "vm1 is unknown on hv1"),
    ("up", Answer("vm1", error=ActionFailed("broken")), Status.DOWN, "vm1 is unknown on hv1"),
    ("up", Answer("vm1", error=NotFound("there is no service web")), Status.DOWN, "vm1 is unknown on hv1"),
    ("up", Answer("vm1", ["nothing"]), Status.DOWN, "vm1 is unknown on hv1"),
    ("down", None, Status.UP, ""),
    ("unknown", Silence("vm1", "no answer"), Status.DOWN, "vm1 is unknown on hv1"),
])
async def test_a_guest_is_believed_on_what_it_says_now(
    state: str, answer: Any, remembered: Status, why: str,
) -> None:
    world = World(farmed(), states={"container#0": state}, answer=answer, remembered=remembered)
    assert await world.answered(ENCAP) == why



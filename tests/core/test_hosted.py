"""A guest whose container is disabled on this node is another node's, also for the choice among guests."""

from __future__ import annotations

from agentd.core.known import GuestInstance, Known
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.placement import chosen_guest
from agentd.core.status import Status

INSIDE = (Resource("app#1", "simple", encap=True),)


def service(disabled: str) -> Service:
    containers = tuple(Resource(f"container#{n}", "process", disable=f"container#{n}" == disabled) for n in (1, 2))
    guests = tuple(Guest(f"container#{n}", f"vm{n}", INSIDE, "failover", ("vm1", "vm2")) for n in (1, 2))
    return Service("web", "hv1", Level.HOST, ("hv1", "hv2"), topology="flex", resources=containers, guests=guests)


def test_hosted_guests_are_those_that_can_run_here() -> None:
    assert [g.node for g in service("container#2").hosted] == ["vm1"]
    assert [g.node for g in service("").hosted] == ["vm1", "vm2"]


def test_what_another_hypervisor_says_of_its_guest_counts_for_the_choice() -> None:
    known = Known(status={"container#1": Status.DOWN, "container#2": Status.NA},
                  elsewhere={"vm2": GuestInstance("up", "up")})
    chosen = chosen_guest(service("container#2"), known, {"container#1"})
    assert chosen is not None
    assert chosen.node == "vm2"
    stopped = Known(status=known.status, elsewhere={"vm2": GuestInstance("down", "down")})
    chosen = chosen_guest(service("container#2"), stopped, {"container#1"})
    assert chosen is not None
    assert chosen.node == "vm1"

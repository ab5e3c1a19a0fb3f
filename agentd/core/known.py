"""What is known of a service at the moment a plan is made, and what offline plans assume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentd.core.model import Guest, Service
from agentd.core.status import Status

IS_UP = frozenset((Status.UP, Status.STDBY_UP))
IS_DOWN = frozenset((Status.DOWN, Status.STDBY_DOWN))
PROVEN_DOWN = frozenset(("down", "absent"))
"""The only container states that prove a container down."""


@dataclass(frozen=True, slots=True)
class GuestInstance:
    """The instance in one guest, as far as it is known.

    `avail`: up, down, undef, or starting; `container`: up, starting, down or undef.
    """

    avail: str = "undef"
    container: str = "undef"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known now. What is missing is not known, and never down.

    `status`: by rid, this level's resources. `states`: exact state by container rid.
    `guests`: status by rid in each guest, by container rid. `peers`: avail of each
    hypervisor's instance or ``silent``, this one's too. `frozen`: whether this instance is.
    `guest_silent`: the containers whose agent does not answer. `elsewhere`: guests that other
    hypervisors run, by their node name; needed where the encap level is failover. `expected`: the
    hypervisors on which the instance is expected up, whatever it is.
    """

    status: Mapping[str, Status] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    guests: Mapping[str, Mapping[str, Status]] = field(default_factory=dict)
    peers: Mapping[str, str] = field(default_factory=dict)
    frozen: bool = False
    guest_silent: frozenset[str] = frozenset()
    elsewhere: Mapping[str, GuestInstance] = field(default_factory=dict)
    expected: frozenset[str] = frozenset()

    def of(self, rid: str) -> Status:
        return self.status.get(rid, Status.UNDEF)

    def container_down(self, rid: str) -> bool:
        """Proven down: the exact state decides where there is one, and a doubt is no proof."""
        state = self.states.get(rid)
        return state in PROVEN_DOWN if state is not None else self.of(rid) in IS_DOWN

    def container_up(self, rid: str) -> bool:
        return self.of(rid) in IS_UP

    def inside(self, guest: Guest) -> Mapping[str, Status]:
        """Status by rid in `guest`: all down when its container is, nothing when it is silent."""
        if self.container_down(guest.container):
            return {r.rid: Status.DOWN for r in guest.resources}
        if guest.container in self.guest_silent:
            return {}
        return self.guests.get(guest.container, {})


def offline_known(service: Service, action: str) -> Known:
    """What a plan without a daemon assumes: all down before a start, all up before a stop."""
    status = Status.DOWN if action.startswith("start") or action in ("delete", "clear") else Status.UP
    nodes = (*service.nodes, *service.drpnodes)
    up = status is Status.UP
    # Elsewhere is down either way: a failover service that is to be started is up nowhere, and
    # the one that is to be stopped is up on the node from which it is seen.
    everywhere = service.topology == "flex"
    peers = {node: status.value if everywhere or node == service.node else "down" for node in nodes}
    # A flex service is started on the other hypervisors as well.
    beyond = GuestInstance("down", "starting" if everywhere and not up else "down")
    others = {node for guest in service.guests for node in guest.nodes}
    return Known(
        status={r.rid: status for r in service.resources},
        states={r.rid: "up" if up else "down" for r in service.resources if r.group == "container"},
        guests={g.container: {r.rid: status for r in g.resources} for g in service.guests},
        peers=peers, frozen=action == "thaw",
        elsewhere=dict.fromkeys(sorted(others - {guest.node for guest in service.guests}), beyond),
    )

"""Which node is to have the one instance, with the reason. Pure; `decide` comes with HA."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentd.core.known import IS_DOWN, GuestInstance, Known
from agentd.core.model import Guest, Resource, Service
from agentd.core.status import Status


@dataclass(frozen=True, slots=True)
class Chosen:
    """The guest that has, or is to have, the instance. `node` "": nobody can."""

    node: str
    why: str


def relocatable(guest: Guest) -> bool:
    """Whether the encap level is failover over several guests, this one among them."""
    return guest.topology == "failover" and len(guest.nodes) > 1


def choose_guest(
    nodes: Sequence[str], instances: Mapping[str, GuestInstance], preferred: Collection[str] = (),
) -> Chosen:
    """The guest of a failover encap level: the one whose instance is up, starting, or not
    known; only when all are proven not up, the first in the order of `nodes` whose container
    is up or being started. `preferred`: guests that a user named go first among those.
    """
    for avail, why in (("up", "is up"), ("starting", "is being started"), ("undef", "may be up")):
        for node in nodes:
            if instances.get(node, GuestInstance()).avail == avail:
                return Chosen(node, f"{node} is the chosen one: the service {why} in it")
    for node in sorted(nodes, key=lambda n: n not in preferred):
        if instances[node].container in ("up", "starting"):
            return Chosen(node, f"{node} is the chosen one")
    return Chosen("", "the container of none of " + ", ".join(nodes) + " is up")


def chosen_guest(
    service: Service, known: Known, starting: Collection[str] = (), preferred: Collection[str] = (),
) -> Chosen | None:
    """The chosen one among the guests of a failover encap level; None where there is no
    choice to make. `starting`: rids of the containers that the plan starts."""
    level = next((guest for guest in service.guests if relocatable(guest)), None)
    if level is None:
        return None
    nodes = level.nodes
    guests = {guest.node: guest for guest in service.hosted if relocatable(guest)}
    instances = {node: known.elsewhere.get(node, GuestInstance()) for node in nodes}
    for node, guest in guests.items():
        instances[node] = _local(guest, known, starting)
    return choose_guest(nodes, instances, preferred)


def _local(guest: Guest, known: Known, starting: Collection[str]) -> GuestInstance:
    rid = guest.container
    container = "down" if known.container_down(rid) else "up" if known.container_up(rid) else "undef"
    if rid in starting and container != "up":
        # Not known is no proof: only a container that was proven down holds no instance.
        return GuestInstance("down" if container == "down" else "undef", "starting")
    return GuestInstance(avail_inside(guest, known), container)


def avail_inside(guest: Guest, known: Known) -> str:
    """up, down or undef. Partly up counts as up: the danger is two of them."""
    if known.container_down(guest.container):
        return "down"
    inside = known.inside(guest)
    states = {inside.get(r.rid, Status.UNDEF) for r in counted(guest.resources)}
    if states & {Status.UP, Status.WARN}:
        return "up"
    return "undef" if Status.UNDEF in states else "down"


def counted(resources: Iterable[Resource]) -> Iterable[Resource]:
    """The resources that say whether an instance is up."""
    return (r for r in resources if not (r.optional or r.disable) and r.group not in ("sync", "task", "hb"))


def proven_down(statuses: Iterable[Status]) -> bool:
    """Down, or nothing that could be up."""
    return all(status in IS_DOWN or status is Status.NA for status in statuses)

"""Which container can have which encap resource, as far as a configuration tells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from agentd.core.build import holds_an_agent
from agentd.core.config import Finding
from agentd.core.model import Level
from agentd.core.spelling import Spelling, near_miss
from agentd.core.viewpoints import Places, Seen


def hosting(
    points: Sequence[Seen], encapnodes: Sequence[str], spelling: Spelling, places: Places
) -> Iterator[Finding]:
    """Containers that cannot be told apart, guests without a container, resources without a guest.

    A text without any container is what a guest receives: there, only a warning.
    """
    for seen in points:
        yield from _same_host_name(seen, places)
    hosts = _hosts(points)
    homes = _homes(points, encapnodes, hosts)
    if not homes or not encapnodes:
        return
    if not has_containers(places):
        yield places.warning(
            "DEFAULT",
            "encapnodes",
            "no container#* here: nothing starts the guests",
            f"add [container#0] with hostname = {encapnodes[0]}",
        )
        return
    for guest in encapnodes:
        if guest not in hosts:
            yield _homeless(guest, hosts, spelling, places)
    for rid in sorted(rid for rid, found in homes.items() if not found):
        yield places.error(
            rid,
            "container",
            f"no container can have {rid}: none of the guests that see it lives in"
            " a container of this service",
            "a container's hostname (or name) must be in encapnodes, and its guestos not windows",
        )


def has_containers(places: Places) -> bool:
    return any(section.startswith("container#") for section in places.heads)


def _hosts(points: Sequence[Seen]) -> Mapping[str, set[str]]:
    """Host name -> the containers that have it, from whatever hypervisor."""
    hosts: dict[str, set[str]] = {}
    for seen in points:
        for container in seen.resources:
            if container.group == "container" and holds_an_agent(container):
                hosts.setdefault(str(container.options["hostname"]), set()).add(container.rid)
    return hosts


def _homes(
    points: Sequence[Seen], encapnodes: Sequence[str], hosts: Mapping[str, set[str]]
) -> Mapping[str, set[str]]:
    """Encap rid -> the containers that can have it."""
    homes: dict[str, set[str]] = {}
    guests = [seen for seen in points if seen.view.level is Level.ENCAP]
    for seen in guests:
        # Guests that read the same are one point, so each guest of the list is tried.
        at = seen.view.encapnodes if len(guests) < len(encapnodes) else (seen.view.node,)
        for resource in seen.resources:
            if resource.encap and resource.rid != "app":
                found = homes.setdefault(resource.rid, set())
                found.update(
                    rid for node in at for rid in hosts.get(node, ()) if resource.container in ("", rid)
                )
    return homes


def _same_host_name(seen: Seen, places: Places) -> Iterator[Finding]:
    held: dict[str, str] = {}
    for container in seen.resources:
        if container.group != "container" or not container.type:
            continue
        host = str(container.options["hostname"])
        other = held.setdefault(host, container.rid)
        if other != container.rid:
            yield places.error(
                container.rid,
                "hostname",
                f"{container.rid} and {other} have the same host name {host}",
                "give each container its own name or hostname",
            )


def _homeless(guest: str, hosts: Collection[str], spelling: Spelling, places: Places) -> Finding:
    near = near_miss(guest, hosts)
    if near:
        return places.error(
            "DEFAULT",
            "encapnodes",
            f"the encap node {guest} and the container's host name {near} differ only by their domain",
            f"write {near} in encapnodes, or hostname = {guest}",
        )
    return places.error(
        "DEFAULT",
        "encapnodes",
        f"no container has the host name {guest}",
        spelling.near(guest, hosts)
        or "a container's hostname (or name) says which guest it is, and its guestos not windows",
    )

"""In which order the parts of a service start and stop: one order, and its reverse.

The order is made of all parts of this level, whether a plan acts on them or not. A plan
keeps the parts that it acts on; each then waits for what its dropped predecessors waited for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from agentd.core.model import START_ORDER, Guest, Resource, Service

_NUMBER = re.compile(r"([0-9]+)")
Natural = tuple[tuple[int, int, str], ...]


def natural(text: str) -> tuple[Natural, str]:
    """A key that sorts ``fs#2`` before ``fs#10``."""
    parts = _NUMBER.split(text)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p), text


@dataclass(frozen=True, slots=True)
class Part:
    """A resource of this level, or the guest part of a container. `needs`: keys of the parts
    that come before, directly."""

    key: str
    needs: tuple[str, ...] = ()
    resource: Resource | None = None
    guest: Guest | None = None


def guest_key(container: str) -> str:
    """No rid has two marks in it."""
    return f"guest##{container}"


def start_order(service: Service) -> tuple[Part, ...]:
    """All parts, each after what it needs. sync and hb are not started."""
    return tuple(_Order(service).parts())


def reverse(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The order of a stop: what was needed comes after what needed it."""
    needs: dict[str, list[str]] = {part.key: [] for part in parts}
    for part in parts:
        for key in part.needs:
            needs[key].append(part.key)
    return tuple(replace(part, needs=tuple(needs[part.key])) for part in reversed(parts))


def keep(parts: Iterable[Part], keys: Collection[str]) -> tuple[Part, ...]:
    """Only the parts named, which still come after what they came after before."""
    standing: dict[str, tuple[str, ...]] = {}
    kept = []
    for part in parts:
        needs: dict[str, None] = {}
        for need in part.needs:
            needs.update(dict.fromkeys((need,) if need in keys else standing[need]))
        standing[part.key] = tuple(needs)
        if part.key in keys:
            kept.append(replace(part, needs=tuple(needs)))
    return tuple(kept)


def closure(parts: Iterable[Part], targets: Collection[str]) -> frozenset[str]:
    """The targets, and all that comes before them."""
    wanted = set(targets)
    for part in reversed(tuple(parts)):
        if part.key in wanted:
            wanted.update(part.needs)
    return frozenset(wanted)


def linked_to(service: Service, resource: Resource) -> str:
    """The rid of the container whose network the resource lives in, or "". It starts right after."""
    named = str(resource.options.get("netns") or resource.container)
    if resource.group == "container" or not named.startswith("container#"):
        return ""
    return named if service.resource(named) is not None else ""


def waves(service: Service, resources: Iterable[Resource]) -> Iterator[tuple[Resource, ...]]:
    """Resources of one group in the order of a start; those of one wave start together.

    A parallel subset still keeps mounts below mounts, and apps in their start sequence.
    """
    by_subset = sorted(resources, key=lambda r: (r.subset, _rank(service, r), natural(r.rid)))
    for subset, members in groupby(by_subset, key=lambda r: r.subset):
        if not subset:
            yield from ((r,) for r in members)
            continue
        ranked = [((_rank(service, r), "" if _parallel(service, r) else r.rid), r) for r in members]
        for _, together in groupby(ranked, key=lambda pair: pair[0]):
            yield tuple(resource for _, resource in together)


def _parallel(service: Service, resource: Resource) -> bool:
    for name in (f"{resource.group}:{resource.subset}", resource.subset):
        if name in service.subsets:
            return service.subsets[name].parallel
    return False


def _rank(service: Service, resource: Resource) -> int:
    """What orders a group before the rid does: mount depth, start sequence, whose network it is."""
    if resource.group == "fs":
        return len([part for part in str(resource.options.get("mnt") or "").split("/") if part])
    if resource.group == "app":
        return _sequence(resource.options.get("start"))
    if resource.group == "container":
        return _network_depth(service, resource)
    return 0


def _sequence(start: object) -> int:
    """The number in ``start = 5``. Apps without one come last."""
    if isinstance(start, int) and not isinstance(start, bool):
        return start
    text = start if isinstance(start, str) else ""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 10**18


def _network_depth(service: Service, container: Resource) -> int:
    """How many containers stand before this one, each in the network of the next."""
    seen = {container.rid}
    named = service.resource(str(container.options.get("netns") or ""))
    while named is not None and named.rid not in seen:
        seen.add(named.rid)
        named = service.resource(str(named.options.get("netns") or ""))
    return len(seen) - 1


class _Order:
    """The parts as they are laid out, with the keys that the next one comes after."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.last: tuple[str, ...] = ()
        self.free: dict[str, list[Resource]] = {group: [] for group in START_ORDER}
        self.linked: dict[str, list[Resource]] = {}
        for resource in service.resources:
            container = linked_to(service, resource)
            if container:
                self.linked.setdefault(container, []).append(resource)
            elif resource.group in START_ORDER:
                self.free[resource.group].append(resource)

    def parts(self) -> Iterator[Part]:
        for group in START_ORDER:
            yield from self._containers() if group == "container" else self._chain(self.free[group])

    def _chain(self, resources: Iterable[Resource]) -> Iterator[Part]:
        for wave in waves(self.service, resources):
            yield from (Part(r.rid, self.last, r) for r in wave)
            self.last = tuple(r.rid for r in wave)

    def _containers(self) -> Iterator[Part]:
        """Each container, what lives in its network, its guest part. The next container waits
        for the container alone; what comes after waits for all of it."""
        ends: dict[str, None] = {}
        for wave in waves(self.service, self.free["container"]):
            before = self.last
            for container in wave:
                ends = {key: None for key in ends if key not in before}
                yield Part(container.rid, before, container)
                self.last = (container.rid,)
                yield from self._inside(container)
                ends.update(dict.fromkeys(self.last))
            self.last = tuple(container.rid for container in wave)
        self.last = tuple(ends) or self.last

    def _inside(self, container: Resource) -> Iterator[Part]:
        for group in START_ORDER:
            yield from self._chain(r for r in self.linked.get(container.rid, ()) if r.group == group)
        guest = self.service.guest(container.rid)
        if guest is not None:
            key = guest_key(container.rid)
            yield Part(key, self.last, guest=guest)
            self.last = (key,)

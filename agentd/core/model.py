"""What a service is, seen from one node: frozen data that nothing mutates."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GROUPS = ("container", "ip", "disk", "fs", "share", "app", "sync", "task", "hb")
"""Groups of resources. A rid is ``<group>#<id>``, or the bare group name ``app``."""

START_ORDER = ("ip", "disk", "fs", "share", "container", "app", "task")
"""Order of the groups on a start; a stop goes the other way. sync and hb are not started."""


class Level(enum.StrEnum):
    """Where a node stands for a service. `none`: in no list of it, so it runs nothing."""

    HOST = "host"
    ENCAP = "encap"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource with its keywords resolved for one node.

    `options`: keyword -> converted value, defaults included.
    `label` is from the type's template; a driver may report a better one with a probe.
    `container`: the rid named by ``container = ...`` in an encap section, else "".
    `internal`: made by the product (``sync#i0``), in no section.
    """

    rid: str
    type: str
    label: str = ""
    encap: bool = False
    tags: frozenset[str] = frozenset()
    subset: str = ""
    disable: bool = False
    optional: bool = False
    monitor: bool = False
    standby: bool = False
    restart: int = 0
    restart_delay: float = 0.0
    container: str = ""
    internal: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.rid.partition("#")[0]

    @property
    def index(self) -> str:
        return self.rid.partition("#")[2]


@dataclass(frozen=True, slots=True)
class Guest:
    """A container of this service that holds an agent: its host name is in encapnodes.

    `resources` are those of ``scope(config, node)`` that belong in this container;
    `topology` and `nodes` are what resolves at the guest.
    """

    container: str
    node: str
    resources: tuple[Resource, ...] = ()
    topology: str = "failover"
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subset:
    """``[subset#group:name]``: how the resources of a subset run."""

    name: str
    parallel: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A service from the point of view of `node`.

    `resources` holds this level's resources only, in the order of the file. `guests` is
    empty at the encap level. `options` are the other DEFAULT keywords, converted.
    """

    name: str
    node: str
    level: Level
    nodes: tuple[str, ...] = ()
    drpnodes: tuple[str, ...] = ()
    encapnodes: tuple[str, ...] = ()
    topology: str = "failover"
    orchestrate: str = "no"
    flex_min: int = 1
    flex_max: int = 0
    flex_target: int = 0
    flex_primary: str = ""
    resources: tuple[Resource, ...] = ()
    guests: tuple[Guest, ...] = ()
    subsets: Mapping[str, Subset] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def resource(self, rid: str) -> Resource | None:
        return next((r for r in self.resources if r.rid == rid), None)

    @property
    def hosted(self) -> tuple[Guest, ...]:
        """The guests that this node can run: their containers are not disabled here."""
        return tuple(g for g in self.guests if (c := self.resource(g.container)) and not c.disable)

    def guest(self, container: str) -> Guest | None:
        """The guest in container `container` (a rid)."""
        return next((g for g in self.guests if g.container == container), None)

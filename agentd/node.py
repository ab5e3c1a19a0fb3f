"""The use cases of this node that only look: what the API, the feed and the command line read.

What changes something is in its own module, and the routes find it here: `actions`,
`configurations`, `operations`, `members`, `claims`, `replicator`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from agentd.acting import Actions
from agentd.boot import boot_id
from agentd.bus import Bus
from agentd.claiming import Claims
from agentd.configurations import Configurations
from agentd.core.cluster_status import cluster_document
from agentd.core.model import Level
from agentd.core.routing import all_nodes
from agentd.core.status import Status
from agentd.feed import Feed
from agentd.guests import Guests
from agentd.inspector import Inspector
from agentd.knowing import Knowledge, others_of
from agentd.members import Members
from agentd.operations import Operations
from agentd.peers import Answer, Peers, Silence
from agentd.registry import Held, Registry
from agentd.replicator import Replicator
from agentd.settings import Settings
from agentd.store import Store
from agentd.subscription import Subscriptions
from agentd.timers import Clock, stamp

CAPABILITIES = ("status", "config", "actions", "events", "replica", "claims")
REFRESH_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Identification:
    """What is fixed while the process lives. `run_id`: of this run of the daemon."""

    version: str
    run_id: str
    started_at: str


@dataclass(slots=True)
class Parts:
    """What a node is made of; see the modules."""

    registry: Registry
    store: Store
    bus: Bus
    clock: Clock
    inspector: Inspector
    operations: Operations
    peers: Peers
    subscriptions: Subscriptions
    guests: Guests
    knowledge: Knowledge
    replicator: Replicator
    members: Members
    claims: Claims
    configurations: Configurations
    actions: Actions


class Node:
    """One node. `settings` gives those in force, `listening` where this daemon can be reached."""

    def __init__(self, settings: Callable[[], Settings], who: Identification, parts: Parts,
                 listening: Callable[[], tuple[str, ...]]) -> None:
        self._settings, self._who, self._parts, self._listening = settings, who, parts, listening
        self._boot_id = boot_id()
        self.registry, self.operations, self.actions = parts.registry, parts.operations, parts.actions
        self.configurations, self.replicator = parts.configurations, parts.replicator
        self.members, self.claims = parts.members, parts.claims
        self.feed = Feed(parts.bus, self)

    @property
    def settings(self) -> Settings:
        return self._settings()

    def describe(self) -> dict[str, Any]:
        trouble = self._parts.store.trouble
        return {
            "schema": "encap.node/1", "node": self.settings.node, "cluster": self.settings.cluster,
            "version": self._who.version, "capabilities": list(CAPABILITIES), "boot_id": self._boot_id,
            "run_id": self._who.run_id, "started_at": self._who.started_at, "services": self.names(),
            "listen": list(self._listening()), "unreadable": dict(self.registry.troubles),
            "trouble": trouble.text if trouble else None,
        }

    def names(self) -> list[str]:
        return sorted(held.name for held in self.registry)

    # --- one service

    def status(self, name: str) -> dict[str, Any] | None:
        """The status document, from memory; None when there is no such service."""
        if self.registry.find(name) is None:
            return None
        running = self.operations.running(name)
        shown = None if running is None else {
            "id": running.id, "action": running.action, "phase": running.document(plan=False)["phase"]}
        return self._parts.inspector.document(name, shown)

    async def instance(self, name: str, *, refresh: bool = False) -> dict[str, Any]:
        """The status document; with `refresh` after probing everything, in the guests too."""
        held = self.registry.get(name)
        if refresh:
            await asyncio.gather(self._parts.inspector.refresh(name), self._refresh_guests(held))
        return self.status(name) or self._parts.inspector.document(name)

    async def _refresh_guests(self, held: Held) -> None:
        """Ask the agents in running containers to look now; one that is silent stays as it is shown."""
        nodes = [guest.node for guest in held.service.guests
                 if self._parts.guests.running(held.name, guest.container)]
        path = f"/v1/services/{quote(held.name)}/status?refresh=true"
        answers = await self._parts.peers.fan_out(nodes, "GET", path, timeout=REFRESH_TIMEOUT)
        for node, answer in answers.items():
            if isinstance(answer, Answer) and isinstance(answer.value, Mapping):
                self._parts.subscriptions.take_in(node, held.name, answer.value)

    async def everywhere(self, name: str, *, refresh: bool = False) -> dict[str, Any]:
        """The service on all its hypervisors (encap.cluster-status/1)."""
        held = self.registry.get(name)
        service = held.service
        instances: list[dict[str, Any]] = []
        silences: list[dict[str, Any]] = []
        if service.level is Level.HOST:
            instances, silences = await self._parts.knowledge.instances(held, refresh=refresh)
        own = await self.instance(name, refresh=refresh)
        order = {node: place for place, node in enumerate((*all_nodes(service), service.node))}
        shown = sorted([own, *instances], key=lambda d: order.get(d["node"], len(order)))
        return cluster_document(name, service.topology, service.flex_min, shown, self._told(silences))

    def _told(self, silences: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Since when a node is silent, in the time of people."""
        now, wall = self._parts.clock.monotonic(), self._parts.clock.wall()
        told = []
        for one in silences:
            age = None if one["since"] is None else max(0.0, now - one["since"])
            since = None if age is None else stamp(wall - timedelta(seconds=age))
            told.append({"node": one["node"], "since": since, "why": one["why"], "age": age})
        return told

    # --- all services

    def services(self) -> list[dict[str, Any]]:
        """A summary of each service here."""
        return [self.summary(name) for name in self.names()]

    def summary(self, name: str) -> dict[str, Any]:
        held = self.registry.get(name)
        document = self.status(name) or {}
        return {key: document[key] for key in ("node", "level", "avail", "overall", "topology", "frozen",
                                               "operation")} | {
            "name": name, "nodes": list(held.service.nodes), "flex_min": held.service.flex_min,
            "instances": {held.service.node: document["avail"]}}

    async def cluster_services(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The services of all hypervisors, each counted over its instances; and who was not heard."""
        rows = {row["name"]: [row] for row in self.services()}
        others = {node for held in self.registry for node in others_of(held.service)}
        nodes = sorted(others.union(self.members.others()))
        answers = await self._parts.peers.fan_out(nodes, "GET", "/v1/services")
        silences = []
        for node, answer in answers.items():
            found = _summaries(answer, node)
            if found is None:
                why = answer.why if isinstance(answer, Silence) else "its answer is no list of services"
                since = answer.since if isinstance(answer, Silence) else None
                silences.append({"node": node, "since": since, "why": why})
            for row in found or ():
                rows.setdefault(row["name"], []).append(row)
        return [_counted(rows[name], silences) for name in sorted(rows)], self._told(silences)


def _counted(rows: list[dict[str, Any]], silences: list[dict[str, Any]]) -> dict[str, Any]:
    """One row for a service, from those of its nodes, the first of which is this node's own if it has one."""
    first = rows[0]
    place = {node: number for number, node in enumerate(first["nodes"])}
    rows = sorted(rows, key=lambda row: place.get(row["node"], len(place)))
    silent = [one for one in silences if one["node"] in place]
    whole = cluster_document(first["name"], first["topology"], first["flex_min"], rows, silent)
    return {**first, "avail": whole["avail"], "overall": whole["overall"],
            "instances": {row["node"]: row["avail"] for row in rows}}


def _summaries(answer: Answer | Silence, node: str) -> list[dict[str, Any]] | None:
    """What another hypervisor lists, as far as it can be relied on."""
    value = answer.value if isinstance(answer, Answer) else None
    listed = value.get("services") if isinstance(value, Mapping) else None
    if not isinstance(listed, list):
        return None
    return [dict(row) for row in listed if isinstance(row, Mapping) and _is_summary(row, node)]


def _is_summary(row: Mapping[str, Any], node: str) -> bool:
    states, nodes = tuple(Status), row.get("nodes")
    return (row.get("node") == node and isinstance(row.get("name"), str) and row.get("avail") in states
            and row.get("overall") in states and row.get("topology") in ("failover", "flex")
            and isinstance(row.get("flex_min"), int)
            and isinstance(nodes, list) and all(isinstance(each, str) for each in nodes))

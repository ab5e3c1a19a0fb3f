"""What is known of a service at the moment a plan is made: from here, its guests and its peers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from agentd.core.known import GuestInstance, Known
from agentd.core.model import Level, Service
from agentd.core.placement import relocatable
from agentd.core.routing import SILENT, all_nodes
from agentd.core.status import Status
from agentd.inspector import Inspector
from agentd.peers import Answer, Peers, Silence
from agentd.registry import Held

Documents = list[dict[str, Any]]
REFRESH_TIMEOUT = 10.0
_STARTING = ("start", "restart")
_AVAIL = {"up": "up", "warn": "up", "down": "down", "n/a": "down"}
"""What a guest's avail means for the choice: partly up is up, since the danger is two of them."""


class Knowledge:
    """Gathers `Known` values. `facts`: service -> key -> value."""

    def __init__(self, inspector: Inspector, peers: Peers, facts: Mapping[str, Mapping[str, Any]]) -> None:
        self._inspector, self._peers, self._facts = inspector, peers, facts
        self._chosen: dict[str, str] = {}
        # service -> the guest elsewhere that has, or is to have, the instance of its encap level

    def chosen(self, held: Held) -> str:
        """The guest of another hypervisor that has the one instance of a failover encap level."""
        return self._chosen.get(held.name, "")

    def chose(self, held: Held, node: str) -> None:
        """A choice fell on the guest `node`; one that runs here is told by its own status."""
        here = {guest.node for guest in held.service.hosted}
        self._chosen[held.name] = "" if node in here else node

    async def up_elsewhere(self, held: Held) -> str:
        """The guest of another hypervisor in which the one instance is up, asked now; "" for none."""
        documents, _silences = await self.instances(held, refresh=False)
        found = guest_instances(documents, {guest.node for guest in held.service.hosted})
        return next((node for node, instance in found.items() if instance.avail == "up"), "")

    async def look(self, registry: Iterable[Held]) -> None:
        """Hear again from the other hypervisors where there is a choice among guests."""
        for held in list(registry):
            if any(relocatable(guest) for guest in held.service.guests):
                await self.instances(held, refresh=False)

    def here(self, held: Held) -> Known:
        """From memory: this node's resources and what its guests told."""
        document = self._inspector.document(held.name)
        guests, silent = {}, set()
        for row in document["resources"]:
            guest = row.get("guest")
            if guest is None:
                continue
            if guest["agent"] == "answering" and not guest["reason"]:
                guests[row["rid"]] = {r["rid"]: Status(r["status"]) for r in guest["resources"]}
            elif guest["agent"] != "down":
                silent.add(row["rid"])
        return Known(
            status=self._inspector.status(held.name), states=self._inspector.states(held.name), guests=guests,
            peers={held.service.node: document["avail"]}, guest_silent=frozenset(silent),
            frozen=bool(self._facts.get(held.name, {}).get("frozen")),
            expected=frozenset((held.service.node,) if document["expected"] else ()),
        )

    async def everywhere(self, held: Held, *, refresh: bool) -> Known:
        """The same, and the instance of every other hypervisor of the service, asked now."""
        known = self.here(held)
        documents, silences = await self.instances(held, refresh=refresh)
        peers = {d["node"]: d["avail"] for d in documents} | {s["node"]: SILENT for s in silences}
        return Known(
            status=known.status, states=known.states, guests=known.guests, frozen=known.frozen,
            guest_silent=known.guest_silent, peers={**peers, **known.peers},
            elsewhere=guest_instances(documents, {g.node for g in held.service.hosted}),
            expected=known.expected | {d["node"] for d in documents if d.get("expected") is True},
        )

    async def for_part(self, held: Held) -> Known:
        """For this node's part of a larger plan: other nodes matter where there is a choice among guests."""
        if held.service.level is Level.HOST and any(relocatable(guest) for guest in held.service.guests):
            return await self.everywhere(held, refresh=False)
        return self.here(held)

    async def instances(self, held: Held, *, refresh: bool) -> tuple[Documents, Documents]:
        """Status documents of the other hypervisors, and those that were not heard
        (``node``, ``since`` in monotonic seconds or None, ``why``)."""
        others = others_of(held.service)
        path = f"/v1/services/{quote(held.name)}/status" + ("?refresh=true" if refresh else "")
        more = {"timeout": max(REFRESH_TIMEOUT, self._peers.timeout)} if refresh else {}
        answers = await self._peers.fan_out(others, "GET", path, **more)
        documents, silences = sort_out(answers, held.name)
        self._learn(held, documents, whole=not silences)
        return documents, silences

    def _learn(self, held: Held, documents: Documents, *, whole: bool) -> None:
        """Which guest elsewhere is up. What was chosen before stays so while somebody starts, or
        when not everybody was heard."""
        guests = [guest for guest in held.service.guests if relocatable(guest)]
        if not guests:
            return
        elsewhere = guest_instances(documents, {guest.node for guest in held.service.hosted})
        up = [node for node in guests[0].nodes if node in elsewhere and elsewhere[node].avail == "up"]
        if up:
            self._chosen[held.name] = up[0]
        elif whole and not any(_starts(document) for document in documents):
            self._chosen.pop(held.name, None)


def others_of(service: Service) -> list[str]:
    return [node for node in all_nodes(service) if node != service.node]


def sort_out(answers: Mapping[str, Answer | Silence], name: str) -> tuple[Documents, Documents]:
    """Documents that can be relied on, and a reason for every other node."""
    documents: list[dict[str, Any]] = []
    silent: list[dict[str, Any]] = []
    for node, answer in answers.items():
        why = since = None
        if isinstance(answer, Silence):
            why, since = answer.why, answer.since
        elif answer.error is not None:
            why = answer.error.text
        elif not _is_status(answer.value, name, node):
            why = "its answer is no status document"
        if why is None and isinstance(answer, Answer):
            documents.append(dict(answer.value))
        else:
            silent.append({"node": node, "since": since, "why": why})
    return documents, silent


def _is_status(value: Any, name: str, node: str) -> bool:
    if not isinstance(value, Mapping) or (value.get("service"), value.get("node")) != (name, node):
        return False
    states = tuple(Status)
    rows = value.get("resources")
    return value.get("avail") in states and value.get("overall") in states and isinstance(rows, list) \
        and all(isinstance(r, Mapping) and isinstance(r.get("rid"), str) and r.get("status") in states
                for r in rows)


def _starts(document: Mapping[str, Any]) -> bool:
    """Whether the instance is being started."""
    operation = document.get("operation")
    return isinstance(operation, Mapping) and str(operation.get("action", "")).startswith(_STARTING)


def guest_instances(documents: Sequence[Mapping[str, Any]], here: Iterable[str]) -> dict[str, GuestInstance]:
    """The guests that other hypervisors run, by node name, for the choice among guests."""
    found: dict[str, GuestInstance] = {}
    for document in documents:
        begun = _starts(document)
        for row in document["resources"]:
            guest = row.get("guest")
            node = guest.get("node") if isinstance(guest, Mapping) else None
            if not isinstance(node, str) or node in here or row.get("disable"):
                continue
            state = {"up": "up", "down": "down"}.get(row["status"], "undef")
            avail = "down" if state == "down" else _AVAIL.get(str(guest.get("avail")), "undef")
            if begun and (state == "down" or _boots(row["status"], guest)):
                avail, state = "down", "starting"
            found[node] = GuestInstance(avail, state)
    return found


def _boots(status: str, guest: Mapping[str, Any]) -> bool:
    """Whether a container is on its way up, and nobody has heard of its guest yet. Both sides of two
    starts are to make the same choice whenever they look; a claim proves what is supposed here."""
    return status != Status.UNDEF and guest.get("agent") in ("absent", "enrolling", "down")

"""The fresh look at this node that a claim is answered by: never from memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard
from urllib.parse import quote

from agentd.core.claims import Claim, order
from agentd.core.errors import Refused
from agentd.core.known import PROVEN_DOWN
from agentd.core.model import Level, Resource
from agentd.core.placement import avail_inside, relocatable
from agentd.core.restarting import STARTED
from agentd.core.status import Status
from agentd.inspector import Inspector
from agentd.knowing import Knowledge
from agentd.peers import Answer, Peers, Silence
from agentd.registry import Held, Registry
from agentd.subscription import Subscriptions

REFRESH_TIMEOUT = 5.0
_STATES = {Status.UP: "up", Status.STDBY_UP: "up", Status.WARN: "warn", Status.DOWN: "down",
           Status.STDBY_DOWN: "down", Status.NA: "down"}


class Looking:
    """What could be a second instance on this node, by name; None where it cannot be told."""

    def __init__(self, registry: Registry, inspector: Inspector, knowledge: Knowledge, peers: Peers,
                 subscriptions: Subscriptions) -> None:
        self._registry, self._inspector, self._knowledge = registry, inspector, knowledge
        self._peers, self._subscriptions = peers, subscriptions

    async def __call__(self, claim: Claim) -> Mapping[str, str | None]:
        name, _, level = claim.instance.partition("/")
        held = self._registry.find(name)
        if held is None:
            return {name: None}  # without its configuration nothing can be looked at
        if held.service.level is not Level.HOST:
            return {}
        if claim.claimant not in order(held.service):
            raise Refused(f"{claim.claimant} is no hypervisor of {name}: it claims nothing of it",
                          code="not-of-this-service", hint="is its copy of the configuration old?")
        await self._inspector.refresh(name)
        return await self._guests(held) if level else self._own(held, claim.claimant == held.service.node)

    def _own(self, held: Held, claims_itself: bool) -> dict[str, str | None]:
        """Containers by their exact state, and whatever else makes an instance. Of the claimant's
        own only containers count: the rest is what it is about to start, or has up already."""
        service = held.service
        states, status = self._inspector.states(held.name), self._inspector.status(held.name)
        found: dict[str, str | None] = {
            r.rid: states.get(r.rid) for r in service.resources if r.group == "container" and not r.disable}
        if not claims_itself:
            found |= {r.rid: _STATES.get(status.get(r.rid, Status.UNDEF)) for r in _others(service.resources)}
        return found

    async def _guests(self, held: Held) -> dict[str, str | None]:
        """Whether the instance of a failover encap level is up in a guest that runs here."""
        guests = [guest for guest in held.service.hosted if relocatable(guest)]
        states = self._inspector.states(held.name)
        asked = [g.node for g in guests if states.get(g.container, "unknown") not in PROVEN_DOWN]
        path = f"/v1/services/{quote(held.name)}/status?refresh=true"
        answers = await self._peers.fan_out(asked, "GET", path, timeout=REFRESH_TIMEOUT)
        for node, answer in answers.items():
            if _is_document(answer):
                self._subscriptions.take_in(node, held.name, answer.value)
        known = self._knowledge.here(held)
        found: dict[str, str | None] = {}
        for guest in guests:
            heard = guest.node not in asked or _is_document(answers[guest.node])
            found[guest.node] = avail_inside(guest, known) if heard else None
        return found


def _is_document(answer: Answer | Silence) -> TypeGuard[Answer]:
    """Whether a guest told its status; an error that it tells says nothing of its resources."""
    return isinstance(answer, Answer) and isinstance(answer.value, Mapping)


def _others(resources: tuple[Resource, ...]) -> list[Resource]:
    """Also optional ones: a stop goes on when theirs fails, and a file system that is mounted
    twice is lost whether or not it was optional."""
    return [r for r in resources if r.group in STARTED and r.group != "container"
            and not r.standby and not r.disable]

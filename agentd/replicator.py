"""One configuration on all nodes of a service: the same text on its hypervisors, in each guest its view.

A new text is pushed at once, and all copies are compared every `sync_interval`; where they
are equal nothing moves. This is the way from hypervisors to hypervisors and guests only: a
guest that holds something newer keeps it, and the status says so.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from agentd.comparing import Attempt, Comparison, all_of, others
from agentd.confirmations import Confirmations
from agentd.core.config import parse
from agentd.core.keywords import Types
from agentd.core.model import Guest, Level
from agentd.core.replicas import Holdings, Version
from agentd.core.routing import all_nodes
from agentd.core.scoping import scope
from agentd.core.status import LogLine, Probe, Status
from agentd.peers import Peers
from agentd.receiving import Receiver
from agentd.registry import Held, Registry
from agentd.sending import Sender
from agentd.store import Store
from agentd.timers import Clock
from agentd.tombstones import Tombstones


class Replicator:
    """`running(service, container rid)`: whether a guest's container runs here, None when that is
    not known. `answering(guest)`: whether its agent does. `changed(name)` is awaited after a
    text from another node took the place of the one in force."""

    def __init__(
        self, node: Callable[[], str], registry: Registry, store: Store, peers: Peers, types: Types,
        running: Callable[[str, str], bool | None], answering: Callable[[str], bool], clock: Clock,
        changed: Callable[[str], Awaitable[None]],
    ) -> None:
        self._node, self._registry, self._store = node, registry, store
        self._running, self._answering, self._changed = running, answering, changed
        self._known = Confirmations()
        self._tombstones = Tombstones(store, clock)
        self._sender = Sender(node, store, peers, types, self._known)
        self._receiver = Receiver(node, registry, store, self._tombstones)
        self._comparison = Comparison(node, registry, self._tombstones, self._sender, self._known,
                                      self.receive)
        self._passing_on: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Read what an earlier daemon kept; to be awaited before anything else."""
        await self._tombstones.load()
        await self._receiver.load()

    async def close(self) -> None:
        for task in self._passing_on:
            task.cancel()
        await asyncio.gather(*self._passing_on, return_exceptions=True)

    # --- what is held here

    def own(self) -> dict[str, Any]:
        """``{"services": {name: {"revision", "hash", "nodes"}}, "deleted": {name: revision}}``."""
        services = {h.name: Version(h.revision, h.hash, all_nodes(h.service))
                    for h in self._registry if h.revision}
        return Holdings(services, self._tombstones.all()).document()

    async def replica(self, name: str) -> dict[str, Any]:
        """``{"revision", "hash", "base", "text", "author", "origin"}`` of the text in force."""
        return (await self._sender.replica(self._registry.get(name))).document()

    def in_step(self, held: Held) -> Probe:
        """Up when every other node is known to hold what it is to hold; else a line for each."""
        if held.service.level is not Level.HOST:
            return Probe(Status.UP)
        doubts = [self._known.doubt(held.name, node, held.revision, held.hash) for node in others(held)]
        for guest in self._guests(held):
            unasked = "it was not asked yet" if self._answering(guest.node) else "its agent does not answer"
            doubts.append(self._known.doubt(held.name, guest.node, held.revision,
                                            self._sender.view(held, guest).hash, unasked))
        lines = tuple(line for line in doubts if line is not None)
        return Probe(Status.WARN if lines else Status.UP, lines)

    def notes(self, held: Held) -> tuple[LogLine, ...]:
        """Lines about the whole instance: a text that gave way, nodes that deleted the service."""
        gave_way = self._receiver.line(held)
        advice = f"svc delete {held.name} --node {self._node()}"  # without it those would be asked again
        deleted = [LogLine("warn", f"deleted on {node}; here too: {advice}")
                   for node in self._known.without(held.name) if node in others(held)]
        return (*((gave_way,) if gave_way else ()), *deleted)

    # --- a change here

    async def accepted(self, name: str, wait: float = 3.0) -> dict[str, Any]:
        """A new text was accepted here: tell all that are to hold it, at once.

        ``{"revision", "told": [nodes], "not_told": [{"node", "why"}]}``. The revision is another
        one than before only where it has to be above that of a service that was deleted.
        """
        held = await self._above_its_tombstone(self._registry.get(name))
        nodes = await hypervisors_now_and_before(self._store, held)
        pushes: dict[str, Attempt] = {
            node: partial(self._sender.to_hypervisor, held, node, wait) for node in nodes}
        for guest in self._guests(held):
            if self._known.hash(name, guest.node) != self._sender.view(held, guest).hash:
                pushes[guest.node] = partial(self._sender.to_guest, held, guest, wait)
        reasons = await all_of(pushes)
        return {"revision": held.revision, "told": [node for node, why in reasons.items() if not why],
                "not_told": [{"node": node, "why": why} for node, why in reasons.items() if why]}

    async def forgotten(self, name: str, revision: int) -> None:
        """The service was deleted here at `revision`: nobody is to bring it back."""
        await self._tombstones.bury(name, revision)
        self._known.drop(name)
        self._sender.forget(name)
        self._receiver.forget(name)

    async def into_guest(self, held: Held, guest: Guest) -> None:
        """Make a guest hold its view; raises Silent, or the guest's own error."""
        await self._sender.to_guest(held, guest)

    # --- a change elsewhere

    async def receive(self, name: str, replica: Mapping[str, Any], origin_node: str) -> dict[str, Any]:
        """Take in a text that the node `origin_node` sent; ``{"revision", "hash"}`` of what is held then.

        Raises InvalidRequest, InvalidConfig, Forbidden, EditConflict, Refused: nothing has changed.
        """
        news = await self._receiver.receive(name, replica, origin_node)
        held = self._registry.get(name)
        if held.service.level is Level.HOST:
            self._known.holds(name, origin_node, Version(held.revision, held.hash))
        if news:
            # Guests get their view of it, and who else has it becomes known; nobody waits for that.
            nodes = [node for node in others(held) if node != origin_node]
            task = asyncio.get_running_loop().create_task(self._compare_with(nodes, name))
            self._passing_on.add(task)
            task.add_done_callback(self._passing_on.discard)
            await self._changed(name)
        return {"revision": held.revision, "hash": held.hash}

    async def compare(self) -> None:
        """Ask every node of the services here what it holds; what is newer moves. Raises for none."""
        await self._compare_with(sorted({node for held in self._registry for node in others(held)}))

    async def _compare_with(self, nodes: Iterable[str], only: str = "") -> None:
        await all_of({node: partial(self._comparison.with_hypervisor, node, only) for node in nodes})
        parts: dict[str, list[tuple[Held, Guest]]] = defaultdict(list)
        for held in self._registry:
            for guest in self._guests(held) if only in ("", held.name) else ():
                if self._answering(guest.node):
                    parts[guest.node].append((held, guest))
        await all_of({node: partial(self._comparison.with_guest, node, its) for node, its in parts.items()})

    def _guests(self, held: Held) -> list[Guest]:
        """Those whose container runs here: a hypervisor speaks to no other."""
        return [g for g in held.service.guests if self._running(held.name, g.container)]

    async def _above_its_tombstone(self, held: Held) -> Held:
        """A service that was deleted and made anew goes on above: else its text would be refused."""
        buried = self._tombstones.revision(held.name)
        if buried >= held.revision:
            text = await self._sender.replica(held)
            number = await self._store.revisions.append(held.name, held.hash, held.text, origin=self._node(),
                                                        author=text.author, number=buried + 1)
            self._registry.renumber(held.name, number)
        await self._tombstones.lift(held.name)
        return self._registry.get(held.name)


async def hypervisors_now_and_before(store: Store, held: Held) -> tuple[str, ...]:
    """The others of the text in force and of the one before it, since one that is none any more,
    or is left when this node is none, is to learn that. A guest tells nobody."""
    service = held.service
    if service.level is Level.ENCAP:
        return ()
    rows = await store.revisions.of(held.name, 3)
    text = next((str(row["text"]) for row in rows if row["hash"] != held.hash), "")
    before = scope(parse(text)[0], held.name, service.node)
    nodes = dict.fromkeys((*all_nodes(service), *before.nodes, *before.drpnodes))
    return tuple(node for node in nodes if node != service.node)

"""Comparing what this node holds with what another one does, and moving what is newer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from agentd.confirmations import Confirmations
from agentd.core.errors import EditConflict, EncapError
from agentd.core.model import Guest, Level
from agentd.core.replicas import Holdings
from agentd.core.routing import all_nodes
from agentd.registry import Held, Registry
from agentd.sending import Sender
from agentd.tombstones import KEPT, Tombstones

log = logging.getLogger("encap.replicator")

Attempt = Callable[[], Awaitable[object]]
Receive = Callable[[str, Mapping[str, Any], str], Awaitable[object]]


class Comparison:
    """One other node at a time. `receive(name, replica, sender)` takes in what is newer there."""

    def __init__(self, node: Callable[[], str], registry: Registry, tombstones: Tombstones, sender: Sender,
                 known: Confirmations, receive: Receive) -> None:
        self._node, self._registry, self._tombstones = node, registry, tombstones
        self._sender, self._known, self._receive = sender, known, receive

    async def with_hypervisor(self, node: str, only: str = "") -> None:
        """Exchange what is newer, of all services or `only` one; what fails is remembered."""
        try:
            theirs = await self._sender.holdings(node)
        except EncapError as error:
            for held in self._of(node, only):
                self._sender.failed(held, node, error)
            return
        for held in list(self._of(node, only)):
            await self._settle(held.name, node, theirs)
        if not only:
            await self._take_over(node, theirs)

    async def with_guest(self, node: str, parts: Sequence[tuple[Held, Guest]]) -> None:
        """Give a guest the views that it does not hold; of these, one that fails keeps none back."""
        try:
            theirs = await self._sender.holdings(node)
        except EncapError as error:
            for held, _guest in parts:
                self._sender.failed(held, node, error)
            return
        for held, guest in parts:
            try:
                await self._sender.give(held, guest, theirs)
            except EncapError as error:
                log.info("%s does not hold its part of %s: %s", node, held.name, error.text)

    def _of(self, node: str, only: str) -> Iterator[Held]:
        return (held for held in self._registry if only in ("", held.name) and node in others(held))

    async def _settle(self, name: str, node: str, theirs: Holdings) -> None:
        held = self._registry.find(name)
        if held is None:  # deleted meanwhile
            return
        self._sender.heard(held, node, theirs)
        version = theirs.services.get(name)
        if version is not None and version.revision > held.revision:
            await self._fetch(name, node)
        elif version is not None and version.revision == held.revision and version.hash != held.hash:
            # Each of the two is to see the other's text, whichever counts: both are kept on both.
            await self._fetch(name, node, before=partial(self._push, held, node))
        elif version is None and theirs.deleted.get(name, 0) >= held.revision:
            return  # `Replicator.notes` says so
        elif version is None or version.key != (held.revision, held.hash):
            await self._push(held, node)

    async def _push(self, held: Held, node: str) -> None:
        try:
            await self._sender.to_hypervisor(held, node)
        except EditConflict as error:
            revision = error.details.get("revision")
            if isinstance(revision, int) and revision > held.revision:  # it became newer meanwhile
                await self._fetch(held.name, node)
        except EncapError as error:
            log.info("%s does not take revision %d of %s: %s", node, held.revision, held.name, error.text)

    async def _take_over(self, node: str, theirs: Holdings) -> None:
        """Services of this node that are not here, and what was deleted there."""
        here = self._node()
        for name, version in theirs.services.items():
            if name not in self._registry and here in version.nodes \
                    and version.revision > self._tombstones.revision(name):
                await self._fetch(name, node)
        for name, revision in theirs.deleted.items():
            if name not in self._registry and len(self._tombstones.all()) < KEPT:
                await self._tombstones.bury(name, revision)

    async def _fetch(self, name: str, node: str, before: Attempt | None = None) -> None:
        """Take in what `node` holds; `before`: what is done when it is here, and not yet taken."""
        try:
            replica = await self._sender.fetch(name, node)
            if before is not None:
                await before()
            await self._receive(name, replica.document(), node)
        except EncapError as error:
            log.warning("what %s holds of %s is not taken: %s", node, name, error.text)
            if name in self._registry:
                self._known.failed(name, node, error, "what it holds is not taken here: ")


def others(held: Held) -> tuple[str, ...]:
    """The other hypervisors of a service; none where this node is not one itself."""
    service = held.service
    return tuple(n for n in all_nodes(service) if n != service.node) if service.level is Level.HOST else ()


async def all_of(attempts: Mapping[str, Attempt]) -> dict[str, str]:
    """Make all at once; node -> why it failed, "" where it did not. One that fails ends no other."""
    reasons = await asyncio.gather(*(_outcome(node, attempt) for node, attempt in attempts.items()))
    return dict(zip(attempts, reasons, strict=True))


async def _outcome(node: str, attempt: Attempt) -> str:
    try:
        await attempt()
    except EncapError as error:
        return error.text
    except Exception as error:
        log.exception("the exchange with %s is broken", node)
        return f"internal error: {type(error).__name__}"
    return ""

"""Texts that leave this node: whole to hypervisors, to each guest its view.

What a node answered is remembered as what it holds. A text goes out only where another one
is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from agentd.confirmations import Confirmations
from agentd.core.errors import ActionFailed, EncapError, Silent
from agentd.core.keywords import Types
from agentd.core.model import Guest
from agentd.core.replicas import Holdings, Replica, read_holdings, read_replica, read_version
from agentd.core.replication import content_hash, view
from agentd.peers import Peers
from agentd.registry import Held
from agentd.store import Store

HOLDINGS = "/v1/replicas"


def path_of(name: str) -> str:
    return f"/v1/services/{quote(name, safe='')}/replica"


class Sender:
    """Speaks to one node at a time. Every failure is remembered, and raised."""

    def __init__(self, node: Callable[[], str], store: Store, peers: Peers, types: Types,
                 confirmations: Confirmations) -> None:
        self._node, self._store, self._peers, self._types = node, store, peers, types
        self._confirmations = confirmations
        self._views: dict[tuple[str, str], tuple[str, Replica]] = {}

    async def replica(self, held: Held) -> Replica:
        """The text in force, with what is kept about it."""
        row = await self._store.revisions.get(held.name, held.revision, held.hash) or {}
        return Replica(held.revision, held.hash, held.text, str(row.get("base", "")),
                       str(row.get("author", "")), str(row.get("origin") or self._node()))

    def view(self, held: Held, guest: Guest) -> Replica:
        """What `guest` is to hold; made once for each text. Who changed it is not told there."""
        made, known = self._views.get((held.name, guest.node), ("", None))
        if known is None or made != held.hash:
            text = str(view(held.document, held.name, guest.node, self._types))
            known = Replica(held.revision, content_hash(text), text, origin=self._node())
            self._views[held.name, guest.node] = held.hash, known
        if known.revision != held.revision:
            return Replica(held.revision, known.hash, known.text, origin=known.origin)
        return known

    async def holdings(self, node: str) -> Holdings:
        """What `node` says that it holds."""
        return read_holdings(await self._peers.ask(node, "GET", HOLDINGS))

    async def fetch(self, name: str, node: str) -> Replica:
        return read_replica(await self._peers.ask(node, "GET", path_of(name)))

    async def to_hypervisor(self, held: Held, node: str, timeout: float | None = None) -> None:
        """Raises Silent, or the reason why `node` did not take the text."""
        try:
            await self._put(held.name, await self.replica(held), node, timeout)
        except EncapError as error:
            self.failed(held, node, error)
            raise

    async def to_guest(self, held: Held, guest: Guest, timeout: float | None = None) -> None:
        """Until `guest` holds its view, within `timeout` seconds: it is asked what it holds first."""
        limit = timeout if timeout is not None else 2 * self._peers.timeout
        try:
            async with asyncio.timeout(limit):
                await self.give(held, guest, await self.holdings(guest.node))
        except TimeoutError as error:
            silent = Silent(f"{guest.node} did not answer within {limit:g} s", node=guest.node)
            self.failed(held, guest.node, silent)
            raise silent from error
        except EncapError as error:
            self.failed(held, guest.node, error)
            raise

    async def give(self, held: Held, guest: Guest, told: Holdings) -> None:
        """The view of `guest`, which said what it holds. Whether a service is deleted is not its affair."""
        self._confirmations.holds(held.name, guest.node, told.services.get(held.name))
        wanted = self.view(held, guest)
        if self._confirmations.hash(held.name, guest.node) == wanted.hash:
            return
        try:
            await self._put(held.name, wanted, guest.node, None)
        except EncapError as error:
            self.failed(held, guest.node, error)
            raise

    def heard(self, held: Held, node: str, told: Holdings) -> None:
        """Remember what the hypervisor `node` said of one service."""
        version, deleted = told.services.get(held.name), told.deleted.get(held.name, 0)
        if version is None and deleted >= held.revision:
            self._confirmations.deleted(held.name, node, deleted)
        else:
            self._confirmations.holds(held.name, node, version)

    def failed(self, held: Held, node: str, error: EncapError) -> None:
        if error.code == "deleted":
            self._confirmations.deleted(held.name, node, held.revision)
        else:
            self._confirmations.failed(held.name, node, error)

    def forget(self, name: str) -> None:
        for key in [key for key in self._views if key[0] == name]:
            del self._views[key]

    async def _put(self, name: str, replica: Replica, node: str, timeout: float | None) -> None:
        answer = await self._peers.ask(node, "PUT", path_of(name), body=replica.document(), timeout=timeout)
        version = read_version(answer)
        self._confirmations.holds(name, node, version)
        if version.hash != replica.hash:
            raise ActionFailed(f"{node} holds another text of {name} than it was given, its revision"
                               f" {version.revision}", code="not-in-step")

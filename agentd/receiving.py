"""Texts that arrive from other hypervisors: which are taken, and what is said of the others.

A hypervisor takes a newer text of its service; of two with one number the one that takes
precedence, and both are kept. A guest takes what its hypervisors give it, unless it holds
something newer. Nothing that is cut short, broken or a stranger's replaces a good text, and
nothing that an editor has just written is overwritten.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from agentd.core.config import parse
from agentd.core.errors import EditConflict, Forbidden, InvalidRequest, Refused
from agentd.core.model import Level
from agentd.core.replicas import Replica, is_hypervisor, listed, precedence, read_replica
from agentd.core.status import LogLine
from agentd.registry import Held, Registry
from agentd.store import Store
from agentd.tombstones import Tombstones


class _Made(NamedTuple):
    """Where a text was made, and its precedence among texts with its number: the least counts."""

    origin: str
    rank: tuple[int, str]


class Receiver:
    """Takes texts in, one at a time for each service."""

    def __init__(self, node: Callable[[], str], registry: Registry, store: Store,
                 tombstones: Tombstones) -> None:
        self._node, self._registry, self._store, self._tombstones = node, registry, store, tombstones
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._lines: dict[str, tuple[int, LogLine]] = {}

    async def load(self) -> None:
        """Remember which of the texts in force has another with its number."""
        numbers = await self._store.revisions.numbers()
        for held in self._registry:
            for (name, hash_), number in numbers.items():
                if (name, number) == (held.name, held.revision) and hash_ != held.hash:
                    ours, theirs = await self._kept(held, held.hash), await self._kept(held, hash_)
                    self._remember(held.name, _of_two(held.revision, ours, theirs))

    async def receive(self, name: str, document: object, sender: str) -> bool:
        """Take a replica in; whether it changed what is held. Raises InvalidRequest,
        InvalidConfig, Forbidden, EditConflict, Refused; then nothing has changed."""
        replica = read_replica(document)
        replica = replace(replica, origin=replica.origin or sender)
        async with self._turns[name]:
            return await self._take(name, replica, sender)

    def line(self, held: Held) -> LogLine | None:
        """What became of the text that the one in force took the place of."""
        revision, line = self._lines.get(held.name, (0, None))
        return line if revision == held.revision else None

    def forget(self, name: str) -> None:
        self._lines.pop(name, None)

    async def _take(self, name: str, replica: Replica, sender: str) -> bool:
        held = self._registry.find(name)
        if held is not None and (held.revision, held.hash) == (replica.revision, replica.hash):
            return False
        self._check_file(name, held)
        if held is None and replica.revision <= self._tombstones.revision(name):
            revision = self._tombstones.revision(name)
            raise Refused(f"{name} was deleted on {self._node()} at revision {revision}", code="deleted",
                          revision=revision, hint=f"svc delete {name} there too, or create it anew")
        fresh = self._registry.examine(name, replica.text)
        self._check_place(fresh, held, sender)
        if Level.ENCAP in (fresh.service.level, held.service.level if held else None):
            wanted = held is None or _replaces_in_a_guest(held, replica)
        else:
            wanted = held is None or await self._replaces(held, replica)
        if wanted:
            await self._put(fresh, replica, held, sender)
        return wanted

    def _check_file(self, name: str, held: Held | None) -> None:
        """What an editor wrote is neither lost nor taken for what it was before."""
        bad = held.trouble[:1] if held else (self._registry.troubles.get(name, ""),)
        if name in self._registry.changed()[0]:
            raise EditConflict(f"the file of {name} on {self._node()} was changed and is not taken in yet",
                               hint="ask again in a second")
        if any(bad):
            raise EditConflict(f"the file of {name} on {self._node()} was changed and is not good: {bad[0]}",
                               hint="mend it there, or put the text in force back")

    def _check_place(self, fresh: Held, held: Held | None, sender: str) -> None:
        """Forbidden unless a hypervisor of the service sends it, to a node of the service."""
        name, node = fresh.name, self._node()
        of_new = is_hypervisor(fresh.document, name, sender)
        if not of_new and not (held and is_hypervisor(held.document, name, sender)):
            raise Forbidden(f"{sender} is no hypervisor of {name}", code="not-of-this-service")
        if held is None and fresh.service.level is Level.NONE:
            raise Forbidden(f"{node} is no node of {name}", code="not-of-this-service")
        if not of_new and fresh.service.level is Level.NONE and not listed(fresh.document, name):
            raise InvalidRequest(f"this text of {name} names no hypervisor at all", code="no-hypervisor",
                                 hint="svc delete deletes a service")

    async def _replaces(self, held: Held, replica: Replica) -> bool:
        """Whether a hypervisor takes `replica` in the place of what it holds."""
        if replica.revision < held.revision:
            raise EditConflict(f"{self._node()} holds revision {held.revision} of {held.name}, and"
                               f" {replica.revision} is older", revision=held.revision, hash=held.hash)
        if replica.revision > held.revision:
            if replica.revision == held.revision + 1 and replica.base not in ("", held.hash):
                self._remember(held.name, (replica.revision, LogLine(
                    "warn", f"revision {replica.revision} of {replica.origin} was not made from"
                    f" revision {held.revision} here, which it replaced; that one is kept")))
            return True
        ours = await self._kept(held, held.hash)
        theirs = _made(held.name, replica)
        self._remember(held.name, _of_two(held.revision, ours, theirs))
        if ours.rank <= theirs.rank:
            await self._keep(held.name, replica)
            raise EditConflict(f"{self._node()} holds another revision {held.revision} of {held.name}, made"
                               f" on {ours.origin}, and that one counts",
                               revision=held.revision, hash=held.hash)
        return True

    async def _kept(self, held: Held, hash_: str) -> _Made:
        """A kept text with the number of the present one."""
        row = await self._store.revisions.get(held.name, held.revision, hash_) or {}
        return _made(held.name, Replica(held.revision, hash_, str(row.get("text", held.text)),
                                        origin=str(row.get("origin") or self._node())))

    async def _put(self, fresh: Held, replica: Replica, held: Held | None, sender: str) -> None:
        await self._keep(fresh.name, replica)
        if fresh.service.level is not Level.ENCAP:
            await self._store.audit.append(f"{sender} (hypervisor)", "config", fresh.name, hash=replica.hash,
                                           revision=replica.revision, origin=replica.origin,
                                           author=replica.author)
        await self._tombstones.lift(fresh.name)
        # Somebody may have changed it while the disk was written.
        now = self._registry.find(fresh.name)
        self._check_file(fresh.name, now)
        if (now and (now.revision, now.hash)) != (held and (held.revision, held.hash)):
            raise EditConflict(f"{fresh.name} was changed on {self._node()} meanwhile", hint="ask again")
        self._registry.install(fresh, replica.revision)

    async def _keep(self, name: str, replica: Replica) -> None:
        await self._store.revisions.append(
            name, replica.hash, replica.text, origin=replica.origin, author=replica.author,
            base=replica.base, number=replica.revision)

    def _remember(self, name: str, line: tuple[int, LogLine]) -> None:
        self._lines[name] = line


def _replaces_in_a_guest(held: Held, replica: Replica) -> bool:
    """What is newer in a guest was written there: that it goes back is not this way's affair."""
    if replica.revision < held.revision:
        raise EditConflict(f"{held.service.node} holds revision {held.revision} of {held.name}, and"
                           f" {replica.revision} is older", revision=held.revision, hash=held.hash)
    return replica.hash != held.hash


def _made(name: str, replica: Replica) -> _Made:
    return _Made(replica.origin, precedence(parse(replica.text)[0], name, replica))


def _of_two(revision: int, one: _Made, other: _Made) -> tuple[int, LogLine]:
    counts, kept = sorted((one, other), key=lambda made: made.rank)
    return revision, LogLine("warn", f"revision {revision} was made on {counts.origin} and on {kept.origin}:"
                             f" the text of {counts.origin} counts, the other is kept")

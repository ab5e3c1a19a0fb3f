"""Changes of configurations: by the API, by an action, by an editor on the file.

Every accepted text gets a number, is kept, and goes to the other nodes of the service. A
text with errors changes nothing; one that another change overtook is refused, never merged.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

from agentd.bus import Bus
from agentd.core.config import Document, parse
from agentd.core.errors import EditConflict, InvalidRequest, NotFound, Refused
from agentd.core.keywords import Types
from agentd.core.known import IS_DOWN
from agentd.core.model import Level, Service
from agentd.core.routing import SILENT, all_nodes
from agentd.core.status import Status
from agentd.core.validation import validate
from agentd.inspector import Inspector
from agentd.knowing import Knowledge
from agentd.registry import Held, Registry
from agentd.replicator import Replicator
from agentd.store import Store

log = logging.getLogger("encap.config")


class Configurations:
    """The texts of this node's services, as people and actions change them. `members`: the other
    hypervisors of the cluster."""

    def __init__(self, registry: Registry, store: Store, inspector: Inspector, replicator: Replicator,
                 knowledge: Knowledge, members: Callable[[], Collection[str]], bus: Bus,
                 types: Types) -> None:
        self._registry, self._store, self._inspector = registry, store, inspector
        self._replicator, self._knowledge, self._members = replicator, knowledge, members
        self._bus, self._types = bus, types

    # --- from the files

    async def load(self) -> None:
        """Take every file in, at the start; one that is not good is reported and keeps nobody else out."""
        numbers = await self._store.revisions.numbers()
        fresh, _ = self._registry.changed()
        for name in fresh:
            held = self._registry.load(name, lambda service, hash_: numbers.get((service, hash_), 0))
            if held is not None and held.revision == 0:
                await self._number(held)

    async def look(self) -> None:
        """Take in what an editor changed. One stat a file."""
        fresh, gone = self._registry.changed()
        for name in fresh:
            await self.take_in(name)
        for name in gone:
            log.warning("the file of %s is gone; its last text is in force until a restart", name)

    async def take_in(self, name: str) -> bool:
        """Take in the file of one service; False when it is not good, or nothing new."""
        before = self._registry.find(name)
        numbers = await self._store.revisions.numbers()
        held = self._registry.load(name, lambda service, hash_: numbers.get((service, hash_), 0))
        if held is None or (before is not None and before.hash == held.hash):
            return False
        if held.revision == 0 or (before is not None and held.revision < before.revision):
            await self._number(held)
        await self._inspector.refresh(name)
        if held.service.level is Level.HOST:
            await self._replicator.accepted(name)
        return True

    async def _number(self, held: Held) -> None:
        newest = await self._store.revisions.newest(held.name)
        number = await self._store.revisions.append(
            held.name, held.hash, held.text, origin=held.service.node, author="file",
            base=str(newest["hash"]) if newest else "", number=int(newest["number"]) + 1 if newest else 0)
        self._registry.renumber(held.name, number)

    # --- by the API

    def validate(self, text: str, name: str = "service") -> dict[str, Any]:
        document, found = parse(text)
        findings = validate(document, self._types, name, found)
        return {"errors": [f.document() for f in findings if f.severity == "error"],
                "warnings": [f.document() for f in findings if f.severity != "error"]}

    async def put(self, name: str, text: str, if_match: str | None, create: bool, who: str,
                  dry_run: bool = False) -> dict[str, Any]:
        """Accept a new text. `if_match`: the hash it was edited from; `create`: there must be none.

        Answers revision, hash, warnings, the nodes that were told; for a dry run the difference.
        """
        await self._catch_up(name)
        held = self._registry.find(name)
        _check_edit(held, name, if_match, create)
        fresh = self._registry.examine(name, text)
        _check_place(fresh.service)
        answer = {"revision": held.revision if held else 0, "hash": fresh.hash,
                  "warnings": [f.document() for f in fresh.findings if f.severity != "error"]}
        if dry_run:
            return {**answer, "diff": _difference(name, held.text if held else "", text)}
        if held is not None and held.hash == fresh.hash:
            return {**answer, "told": [], "not_told": []}
        if held is not None:
            await self._check_lost(held, fresh)
        number = await self._store.revisions.append(
            name, fresh.hash, text, origin=fresh.service.node, author=who, base=held.hash if held else "",
            number=held.revision + 1 if held else 0)
        present = self._registry.find(name)
        if (present.hash if present else "") != (held.hash if held else ""):
            raise EditConflict(f"{name} was changed meanwhile, on another node",
                               hint="get the present text and edit that")
        self._registry.install(fresh, number)
        await self._store.audit.append(who, "config", name, hash=fresh.hash, revision=number)
        await self._inspector.refresh(name)
        return {**answer, "revision": number, **await self._replicator.accepted(name)}

    async def edit(
        self, name: str, changes: Sequence[tuple[str, str, str]], removed: Sequence[tuple[str, str]],
        if_match: str | None, who: str, dry_run: bool,
    ) -> dict[str, Any]:
        """Set and remove options; comments and all other lines stay."""
        await self._catch_up(name)
        document = self._registry.get(name).document
        for section, option, value in changes:
            document = document.set(section, option, value)
        for section, option in removed:
            document = document.unset(section, option)
        return await self.put(name, str(document), if_match, False, who, dry_run)

    # --- by an action

    async def mark(self, name: str, rid: str, *, disable: bool, who: str) -> None:
        """Enable or disable a resource, at whatever level it is."""
        held = self._registry.get(name)
        document = _marked(held.document, rid, disable)
        fresh = self._registry.examine(name, str(document))
        if any(r.disable is not disable for r in _copies(fresh.service, rid)):
            raise Refused(f"a more specific `disable` of {rid} keeps it {'en' if disable else 'dis'}abled",
                          hint=f"svc get {name} {rid}.disable shows it; edit the text")
        await self.put(name, str(document), held.hash, False, who)

    async def remove(self, name: str, who: str) -> None:
        """Forget a service: its text goes, its revisions stay in the store."""
        held = self._registry.get(name)
        if held.service.level is not Level.ENCAP:
            await self._replicator.forgotten(name, held.revision)
        await self._store.audit.append(who, "delete", name, hash=held.hash, revision=held.revision)
        self._registry.remove(name)
        await self._store.flags.clear(name)
        self._inspector.forget(name)
        self._bus.publish("gone", name)

    async def _check_lost(self, held: Held, fresh: Held) -> None:
        """Raises Refused when a hypervisor is left out on which the instance is not proven down: it
        would not be asked any more before a start elsewhere. One that is no member is gone."""
        here = held.service.node
        lost = [node for node in all_nodes(held.service) if node not in all_nodes(fresh.service)
                and (node == here or node in self._members())]
        if not lost or held.service.level is not Level.HOST:
            return
        known = await self._knowledge.everywhere(held, refresh=True)
        for node in lost:
            avail = known.peers.get(node, SILENT)
            if avail not in (*IS_DOWN, Status.NA):
                raise Refused(f"{held.name} is {avail} on {node}, which the new text leaves out",
                              code="not-down", hint="stop it there first; a node that is gone for good:"
                              f" svc node remove {node}")

    async def _catch_up(self, name: str) -> None:
        """An editor may have saved the file a moment ago: no change through the API undoes that."""
        if name in self._registry.changed()[0]:
            await self.take_in(name)
            held = self._registry.find(name)
            if held is not None and held.trouble:
                raise EditConflict(f"the file of {name} was changed and is not good: {held.trouble[0]}",
                                   hint="mend it, or put the text in force back: svc edit shows that one")


def _check_edit(held: Held | None, name: str, if_match: str | None, create: bool) -> None:
    if create and held is not None:
        raise EditConflict(f"there is a service {name} already", hint="svc edit changes it")
    if not create and held is None:
        raise NotFound(f"there is no service {name}", hint="svc create makes one", code="service-not-found")
    if not create and if_match is None:
        raise InvalidRequest("say which text was edited: If-Match with its ETag",
                             code="precondition-required")
    if held is None:
        return
    _check_place(held.service)
    if if_match not in (held.hash, "*"):
        raise EditConflict(f"{name} was changed meanwhile: it is {held.hash} now",
                           hint="get the present text and edit that")


def _check_place(service: Service) -> None:
    """Raises Refused in a guest: it holds only its own view."""
    if service.level is Level.ENCAP:
        raise Refused(f"{service.node} is a guest of {service.name} and holds its own part of the text only",
                      code="edit-on-hypervisor", hint="edit it on one of its hypervisors")


def _copies(service: Service, rid: str) -> list[Any]:
    everything = (*service.resources, *(r for guest in service.guests for r in guest.resources))
    return [r for r in everything if r.rid == rid]


def _marked(document: Document, rid: str, disable: bool) -> Document:
    """The text with ``disable`` set, or taken away where it is written without a scope."""
    if disable:
        return document.set(rid, "disable", "true")
    written = any(e.section == rid and e.option == "disable" for e in document.entries)
    return document.unset(rid, "disable") if written else document.set(rid, "disable", "false")


def _difference(name: str, before: str, after: str) -> str:
    """A unified diff."""
    return "".join(difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True),
                                        f"{name} in force", f"{name} as it would be"))

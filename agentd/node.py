"""The use cases of this node: what the API calls. No HTTP here, and no driver.

This version acts on the resources of its own level. What would need another agent (a guest's
part, a claim from other hypervisors) is refused before anything is done.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from agentd.core.config import parse
from agentd.core.errors import EditConflict, InvalidRequest, StorageTrouble
from agentd.core.known import Known
from agentd.core.plan import Plan, Request
from agentd.core.planner import plan
from agentd.core.validation import validate
from agentd.inspector import Inspector
from agentd.operation import Operation, Origin
from agentd.operations import Operations
from agentd.performing import Caller, Performer, refuse_what_needs_others, verdict
from agentd.registry import Registry
from agentd.settings import Settings
from agentd.store import Store
from agentd.timers import Clock, stamp
from drivers import Catalogue

log = logging.getLogger("encap.node")

CAPABILITIES = ("status", "config", "local-actions")


class Node:
    """One node. `facts`: service -> key -> value (frozen, expected), shared with the inspector."""

    def __init__(
        self, settings: Settings, version: str, boot_id: str, registry: Registry, inspector: Inspector,
        operations: Operations, store: Store, clock: Clock, types: Catalogue,
        facts: dict[str, dict[str, Any]],
    ) -> None:
        self.settings, self._version, self._boot_id = settings, version, boot_id
        self.registry, self.inspector, self.operations = registry, inspector, operations
        self._store, self._clock, self._types, self._facts = store, clock, types, facts
        self._started_at = stamp(clock.wall())

    def describe(self) -> dict[str, Any]:
        return {
            "schema": "encap.node/1", "node": self.settings.node, "cluster": self.settings.cluster,
            "version": self._version, "capabilities": list(CAPABILITIES), "boot_id": self._boot_id,
            "started_at": self._started_at, "services": sorted(h.name for h in self.registry),
            "unreadable": dict(self.registry.troubles),
            "trouble": self._store.trouble.text if self._store.trouble else None,
        }

    def services(self) -> list[dict[str, Any]]:
        return [self.summary(h.name) for h in sorted(self.registry, key=lambda h: h.name)]

    def summary(self, name: str) -> dict[str, Any]:
        document, service = self.status(name), self.registry.get(name).service
        return {key: document[key] for key in ("node", "level", "avail", "overall", "topology", "frozen",
                                               "operation")} | {
            "name": name, "nodes": list(service.nodes), "instances": {service.node: document["avail"]}}

    def status(self, name: str) -> dict[str, Any]:
        running = self.operations.running(name)
        shown = None if running is None else {
            "id": running.id, "action": running.action, "phase": running.document(plan=False)["phase"]}
        return self.inspector.document(name, shown)

    async def refreshed_status(self, name: str) -> dict[str, Any]:
        await self.inspector.refresh(name)
        return self.status(name)

    def validate(self, text: str, name: str = "service") -> dict[str, Any]:
        document, found = parse(text)
        findings = validate(document, self._types, name, found)
        return {"errors": [f.document() for f in findings if f.severity == "error"],
                "warnings": [f.document() for f in findings if f.severity != "error"]}

    async def put_config(self, name: str, text: str, if_match: str | None, create: bool, who: str,
                         dry_run: bool = False) -> dict[str, Any]:
        """Accept a new text. `if_match`: the hash it was edited from; `create`: there must be none."""
        held = self.registry.get(name) if name in self.registry else None
        if held is None and not create:
            self.registry.get(name)
        if create and held is not None:
            raise EditConflict(f"there is a service {name} already", hint="svc edit changes it")
        if not create and if_match is None:
            raise InvalidRequest("say which text was edited: If-Match with its ETag",
                                 code="precondition-required")
        if held is not None and if_match not in (held.hash, "*"):
            raise EditConflict(f"{name} was changed meanwhile: it is {held.hash} now",
                               hint="get the present text and edit that")
        fresh = self.registry.examine(name, text)
        warnings = [f.document() for f in fresh.findings if f.severity != "error"]
        if not dry_run and (held is None or held.hash != fresh.hash):
            number = await self._store.revisions.append(name, fresh.hash, text, origin=self.settings.node,
                                                        author=who, base=held.hash if held else "")
            fresh = self.registry.install(fresh, number)
            await self._store.audit.append(who, "config", name, hash=fresh.hash, revision=number)
            await self.inspector.refresh(name)
        kept = fresh if dry_run or held is None or held.hash != fresh.hash else held
        return {"revision": kept.revision, "hash": kept.hash, "warnings": warnings}

    async def edit_config(
        self, name: str, changes: Sequence[tuple[str, str, str]], removed: Sequence[tuple[str, str]],
        if_match: str | None, who: str, dry_run: bool,
    ) -> dict[str, Any]:
        """Set and remove options; comments and all other lines stay."""
        document = self.registry.get(name).document
        for section, option, value in changes:
            document = document.set(section, option, value)
        for section, option in removed:
            document = document.unset(section, option)
        return await self.put_config(name, str(document), if_match, False, who, dry_run)

    def plan(self, name: str, request: Request) -> Plan:
        """What `request` would do now. Raises as `agentd.core.planner.plan`."""
        return plan(self.registry.get(name).service, request, self._known(name))

    async def act(self, name: str, request: Request, caller: Caller) -> Operation:
        """Begin an action; the operation is returned at once. Refused before it is recorded."""
        held = self.registry.get(name)
        await self.inspector.refresh(name)
        chosen = self.plan(name, request)
        refuse_what_needs_others(held, request, chosen)
        operation = await self.operations.create(
            name, request.action, plan=chosen.document(), origin=Origin(caller.who), key=caller.key,
            body=caller.body)

        performer = Performer(held, caller, self.inspector, self._store, self._clock, self._facts)
        self.operations.run(operation, lambda running: performer.carry_out(chosen, request, running))
        return operation

    def unheard(self) -> list[dict[str, Any]]:
        """The other nodes of the services here: this version asks none of them, and says so."""
        here = self.settings.node
        others = {n for h in self.registry for n in (*h.service.nodes, *h.service.drpnodes) if n != here}
        why = "not asked: this version asks no other node"
        return [{"node": node, "since": None, "why": why} for node in sorted(others)]

    async def resolve_interrupted(self) -> None:
        """Name the result of what a killed daemon left behind, by probing. Nothing is started."""
        for operation in self.operations.interrupted():
            if operation.service not in self.registry:
                await self.operations.resolve(operation, "unknown", "the service is not known here any more")
                continue
            await self.inspector.refresh(operation.service)
            result, text = verdict(operation.document(), self.inspector.status(operation.service))
            await self.operations.resolve(operation, result, text)
            try:
                await self._store.intents.forget(operation.id)
            except StorageTrouble as error:
                log.error("an intent of operation %s is not forgotten: %s", operation.id, error.text)

    def _known(self, name: str) -> Known:
        return Known(status=self.inspector.status(name), states=self.inspector.states(name),
                     frozen=bool(self._facts.get(name, {}).get("frozen")))

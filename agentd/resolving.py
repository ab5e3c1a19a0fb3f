"""Operations that a killed daemon left behind: each gets a named result, by looking.

Nothing is started and nothing is stopped here. Guests go on with what they were asked for
while their hypervisor's daemon is away; they are waited for, for a bounded time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from agentd.chaining import Means
from agentd.core.errors import EncapError, StorageTrouble
from agentd.core.expectation import Ended
from agentd.core.model import Service
from agentd.core.status import Status
from agentd.operation import Operation
from agentd.operations import Operations
from agentd.peers import Answer
from agentd.performing import remember
from agentd.registry import Held, Registry

log = logging.getLogger("encap.node")

PAUSE = 0.3
LONGEST = 300.0
"""Seconds that the parts of other agents are waited for."""

_NARROWING = ("rids", "tags", "subsets", "master", "slave", "slaves", "to")


class Resolving:
    """Resolves what is interrupted: services side by side, those of one service in their order."""

    def __init__(self, registry: Registry, operations: Operations, means: Means) -> None:
        self._registry, self._operations, self._means = registry, operations, means

    async def all(self) -> None:
        services: dict[str, list[Operation]] = {}
        for operation in self._operations.interrupted():
            services.setdefault(operation.service, []).append(operation)
        await asyncio.gather(*(self._one_after_the_other(each) for each in services.values()))

    async def _one_after_the_other(self, operations: list[Operation]) -> None:
        for operation in operations:
            try:
                await self._resolve(operation)
            except StorageTrouble as error:
                log.error("operation %s: not all of its end is saved: %s", operation.id, error.text)
            except Exception as error:
                log.exception("operation %s: what became of it cannot be found out", operation.id)
                await self._operations.resolve(operation, "unknown", _inscrutable(error))
            await self._means.claims.finished(operation.id)

    async def _resolve(self, operation: Operation) -> None:
        held = self._registry.find(operation.service)
        if held is None:
            await self._operations.resolve(operation, *_without_service(operation))
            return
        await self._means.inspector.refresh(held.name)
        self._means.guests.look()
        await self._others_ended(held, operation)
        await self._guests_heard(held)
        await self._means.inspector.refresh(held.name)
        result, text = verdict(operation.document(), await self._found(held, operation))
        await self._operations.resolve(operation, result, text)
        await self._means.store.intents.forget(operation.id)
        await self._remember(held, operation, result)

    async def _guests_heard(self, held: Held) -> None:
        """Wait until the agents of running containers have told their status, or are silent."""
        until = self._means.clock.monotonic() + self._means.settings().guest_silence
        while self._means.clock.monotonic() < until:
            if not any(self._is_awaited(held, guest.container) for guest in held.service.guests):
                return
            await asyncio.sleep(PAUSE)

    def _is_awaited(self, held: Held, container: str) -> bool:
        report = self._means.guests.report(held.name, container)
        heard = report is not None and report.agent == "answering" and report.document is not None
        return bool(self._means.guests.running(held.name, container)) and not heard

    async def _others_ended(self, held: Held, operation: Operation) -> None:
        """Wait until other agents have ended what this operation had asked them for."""
        nodes = _asked(operation, held.service)
        deadline = self._means.clock.monotonic() + LONGEST
        doubt = self._means.clock.monotonic() + self._means.settings().guest_silence
        while nodes and self._means.clock.monotonic() < deadline:
            answers = await self._means.peers.fan_out(
                nodes, "GET", f"/v1/operations?service={quote(held.name)}")
            late = self._means.clock.monotonic() > doubt
            nodes = [node for node, answer in answers.items()
                     if (answer_runs := _runs(answer, operation.id)) or (answer_runs is None and not late)]
            if nodes:
                await asyncio.sleep(PAUSE)

    async def _found(self, held: Held, operation: Operation) -> dict[tuple[str, str], Status]:
        """Status by (node, what) of all that the plan touches."""
        service, found = held.service, dict[tuple[str, str], Status]()
        for rid, status in self._means.inspector.status(held.name).items():
            found[service.node, rid] = status
        document = self._means.inspector.document(held.name)
        for row in document["resources"]:
            guest = row.get("guest")
            if guest is not None:
                found |= {(guest["node"], r["rid"]): Status(r["status"]) for r in guest["resources"]}
        if _asked(operation, service, hypervisors_only=True):
            documents, silences = await self._means.knowledge.instances(held, refresh=True)
            found |= {(d["node"], service.name): Status(d["avail"]) for d in documents}
            found |= {(s["node"], service.name): Status.UNDEF for s in silences}
        return found

    async def _remember(self, held: Held, operation: Operation, result: str) -> None:
        request = operation.document().get("request") or {}
        whole = not any(request.get(key) for key in _NARROWING)
        await remember(self._means, held.name, Ended(operation.action, result, whole))


def _asked(operation: Operation, service: Service, *, hypervisors_only: bool = False) -> list[str]:
    """The other agents that had a step in the plan."""
    steps = (operation.document()["plan"] or {}).get("steps", ())
    guests = {guest.node for guest in service.guests}
    return list(dict.fromkeys(
        s["where"] for s in steps if s["where"] != service.node and s["what"] == service.name
        and "under" not in s and not (hypervisors_only and s["where"] in guests)))


def _runs(answer: object, operation: str) -> bool | None:
    """Whether an agent still carries out something for `operation`; None when it did not say."""
    value = answer.value if isinstance(answer, Answer) else None
    listed = value.get("operations") if isinstance(value, Mapping) else None
    if not isinstance(listed, list):
        return None
    return any(_is_for(each, operation) and each.get("state") != "ended" for each in listed)


def _is_for(document: object, operation: str) -> bool:
    origin = document.get("origin") if isinstance(document, Mapping) else None
    return isinstance(origin, Mapping) and origin.get("operation") == operation


def _inscrutable(error: Exception) -> str:
    why = error.text if isinstance(error, EncapError) else f"{type(error).__name__}: {error}"
    return f"the daemon was interrupted; what became of it cannot be found out: {why}"


def _without_service(operation: Operation) -> tuple[str, str]:
    if operation.action == "delete":
        return "succeeded", "the daemon was interrupted; the service is deleted here"
    return "unknown", "the service is not known here any more"


def verdict(document: Mapping[str, Any], status: Mapping[tuple[str, str], Status]) -> tuple[str, str]:
    """The result of an interrupted operation, from what its resources are like now.

    `status`: by (node, rid), of this level and of the guests; by (node, service) of other hypervisors.
    """
    steps = (document["plan"] or {}).get("steps", ())
    touched = dict.fromkeys((s["where"], s["what"]) for s in steps)
    found = {key: status[key] for key in touched if key in status}
    goal = Status.DOWN if document["action"].startswith(("stop", "shutdown")) else Status.UP
    told = ", ".join(f"{rid} {state}" if where == document["node"] else f"{rid} in {where} {state}"
                     for (where, rid), state in found.items())
    if not found:
        return "unknown", "the daemon was interrupted, and no resource tells how far it came; repeat it"
    if Status.UNDEF in found.values():
        return "unknown", f"the daemon was interrupted; found {told}; a probe that answers will tell"
    done = all(state in (goal, Status.NA) for state in found.values())
    return ("succeeded" if done else "failed"), f"the daemon was interrupted; found {told}"

"""The registry of operations: who runs what, one mutating operation per service.

Operations are saved as they go on. After a restart those without an end are loaded as
*interrupted*: they still hold their service until whoever probes it resolves them with a
named result. A disk that cannot be written to makes operations go on in memory, visibly
(`Store.trouble`); what must be durable before it is done is refused where it is done (intents).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from agentd.bus import Bus
from agentd.core.errors import ActionFailed, Busy, EncapError, InvalidRequest, NotFound, StorageTrouble
from agentd.core.events import Happening, Kind
from agentd.executor import Outcome
from agentd.operation import Operation, Origin
from agentd.store import KnownKey, Saved, Store
from agentd.timers import Clock, milliseconds, stamp
from agentd.ulid import Ulids, is_ulid
from api.errors import problem

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Operation], Awaitable[Outcome]]

PATIENCE = 5.0
"""Seconds that an operation waits for the disk before it goes on without."""

KEPT = 1000
"""Idempotency keys in memory; the store has them all."""
UNSAVED_KEPT = 64
"""Ended operations in memory that could not be saved."""


class Operations:
    """All operations of this node. Call `load` once before anything else."""

    def __init__(self, store: Store, clock: Clock, bus: Bus, node: str,
                 random: Callable[[int], bytes] = os.urandom) -> None:
        self._store, self._clock, self._bus, self._node = store, clock, bus, node
        self._new_id = Ulids(lambda: milliseconds(clock.wall()), random)
        self._held = _Held()
        self._keys = _Keys(store)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unsaved: OrderedDict[str, Operation] = OrderedDict()
        self._interrupted: dict[str, Operation] = {}
        self._keeper = _Keeper(store, bus)

    async def load(self) -> None:
        """Take over what an earlier run of the daemon left without an end."""
        for document, mutating in await self._store.operations.unended():
            told = await self._store.operations.last_event(document["id"])
            operation = Operation(document, mutating, self._clock, self._keeper, told)
            self._interrupted[operation.id] = operation
            self._held.add(operation)

    async def create(
        self, service: str, action: str, *, plan: Mapping[str, Any] | None = None,
        origin: Origin | None = None, mutating: bool = True, key: str = "", body: bytes = b"",
        request: Mapping[str, Any] | None = None,
    ) -> Operation:
        """A new queued operation, or the one that the same `key` and `body` made before.

        `run` or `finish` it: a mutating operation holds its service from here on. `request`:
        what was asked for, to be read after a restart. Raises Busy (details: ``operation``,
        the document of the running one), and InvalidRequest with the code
        ``idempotency-mismatch`` for a key with another body.
        """
        origin = origin or Origin()
        digest = hashlib.sha256(body).hexdigest()
        made = await self.made_before(origin.who, key, body)
        if made is not None:
            return made
        held = self._held.of(service)
        if mutating and held is not None:
            raise Busy(f"{service} on {self._node} is busy: {held.action}, operation {held.id}",
                       hint=f"svc op wait {held.id}, or svc op cancel {held.id}",
                       operation=held.document(plan=False))
        operation = self._make(service, action, origin, mutating,
                               plan=None if plan is None else dict(plan),
                               request=None if request is None else dict(request))
        self._held.add(operation)
        if key:
            self._keys.remember(origin.who, key, KnownKey(digest, operation.id))
        try:
            await self._save_new(operation, origin.who, key, digest)
        except asyncio.CancelledError:
            # Whoever asked is gone before anything was begun: nobody would ever run this one.
            self._keys.forget(origin.who, key)
            operation.end("cancelled", None, None, "whoever asked went away before it began")
            self._keeper.changed(operation)
            self._held.remove(operation)
            operation.announce()
            raise
        return operation

    async def made_before(self, who: str, key: str, body: bytes) -> Operation | None:
        """The operation that `who` made with this idempotency key; None when there is none."""
        known = await self._keys.used(who, key, hashlib.sha256(body).hexdigest()) if key else ""
        return await self.get(known) if known else None

    def run(self, operation: Operation, work: Work) -> bool:
        """Carry out `work` as this operation, in a task that is never lost.

        Its Outcome, or the error that it raises, becomes the end. False when the operation
        has begun before (the same idempotency key came twice): nothing is done then.
        """
        if operation.begun or operation.ended:
            return False
        operation.begin()
        task = asyncio.create_task(self._carry_out(operation, work), name=f"operation {operation.id}")
        self._tasks[operation.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(operation.id, None))
        return True

    async def finish(self, operation: Operation, outcome: Outcome) -> None:
        """End an operation: saved first, then told. Nothing happens to one that has ended."""
        if operation.ended:
            return
        trouble = None if outcome.problem is None else problem(outcome.problem, self._node)
        text = "; ".join(filter(None, (outcome.problem.text if outcome.problem else "", *outcome.notes)))
        operation.end(outcome.result, outcome.undone, trouble, text)
        saved = Saved(operation.document(), operation.mutating)
        try:
            await _patiently(self._store.operations.save(saved, operation.events.recent()))
        except StorageTrouble as error:
            log.error("the end of operation %s is not saved: %s", operation.id, error.text)
            self._unsaved[operation.id] = operation
            while len(self._unsaved) > UNSAVED_KEPT:
                self._unsaved.popitem(last=False)
        finally:
            self._held.remove(operation)
            self._interrupted.pop(operation.id, None)
            operation.announce()
            self._bus.publish("operation", operation.document(plan=False))

    def interrupted(self) -> list[Operation]:
        """Those that an earlier run of the daemon left without an end, oldest first."""
        return list(self._interrupted.values())

    async def resolve(self, operation: Operation, result: str, text: str, undone: bool | None = None) -> None:
        """Give an interrupted operation its named result; `text` says how that is known."""
        error = None if result == "succeeded" else ActionFailed(text, code="interrupted")
        notes = (text,) if error is None else ()
        await self.finish(operation, Outcome(result, undone, error, notes))

    async def get(self, number: str) -> Operation:
        """An operation by its id, live or from the store. Raises NotFound, StorageTrouble."""
        held = self._held.live.get(number) or self._unsaved.get(number)
        if held is not None:
            return held
        saved = await self._store.operations.get(number) if is_ulid(number) else None
        if saved is None and self._store.database.refusal is not None:
            raise self._store.database.refusal  # only a stand-in for the store that would know
        if saved is None:
            raise NotFound(f"there is no operation {number[:64]} on {self._node}",
                           hint="svc op ls lists them; the oldest are forgotten", code="operation-not-found")
        told = await self._store.operations.last_event(number)
        return Operation(saved.document, saved.mutating, self._clock, self._keeper, told)

    async def list(self, service: str = "", state: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Documents, the newest first, without their plans."""
        found = {saved.document["id"]: {**saved.document, "plan": None}
                 for saved in await self._store.operations.find(service, state, limit)}
        for operation in (*self._unsaved.values(), *self._held.live.values()):
            # What is in memory is newer than what is saved.
            found.pop(operation.id, None)
            if service in ("", operation.service) and state in ("", operation.state):
                found[operation.id] = operation.document(plan=False)
        return [found[number] for number in sorted(found, reverse=True)[:limit]]

    def running(self, service: str) -> Operation | None:
        """The mutating operation that holds the service now."""
        return self._held.of(service)

    async def close(self) -> None:
        """The daemon stops: abandon what runs (an undo that has begun is finished first).

        What is abandoned stays without an end in the store and is resolved at the next start.
        """
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- inside ----------------------------------------------------------------------------

    async def _carry_out(self, operation: Operation, work: Work) -> None:
        try:
            outcome = await work(operation)
        except EncapError as error:
            outcome = Outcome("failed", None, error)
        except Exception as error:
            log.exception("operation %s: an error of the program", operation.id)
            text = f"internal error: {type(error).__name__}: {error}"
            outcome = Outcome("failed", None, ActionFailed(text, code="internal"))
        await self.finish(operation, outcome)

    def _make(self, service: str, action: str, origin: Origin, mutating: bool, **known: Any) -> Operation:
        document = {
            "schema": "encap.operation/1", "id": self._new_id(), "service": service, "action": action,
            "node": self._node, "origin": origin.document(), "state": "queued", "result": None,
            "undone": None, "phase": None, "plan": None, "request": None,
            "created_at": stamp(self._clock.wall()), "started_at": None, "ended_at": None, "problem": None,
            **known,
        }
        return Operation(document, mutating, self._clock, self._keeper)

    async def _save_new(self, operation: Operation, who: str, key: str, digest: str) -> None:
        saved = Saved(operation.document(), operation.mutating)
        try:
            await _patiently(self._store.operations.create(saved, who, key, digest))
        except StorageTrouble as error:
            log.error("operation %s is not saved: %s", operation.id, error.text)
            operation.emit(Happening(Kind.LOG, f"this operation is not saved: {error.text}"))


async def state_of(operations: Operations, number: str) -> str:
    """For those who granted a claim to it: running, ended or unknown-operation. Raises
    StorageTrouble where that cannot be told."""
    try:
        operation = await operations.get(number)
    except NotFound:
        return "unknown-operation"
    return "ended" if operation.ended else "running"


async def _patiently(saving: Awaitable[T]) -> T:
    """What the store answers; StorageTrouble when it takes too long (it still goes on)."""
    try:
        return await asyncio.wait_for(asyncio.shield(saving), PATIENCE)
    except TimeoutError:
        raise StorageTrouble(f"the disk has not answered for {PATIENCE:g} s") from None


class _Held:
    """The operations without an end, and which of them holds which service."""

    def __init__(self) -> None:
        self.live: dict[str, Operation] = {}
        self._services: dict[str, Operation] = {}

    def of(self, service: str) -> Operation | None:
        return self._services.get(service)

    def add(self, operation: Operation) -> None:
        self.live[operation.id] = operation
        if operation.mutating:
            self._services.setdefault(operation.service, operation)

    def remove(self, operation: Operation) -> None:
        self.live.pop(operation.id, None)
        if self._services.get(operation.service) is operation:
            del self._services[operation.service]
            # Several interrupted ones may wait for the same service.
            for other in self.live.values():
                if other.service == operation.service:
                    self.add(other)


class _Keys:
    """Idempotency keys: in the store, and the newest of them in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str], KnownKey] = OrderedDict()

    async def used(self, who: str, key: str, digest: str) -> str:
        """The id of the operation that `who` made with this key before, or ""."""
        if len(key) > 255 or not key.isascii() or not key.isprintable():
            raise InvalidRequest("an idempotency key is at most 255 printable ASCII characters")
        known = self._known.get((who, key))
        if known is None:
            try:
                known = await _patiently(self._store.operations.of_key(who, key))
            except StorageTrouble as error:
                log.error("cannot look up an idempotency key: %s", error.text)
            # Another request with the key may have come in between.
            known = self._known.get((who, key)) or known
        if known is None:
            return ""
        if known.body != digest:
            raise InvalidRequest("this idempotency key was used for another request",
                                 code="idempotency-mismatch", hint="make a new key for a new request")
        return known.operation

    def remember(self, who: str, key: str, known: KnownKey) -> None:
        self._known[who, key] = known
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    def forget(self, who: str, key: str) -> None:
        if self._known.pop((who, key), None) is not None:
            self._store.operations.forget_key(who, key)


class _Keeper:
    """Saves what operations tell, with nobody waiting, and tells the bus."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store, self._bus = store, bus

    def changed(self, operation: Operation) -> None:
        self._store.operations.post(Saved(operation.document(), operation.mutating))
        self._bus.publish("operation", operation.document(plan=False))

    def happened(self, operation: Operation, event: Mapping[str, Any]) -> None:
        self._store.operations.post_events(operation.id, [event])

    async def recall(self, operation: Operation, after: int) -> list[dict[str, Any]]:
        return await self._store.operations.events(operation.id, after)

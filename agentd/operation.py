"""One operation: its state, its events, and those who follow them.

An operation knows nothing of the disk: it gives what is to be saved to a `Keeper` and asks
it for the events that no longer fit into memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from agentd.core.errors import EncapError, Refused
from agentd.core.events import Happening, Kind
from agentd.timers import Clock, stamp

EVENTS_IN_MEMORY = 1000
"""A follower that is further behind reads from the store."""

TEXT_LIMIT = 4096
NAME_LIMIT = 256
CHATTER_LIMIT = 4 << 20
"""Characters of events of one operation; then only its steps and its end are told."""

RELAYED_LIMIT = 1 << 20
"""Characters of other agents' events in one operation."""
RELAYED_RATE = 20.0
"""Events a second of other agents, in the long run."""
RELAYED_BURST = 200.0
"""How many may come at once."""


class Lagged(EncapError):
    """The follower is so far behind that the events it needs are gone."""

    code = "lagged"
    retryable = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked: a person or local user, and, from another agent, its node and operation."""

    who: str = ""
    node: str = ""
    operation: str = ""

    def document(self) -> dict[str, str]:
        return {"who": self.who, "node": self.node, "operation": self.operation}


class Keeper(Protocol):
    """What an operation needs of whoever owns it."""

    def changed(self, operation: Operation) -> None:
        """The operation's document changed."""
        ...

    def happened(self, operation: Operation, event: Mapping[str, Any]) -> None:
        """The operation has a new event."""
        ...

    async def recall(self, operation: Operation, after: int) -> list[dict[str, Any]]:
        """Older events, some of those with a number above `after`, in order; [] when they are gone."""
        ...


class Operation:
    """`cancelling` is set when somebody asked to cancel; `plan` is a plan document or None.

    `told` is the number of the newest event that an operation from the store has.
    """

    def __init__(self, document: Mapping[str, Any], mutating: bool, clock: Clock, keeper: Keeper,
                 told: int = 0) -> None:
        self._document = dict(document)
        self.id: str = document["id"]
        self.service: str = document["service"]
        self.action: str = document["action"]
        self.node: str = document["node"]
        self.mutating = mutating
        self.cancelling = asyncio.Event()
        self._clock, self._keeper = clock, keeper
        self.events = _Events(told)
        self._relay = _Relay()
        self._over = asyncio.Event()
        self._taken = False
        if self.ended:
            self._over.set()

    @property
    def state(self) -> str:
        return str(self._document["state"])

    @property
    def ended(self) -> bool:
        return self.state == "ended"

    @property
    def begun(self) -> bool:
        return self._document["started_at"] is not None

    def take(self) -> bool:
        """Whether the caller is the first to take charge of it: of two with one key, one is."""
        taken, self._taken = self._taken, True
        return not taken

    def document(self, *, plan: bool = True) -> dict[str, Any]:
        """The operation document, ``encap.operation/1``; without `plan` that field is null."""
        return dict(self._document) if plan else {**self._document, "plan": None}

    def plan_is(self, plan: Mapping[str, Any]) -> None:
        """The plan became known, or is another one now."""
        self._document["plan"] = dict(plan)
        self._keeper.changed(self)

    def begin(self) -> None:
        self._document["started_at"] = stamp(self._clock.wall())
        if not self.cancelling.is_set():
            self._document["state"] = "running"
        self._keeper.changed(self)

    def cancel(self, who: str = "") -> None:
        """Ask for a cancel at the next step boundary; asking twice is fine. Refused when ended."""
        if self.ended:
            raise Refused(f"operation {self.id} has ended: {self._document['result']}", code="ended")
        if self.cancelling.is_set():
            return
        self.cancelling.set()
        self._document["state"] = "cancelling"
        self._keeper.changed(self)
        self.emit(Happening(Kind.LOG, f"cancel asked for by {who}" if who else "cancel asked for"))

    def end(self, result: str, undone: bool | None, problem: Mapping[str, Any] | None, text: str) -> None:
        """The operation has a result; those who wait hear of it with `announce`."""
        self.emit(Happening(Kind.END, text, result=result))
        self._document |= {
            "state": "ended", "result": result, "undone": undone, "phase": None,
            "ended_at": stamp(self._clock.wall()), "problem": None if problem is None else dict(problem),
        }

    def announce(self) -> None:
        """The end is saved, or cannot be: wake everybody."""
        self._over.set()
        self.events.wake()

    def emit(self, happening: Happening) -> None:
        """Tell an event to all followers. Nothing is told after the end."""
        if self.ended:
            return
        if happening.kind in (Kind.LOG, Kind.PROGRESS) and self.events.size > CHATTER_LIMIT:
            if self.events.hushed:
                return
            self.events.hushed = True
            happening = Happening(Kind.LOG, "more than 4 MiB were told: further log lines are not kept")
        told = happening.document()
        event = self.events.append({
            "id": self.events.told + 1, "at": stamp(self._clock.wall()), "operation": self.id, **told,
            "where": clean(told["where"], NAME_LIMIT), "what": clean(told["what"], NAME_LIMIT),
            "text": clean(told["text"], TEXT_LIMIT),
        })
        self._keeper.happened(self, event)
        if happening.kind is Kind.PHASE and happening.under is None:
            self._document["phase"] = event["text"]
            self._keeper.changed(self)
        if happening.kind is not Kind.END:
            self.events.wake()

    def relay(self, under: int, event: Mapping[str, Any]) -> bool:
        """Tell an event of another agent's operation under the delegated step `under`.

        What comes from there is not trusted: cut to size, limited in rate and amount; False
        when it was not told. Its end is not told: that is for whoever delegated the step.
        """
        happening = _relayed(under, event)
        if happening is None:
            return False
        verdict = self._relay.verdict(happening, self._clock.monotonic())
        if verdict:
            self.emit(Happening(Kind.LOG, verdict, under=under))
        elif self._relay.open:
            self.emit(happening)
            return True
        return False

    async def follow(self, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        """The events above number `after`, then each new one, up to the end. Raises Lagged."""
        while True:
            news, over = self.events.news, self._over.is_set()
            batch = self.events.since(after)
            if batch is None:
                batch = await self._keeper.recall(self, after)
                if not batch:
                    raise Lagged(f"the events of {self.id} after {after} are gone",
                                 hint="read the operation, then follow from its newest event")
            for event in batch:
                yield event
                after = event["id"]
                if event["kind"] == Kind.END:
                    return
            if not batch:
                if over:
                    return
                await news.wait()

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; whether it has come."""
        if not self._over.is_set():
            try:
                await asyncio.wait_for(self._over.wait(), timeout)
            except TimeoutError:
                return self._over.is_set()
        return True


class _Events:
    """The newest events, in memory. `news` is set, and replaced, when there is a new one."""

    def __init__(self, told: int) -> None:
        self.told = told
        self.size = 0
        self.hushed = False
        self.news = asyncio.Event()
        self._kept: deque[dict[str, Any]] = deque(maxlen=EVENTS_IN_MEMORY)

    def append(self, event: dict[str, Any]) -> dict[str, Any]:
        self.told = event["id"]
        self.size += len(event["text"]) + 200
        self._kept.append(event)
        return event

    def recent(self) -> list[dict[str, Any]]:
        return list(self._kept)

    def since(self, after: int) -> list[dict[str, Any]] | None:
        """The events above `after`; None when some of them are no longer in memory."""
        first = self.told - len(self._kept) + 1
        if after + 1 < first:
            return None
        return list(islice(self._kept, after + 1 - first, None))

    def wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class _Relay:
    """A bucket of events and a bucket of characters for what other agents tell."""

    def __init__(self) -> None:
        self.open = True
        self._tokens, self._filled, self._characters = RELAYED_BURST, 0.0, 0
        self._warned = False

    def verdict(self, happening: Happening, now: float) -> str:
        """A sentence when a limit is met for the first time; `open`: whether to tell this one."""
        self._tokens = min(RELAYED_BURST, self._tokens + (now - self._filled) * RELAYED_RATE)
        self._filled = now
        if self._characters > RELAYED_LIMIT:
            return ""
        self._characters += len(happening.text) + len(happening.where) + len(happening.what)
        self.open = self._characters <= RELAYED_LIMIT and self._tokens >= 1
        if self.open:
            self._tokens -= 1
            return ""
        if self._characters > RELAYED_LIMIT:
            return "the other agents tell more than 1 MiB: the rest is not shown"
        if self._warned:
            return ""
        self._warned = True
        return "the other agents tell more than 20 events a second: some are not shown"


def _relayed(under: int, event: Mapping[str, Any]) -> Happening | None:
    """Another agent's event as one of ours; None when it is not an event to tell."""
    try:
        kind = Kind(str(event.get("kind")))
    except ValueError:
        return None
    if kind is Kind.END:
        return None
    step = event.get("step")
    known = isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 1 << 31
    where, what, text = (clean(event.get(key), limit) for key, limit in
                         (("where", NAME_LIMIT), ("what", NAME_LIMIT), ("text", TEXT_LIMIT)))
    return Happening(kind, text, step if known else None, where, what, under)


def clean(text: object, limit: int) -> str:
    """At most `limit` characters that can be encoded; "" for what is no text."""
    return text[:limit].encode("utf-8", "replace").decode() if isinstance(text, str) else ""

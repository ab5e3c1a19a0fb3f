"""What this node tells those who listen to it: one stream of events of all its services.

A listener first hears who we are and what every service is like, then each change. Events
are not kept: whoever comes back with the id of the newest event goes on from there, anybody
else hears everything again. A listener that cannot keep up is cut off, and comes back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import Any, Protocol, TypeVar

from agentd.bus import Bus, Message, Overflow, Subscription

TOPICS = ("status", "operation", "gone")
HEARTBEAT = 5.0
"""Seconds between two signs of life on a stream where nothing happens."""

Sees = Callable[[str], bool]
T = TypeVar("T")


class Source(Protocol):
    """Where the feed takes from what it tells."""

    def describe(self) -> dict[str, Any]: ...
    def names(self) -> list[str]: ...
    def status(self, name: str) -> dict[str, Any] | None:
        """The status document of a service, None when there is no such service any more."""
        ...


class Feed:
    """The event streams of this node, as text of server-sent events."""

    def __init__(self, bus: Bus, source: Source) -> None:
        self._bus, self._source = bus, source

    async def stream(self, topics: Collection[str], last_id: str, sees: Sees) -> AsyncIterator[str]:
        """Events until the bus closes. `topics`: some of TOPICS, none for all; `sees`: whether
        the listener may hear of a service."""
        who = self._source.describe()
        with self._bus.subscribe(topics or TOPICS) as news:
            if last_id != self._id(who, self._bus.carried):
                for text in self._everything(who, topics, sees):
                    yield text
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        batch = await _batch(news)
                except TimeoutError:
                    yield ": \n\n"
                    continue
                if not batch:
                    return
                for message in batch:
                    if isinstance(message, Overflow):
                        return
                    text = self._told(who, message, sees)
                    if text:
                        yield text

    def _everything(self, who: dict[str, Any], topics: Collection[str], sees: Sees) -> Iterator[str]:
        at = self._bus.carried
        names = [name for name in self._source.names() if sees(name)]
        yield _event("node", {**who, "services": names}, self._id(who, "-"))
        for name in names if not topics or "status" in topics else ():
            document = self._source.status(name)
            if document is not None:
                yield _event("status", document, self._id(who, "-"))
        yield _event("all", {"services": names}, self._id(who, at))

    def _told(self, who: dict[str, Any], message: Message, sees: Sees) -> str:
        """The event of a message; "" when it is not for this listener."""
        item = message.item
        name = item if isinstance(item, str) else str(item.get("service", ""))
        if not sees(name):
            return ""
        if message.topic == "status":
            item = self._source.status(name)
        elif isinstance(item, str):
            item = {"service": name}
        return "" if item is None else _event(message.topic, item, self._id(who, message.number))

    def _id(self, who: dict[str, Any], number: int | str) -> str:
        return f"{who['run_id']}.{number}"


async def lively(events: AsyncIterator[T]) -> AsyncIterator[T | None]:
    """The same events, and None whenever there was none for a heartbeat."""
    pending: asyncio.Task[T] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait((pending,), timeout=HEARTBEAT)
            if not done:
                yield None
                continue
            try:
                event = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield event
    finally:
        if pending is not None:
            pending.cancel()


async def _batch(news: Subscription) -> list[Message | Overflow]:
    """What is there, at least one message; of several about the status of a service, one. [] at the end."""
    found: list[Message | Overflow] = []
    try:
        found.append(await anext(news))
        while news.waiting:
            found.append(await anext(news))
    except StopAsyncIteration:
        return found
    latest = {m.item: m.number for m in found if isinstance(m, Message) and m.topic == "status"}
    return [m for m in found if isinstance(m, Overflow) or m.topic != "status" or latest[m.item] == m.number]


def _event(kind: str, document: Any, ident: str) -> str:
    return f"event: {kind}\nid: {ident}\ndata: {json.dumps(document, separators=(',', ':'))}\n\n"

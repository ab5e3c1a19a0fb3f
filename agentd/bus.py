"""In-process publish and subscribe: bounded, and a slow listener never slows a publisher."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """`number`: how many messages the bus has carried, this one included."""

    topic: str
    item: Any
    number: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Overflow:
    """The last thing a slow listener gets: `lost` messages were not delivered; read again."""

    lost: int


class Subscription:
    """An async iterator of messages, for one task. It ends with the bus or after an Overflow."""

    def __init__(self, topics: Collection[str], size: int) -> None:
        self._topics, self._size = frozenset(topics), size
        self._queue: deque[Message | Overflow] = deque()
        self._ready = asyncio.Event()
        self.ended = False

    def offer(self, message: Message) -> None:
        """Take a message in, or be dropped when there is no room left."""
        if self.ended or (self._topics and message.topic not in self._topics):
            return
        if len(self._queue) >= self._size:
            lost = len(self._queue) + 1
            # What is queued is old news for somebody who has to read everything again.
            self._queue.clear()
            self._queue.append(Overflow(lost))
            self.ended = True
        else:
            self._queue.append(message)
        self._ready.set()

    def end(self) -> None:
        """No more messages; those that are queued are still delivered."""
        self.ended = True
        self._ready.set()

    @property
    def waiting(self) -> bool:
        """Whether a message is there already."""
        return bool(self._queue)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message | Overflow:
        while not self._queue:
            if self.ended:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()


class Bus:
    """Publishing is a plain call from the loop's own thread and never waits."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._closed = False
        self.carried = 0

    def publish(self, topic: str, item: Any) -> None:
        self.carried += 1
        message = Message(topic, item, self.carried)
        for subscription in tuple(self._subscriptions):
            subscription.offer(message)
            if subscription.ended:
                self._subscriptions.discard(subscription)

    @contextmanager
    def subscribe(self, topics: Collection[str] = (), size: int = 256) -> Iterator[Subscription]:
        """Listen to `topics` (none named: all). Messages count from the moment of the call."""
        subscription = Subscription(topics, size)
        if self._closed:
            subscription.end()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """The daemon stops: every listener comes to its end."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.end()
        self._subscriptions.clear()

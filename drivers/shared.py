"""One question that many resources ask at a time: put once, answered to all of them.

Two hundred guests on a hypervisor are one list of guests, not two hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from drivers.base import Host

T = TypeVar("T")

FRESH = 0.2
"""Seconds after the question was put in which its answer is given to others too."""


class Shared(Generic[T]):
    """Answers by host and key. An error is shared by those who wait for it, and is not kept."""

    def __init__(self) -> None:
        self._asked: WeakKeyDictionary[Host, dict[str, tuple[float, asyncio.Future[T]]]] = WeakKeyDictionary()

    async def get(self, host: Host, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        asked = self._asked.setdefault(host, {})
        began, answer = asked.get(key, (0.0, None))
        if answer is None or host.now() - began > FRESH or _failed(answer):
            answer = asyncio.ensure_future(ask())
            answer.add_done_callback(_failed)  # also when nobody waits any more
            asked[key] = (host.now(), answer)
        return await asyncio.shield(answer)

    def forget(self, host: Host, key: str) -> None:
        """Something was changed: who asks from now on is told how it is now."""
        self._asked.get(host, {}).pop(key, None)


def _failed(answer: asyncio.Future[T]) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)

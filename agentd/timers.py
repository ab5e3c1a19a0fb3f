"""Clocks and repetition: what time it is, and doing a thing again and again.

Decisions use `monotonic`; `wall` is for people and never decides who wins.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def wall(self) -> datetime:
        """The time of day, aware, in UTC."""
        ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> datetime:
        return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-23T16:00:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, never negative."""
    return max(0, int(moment.timestamp() * 1000))


async def periodic(
    interval: float,
    jitter: float,
    act: Callable[[], Awaitable[object]],
    report: Callable[[Exception], None],
    *,
    first: float = 0.0,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> None:
    """Call `act` for ever: after `first` seconds, then `interval` seconds after each end.

    Each pause is spread evenly over ``interval * (1 ± jitter)``, so that many daemons that
    start together do not stay in step. An error of `act` goes to `report` and ends nothing;
    only cancellation ends the loop.
    """
    if first > 0:
        await sleep(first)
    while True:
        try:
            await act()
        except Exception as error:  # noqa: BLE001 - told to `report`, whoever fails is called again
            report(error)
        await sleep(interval * (1 + jitter * (2 * chance() - 1)))

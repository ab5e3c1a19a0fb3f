"""Repetition in virtual time, time stamps, and ids."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from agentd.timers import SystemClock, milliseconds, periodic, stamp
from agentd.ulid import ALPHABET, Ulids, is_ulid


def test_it_goes_on_whatever_happens(virtual) -> None:
    calls: list[float] = []
    errors: list[str] = []

    async def act() -> None:
        calls.append(asyncio.get_running_loop().time())
        if len(calls) == 2:
            raise ValueError("oops")
        await asyncio.sleep(1)

    async def scenario() -> None:
        chances = iter([0.5, 0.0, 1.0, 0.5])
        task = asyncio.create_task(periodic(10, 0.2, act, lambda error: errors.append(str(error)), first=3,
                                            chance=lambda: next(chances)))
        await asyncio.sleep(40)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    virtual(scenario())
    assert calls == [3, 14, 22, 35]
    assert errors == ["oops"]


def test_time_stamps() -> None:
    moment = datetime(2026, 11, 23, 17, 0, 0, 5999, tzinfo=timezone(timedelta(hours=1)))
    assert stamp(moment) == "2026-11-23T16:00:00.005Z"
    assert milliseconds(datetime(1969, 1, 1, tzinfo=UTC)) == 0
    clock = SystemClock()
    assert clock.wall().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


@given(st.lists(st.integers(0, (1 << 48) - 1), min_size=2, max_size=50), st.binary(min_size=10, max_size=10))
def test_ids_grow_whatever_the_clock_does(times: list[int], chance: bytes) -> None:
    clock = iter(times)
    new = Ulids(lambda: next(clock), lambda size: chance)
    ids = [new() for _ in times]
    assert ids == sorted(set(ids))
    assert all(is_ulid(i) for i in ids)


def test_an_id_holds_its_time() -> None:
    (text,) = {Ulids(lambda: 1469918176385, lambda size: b"\0" * size)()}
    assert text == "01ARYZ6S41" + "0" * 16
    assert not any(map(is_ulid, ("", "0" * 25, "I" * 26, "8" + "0" * 25, "0" * 25 + "é")))
    assert len(ALPHABET) == 32

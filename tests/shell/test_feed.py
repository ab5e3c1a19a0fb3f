"""The stream of events of a node: what a listener hears at first, then, and after it was away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentd import feed
from agentd.bus import Bus
from agentd.feed import Feed, lively

Event = tuple[str, str, Any]


class Source:
    """Two services, whose status is a number."""

    def __init__(self) -> None:
        self.number = {"db": 1, "web": 1}

    def describe(self) -> dict[str, Any]:
        return {"node": "vm1", "boot_id": "b1", "run_id": "r1", "services": []}

    def names(self) -> list[str]:
        return sorted(self.number)

    def status(self, name: str) -> dict[str, Any] | None:
        return {"service": name, "number": self.number[name]} if name in self.number else None


def read(text: str) -> Event:
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return fields["event"], fields["id"], json.loads(fields["data"])


async def heard(stream: AsyncIterator[str], count: int) -> list[Event]:
    return [read(await asyncio.wait_for(anext(stream), 5)) for _ in range(count)]


def everyone(_name: str) -> bool:
    return True


async def test_a_new_listener_hears_who_we_are_and_everything_once() -> None:
    stream = Feed(Bus(), Source()).stream((), "", everyone)
    told = await heard(stream, 4)
    assert [kind for kind, _id, _data in told] == ["node", "status", "status", "all"]
    assert told[0][2]["services"] == ["db", "web"]
    assert [data["service"] for _kind, _id, data in told[1:3]] == ["db", "web"]


async def test_then_each_change_with_what_is_true_by_then() -> None:
    bus, source = Bus(), Source()
    stream = Feed(bus, source).stream((), "", everyone)
    await heard(stream, 4)
    for number in (2, 3):
        source.number["web"] = number
        bus.publish("status", "web")
    kind, _id, data = (await heard(stream, 1))[0]
    assert (kind, data) == ("status", {"service": "web", "number": 3}), "two changes are one event"
    del source.number["db"]
    bus.publish("status", "db")
    bus.publish("gone", "db")
    assert (await heard(stream, 1))[0][::2] == ("gone", {"service": "db"})


async def test_who_comes_back_in_time_hears_nothing_twice_and_anybody_else_hears_everything() -> None:
    bus, source = Bus(), Source()
    source_feed = Feed(bus, source)
    last = (await heard(source_feed.stream((), "", everyone), 4))[-1][1]
    again = source_feed.stream((), last, everyone)
    waiting = asyncio.ensure_future(heard(again, 1))
    for _ in range(5):
        await asyncio.sleep(0)  # until it listens
    bus.publish("status", "web")
    assert (await waiting)[0][0] == "status"
    late = await heard(source_feed.stream((), last, everyone), 4)
    assert [kind for kind, _id, _data in late] == ["node", "status", "status", "all"]
    assert (await heard(source_feed.stream((), "r0.17", everyone), 1))[0][0] == "node"


async def test_a_listener_hears_only_what_it_may_and_what_it_asked_for() -> None:
    bus, source = Bus(), Source()
    stream = Feed(bus, source).stream(("operation",), "", lambda name: name == "web")
    told = await heard(stream, 2)
    assert [kind for kind, _id, _data in told] == ["node", "all"]
    assert told[0][2]["services"] == ["web"]
    bus.publish("operation", {"service": "db", "id": "1"})
    bus.publish("status", "web")
    bus.publish("operation", {"service": "web", "id": "2"})
    assert (await heard(stream, 1))[0][::2] == ("operation", {"service": "web", "id": "2"})


async def test_a_stream_where_nothing_happens_shows_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT", 0.01)
    stream = Feed(Bus(), Source()).stream((), "", everyone)
    await heard(stream, 4)
    assert await asyncio.wait_for(anext(stream), 5) == ": \n\n"


async def test_a_listener_that_cannot_keep_up_is_cut_off_and_the_stop_ends_all() -> None:
    bus = Bus()
    slow, other = (Feed(bus, Source()).stream((), "", everyone) for _ in range(2))
    await heard(slow, 4)
    await heard(other, 4)
    for number in range(300):
        bus.publish("operation", {"service": "web", "id": str(number)})
    assert [text async for text in slow] == []
    bus.close()
    assert [text async for text in other] == []


async def test_lively_passes_on_and_fills_silences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT", 0.02)
    go = asyncio.Event()

    async def events() -> AsyncIterator[int]:
        yield 1
        await go.wait()
        yield 2

    found = []
    async for event in lively(events()):
        found.append(event)
        if event is None:
            go.set()
    assert [each for each in found if each is not None] == [1, 2]
    assert None in found

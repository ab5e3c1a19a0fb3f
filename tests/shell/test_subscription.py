"""What guests tell of themselves: believed after a look at it, and silence by the clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from agentd.core.errors import Silent
from agentd.core.model import Guest, Level, Resource, Service
from agentd.subscription import Subscriptions
from api.client import ServerEvent

GUEST = Guest("container#0", "vm1", (Resource("fs#1", "flag", encap=True),), "failover", ("vm1",))
SERVICE = Service("web", "hv1", Level.HOST, ("hv1",), encapnodes=("vm1",), guests=(GUEST,))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


class Streams:
    """Stands for the peers: gives what is put into `queue` as the events of one guest."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[ServerEvent | None] = asyncio.Queue()
        self.opened: list[str] = []
        self.refusing = False

    @asynccontextmanager
    async def events(self, node: str, path: str, *, last_id: str = "",
                     silence: float = 15.0) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        self.opened.append(last_id)
        if self.refusing:
            raise Silent(f"{node} does not answer")
        yield self._events()

    async def _events(self) -> AsyncIterator[ServerEvent]:
        while True:
            event = await self.queue.get()
            if event is None:
                return
            yield event


class World:
    def __init__(self) -> None:
        self.clock, self.streams = Clock(), Streams()
        self.changed: asyncio.Queue[str] = asyncio.Queue()
        self.boots: list[tuple[str, str]] = []
        self.here = True
        self.subscriptions = Subscriptions(
            self.streams, self.clock, lambda: 15.0,  # type: ignore[arg-type]
            lambda service, node: (SERVICE, GUEST) if (service, node) == ("web", "vm1") else None,
            self.locate, self.changed.put_nowait, self.introduced)

    async def locate(self, _node: str) -> bool:
        return self.here

    async def introduced(self, node: str, boot: str) -> None:
        self.boots.append((node, boot))

    def tell(self, kind: str, document: Any, ident: str = "r.1") -> None:
        data = document if isinstance(document, str) else json.dumps(document)
        self.streams.queue.put_nowait(ServerEvent(kind, data, ident))

    async def news(self) -> str:
        return await asyncio.wait_for(self.changed.get(), 5)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    found.subscriptions.follow(["vm1"])
    yield found
    await found.subscriptions.close()


def document(status: str = "up", **more: Any) -> dict[str, Any]:
    row = {"rid": "fs#1", "status": status, "label": "flag", "log": [], "age": 0.1, "disable": False,
           "optional": False, "last_status": None, "observed_at": None, "provisioned": "n/a"}
    return {"schema": "encap.status/1", "service": "web", "node": "vm1", "level": "encap", "revision": 3,
            "hash": "sha256:x", "frozen": None, "operation": None, "avail": status, "overall": status,
            "observed_at": "", "log": [], "resources": [row], **more}


async def test_what_a_guest_tells_is_in_its_report(world: World) -> None:
    assert world.subscriptions.report("web", GUEST).agent == "absent"
    world.tell("node", {"boot_id": "b1", "services": ["web"]})
    world.tell("status", document())
    assert await world.news() == "web"
    report = world.subscriptions.report("web", GUEST)
    assert (report.agent, report.heard, report.received) == ("answering", 100.0, 100.0)
    assert report.document is not None
    assert report.document["resources"][0]["status"] == "up"
    assert world.boots == [("vm1", "b1")]


async def test_silence_is_no_byte_for_its_time_and_the_last_word_stays(world: World) -> None:
    world.tell("status", document())
    await world.news()
    world.clock.now += 14
    assert world.subscriptions.agent("vm1") == "answering"
    world.clock.now += 2
    report = world.subscriptions.report("web", GUEST)
    assert report.agent == "silent"
    assert report.document is not None


async def test_a_comment_is_a_sign_of_life(world: World) -> None:
    world.tell("status", document())
    await world.news()
    world.clock.now += 14
    world.streams.queue.put_nowait(ServerEvent("comment"))
    world.tell("status", document())
    await world.news()
    world.clock.now += 14
    assert world.subscriptions.agent("vm1") == "answering"


@pytest.mark.parametrize("lie", [
    document(node="hv1"), document(level="host"), document(avail="fine"), document(resources="none"),
    {**document(), "service": "web", "schema": "x"},
], ids=["another node", "another level", "no state", "no list", "another schema"])
async def test_a_lie_is_told_as_one_and_the_last_good_word_stays(world: World, lie: dict[str, Any]) -> None:
    world.tell("status", document())
    await world.news()
    world.tell("status", lie)
    await world.news()
    report = world.subscriptions.report("web", GUEST)
    assert report.reason.startswith("invalid reply")
    assert report.document is not None
    assert report.document["avail"] == "up"


async def test_a_service_that_is_not_the_guests_is_not_kept(world: World) -> None:
    world.tell("status", {**document(), "service": "db"})
    world.tell("status", document())
    assert await world.news() == "web"
    assert list(world.subscriptions.sight("vm1").told) == ["web"]


async def test_a_service_that_is_gone_there_is_told_no_more(world: World) -> None:
    world.tell("status", document())
    await world.news()
    world.tell("gone", {"service": "web"})
    await world.news()
    assert world.subscriptions.report("web", GUEST).document is None


async def test_a_guest_that_came_back_without_a_service_tells_nothing_of_it(world: World) -> None:
    world.tell("status", document())
    await world.news()
    world.tell("node", {"boot_id": "b2", "services": []})
    await world.news()
    assert world.subscriptions.report("web", GUEST).document is None
    assert world.boots[-1] == ("vm1", "b2")


async def test_a_stream_that_ended_goes_on_from_its_last_event(world: World) -> None:
    world.tell("status", document(), "r1.7")
    await world.news()
    world.streams.queue.put_nowait(None)
    world.subscriptions.wake("vm1")
    world.tell("status", document(), "r1.8")
    await world.news()
    assert world.streams.opened == ["", "r1.7"]


async def test_garbage_breaks_the_stream_and_not_the_following(world: World) -> None:
    world.tell("status", "{")
    world.tell("status", document())
    assert await world.news() == "web"
    assert len(world.streams.opened) == 2
    assert world.subscriptions.sight("vm1").why in ("", "an event that is not JSON")


async def test_a_container_that_is_down_ends_what_was_told(world: World) -> None:
    world.tell("status", document())
    await world.news()
    world.subscriptions.forget("vm1")
    report = world.subscriptions.report("web", GUEST)
    assert (report.agent, report.document, report.heard) == ("absent", None, None)


async def test_nobody_is_called_whose_container_does_not_run() -> None:
    world = World()
    world.here = False
    world.subscriptions.follow(["vm1"])
    await asyncio.sleep(0)
    assert world.streams.opened == []
    world.here = True
    world.subscriptions.wake("vm1")
    world.tell("status", document())
    assert await world.news() == "web"
    world.subscriptions.follow([])
    assert world.subscriptions.report("web", GUEST).agent == "absent"
    await world.subscriptions.close()


async def test_a_guest_that_floods_is_read_more_slowly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    enough, real = asyncio.Event(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        enough.set()
        await real(0)

    monkeypatch.setattr("agentd.subscription.asyncio.sleep", sleep)
    for _ in range(650):
        world.streams.queue.put_nowait(ServerEvent("comment"))
    await asyncio.wait_for(enough.wait(), 5)
    assert waited[0] == pytest.approx(0.05)

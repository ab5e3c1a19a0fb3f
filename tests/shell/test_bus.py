"""The bus: everybody gets everything, or is told that they did not."""

from __future__ import annotations

import asyncio

from agentd.bus import Bus, Message, Overflow


async def test_listeners_get_their_topics_in_order() -> None:
    bus = Bus()
    with bus.subscribe(["status"]) as status, bus.subscribe() as everything:
        bus.publish("status", 1)
        bus.publish("config", 2)
        bus.publish("status", 3)
        bus.close()
        assert [m async for m in status] == [Message("status", 1), Message("status", 3)]
        assert [m.item async for m in everything if isinstance(m, Message)] == [1, 2, 3]


async def test_a_slow_listener_is_dropped_and_told_and_slows_nobody() -> None:
    bus = Bus()
    with bus.subscribe(size=3) as slow, bus.subscribe(size=100) as quick:
        for number in range(10):
            bus.publish("status", number)
        assert [m async for m in slow] == [Overflow(4)]
        assert [m async for m in slow] == []
        bus.close()
        assert len([m async for m in quick]) == 10


async def test_waiting_listeners_wake_and_a_closed_bus_is_silent() -> None:
    bus = Bus()
    with bus.subscribe() as heard:
        first = asyncio.create_task(anext(heard))
        await asyncio.sleep(0)
        bus.publish("status", 1)
        assert await first == Message("status", 1)
        rest = asyncio.create_task(_rest(heard))
        await asyncio.sleep(0)
        bus.close()
        assert await rest == []
    with bus.subscribe() as late:
        bus.publish("status", 2)
        assert [m async for m in late] == []


async def test_who_leaves_is_forgotten() -> None:
    bus = Bus()
    with bus.subscribe(size=1) as gone:
        pass
    bus.publish("status", 1)
    bus.publish("status", 2)
    gone.end()
    assert [m async for m in gone] == []


async def _rest(heard: object) -> list[object]:
    return [m async for m in heard]  # type: ignore[attr-defined]

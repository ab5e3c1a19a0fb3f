"""What the guests of this node tell of themselves: one event stream to each guest's agent.

The hypervisor calls, the guest tells; a status then costs no call. What a guest tells is
checked by `agentd.core.reply` before it is believed, and a guest that tells too much is
read more slowly. Silence is measured here: no byte for `guest_silence` seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentd.core.errors import EncapError, InvalidRequest
from agentd.core.guest_part import GuestReport
from agentd.core.model import Guest, Service
from agentd.core.names import is_service_name
from agentd.core.reply import InvalidReply, clean, parse_strictly, read_guest_status
from agentd.peers import Peers
from agentd.timers import Clock, stamp

if TYPE_CHECKING:
    from api.client import ServerEvent

log = logging.getLogger("encap.guests")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two tries to reach an agent that should be there."""
IDLE_PAUSE = 60.0
"""The same for one whose container does not run; a start wakes the loop."""
RATE, BURST = 20.0, 600.0
"""Events a second of one guest in the long run, and how many may come at once."""
SERVICES_LIMIT = 200
"""Services of one guest that are kept."""


@dataclass(slots=True)
class Told:
    """The newest status document of a service in a guest, or why it is not believed."""

    document: dict[str, Any] | None
    received: float
    reason: str = ""


@dataclass(slots=True)
class Sight:
    """What is known of one guest's agent. `heard`: monotonic time of its last byte."""

    heard: float | None = None
    last_answer: str | None = None
    last_id: str = ""
    why: str = ""
    boot: str = ""
    enrolling: bool = False
    told: dict[str, Told] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


Part = tuple[Service, Guest]


class Subscriptions:
    """The streams of all guests of this node.

    `part`: (service name, guest node) -> the service and the guest in it, None when the node
    is not a guest of that service here. `locate`: finds out where the agent of a guest is,
    False when its container does not run. `changed(service)`: a guest told something new.
    `introduced(node, boot)`: a guest said in which boot it is.
    """

    def __init__(
        self, peers: Peers, clock: Clock, silence: Callable[[], float],
        part: Callable[[str, str], Part | None], locate: Callable[[str], Awaitable[bool]],
        changed: Callable[[str], None], introduced: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._peers, self._clock, self._silence = peers, clock, silence
        self._part, self._locate, self._changed, self._told_boot = part, locate, changed, introduced
        self._sights: dict[str, Sight] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(self, nodes: Collection[str]) -> None:
        """Follow these guests, and no others any more."""
        for node in [n for n in self._tasks if n not in nodes]:
            self._tasks.pop(node).cancel()
            self._sights.pop(node, None)
        for node in nodes:
            if node not in self._tasks:
                self._sights[node] = Sight()
                self._tasks[node] = asyncio.create_task(self._follow(node), name=f"events of {node}")

    def sight(self, node: str) -> Sight:
        """What is known of a guest's agent; of one that is not followed, nothing."""
        return self._sights.get(node) or Sight()

    def report(self, service: str, guest: Guest) -> GuestReport:
        """What is known of the agent of `guest`, and its document of `service`."""
        sight = self._sights.get(guest.node)
        if sight is None:
            return GuestReport("absent")
        told = sight.told.get(service)
        return GuestReport(
            self.agent(guest.node), told.document if told else None, sight.heard, sight.last_answer,
            told.reason if told else "", told.received if told else None)

    def agent(self, node: str) -> str:
        """answering, silent, enrolling or absent (it has not answered since its container came up)."""
        sight = self.sight(node)
        if sight.enrolling:
            return "enrolling"
        if sight.heard is None:
            return "absent"
        return "silent" if self._clock.monotonic() - sight.heard > self._silence() else "answering"

    def wake(self, node: str) -> None:
        """The container of a guest came up: look for its agent now."""
        self.sight(node).wake.set()

    def forget(self, node: str) -> None:
        """The container of a guest is down: what its agent told is over."""
        sight = self._sights.get(node)
        if sight is not None and (sight.heard is not None or sight.told):
            sight.heard, sight.last_answer, sight.last_id = None, None, ""
            sight.told.clear()

    def heard(self, node: str) -> None:
        """The agent of a guest answered a call, whatever it said."""
        sight = self._sights.get(node)
        if sight is not None:
            sight.heard, sight.last_answer = self._clock.monotonic(), stamp(self._clock.wall())

    def take_in(self, node: str, service: str, raw: bytes | str | Mapping[str, Any]) -> None:
        """Believe, or not, a status document of `service` that came from `node`."""
        part, sight = self._part(service, node), self._sights.get(node)
        if part is None or sight is None:
            return
        now = self._clock.monotonic()
        try:
            told = Told(read_guest_status(raw, *part), now)
        except InvalidReply as error:
            before = sight.told.get(service)
            told = Told(before.document if before else None, before.received if before else now, error.text)
        sight.told[service] = told
        self._changed(service)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, node: str) -> None:
        sight, pause = self._sights[node], FIRST_PAUSE
        while True:
            sight.wake.clear()
            began = self._clock.monotonic()
            try:
                found = await self._locate(node)
                if found:
                    await self._listen(node, sight)
            except EncapError as error:
                found, sight.why = True, error.text
            except Exception:
                log.exception("following %s: an error of the program", node)
                found = True
            # A guest that cuts every stream at once is not called again and again.
            lived = self._clock.monotonic() - began
            pause = FIRST_PAUSE if lived > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            try:
                async with asyncio.timeout(pause if found else IDLE_PAUSE):
                    await sight.wake.wait()
                pause = FIRST_PAUSE
            except TimeoutError:
                pass  # the pause is over

    async def _listen(self, node: str, sight: Sight) -> None:
        tokens, filled = BURST, self._clock.monotonic()
        async with self._peers.events(node, "/v1/events?topics=status,gone", last_id=sight.last_id,
                                      silence=self._silence()) as stream:
            async for event in stream:
                self.heard(node)
                sight.why = ""
                await self._hear(node, sight, event)
                now = self._clock.monotonic()
                tokens, filled = min(BURST, tokens + (now - filled) * RATE) - 1, now
                if tokens < 0:
                    await asyncio.sleep(1 / RATE)

    async def _hear(self, node: str, sight: Sight, event: ServerEvent) -> None:
        if event.kind == "comment":
            return
        # It goes into a header of the next request, so it is looked at first.
        sound = len(event.id) <= 80 and event.id.isascii() and event.id.isprintable()
        sight.last_id = event.id if sound else ""
        if event.kind == "status":
            service = _service_of(event.data)
            if service in sight.told or len(sight.told) < SERVICES_LIMIT:
                self.take_in(node, service, event.data)
        elif event.kind == "gone":
            service = _service_of(event.data)
            if sight.told.pop(service, None) is not None:
                self._changed(service)
        elif event.kind == "node":
            await self._introduced(node, sight, event.data)

    async def _introduced(self, node: str, sight: Sight, data: str) -> None:
        """Who the guest says it is: all its services, and its boot."""
        try:
            document = parse_strictly(data)
        except InvalidReply as error:
            sight.why = error.text
            return
        boot, services = document.get("boot_id"), document.get("services")
        known = {each for each in services if isinstance(each, str)} if isinstance(services, list) else set()
        sound = isinstance(boot, str) and 0 < len(boot) <= 64
        rebooted = sound and sight.boot not in ("", boot)  # what it told before is over
        for service in [s for s in sight.told if rebooted or s not in known]:
            del sight.told[service]
            self._changed(service)
        if isinstance(boot, str) and sound:
            sight.boot = boot
            await self._told_boot(node, boot)


def _service_of(data: str) -> str:
    """The service that an event speaks of. Raises InvalidRequest for one that names none."""
    try:
        document = json.loads(data)
        name = document.get("service") if isinstance(document, dict) else None
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("an event that is not JSON", code="invalid-reply") from error
    if not isinstance(name, str) or not is_service_name(name):
        raise InvalidRequest(f"an event of no service: {clean(str(name))[:60]}", code="invalid-reply")
    return name

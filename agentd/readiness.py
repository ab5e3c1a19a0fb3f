"""Bringing the agent of a guest in step after its container came up.

A container start has phases: up, reachable, agent answers, configuration in step, resources
of the guest. The first is the driver's and the last the guest's own; this module owns those
in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from agentd.core.errors import ActionFailed, EncapError, NotSupported, Refused, Silent
from agentd.core.model import Guest
from agentd.enrolling import Enrolling
from agentd.guests import CALL_TIMEOUT, Guests, Home
from agentd.peers import Peers
from agentd.registry import Held
from agentd.settings import parse_address
from agentd.subscription import Subscriptions
from agentd.timers import Clock
from drivers.base import Executing

SHARES = {"up": 0.5, "reachable": 0.2, "agent": 0.2, "config": 0.1}
"""Of a container's start_timeout, how much each phase may take. The resources of the guest
come after them: that phase may take as long as it goes on telling of progress."""
ENROL_AFTER = 2.0
"""Seconds that an agent which should know us may keep quiet before its certificate is looked at."""
TELL = Callable[[str], None]


class Readiness:
    """`push(held, guest)`: makes a guest hold its view of a configuration, or raises.
    `met(service, node, boot)`: a guest answered that is in this boot."""

    def __init__(self, guests: Guests, peers: Peers, subscriptions: Subscriptions, enrolling: Enrolling,
                 push: Callable[[Held, Guest], Awaitable[None]],
                 met: Callable[[str, str, str], Awaitable[None]], clock: Clock) -> None:
        self._guests, self._peers, self._subscriptions = guests, peers, subscriptions
        self._enrolling, self._push, self._met, self._clock = enrolling, push, met, clock

    async def bring_up(self, held: Held, guest: Guest, tell: TELL, *, fresh: bool,
                       cancelling: asyncio.Event, asks: bool = True) -> None:
        """Until the agent of a guest answers and holds its view. `fresh`: its container was
        just started, so that it may take its time; so may one that has not answered yet. `tell`
        gets the name of each phase. `asks`: the caller sees to what is to be started in it.

        Raises Silent or ActionFailed with the name of the phase that did not end in time, and
        Refused soon after `cancelling` is set.
        """
        home = Home(held, guest)
        slow = fresh or self._subscriptions.sight(guest.node).heard is None
        whole = float(home.container.options.get("start_timeout") or 240.0) if slow else 4 * CALL_TIMEOUT
        phase = partial(self._phase, guest, cancelling)
        tell("reachable")
        await phase("reachable", whole * SHARES["reachable"], lambda: self._reachable(home))
        tell("agent")
        began = self._clock.monotonic()
        await phase("agent answers", whole * SHARES["agent"] + ENROL_AFTER,
                    lambda: self._answers(home, began, asks))
        tell("config")
        await phase("config in step", whole * SHARES["config"] + CALL_TIMEOUT,
                    lambda: self._push(held, guest), once=True)

    async def _phase(self, guest: Guest, cancelling: asyncio.Event, name: str, seconds: float,
                     attempt: Callable[[], Awaitable[None]], *, once: bool = False) -> None:
        """Try until it succeeds, at most `seconds`; with `once` only silence is tried again."""
        last, pause = "", 0.05
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        await attempt()
                        return
                    except (Refused, NotSupported):
                        raise
                    except EncapError as error:
                        if once and not isinstance(error, Silent):
                            raise
                        last = error.text
                    if cancelling.is_set():
                        raise Refused(f"{guest.node}: cancelled in phase '{name}'", code="cancelled")
                    await asyncio.sleep(pause)
                    pause = min(1.0, 1.5 * pause)
        except TimeoutError:
            raise Silent(f"{guest.node}: phase '{name}' did not end within {seconds:g} s"
                         + (f": {last}" if last else ""), hint="svc status shows what the agent last said",
                         phase=name) from None

    async def _reachable(self, home: Home) -> None:
        """Something in the guest reacts: a command through the driver, or its network."""
        driver = self._guests.driver(home)
        if isinstance(driver, Executing):
            answer = await driver.execute("true", timeout=CALL_TIMEOUT)
            if answer.code == 0:
                return
            raise ActionFailed(f"no command runs in {home.guest.node}: {answer.err.strip()[:200]}")
        await self._guests.locate(home.guest.node)
        where = self._guests.find(home.guest.node)
        host, port = parse_address(where.address if where is not None else "")
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                _reader, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            return  # its kernel answers; the agent is the next phase's affair
        except (OSError, TimeoutError) as error:
            raise Silent(f"{host}:{port}: {str(error) or 'no answer'}") from error
        writer.close()

    async def _answers(self, home: Home, began: float, asks: bool) -> None:
        """The agent answers a call that only our cluster can make; it is enrolled where it was not."""
        node = home.guest.node
        driver = self._guests.driver(home)
        late = self._clock.monotonic() - began > ENROL_AFTER
        if isinstance(driver, Executing) and await self._enrolling.needed(node, driver, late=late):
            self._subscriptions.sight(node).enrolling = True
            try:
                await self._enrolling.enrol(node, driver, home.container)
            finally:
                self._subscriptions.sight(node).enrolling = False
        await self._guests.locate(node)
        told = await self._peers.ask(node, "GET", "/v1/node", timeout=CALL_TIMEOUT)
        boot = told.get("boot_id") if isinstance(told, Mapping) else None
        if asks and isinstance(boot, str) and 0 < len(boot) <= 64:
            await self._met(home.held.name, node, boot)
        self._subscriptions.heard(node)
        self._subscriptions.wake(node)

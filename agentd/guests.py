"""The guests whose containers are this node's: where their agents are, and bringing them in step.

A container start has phases: up, reachable, agent answers, configuration in step, resources
of the guest. The first is the driver's and the last the guest's own; this module owns those
in between. The address of a guest comes from the configuration or from the driver, never
from the guest.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agentd.core.errors import ActionFailed, EncapError, NotSupported, Refused, Silent
from agentd.core.guest_part import GuestReport
from agentd.core.known import PROVEN_DOWN
from agentd.core.model import Guest, Resource, Service
from agentd.core.status import Status
from agentd.enrolling import Enrolling
from agentd.inspector import Inspector
from agentd.peers import Peer, Peers
from agentd.registry import Held, Registry
from agentd.settings import PORT, parse_address, show_address
from agentd.subscription import Subscriptions
from agentd.timers import Clock
from drivers.base import Addressable, Driver, Executing

log = logging.getLogger("encap.guests")

SHARES = {"up": 0.5, "reachable": 0.2, "agent": 0.2, "config": 0.1}
"""Of a container's start_timeout, how much each phase may take. The resources of the guest
come after them: that phase may take as long as it goes on telling of progress."""
CALL_TIMEOUT = 3.0
ENROL_AFTER = 2.0
"""Seconds that an agent which should know us may keep quiet before its certificate is looked at."""
TELL = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Home:
    """A guest with the service and the container section that it belongs to."""

    held: Held
    guest: Guest

    @property
    def container(self) -> Resource:
        found = self.held.service.resource(self.guest.container)
        if found is None:
            raise ActionFailed(f"{self.guest.container} is not in {self.held.name} any more")
        return found


class Guests:
    """All guests of this node, by their node name.

    `push(held, guest)`: makes a guest hold its view of a configuration, or raises.
    """

    def __init__(
        self, registry: Registry, inspector: Inspector, peers: Peers, subscriptions: Subscriptions,
        enrolling: Enrolling, push: Callable[[Held, Guest], Awaitable[None]], clock: Clock,
    ) -> None:
        self._registry, self._inspector, self._peers = registry, inspector, peers
        self._subscriptions, self._enrolling, self._push = subscriptions, enrolling, push
        self._clock = clock
        self._homes: dict[str, list[Home]] = {}
        self._addresses: dict[str, str] = {}
        self._generation = -1

    # --- who they are

    def look(self) -> None:
        """Follow the guests of the configurations as they are now, and the state of their
        containers. Called once a second and whenever one of them may have changed."""
        if self._registry.generation != self._generation:
            self._generation = self._registry.generation
            homes: dict[str, list[Home]] = {}
            for held in self._registry:
                for guest in held.service.guests:
                    homes.setdefault(guest.node, []).append(Home(held, guest))
            self._homes = homes
            self._subscriptions.follow(homes.keys())
        for node, found in self._homes.items():
            self._look_at(node, [self._container_state(home) for home in found])

    def _look_at(self, node: str, states: list[str]) -> None:
        if all(state in PROVEN_DOWN for state in states):
            self._addresses.pop(node, None)
            self._subscriptions.forget(node)
        elif "up" in states and node not in self._addresses:
            self._subscriptions.wake(node)

    def _container_state(self, home: Home) -> str:
        rid = home.guest.container
        exact = self._inspector.states(home.held.name).get(rid)
        if exact is not None:
            return exact
        status = self._inspector.status(home.held.name).get(rid)
        return {Status.UP: "up", Status.DOWN: "down"}.get(status or Status.UNDEF, "unknown")

    def running(self, service: str, container: str) -> bool | None:
        """Whether the container of a guest runs; None when that is not known."""
        held = self._registry.find(service)
        guest = held.service.guest(container) if held else None
        if held is None or guest is None:
            return None
        state = self._container_state(Home(held, guest))
        return False if state in PROVEN_DOWN else True if state == "up" else None

    def part(self, service: str, node: str) -> tuple[Service, Guest] | None:
        """The guest `node` of a service here."""
        held = self._registry.find(service)
        guests = held.service.guests if held else ()
        return next(((held.service, g) for g in guests if held and g.node == node), None)

    def report(self, service: str, container: str) -> GuestReport | None:
        held = self._registry.find(service)
        guest = held.service.guest(container) if held else None
        return self._subscriptions.report(service, guest) if guest else None

    def reports(self, held: Held) -> Mapping[str, GuestReport]:
        """By container rid, for the status document."""
        return {g.container: self._subscriptions.report(held.name, g) for g in held.service.guests}

    def states(self) -> Mapping[str, tuple[str, str]]:
        """Guest node -> (state of its agent, address), for the list of nodes."""
        found = {}
        for node, homes in self._homes.items():
            down = all(self._container_state(home) in PROVEN_DOWN for home in homes)
            found[node] = ("down" if down else self._subscriptions.agent(node), self._addresses.get(node, ""))
        return found

    # --- where they are

    def find(self, node: str) -> Peer | None:
        """Where the agent of a guest is, as far as it was found out."""
        address = self._addresses.get(node)
        return Peer(address, ("guest",)) if address else None

    async def locate(self, node: str) -> bool:
        """Find out where the agent of a guest is; False when its container does not run here."""
        for home in self._homes.get(node, ()):
            if self._container_state(home) == "up":
                self._addresses[node] = await self._address(home)
                return True
        return False

    async def _address(self, home: Home) -> str:
        given = str(home.container.options.get("address") or "")
        if given:
            return _with_port(given)
        driver = self._driver(home)
        if isinstance(driver, Addressable):
            found = await driver.addresses()
            if found:
                return _with_port(found[0])
        name = home.guest.node
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                rows = await asyncio.get_running_loop().getaddrinfo(name, PORT, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as error:
            raise Silent(f"the address of {name} is not known: its driver tells none, and the name does not"
                         " resolve", code="no-address", hint="set `address` in its container section") from error
        return show_address((str(rows[0][4][0]), PORT))

    def _driver(self, home: Home) -> Driver | None:
        return self._inspector.driver(home.held, home.container)

    # --- bringing them up

    async def bring_up(self, held: Held, guest: Guest, tell: TELL, *, fresh: bool) -> None:
        """Until the agent of a guest answers and holds its view. `fresh`: its container was
        just started, so that it may take its time. `tell` gets the name of each phase.

        Raises Silent or ActionFailed with the name of the phase that did not end in time.
        """
        home = Home(held, guest)
        whole = float(home.container.options.get("start_timeout") or 240.0) if fresh else 4 * CALL_TIMEOUT
        tell("reachable")
        await self._phase("reachable", guest, whole * SHARES["reachable"], lambda: self._reachable(home))
        tell("agent")
        began = self._clock.monotonic()
        await self._phase("agent answers", guest, whole * SHARES["agent"] + ENROL_AFTER,
                          lambda: self._answers(home, began))
        tell("config")
        await self._phase("config in step", guest, whole * SHARES["config"] + CALL_TIMEOUT,
                          lambda: self._push(held, guest), once=True)

    async def _phase(self, name: str, guest: Guest, seconds: float, attempt: Callable[[], Awaitable[None]],
                     *, once: bool = False) -> None:
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
                    await asyncio.sleep(pause)
                    pause = min(1.0, 1.5 * pause)
        except TimeoutError:
            raise Silent(f"{guest.node}: phase '{name}' did not end within {seconds:g} s"
                         + (f": {last}" if last else ""), hint="svc status shows what the agent last said",
                         phase=name) from None

    async def _reachable(self, home: Home) -> None:
        """Something in the guest reacts: a command through the driver, or its network."""
        driver = self._driver(home)
        if isinstance(driver, Executing):
            answer = await driver.execute("true", timeout=CALL_TIMEOUT)
            if answer.code == 0:
                return
            raise ActionFailed(f"no command runs in {home.guest.node}: {answer.err.strip()[:200]}")
        await self.locate(home.guest.node)
        host, port = parse_address(self._addresses.get(home.guest.node, ""))
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                _reader, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            return  # its kernel answers; the agent is the next phase's affair
        except (OSError, TimeoutError) as error:
            raise Silent(f"{host}:{port}: {str(error) or 'no answer'}") from error
        writer.close()

    async def _answers(self, home: Home, began: float) -> None:
        """The agent answers a call that only our cluster can make; it is enrolled where it was not."""
        node = home.guest.node
        driver = self._driver(home)
        late = self._clock.monotonic() - began > ENROL_AFTER
        if isinstance(driver, Executing) and await self._enrolling.needed(node, driver, late=late):
            self._subscriptions.sight(node).enrolling = True
            try:
                await self._enrolling.enrol(node, driver, home.container)
            finally:
                self._subscriptions.sight(node).enrolling = False
        await self.locate(node)
        await self._peers.ask(node, "GET", "/v1/node", timeout=CALL_TIMEOUT)
        self._subscriptions.heard(node)
        self._subscriptions.wake(node)


def _with_port(address: str) -> str:
    """``host:port`` of a configured or reported address."""
    try:
        return show_address(parse_address(address))
    except ValueError as error:
        raise ActionFailed(f"{address!r} is no address of a guest", code="bad-address") from error

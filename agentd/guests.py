"""The guests whose containers are this node's: which there are, and where their agents are.

The address of a guest comes from the configuration or from the driver, never from the guest.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from agentd.core.errors import ActionFailed, NotSupported, Silent
from agentd.core.guest_part import GuestReport
from agentd.core.known import PROVEN_DOWN
from agentd.core.model import Guest, Resource, Service
from agentd.core.status import Status
from agentd.inspector import Inspector
from agentd.peers import Peer
from agentd.registry import Held, Registry
from agentd.settings import PORT, parse_address, show_address
from agentd.subscription import Subscriptions
from drivers.base import Addressable, Driver

CALL_TIMEOUT = 3.0


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
    """All guests of this node, by their node name."""

    def __init__(self, registry: Registry, inspector: Inspector, subscriptions: Subscriptions) -> None:
        self._registry, self._inspector, self._subscriptions = registry, inspector, subscriptions
        self._homes: dict[str, list[Home]] = {}
        self._addresses: dict[str, str] = {}
        self._generation = -1
        self._up: set[str] = set()
        # Guests whose container was up when it was last looked at.

    # --- who they are

    def look(self) -> None:
        """Follow the guests of the configurations as they are now, and the state of their
        containers. Called once a second and whenever one of them may have changed."""
        if self._registry.generation != self._generation:
            self._generation = self._registry.generation
            homes: dict[str, list[Home]] = {}
            for held in self._registry:
                for guest in held.service.hosted:
                    homes.setdefault(guest.node, []).append(Home(held, guest))
            self._homes = homes
            self._subscriptions.follow(homes.keys())
        for node, found in self._homes.items():
            self._look_at(node, [self._container_state(home) for home in found])

    def _look_at(self, node: str, states: list[str]) -> None:
        if all(state in PROVEN_DOWN for state in states):
            self._addresses.pop(node, None)
            self._subscriptions.forget(node)
        if "up" not in states:
            self._up.discard(node)
        elif node not in self._up:
            self._up.add(node)
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
        driver = self.driver(home)
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
                         " resolve", code="no-address",
                         hint="set `address` in its container section") from error
        return show_address((str(rows[0][4][0]), PORT))

    def driver(self, home: Home) -> Driver:
        """The driver of a guest's container. Raises NotSupported where there is none."""
        driver = self._inspector.driver(home.held, home.container)
        if driver is None:
            raise NotSupported(f"no driver for {home.guest.container} of type {home.container.type}")
        return driver


def _with_port(address: str) -> str:
    """``host:port`` of a configured or reported address."""
    try:
        return show_address(parse_address(address))
    except ValueError as error:
        raise ActionFailed(f"{address!r} is no address of a guest", code="bad-address") from error

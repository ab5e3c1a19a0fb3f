"""A guest's libvirt as its driver asks it: through the host's workers, with deadlines.

Changes and questions about one guest have places of their own, apart from the list of all
guests: a guest whose calls hang holds up neither the others nor the list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from agentd.core.errors import NotFound, Silent
from drivers.base import Host, StateUnknown
from drivers.container.kvm import calls, libvirt_guests
from drivers.shared import Shared

QUERY_SECONDS = 10.0
"""How long libvirt may take for what is done in milliseconds when all is well."""

DEFINE_SECONDS = 60.0
"""The first definition that a libvirt checks makes it try out what each emulator here can do."""

JOB_SECONDS = 5.0
GUEST_PLACES = 3
MIGRATIONS = (4, 5)
"""Numbers of the operations that are a migration, in and out."""

T = TypeVar("T")
Sight = tuple[Mapping[str, calls.Seen], str]
"""All guests by name, and what libvirt-guests would do to them."""

_SIGHTS: Shared[Sight] = Shared()


async def everybody(host: Host, uri: str) -> Mapping[str, calls.Seen]:
    """All guests by name."""
    return (await _sight(host, uri))[0]


async def _sight(host: Host, uri: str) -> Sight:
    key = f"libvirt {uri}"

    async def look() -> Sight:
        guests = await host.work(partial(calls.look, uri), key=key, timeout=QUERY_SECONDS, limit=1)
        return guests, await libvirt_guests.warning(host)

    return await _SIGHTS.get(host, key, look)


class Libvirt:
    """The libvirt at `uri`, asked about the guest `name`."""

    def __init__(self, host: Host, uri: str, name: str) -> None:
        self._host, self._uri, self._name = host, uri, name
        self._key = f"libvirt {uri} {name}"

    async def look(self) -> tuple[calls.Seen | None, str]:
        """The guest, None when it is not known, and a warning about all guests here, or ""."""
        guests, warning = await _sight(self._host, self._uri)
        return guests.get(self._name), warning

    async def change(self, verb: str, *arguments: int, timeout: float = QUERY_SECONDS) -> None:
        try:
            await self._work(partial(calls.change, self._uri, self._name, verb, *arguments), timeout)
        finally:
            self.forget()

    async def migrates(self) -> bool:
        """Whether the guest is on its way to or from another machine, as far as libvirt can tell."""
        try:
            return await self._work(partial(calls.job, self._uri, self._name), JOB_SECONDS) in MIGRATIONS
        except (Silent, NotFound):  # it has no job, or does not run, or a call of somebody hangs in it
            return False

    async def leases(self) -> list[str]:
        """Addresses that this machine's libvirt lent it."""
        return await self._work(partial(calls.leases, self._uri, self._name))

    async def neighbours(self) -> list[str]:
        """Addresses at which this machine has met the guest, by its network cards.

        libvirt has this too, and its version 9.0 cannot read the answer of recent kernels.
        """
        cards = await self._work(partial(calls.hardware_addresses, self._uri, self._name))
        answer = await self._host.probe("ip", "-json", "neigh", "show")
        try:
            return [
                str(row["dst"])
                for row in json.loads(answer.out)
                if str(row.get("lladdr", "")).lower() in cards
            ]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StateUnknown(f"ip neigh: its output cannot be read: {answer.out[:60]!r}") from error

    async def definition(self) -> str:
        return await self._work(partial(calls.definition, self._uri, self._name))

    async def define(self, xml: str) -> None:
        try:
            await self._work(partial(calls.define, self._uri, xml), DEFINE_SECONDS)
        finally:
            self.forget()

    async def _work(self, call: Callable[[], T], timeout: float = QUERY_SECONDS) -> T:
        return await self._host.work(call, key=self._key, timeout=timeout, limit=GUEST_PLACES)

    def forget(self) -> None:
        """Who asks from now on gets an answer to a question that is put from now on."""
        _SIGHTS.forget(self._host, f"libvirt {self._uri}")

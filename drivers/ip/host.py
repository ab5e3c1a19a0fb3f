"""Addresses of this machine, by the tools ip and arping.

An IPv4 address is first asked for on the wire and not taken when somebody answers; then
the neighbours are told. IPv6 leaves both to the kernel.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentd.core.converters import boolean
from agentd.core.errors import ActionFailed, EncapError, NotFound
from agentd.core.keywords import Keyword
from agentd.core.status import Probe, Status
from drivers.base import Driver, warning
from drivers.ip.links import Held, IPAddress, Link, links, prefix

DAD_SECONDS = 8.0
"""How long the kernel may take to look for a duplicate of an IPv6 address."""

_DUPLICATE = 1
"""The exit code of ``arping -D`` when somebody answered."""


def address_or_name(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f:.]+|[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?", text):
        raise ValueError(f"{text!r} is neither an address nor a host name")
    return text


def interface(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}", text):
        raise ValueError(f"{text!r} is not the name of a network interface")
    return text


def address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address") from error


def network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16") from error


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the machine said."""

    address: IPAddress
    links: Sequence[Link]
    link: Link | None
    held: Held | None
    elsewhere: Link | None


class Address(Driver):
    """An address on an interface of this machine."""

    KEYWORDS = (
        Keyword(
            "ipname",
            "Address, or a name that resolves to one.",
            address_or_name,
            required=True,
            example="10.0.0.2",
        ),
        Keyword("ipdev", "Network interface.", interface, required=True, example="eth0"),
        Keyword(
            "netmask",
            "Prefix length or netmask; taken from another address of the same network "
            "on the interface when absent.",
            prefix,
            None,
            example="24",
        ),
        Keyword("gateway", "A router; a route through it comes and goes with the address.", address, ""),
        Keyword(
            "network", "Where the route leads; everywhere when absent.", network, "", example="10.1.0.0/16"
        ),
        Keyword("check_carrier", "Refuse to start on an interface without a link.", boolean, True),
        Keyword(
            "alias", "Label the address with the interface and the resource, for old tools.", boolean, True
        ),
    )
    LABEL = "{ipname}@{ipdev}"

    @property
    def device(self) -> str:
        return str(self.options["ipdev"])

    async def probe(self) -> Probe:
        found = await self._look()
        if found.held is None:
            if found.elsewhere:
                return warning(f"{found.address} is on {found.elsewhere.name}, not on {self.device}")
            if found.link is None:
                return warning(f"there is no interface {self.device}", Status.DOWN)
            return Probe(Status.DOWN)
        if found.held.duplicate:
            return warning(f"{found.address} is in use by another machine, so the kernel does not use it")
        if self.options["check_carrier"] and found.link and not found.link.carrier:
            return warning(f"{self.device} has no link")
        return Probe(Status.UP)

    async def start(self) -> None:
        found = await self._look()
        link = found.link
        if link is None:
            raise NotFound(f"there is no interface {self.device}", hint="see: ip link")
        if found.elsewhere:
            raise ActionFailed(
                f"{found.address} is already on {found.elsewhere.name}", hint="remove it there first"
            )
        if not link.up:
            raise ActionFailed(f"{self.device} is not enabled", hint=f"ip link set {self.device} up")
        if self.options["check_carrier"] and not link.carrier:
            raise ActionFailed(
                f"{self.device} has no link", hint="check the cable, or set check_carrier = false"
            )
        if self._asks_neighbours(found.address, link):
            await self._refuse_duplicate(found.address)
        await self._add(found.address, link)
        try:
            await self._make_it_known(found.address, link)
        except EncapError:
            await self._remove()
            raise

    async def stop(self) -> None:
        found = await self._look()
        if found.held is None or found.link is None:
            if found.elsewhere:
                raise ActionFailed(
                    f"{found.address} is on {found.elsewhere.name}, not on {self.device}: left there"
                )
            return
        if self.options["gateway"]:
            answer = await self.host.probe("ip", "route", "del", *self._route())
            if answer.code and "No such process" not in answer.err:
                raise ActionFailed(f"cannot remove the route: {answer.err.strip()[:200]}")
        if found.link.takes_along(found.held):
            # Else the kernel removes the other addresses of the network with the first one.
            await self.host.run(
                "sysctl", "-q", "-w", f"net.ipv4.conf.{self._sysctl_name()}.promote_secondaries=1"
            )
        await self.host.run("ip", "addr", "del", str(found.held.address), "dev", self.device)

    async def _remove(self) -> None:
        held = (await self._look()).held
        if held:
            await self.host.run("ip", "addr", "del", str(held.address), "dev", self.device)

    async def _make_it_known(self, address: IPAddress, link: Link) -> None:
        if address.version == 6:
            if link.carrier:  # else the kernel asks nobody until there is a link
                await self._wait_for_kernel(address)
        elif self._asks_neighbours(address, link):
            await self._announce(address)
        if self.options["gateway"]:
            await self.host.run("ip", "route", "replace", *self._route())

    async def _look(self) -> Found:
        wanted = await self._resolve()
        answer = await self.host.probe("ip", "-j", "addr", "show")
        if answer.code:
            raise ActionFailed(f"ip addr show: {answer.err.strip()[:200] or f'exit {answer.code}'}")
        all_links = links(answer.out)
        link = next((link for link in all_links if link.name == self.device), None)
        elsewhere = next((link for link in all_links if link.name != self.device and link.held(wanted)), None)
        return Found(wanted, all_links, link, link.held(wanted) if link else None, elsewhere)

    async def _resolve(self) -> IPAddress:
        name = str(self.options["ipname"])
        try:
            return ipaddress.ip_address(name)
        except ValueError:
            pass
        answer = await self.host.probe("getent", "ahosts", name, timeout=10)
        known = [ipaddress.ip_address(line.split()[0]) for line in answer.out.splitlines() if line.strip()]
        if answer.code or not known:
            raise ActionFailed(
                f"the name {name} cannot be resolved", hint="put it into /etc/hosts or the DNS"
            )
        return min(known, key=lambda address: address.version)

    def _asks_neighbours(self, address: IPAddress, link: Link) -> bool:
        return address.version == 4 and link.speaks_arp and "nonrouted" not in self.resource.tags

    async def _refuse_duplicate(self, address: IPAddress) -> None:
        answer = await self.host.probe(
            "arping", "-D", "-q", "-c", "2", "-w", "2", "-I", self.device, str(address)
        )
        if answer.code == _DUPLICATE:
            raise ActionFailed(
                f"{address} is in use by another machine on the network of {self.device}",
                code="address-in-use",
                hint=f"see who: arping -D -c 2 -I {self.device} {address}",
            )
        if answer.code:
            raise ActionFailed(
                f"cannot check whether {address} is in use: {answer.err.strip()[:200]}",
                hint="tags = nonrouted starts it without that check",
            )

    async def _add(self, address: IPAddress, link: Link) -> None:
        length = self.options["netmask"] or link.prefix_for(address)
        if length is None:
            raise ActionFailed(
                f"no netmask for {address}, and no address of its network on {self.device}",
                hint="set netmask, for example netmask = 24",
            )
        if length > address.max_prefixlen:
            raise ActionFailed(f"/{length} is no prefix length of {address}")
        words = [f"{address}/{length}", "dev", self.device]
        label = f"{self.device}:{self.resource.index}"
        if address.version == 4:
            words += ["brd", "+"] if length < 31 and not link.loopback else []
            words += ["label", label] if self.options["alias"] and len(label) <= 15 else []
        await self.host.run("ip", "addr", "add", *words)

    async def _announce(self, address: IPAddress) -> None:
        """Gratuitous ARP in both of its forms, since some machines believe only one."""
        words = ("-q", "-c", "1", "-w", "1", "-I", self.device, "-s", str(address), str(address))
        await asyncio.gather(*(self.host.probe("arping", form, *words) for form in ("-U", "-A")))

    async def _wait_for_kernel(self, address: IPAddress) -> None:
        """Until duplicate address detection is over."""
        deadline = self.host.now() + DAD_SECONDS
        while True:
            held = (await self._look()).held
            if held is None:
                raise ActionFailed(f"{address} vanished from {self.device} while it was being added")
            if not held.tentative:
                return
            if held.duplicate or self.host.now() >= deadline:
                why = "is in use by another machine" if held.duplicate else "was not confirmed by the kernel"
                raise ActionFailed(f"{address} {why} on the network of {self.device}", code="address-in-use")
            await self.host.sleep(0.1)

    def _route(self) -> tuple[str, ...]:
        return (
            str(self.options["network"] or "default"),
            "via",
            str(self.options["gateway"]),
            "dev",
            self.device,
        )

    def _sysctl_name(self) -> str:
        return self.device.replace(".", "/")

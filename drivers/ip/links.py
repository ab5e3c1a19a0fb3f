"""The network interfaces of a machine and their addresses: the output of ``ip -j addr show`` as values."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass

from agentd.core.errors import ActionFailed

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Held:
    """An address that an interface holds. `duplicate`: the kernel found it in use elsewhere."""

    address: IPInterface
    secondary: bool = False
    tentative: bool = False
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """An interface and what it holds."""

    name: str
    flags: frozenset[str]
    addresses: tuple[Held, ...]

    @property
    def up(self) -> bool:
        return "UP" in self.flags

    @property
    def carrier(self) -> bool:
        return "NO-CARRIER" not in self.flags

    @property
    def loopback(self) -> bool:
        return "LOOPBACK" in self.flags

    @property
    def speaks_arp(self) -> bool:
        return not self.loopback and "NOARP" not in self.flags

    def held(self, address: IPAddress) -> Held | None:
        return next((held for held in self.addresses if held.address.ip == address), None)

    def prefix_for(self, address: IPAddress) -> int | None:
        """The prefix length of an address of the same network that is here already."""
        return max(
            (h.address.network.prefixlen for h in self.addresses if address in h.address.network),
            default=None,
        )

    def takes_along(self, held: Held) -> bool:
        """Whether the kernel, left to itself, removes other addresses together with this one."""
        return (
            not held.secondary
            and held.address.version == 4
            and any(
                other.secondary and other.address.network == held.address.network for other in self.addresses
            )
        )


def links(text: str) -> tuple[Link, ...]:
    """Raises ActionFailed when the text is not what ``ip -j addr show`` prints."""
    try:
        return tuple(_link(item) for item in json.loads(text) if item)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ActionFailed(f"ip -j addr show: its output cannot be read: {text[:60]!r}") from error


def _link(item: dict[str, object]) -> Link:
    flags, infos = item["flags"], item.get("addr_info", [])
    if not isinstance(flags, list) or not isinstance(infos, list):
        raise TypeError("flags and addr_info are lists")
    addresses = tuple(
        Held(
            address=ipaddress.ip_interface(f"{info['local']}/{info['prefixlen']}"),
            secondary=bool(info.get("secondary")),
            tentative=bool(info.get("tentative")),
            duplicate=bool(info.get("dadfailed")),
        )
        for info in infos
        if "local" in info
    )
    return Link(str(item["ifname"]), frozenset(map(str, flags)), addresses)


def prefix(text: str) -> int:
    """``24``, ``255.255.255.0`` or ``ffffff00``."""
    bare = text.strip().lstrip("/")
    if bare.isascii() and bare.isdigit() and int(bare) <= 128:
        return int(bare)
    try:
        if len(bare) == 8 and not bare.isdigit():
            bare = str(ipaddress.IPv4Address(int(bare, 16)))
        return ipaddress.ip_network(f"0.0.0.0/{bare}").prefixlen
    except ValueError as error:
        raise ValueError(f"{text!r} is neither a prefix length nor a netmask") from error

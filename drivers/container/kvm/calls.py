"""libvirt's library as plain functions: texts and numbers in and out, never an object of libvirt.

They block, so they run in the host's workers. Each opens a connection of its own and closes
it: a local one costs a few milliseconds, a guest that holds up its call holds up nobody
else's, and there is no connection that could have gone stale.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from agentd.core.errors import ActionFailed, EncapError, NotFound
from drivers.base import StateUnknown

SHUTOFF_SAVED = 5
BY_LEASE = 0
INACTIVE_WITH_SECRETS = 1 | 2
"""Flags of a definition: as it would be started next, with the passwords of its displays."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What libvirt says of a guest. `state`, `reason`: its numbers; `saved`: its memory lies on disk."""

    state: int
    reason: int
    autostart: bool = False
    saved: bool = False


def look(uri: str) -> dict[str, Seen]:
    """All guests by name."""
    with _connected(uri, StateUnknown) as (library, connection):
        # The images first: a guest that is saved meanwhile shows the reason, one resumed runs.
        saved = _names(connection, library.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
        autostart = _names(connection, library.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)
        found = {}
        for domain, told in connection.getAllDomainStats(library.VIR_DOMAIN_STATS_STATE, 0):
            name, state, reason = domain.name(), told.get("state.state"), told.get("state.reason")
            if not (isinstance(state, int) and isinstance(reason, int)):
                raise StateUnknown(f"libvirt {uri}: its answer tells no state of {name}")
            image = name in saved or (reason == SHUTOFF_SAVED and bool(domain.hasManagedSaveImage(0)))
            found[name] = Seen(state, reason, name in autostart, image)
        return found


def change(uri: str, name: str, verb: str, *arguments: int) -> None:
    """Call a method of the guest that changes it."""
    with _guest(uri, name, ActionFailed) as domain:
        getattr(domain, verb)(*arguments)


def job(uri: str, name: str) -> int:
    """The number of the operation that runs on a guest; 0: none that is known."""
    with _guest(uri, name, StateUnknown) as domain:
        operation = domain.jobStats(0).get("operation", 0)
        return operation if isinstance(operation, int) else 0


def leases(uri: str, name: str) -> list[str]:
    with _guest(uri, name, StateUnknown) as domain:
        links = domain.interfaceAddresses(BY_LEASE, 0) or {}
        return [str(row["addr"]) for link in links.values() for row in link.get("addrs") or ()]


def hardware_addresses(uri: str, name: str) -> frozenset[str]:
    with _guest(uri, name, StateUnknown) as domain:
        found = re.findall(r"""<mac address=['"]([0-9A-Fa-f:]{17})['"]""", domain.XMLDesc(0))
        return frozenset(address.lower() for address in found)


def definition(uri: str, name: str) -> str:
    with _guest(uri, name, ActionFailed) as domain:
        return str(domain.XMLDesc(INACTIVE_WITH_SECRETS))


def define(uri: str, xml: str) -> None:
    with _connected(uri, ActionFailed) as (_, connection):
        connection.defineXML(xml)


@contextlib.contextmanager
def _connected(uri: str, trouble: type[EncapError], about: str = "") -> Iterator[tuple[Any, Any]]:
    """The library and a connection; what libvirt complains about becomes `trouble`."""
    library = _library()
    try:
        connection = library.open(uri)
    except library.libvirtError as error:
        raise trouble(
            f"libvirt {uri}: {_said(error)}",
            hint="is libvirtd (or virtqemud) running, and may this user use it?",
        ) from error
    try:
        yield library, connection
    except library.libvirtError as error:
        if about and error.get_error_code() == library.VIR_ERR_NO_DOMAIN:
            raise NotFound(f"libvirt {uri}: {about}{_said(error)}") from error
        raise trouble(f"libvirt {uri}: {about}{_said(error)}") from error
    finally:
        with contextlib.suppress(library.libvirtError):  # it broke, and that was told already
            connection.close()


@contextlib.contextmanager
def _guest(uri: str, name: str, trouble: type[EncapError]) -> Iterator[Any]:
    with _connected(uri, trouble, f"{name}: ") as (_, connection):
        yield connection.lookupByName(name)


def _library() -> Any:
    try:
        import libvirt
    except ImportError as error:
        raise NotFound(
            "tool missing: the library libvirt-python is not installed: pip install 'encap[libvirt]'",
            code="tool-missing",
            hint=f"it is an extra of the product, since it is built against the machine's libvirt ({error})",
        ) from error
    _silence(libvirt)
    return libvirt


@cache
def _silence(library: Any) -> None:
    """Without a handler the library writes every error to stderr; each is raised anyway."""
    library.registerErrorHandler(lambda _context, _error: None, None)


def _names(connection: Any, flag: int) -> set[str]:
    return {domain.name() for domain in connection.listAllDomains(flag)}


def _said(error: Any) -> str:
    return str(error).strip()[:300]

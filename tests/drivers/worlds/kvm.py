"""libvirt's own test driver, in this process: the real library with a pretended hypervisor.

What the test driver cannot pretend (a guest that crashed, one that hears no request) is put
into the library's answers, as numbers that libvirt documents.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar
from unittest.mock import patch

import pytest

from drivers.base import Result

from .base import S, World

T = TypeVar("T")
URI = "test:///default"
DEFINITION = """\
<domain type='test'>
  <name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os>
  <devices><interface type='network'><mac address='52:54:00:77:00:65'/><source network='default'/>
    <target dev='testnet0'/></interface></devices>
</domain>
"""


def needs_libvirt() -> None:
    """Skip without the library; where everything has to be there, fail."""
    if importlib.util.find_spec("libvirt") is None:
        why = "libvirt-python is not installed: make libvirt"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


class KvmWorld(World):
    """Its guests live as long as a connection is open, so the world keeps one."""

    type = "kvm"
    states = (
        S.ABSENT,
        S.DOWN,
        S.STARTING,
        S.UP,
        S.PAUSED,
        S.SAVED,
        S.STOPPING,
        S.MIGRATING,
        S.CRASHED,
        S.STUCK,
    )
    options: ClassVar[dict[str, object]] = {"uri": URI}
    executes = False
    address = "192.0.2.3"
    export = "domain.xml"
    discards = True
    autostarts = True
    NUMBERS: ClassVar = {S.STARTING: (3, 11), S.STOPPING: (4, 1), S.MIGRATING: (1, 10), S.CRASHED: (6, 1),
                         S.STUCK: (1, 11)}  # fmt: skip

    def __init__(self) -> None:
        needs_libvirt()
        super().__init__()
        import libvirt

        self.libvirt: Any = libvirt
        libvirt.registerErrorHandler(lambda *_: None, None)
        self.connection = libvirt.open(URI)
        for domain in self.connection.listAllDomains(0):  # of the world before
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        self.domain = self.connection.defineXML(DEFINITION.format(name="c1"))
        self.created, self.neighbours = 0, "[]"
        self.pretended: tuple[int, int] | None = None
        self.due = 0.0

    def put(self, state: S) -> None:
        self.clock += 1  # what was seen before is old by now
        if state is S.ABSENT:
            self.domain.undefine()
        elif state is not S.DOWN:
            self.domain.create()
        if state is S.PAUSED:
            self.domain.suspend()
        elif state is S.SAVED:
            self.domain.managedSave(0)
        self.pretend(state, 3)

    def pretend(self, state: S, seconds: float) -> None:
        self.pretended, self.due = self.NUMBERS.get(state), self.clock + seconds

    def crowd(self, number: int) -> None:
        for each in range(number):
            self.connection.defineXML(DEFINITION.format(name=f"g{each}")).create()

    def running(self) -> bool:
        return any(
            domain.name() == "c1" and domain.isActive() for domain in self.connection.listAllDomains(0)
        )

    def starts(self) -> int:
        return self.created

    async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        assert argv == ("ip", "-json", "neigh", "show")
        return Result(0, self.neighbours)

    async def work(self, call: Callable[[], T], *, key: str, timeout: float = 30, limit: int = 4) -> T:
        if self.autostart:
            self.domain.setAutostart(1)
        with self.conditions():
            return await super().work(call, key=key, timeout=timeout, limit=limit)

    @contextlib.contextmanager
    def conditions(self) -> Iterator[None]:
        """The library as it is, but for what the test driver cannot pretend; its calls are noted."""
        domain, connection = self.libvirt.virDomain, self.libvirt.virConnect
        with contextlib.ExitStack() as life:
            for kind, verb, mine in (
                (domain, "create", self.create),
                (domain, "shutdownFlags", self.shutdown),
                (domain, "destroyFlags", self.destroy),
                (domain, "interfaceAddresses", self.lend),
                (connection, "getAllDomainStats", self.stats),
            ):
                life.enter_context(patch.object(kind, verb, bound(mine, getattr(kind, verb))))
            if self.missing:
                life.enter_context(patch.dict(sys.modules, {"libvirt": None}))
            yield

    def create(self, real: Callable[..., Any], it: Any) -> Any:
        if self.somebody_was_faster:
            real(it)
        done = real(it)
        self.created += 1
        if self.starting_takes:
            self.pretend(S.STARTING, self.starting_takes)
        return done

    def shutdown(self, real: Callable[..., Any], it: Any, flags: int) -> Any:
        self.calls.append(f"stop {flags}")
        if self.ignores_shutdown:
            return 0
        if self.stopping_takes:
            self.pretend(S.STOPPING, self.stopping_takes)
            return 0
        return real(it, flags)

    def destroy(self, real: Callable[..., Any], it: Any, flags: int) -> Any:
        self.calls.append("stop by force")
        if self.survives_kill:
            return 0
        self.pretended = None
        return real(it, flags)

    def lend(self, real: Callable[..., Any], it: Any, *words: int) -> Any:
        """The test driver makes addresses of a number that counts starts; here it is always the same."""
        found = real(it, *words)
        for link in found.values():
            for row in link["addrs"]:
                row["addr"] = self.address
        return found

    def stats(self, real: Callable[..., Any], it: Any, *flags: int) -> Any:
        if self.pretended in (self.NUMBERS[S.STARTING], self.NUMBERS[S.STOPPING]) and self.clock >= self.due:
            if self.pretended == self.NUMBERS[S.STOPPING]:
                self.domain.destroy()
            self.pretended = None
        pretended = (42, 0) if self.garbage else self.pretended
        return [
            (domain, dict(zip(told, pretended, strict=True)) if pretended and domain.name() == "c1" else told)
            for domain, told in real(it, *flags)
        ]


def bound(mine: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: mine(real, *arguments)

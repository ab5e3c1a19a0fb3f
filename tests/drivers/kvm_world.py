"""libvirt's own test driver, in this process, with one guest: the real library with a pretended hypervisor."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar
from unittest.mock import patch

import pytest

from drivers.base import ContainerState, Result

from .world import World

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


def library() -> Any:
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)
    return libvirt


class KvmWorld(World):
    """Its guests live as long as a connection is open, so the world keeps one."""

    type = "kvm"
    states: ClassVar = (
        ContainerState.ABSENT,
        ContainerState.DOWN,
        ContainerState.UP,
        ContainerState.PAUSED,
        ContainerState.SAVED,
    )
    options: ClassVar = {"uri": URI}

    def __init__(self) -> None:
        super().__init__()
        self.libvirt = library()
        self.connection = self.libvirt.open(URI)
        for domain in self.connection.listAllDomains(0):  # of the world before
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(self.libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        self.domain = self.connection.defineXML(DEFINITION.format(name="c1"))
        self.created = 0
        self.neighbours = "[]"

    async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        assert argv == ("ip", "-json", "neigh", "show")
        return Result(0, self.neighbours)

    def put(self, state: ContainerState) -> None:
        self.clock += 1  # what was seen before is old by now
        if state is ContainerState.ABSENT:
            self.domain.undefine()
        elif state is not ContainerState.DOWN:
            self.domain.create()
            if state is ContainerState.PAUSED:
                self.domain.suspend()
            elif state is ContainerState.SAVED:
                self.domain.managedSave(0)

    def running(self) -> bool:
        return bool(self.domain.isActive())

    def starts(self) -> int:
        return self.created

    async def work(self, call: Callable[[], T], *, key: str, timeout: float = 30, limit: int = 4) -> T:
        with self.conditions():
            return await super().work(call, key=key, timeout=timeout, limit=limit)

    @contextlib.contextmanager
    def conditions(self) -> Iterator[None]:
        """The library as it is, but for what the test driver cannot pretend; its calls are noted."""
        domain, connection = self.libvirt.virDomain, self.libvirt.virConnect
        real = {verb: getattr(domain, verb) for verb in ("create", "shutdownFlags", "destroyFlags")}

        def create(it: Any) -> Any:
            self.created += 1
            return real["create"](it)

        def shutdown(it: Any, flags: int) -> Any:
            self.calls.append(f"stop {flags}")
            return 0 if self.ignores_shutdown else real["shutdownFlags"](it, flags)

        def destroy(it: Any, flags: int) -> Any:
            self.calls.append("stop by force")
            return 0 if self.survives_kill else real["destroyFlags"](it, flags)

        with contextlib.ExitStack() as life:
            life.enter_context(patch.object(domain, "create", create))
            life.enter_context(patch.object(domain, "shutdownFlags", shutdown))
            life.enter_context(patch.object(domain, "destroyFlags", destroy))
            if self.garbage:
                nonsense = [(self.domain, {"state.state": 42, "state.reason": 1})]
                life.enter_context(patch.object(connection, "getAllDomainStats", lambda *_: nonsense))
            if self.missing:
                life.enter_context(patch.dict(sys.modules, {"libvirt": None}))
            yield

"""KVM guests of libvirt, by its library (checked with libvirt 9.0.0 and libvirt-python 12.8.0)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentd.core.converters import boolean, name
from agentd.core.errors import ActionFailed, EncapError, InvalidRequest, NotFound
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine
from drivers.base import ContainerState, Host, StateUnknown
from drivers.container.base import Container
from drivers.container.kvm import definition
from drivers.container.kvm.calls import Seen
from drivers.container.kvm.client import Libvirt, everybody
from drivers.container.kvm.states import SLEEPS, known_state, remark, state_of
from drivers.container.tools import usable

DESTROY_SECONDS = 60.0
"""libvirt itself gives up on a process that does not die after about 40 s."""

_SOCKET = r"qemu\+unix:///(?:system|session)(?:\?socket=/[\w./-]+)?"
_URI = re.compile(rf"qemu:///(?:system|session)|{_SOCKET}|test:///default", re.ASCII)
_MODES = {"acpi": 1, "agent": 2}


def local_uri(text: str) -> str:
    """Another machine's libvirt is for the agent on that machine."""
    if not _URI.fullmatch(text.strip()):
        known = "qemu:///system, qemu:///session, or qemu+unix:///system?socket=/PATH"
        raise ValueError(f"{text!r} is no libvirt of this machine: {known}")
    return text.strip()


class Kvm(Container):
    """A virtual machine of QEMU and KVM, by libvirt."""

    KEYWORDS = (
        *Container.KEYWORDS,
        Keyword(
            "uri",
            "Where its libvirt listens, on this machine.",
            local_uri,
            "qemu:///system",
            example="qemu:///session",
        ),
        Keyword(
            "qga",
            "The QEMU guest agent runs in it: a stop asks it first, and then presses the power button.",
            boolean,
            False,
        ),
        Keyword(
            "shutdown_mode",
            "How it is asked for a shutdown: acpi is the power button; agent with qga when absent.",
            name,
            "",
            candidates=("acpi", "agent"),
        ),
    )
    ASK_EVERY = 15.0
    _seen: Seen | None = None
    _warning = ""

    @classmethod
    async def states(cls, host: Host, options: Mapping[str, Any]) -> Mapping[str, ContainerState]:
        guests = await everybody(host, str(options["uri"]))
        return {name: known_state(seen) for name, seen in guests.items()}

    async def state(self) -> ContainerState:
        self._seen, self._warning = await self._libvirt.look()
        return state_of(self._seen)

    async def notes(self) -> tuple[LogLine, ...]:
        if self._seen is None:
            return ()
        uri = self.options["uri"]
        found = [remark(self._seen, uri, self.name), self._warning]
        if self._seen.autostart:
            found.append(
                f"{self.name} starts by itself at boot, which can make it run twice; mend: "
                f"virsh -c {uri} autostart --disable {self.name}"
            )
        return tuple(LogLine("warn", text) for text in found if text)

    async def start(self) -> None:
        self._libvirt.forget()  # what is done is done by a look of its own
        await super().start()

    async def stop(self) -> None:
        self._libvirt.forget()
        if await self.state() is ContainerState.UP and await self._libvirt.migrates():
            # The list of guests does not show it where a guest comes from; it is up there until the end.
            raise ActionFailed(
                f"{self.name} is migrating, so it is not stopped",
                hint=f"wait for its end, or virsh -c {self.options['uri']} domjobabort {self.name}",
            )
        await super().stop()

    async def start_guest(self) -> None:
        if self._seen is None:
            raise NotFound(
                f"{self.name} is not defined here: libvirt {self.options['uri']} does not know it",
                hint=f"virsh -c {self.options['uri']} define FILE",
            )
        if state_of(self._seen) is ContainerState.CRASHED:
            await self.kill_guest()  # its process is kept for who wants to look at it
        await self._libvirt.change("create", timeout=float(self.options["start_timeout"]))

    async def shutdown_guest(self, seconds: float) -> None:
        mode = self.options["shutdown_mode"] or ("agent" if self.options["qga"] else "acpi")
        try:
            await self._libvirt.change("shutdownFlags", _MODES[mode])
        except EncapError:
            if mode == "acpi":
                raise
            await self._libvirt.change("shutdownFlags", _MODES["acpi"])

    async def kill_guest(self) -> None:
        try:
            await self._libvirt.change("destroyFlags", 0, timeout=DESTROY_SECONDS)
        except ActionFailed:
            if await self.state() is not ContainerState.SAVED:
                raise
            await self.discard_guest()  # somebody saved it in between, as libvirt-guests may at shutdown

    async def discard_guest(self) -> None:
        await self._libvirt.change("managedSaveRemove", 0)

    async def pause(self) -> None:
        await self._libvirt.change("suspend")

    async def resume(self) -> None:
        if self._seen is not None and self._seen.state == SLEEPS:
            await self._libvirt.change("pMWakeup", 0)
        else:
            await self._libvirt.change("resume")

    async def addresses(self) -> tuple[str, ...]:
        """By the leases that this machine gave, and its neighbours; what the guest says is not asked."""
        try:
            found = usable(await self._libvirt.leases())
        except StateUnknown:
            found = ()  # a network in which libvirt gives no leases
        return found or usable(await self._libvirt.neighbours())

    async def export(self) -> Mapping[str, str]:
        """Its definition as libvirt would start it next, with the passwords of its displays."""
        return {definition.FILE: await self._libvirt.definition()}

    async def define(self, files: Mapping[str, str]) -> None:
        if set(files) != {definition.FILE}:
            raise InvalidRequest(
                f"a container of type kvm has one file, {definition.FILE}, and not {', '.join(files)}"
            )
        definition.check(files[definition.FILE], self.name)
        await self._libvirt.define(files[definition.FILE])

    @property
    def _libvirt(self) -> Libvirt:
        return Libvirt(self.host, self.options["uri"], self.name)

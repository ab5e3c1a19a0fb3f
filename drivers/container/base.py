"""Containers and virtual machines: in which order, how long, and what each state means.

A type says how to read the state of its guest and how to start, shut down and kill it.
This module owns what is alike: graceful, wait, force, wait; unknown is never down; a
guest that survived force is marked and shown as stuck.
"""

from __future__ import annotations

import ipaddress
import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from agentd.core.converters import duration
from agentd.core.errors import ActionFailed, EncapError, NotFound, Silent
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine, Probe, Status
from drivers.base import ContainerState, Driver, Pausable

KILL_SECONDS = 30.0
"""How long a guest may take to die once it was killed."""

SETTLE_SECONDS = 3.0
"""How long a guest that was just started may still read as down."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OVER = (ContainerState.ABSENT, ContainerState.DOWN)
_STATUS = {
    ContainerState.UP: Status.UP,
    ContainerState.ABSENT: Status.DOWN,
    ContainerState.DOWN: Status.DOWN,
    ContainerState.UNKNOWN: Status.UNDEF,
}


def container_name(text: str) -> str:
    """A name that is safe as a word of a command and as a part of a path."""
    if not _NAME.fullmatch(text.strip()) or ".." in text:
        raise ValueError(f"{text!r} is not a name: letters, digits, dot, dash and underscore")
    return text.strip()


def usable_addresses(words: Iterable[str]) -> tuple[str, ...]:
    """Those under which a guest can be reached from its hypervisor, IPv4 first."""
    found = []
    for word in words:
        try:
            address = ipaddress.ip_address(word)
        except ValueError:
            continue
        local = address.is_loopback or address.is_link_local
        if not (local or address.is_unspecified or address.is_multicast or address in found):
            found.append(address)
    return tuple(str(address) for address in sorted(found, key=lambda address: address.version))


NAME = Keyword(
    "name",
    "The container's name for its tools; the service's name when absent.",
    container_name,
    "",
    example="deb1",
)
TIMEOUTS = (
    Keyword("start_timeout", "For a whole start, shared by its phases.", duration, 240.0, inheritable=True),
    Keyword("stop_timeout", "For a graceful stop, before force.", duration, 120.0, inheritable=True),
)


class Container(Driver):
    """A guest of this machine."""

    KEYWORDS: ClassVar[tuple[Keyword, ...]] = (NAME, *TIMEOUTS)
    LABEL = "{name}"
    SAVED_HINT: ClassVar[str] = "resume it, or throw its memory away"
    """What helps with a guest that is saved to disk; may hold ``{name}`` and keywords of the type."""

    @property
    def name(self) -> str:
        return str(self.options.get("name") or self.setting.service)

    @abstractmethod
    async def state(self) -> ContainerState:
        """What the tool says; raises when it says nothing that can be relied on."""

    @abstractmethod
    async def start_guest(self) -> None: ...

    @abstractmethod
    async def shutdown_guest(self, seconds: float) -> None:
        """Ask for a clean shutdown. May wait for it, at most `seconds`, and need not."""

    @abstractmethod
    async def kill_guest(self) -> None: ...

    async def notes(self) -> tuple[LogLine, ...]:
        """What else is worth a line under the container; asked after `state`."""
        return ()

    async def probe(self) -> Probe:
        try:
            state = await self._marked_state()
            notes = await self.notes()
        except EncapError as error:
            return Probe(Status.UNDEF, (LogLine("warn", error.text),), ContainerState.UNKNOWN)
        status = _STATUS.get(state, Status.WARN)
        if status is Status.WARN:
            notes = (LogLine("warn", f"{self.name} is {state}"), *notes)
        elif status is Status.UNDEF:
            notes = (LogLine("warn", f"the state of {self.name} is not known"), *notes)
        return Probe(status, notes, state)

    async def start(self) -> None:
        state = await self.state()
        if state is ContainerState.UP:
            return
        self._refuse_saved(state, "started")
        if state is not ContainerState.STARTING:
            if state not in (*_OVER, ContainerState.CRASHED):
                raise ActionFailed(f"{self.name} is {state}, so it is not started", hint="stop it first")
            await self.start_guest()
        await self._wait_until_up()

    async def stop(self) -> None:
        state = await self.state()
        if state in _OVER:
            return
        self._refuse_saved(state, "stopped")
        if state is ContainerState.PAUSED and isinstance(self, Pausable):
            await self.resume()  # a paused guest hears no request
        deadline = self.host.now() + float(self.options["stop_timeout"])
        if state is not ContainerState.CRASHED:
            try:
                await self.shutdown_guest(float(self.options["stop_timeout"]))
            except (ActionFailed, Silent):
                deadline = self.host.now()  # it cannot be asked, or did not do it: force
        if await self._is_over_by(deadline, in_vain=(ContainerState.CRASHED,)):
            return
        await self.kill_guest()
        if not await self._is_over_by(self.host.now() + KILL_SECONDS):
            raise await self.stuck(f"it survived a forced stop for {KILL_SECONDS:g} s")

    async def stuck(self, why: str) -> ActionFailed:
        """Mark the guest as stuck, until it is seen to be down; the error to raise."""
        await self.host.write(self.run_path("stuck"), f"{why}\n")
        return ActionFailed(
            f"{self.name} is stuck: {why}",
            code="stuck",
            hint="look for processes that wait for a dead disk or mount",
        )

    def _refuse_saved(self, state: ContainerState, done: str) -> None:
        """It runs nowhere, and is not down: whether its memory is wanted is for people to say."""
        if state is ContainerState.SAVED:
            hint = self.SAVED_HINT.format(**{**self.options, "name": self.name})
            raise ActionFailed(f"{self.name} is saved with its memory, so it is not {done}", hint=hint)

    async def _marked_state(self) -> ContainerState:
        state = await self.state()
        mark = self.run_path("stuck")
        if state in _OVER or not await self.host.exists(mark):
            return state
        return ContainerState.STUCK

    async def _is_over_by(self, deadline: float, in_vain: tuple[ContainerState, ...] = ()) -> bool:
        """Whether the guest was seen to be down before `deadline`; looks at least once.

        A guest that is `in_vain` will not come down by itself, so that is no use waiting for.
        """
        pause = 0.05
        while True:
            state, doubt = await self._look()
            if state in _OVER:
                await self._clear_mark()
                return True
            if state in in_vain:
                return False
            if self.host.now() >= deadline:
                if doubt:
                    raise doubt
                return False
            await self.host.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _wait_until_up(self) -> None:
        began, pause = self.host.now(), 0.05
        patience = float(self.options["start_timeout"])
        while True:
            state, doubt = await self._look()
            waited = self.host.now() - began
            if state is ContainerState.UP:
                return
            if state in (*_OVER, ContainerState.CRASHED) and waited >= SETTLE_SECONDS:
                raise ActionFailed(f"{self.name} went down while it was starting")
            if waited >= patience:
                raise doubt or ActionFailed(f"{self.name} is {state} and not up after {patience:g} s")
            await self.host.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _look(self) -> tuple[ContainerState, EncapError | None]:
        """The state while waiting for another: one unclear answer ends no wait."""
        try:
            return await self.state(), None
        except NotFound:
            raise
        except EncapError as error:
            return ContainerState.UNKNOWN, error

    async def _clear_mark(self) -> None:
        if await self.host.exists(self.run_path("stuck")):
            await self.host.remove(self.run_path("stuck"))

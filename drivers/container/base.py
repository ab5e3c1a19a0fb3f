"""Containers and virtual machines: in which order, how long, and what each state means.

A type says how to read the state of its guest and how to start, shut down and kill it.
This module owns what is alike: graceful, wait, force, wait; unknown is never down; a
guest that survived force is marked and shown as stuck; a guest in migration is left alone;
one that was saved is never woken up, since its memory may be older than its disks.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from typing import ClassVar

from agentd.core.converters import duration
from agentd.core.errors import ActionFailed, EncapError, NotFound, NotSupported, Silent
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine, Probe, Status
from drivers.base import ContainerState, Driver, Pausable

KILL_SECONDS = 30.0
"""How long a guest may take to die once it was killed."""

SETTLE_SECONDS = 3.0
"""How long a guest that was just started may still read as down."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OVER = (ContainerState.ABSENT, ContainerState.DOWN)
_DEAF = (ContainerState.CRASHED, ContainerState.SAVED)
"""No use asking these for a clean shutdown, and none to wait for it."""

_STOP = "stop it first"
_FIRST = {
    ContainerState.MIGRATING: "wait for the end of the migration, or cancel it with its tool",
    ContainerState.SAVED: "a stop throws its memory away; resume it by hand if it ran nowhere else since",
}
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


class Guest(Driver):
    """What a type has to tell of its guest, and what it may."""

    KEYWORDS: ClassVar[tuple[Keyword, ...]] = (NAME, *TIMEOUTS)
    LABEL = "{name}"
    ASK_EVERY: ClassVar[float] = math.inf
    """After how many seconds a request for a clean shutdown is sent again: a guest that boots hears none."""
    DIES_WITHIN: ClassVar[float] = KILL_SECONDS

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

    async def discard_guest(self) -> None:
        """Throw away what was saved of the guest: its memory."""
        raise NotSupported(
            f"{self.name} is saved, and its tool has no command to forget that",
            hint="remove what was saved by hand, or resume the guest if it has run nowhere else since",
        )

    async def clear_guest(self) -> None:
        """Before a start: take away what is left of a guest that crashed, if anything is."""
        return

    async def release_guest(self) -> None:
        """After a stop: give back what a guest that is down still holds on this machine."""
        return

    async def notes(self) -> tuple[LogLine, ...]:
        """What else is worth a line under the container; asked after `state`, and not of an absent guest."""
        return ()


class Container(Guest):
    """A guest of this machine: in which order its type is asked, and how long."""

    async def probe(self) -> Probe:
        try:
            state = await self._marked_state()
        except EncapError as error:
            return Probe(Status.UNDEF, (LogLine("warn", error.text),), ContainerState.UNKNOWN)
        try:
            notes = () if state is ContainerState.ABSENT else await self.notes()
        except EncapError as error:  # the state is known all the same
            notes = (LogLine("info", f"more about {self.name} cannot be told: {error.text}"),)
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
        if state is not ContainerState.STARTING:
            if state not in (*_OVER, ContainerState.CRASHED):
                raise ActionFailed(
                    f"{self.name} is {state}, so it is not started", hint=_FIRST.get(state, _STOP)
                )
            if state is ContainerState.CRASHED:
                await self.clear_guest()
            try:
                await self.start_guest()
            except ActionFailed:
                if (await self._look())[0] not in (ContainerState.UP, ContainerState.STARTING):
                    raise  # else somebody was faster
        await self._wait_until_up()

    async def stop(self) -> None:
        state = await self.state()
        if state is ContainerState.MIGRATING:
            raise ActionFailed(f"{self.name} is migrating, so it is not stopped", hint=_FIRST[state])
        if state not in _OVER:
            await self._bring_down(state)
        await self.release_guest()

    async def _bring_down(self, state: ContainerState) -> None:
        if state is ContainerState.PAUSED and isinstance(self, Pausable):
            await self.resume()  # a paused guest hears no request
        if state not in _DEAF and await self._asked_down():
            return
        trouble = ""
        try:
            await (self.discard_guest() if state is ContainerState.SAVED else self.kill_guest())
        except (ActionFailed, Silent) as error:  # it may have gone down by itself: the state tells
            trouble = f"; {error.text}"
        if not await self._is_over_by(self.host.now() + self.DIES_WITHIN):
            await self.host.write(self.run_path("stuck"), "survived a forced stop\n")
            raise ActionFailed(
                f"{self.name} is stuck: it survived a forced stop for {self.DIES_WITHIN:g} s{trouble}",
                code="stuck",
                hint="look for processes that wait for a dead disk or mount",
            )

    async def _asked_down(self) -> bool:
        """Ask for a clean shutdown until the guest is down, or `stop_timeout` is over."""
        left = float(self.options["stop_timeout"])
        end, again = self.host.now() + left, False
        while True:
            try:
                await self.shutdown_guest(left)
            except (ActionFailed, Silent):
                if not again:  # it cannot be asked, or did not do it
                    return await self._is_over_by(self.host.now())
            again = True
            left = end - self.host.now()
            last = left <= self.ASK_EVERY
            try:
                if await self._is_over_by(self.host.now() + min(left, self.ASK_EVERY), in_vain=_DEAF):
                    return True
            except EncapError:
                if last:
                    raise
            if last or (await self._look())[0] in _DEAF:
                return False
            left = end - self.host.now()

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

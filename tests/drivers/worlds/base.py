"""What every world has: a hypervisor in memory with one guest, c1, that may ignore what it is told."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from typing import ClassVar

from drivers.base import ContainerState, Result
from drivers.container.base import Container

from ..memory import MemoryHost, make  # noqa: TID252 of the same tests

S = ContainerState
MARK = "mend: "
"""What comes before the command that mends an autostart."""


class World(MemoryHost, ABC):
    """A hypervisor in memory with one guest, c1."""

    type: ClassVar[str]
    states: ClassVar[tuple[ContainerState, ...]] = (S.ABSENT, S.DOWN, S.STARTING, S.UP, S.PAUSED)
    options: ClassVar[dict[str, object]] = {}
    executes: ClassVar[bool] = True
    address: ClassVar[str] = ""
    """What its tools tell as the guest's address; empty: they tell none."""
    export: ClassVar[str] = ""
    """The file that defines a guest; empty: there is none that could travel."""
    exporting: ClassVar[bool | None] = None
    """Whether the type has the ability, where that is not told by `export`."""
    discards: ClassVar[bool] = False
    """Whether the tool can forget a guest's saved memory."""
    autostarts: ClassVar[bool] = False
    old: bool = False
    """Answer as an older version of the tool does."""

    starting_takes = 0.0
    stopping_takes = 0.0
    ignores_shutdown = False
    survives_kill = False
    garbage = False
    autostart = False
    somebody_was_faster = False
    """The next start is refused since the guest was started in between."""

    def driver(self) -> Container:
        options = {"name": "c1", "start_timeout": 20, "stop_timeout": 10, **self.options}
        found = make("container#1", self.type, self, **options)
        assert isinstance(found, Container)
        return found

    @abstractmethod
    def put(self, state: ContainerState) -> None:
        """Bring the guest into a state behind the driver's back."""

    @abstractmethod
    def running(self) -> bool: ...

    @abstractmethod
    def starts(self) -> int:
        """How often a guest was started."""

    def inside(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        """What a program in the guest does: it tells what it was given, and ends with 7."""
        return Result(7, f"{shlex.join(argv)}\n{(stdin or b'').decode()}")


class ToolWorld(World):
    """The guests of a simulated tool: their states, and how they obey. A type adds the tool's words."""

    states = (S.ABSENT, S.DOWN, S.UP)
    autostarts = True
    waits: ClassVar[bool] = False
    """Whether the request for a clean shutdown comes back only when the guest is down, or after 10 s."""

    def __init__(self) -> None:
        super().__init__()
        self.guests = {"c1": S.DOWN}
        self.due, self.started, self.busy = 0.0, 0, 0
        self.reset()

    def reset(self) -> None:
        """Make what else is on a machine with a guest that is defined."""

    def forget(self) -> None:
        """Take away what defines the guest, beside its place in the tool's list."""

    def put(self, state: ContainerState) -> None:
        self.guests["c1"], self.due = state, self.clock + 3
        if state is S.ABSENT:
            self.guests.pop("c1")
            self.forget()

    def crowd(self, number: int) -> None:
        """Other guests, all up."""
        self.guests |= {f"g{each}": S.UP for each in range(number)}

    @property
    def now_is(self) -> ContainerState:
        """The state of c1, moved on as the clock says."""
        state = self.guests.get("c1", S.ABSENT)
        if self.clock >= self.due and state in (S.STARTING, S.STOPPING):
            state = self.guests["c1"] = S.UP if state is S.STARTING else S.DOWN
        return state

    def running(self) -> bool:
        return self.now_is not in (S.ABSENT, S.DOWN)

    def starts(self) -> int:
        return self.started

    def defined(self) -> bool:
        return "c1" in self.guests

    def begin(self, refusal: Result) -> Result:
        if not self.defined():
            return Result(1, "", "no such guest\n")
        if self.somebody_was_faster:
            self.guests["c1"] = S.UP
        if self.running():
            return refusal
        self.started += 1
        self.guests["c1"] = S.STARTING if self.starting_takes else S.UP
        self.due = self.clock + self.starting_takes
        return Result(0)

    def shut(self) -> bool:
        """Whether the guest heard it."""
        if self.ignores_shutdown and self.waits:
            self.clock += 10
        if self.ignores_shutdown or self.now_is is not S.UP:
            return False
        self.guests["c1"] = S.STOPPING if self.stopping_takes else S.DOWN
        self.due = self.clock + self.stopping_takes
        return True

    def slay(self) -> bool:
        if not self.survives_kill:
            self.guests["c1"] = S.DOWN
        return not self.survives_kill

    def inside_if_up(self, argv: tuple[str, ...], stdin: bytes | None, refusal: Result) -> Result:
        return self.inside(argv, stdin) if self.now_is is S.UP else refusal

    def rows(self) -> dict[str, ContainerState]:
        """All guests that a list would show."""
        return {**({"c1": self.now_is} if "c1" in self.guests else {}), **self.guests}

    async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        # As the machine's does, the answer ends after 64 KiB.
        result = await self.answer(argv[0].rpartition("/")[2], argv[1:], stdin)
        return Result(result.code, result.out[: 64 << 10], result.err)

    @abstractmethod
    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result: ...

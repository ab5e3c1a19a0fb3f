"""The driver contract: what a driver may use, and what it must and may offer.

A driver says *which* commands; the base classes say in which order and how long. It
reaches the machine through the `Host` it is given and through nothing else.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from agentd.core.errors import ActionFailed, Silent
from agentd.core.keywords import Keyword
from agentd.core.model import Resource
from agentd.core.status import LogLine, Probe, Status

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """What a command answered. `out` and `err` are cut at 64 KiB."""

    code: int
    out: str = ""
    err: str = ""


class CommandFailed(ActionFailed):
    """A command that was to change something exited with another code than 0."""


class StateUnknown(Silent):
    """The tool answered, and the answer does not tell the state."""

    code = "state-unknown"


class Host(Protocol):
    """The machine as drivers see it: the one door to commands, libraries, processes, files, time.

    `probe` reads and takes any exit code for an answer; `run` changes and raises
    CommandFailed. Both raise Silent when the command misses its deadline (its process
    group is then killed) and NotFound when the tool is missing. argv, never a shell.
    `user` is ``name`` or ``name:group``; "" stays who the daemon is. `env` is added to a
    small fixed environment. A file that is not there is NotFound for `read`.
    """

    async def probe(
        self,
        *argv: str,
        timeout: float = 30,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        umask: int | None = None,
    ) -> Result: ...

    async def run(
        self,
        *argv: str,
        timeout: float = 60,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        umask: int | None = None,
    ) -> Result: ...

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        log: str,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        umask: int | None = None,
    ) -> int:
        """Start a detached session that outlives the daemon; its pid. Output goes to `log`."""
        ...

    async def kill(self, pid: int, signal: int, *, group: bool = True) -> bool:
        """Signal a process group; False when it is already gone."""
        ...

    async def work(self, call: Callable[[], T], *, key: str, timeout: float = 30, limit: int = 4) -> T:
        """Run a call of a blocking library in a worker thread; what it returns or raises.

        `key` names the backend for people. It has at most `limit` threads, and a call that
        misses its deadline keeps its own until it comes back: Silent for who asked, and at
        once for those who ask while all threads are held so.
        """
        ...

    async def read(self, path: str, limit: int = 1 << 20) -> str: ...
    async def write(self, path: str, text: str, mode: int = 0o600) -> None: ...
    async def remove(self, path: str) -> None: ...
    async def exists(self, path: str) -> bool: ...
    async def make_directory(self, path: str, mode: int = 0o755) -> None: ...

    async def sleep(self, seconds: float) -> None: ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a driver works: the service, the node, and directories that are its own.

    `state`: survives a reboot (driver files of the resource); `run`: does not.
    """

    service: str
    node: str
    state: str
    run: str


def warning(text: str, status: Status = Status.WARN) -> Probe:
    """A probe with one warn line."""
    return Probe(status, (LogLine("warn", text),))


class Driver(ABC):
    """One resource on this node. `start` and `stop` are called only when a probe said that
    there is something to do, and are followed by another probe: no driver repeats that."""

    KEYWORDS: ClassVar[tuple[Keyword, ...]] = ()
    LABEL: ClassVar[str] = "{rid}"

    def __init__(self, resource: Resource, host: Host, setting: Setting) -> None:
        self.resource, self.host, self.setting = resource, host, setting

    @property
    def options(self) -> Mapping[str, Any]:
        """Keyword -> converted value, defaults included."""
        return self.resource.options

    def state_path(self, name: str) -> str:
        """A file of this resource that survives a reboot."""
        return f"{self.setting.state}/{self._file(name)}"

    def run_path(self, name: str) -> str:
        """A file of this resource that a reboot takes away."""
        return f"{self.setting.run}/{self._file(name)}"

    def _file(self, name: str) -> str:
        return f"{self.resource.rid.replace('#', '.')}.{name}"

    @abstractmethod
    async def probe(self) -> Probe:
        """What is. An EncapError that it raises is shown as undef with the error's text."""

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def stop(self) -> None: ...


class ContainerState(enum.StrEnum):
    """One state model for every container type. Only ABSENT and DOWN are proofs of down."""

    ABSENT = "absent"
    DOWN = "down"
    STARTING = "starting"
    UP = "up"
    PAUSED = "paused"
    SAVED = "saved"
    STOPPING = "stopping"
    MIGRATING = "migrating"
    CRASHED = "crashed"
    STUCK = "stuck"
    UNKNOWN = "unknown"


@runtime_checkable
class Executing(Protocol):
    """Can run a command inside the guest, as its root."""

    async def execute(self, *argv: str, stdin: bytes | None = None, timeout: float = 30) -> Result: ...


@runtime_checkable
class Addressable(Protocol):
    """Can tell where the guest's agent listens: ``host`` or ``host:port``, best first."""

    async def addresses(self) -> tuple[str, ...]: ...


@runtime_checkable
class Pausable(Protocol):
    async def pause(self) -> None: ...
    async def resume(self) -> None: ...


@runtime_checkable
class Exporting(Protocol):
    """Can name the files that define the guest, to travel with the configuration."""

    async def export(self) -> Mapping[str, str]: ...
    async def define(self, files: Mapping[str, str]) -> None: ...


@runtime_checkable
class Listing(Protocol):
    """Can tell the states of all its guests on a machine with one question."""

    @classmethod
    async def states(cls, host: Host, options: Mapping[str, Any]) -> Mapping[str, ContainerState]:
        """Name -> state. A guest that is not named may still be defined. `options`: of any of them."""
        ...

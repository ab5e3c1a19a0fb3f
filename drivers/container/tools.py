"""Containers that are driven by command lines: how their tools are called, and what they all answer to.

A type of this kind lists all its guests in one answer, which is read by the type; a list
that was cut on its way proves nobody's absence.
"""

from __future__ import annotations

import ipaddress
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from agentd.core.converters import absolute_path
from agentd.core.errors import ActionFailed, InvalidRequest
from agentd.core.keywords import Keyword
from agentd.core.rows import UNUSED
from agentd.core.status import LogLine
from drivers.base import CommandFailed, ContainerState, Host, Result, StateUnknown
from drivers.container.base import Container

BUSY_SECONDS = 20.0
"""How long a tool may say that somebody else is at the guest."""

WHOLE = 64 << 10
"""An output of so many bytes may have been cut."""

TOOLS_DIR = Keyword(
    "tools_dir",
    "Folder of the tools, when they are not where they usually are.",
    absolute_path,
    "",
    example="/opt/tools/bin",
)


def unused(*names: str) -> tuple[Keyword, ...]:
    """Keywords of OpenSVC that made guests, or that nothing here needs: older files keep them."""
    return tuple(Keyword(name, UNUSED) for name in names)


@dataclass(frozen=True, slots=True)
class Seen:
    """A guest in a list. `word`: the tool's own for the state; `autostart`: the guest's own mark; `id`:
    what the tool keeps it under, where that is not its name."""

    state: ContainerState
    word: str = ""
    id: str = ""
    autostart: bool = False
    addresses: tuple[str, ...] = ()


class Commanded(Container):
    """A container whose tool is a command."""

    KEYWORDS = (*Container.KEYWORDS, TOOLS_DIR)
    FOLDER: ClassVar[str] = ""
    """Where the tools usually are, when that is not on the search path."""
    BUSY: ClassVar[tuple[int | str, ...]] = ()
    """Exit codes, and texts of errors, that say: somebody else is at it, try again."""

    @classmethod
    def tool(cls, options: Mapping[str, Any], name: str) -> str:
        folder = options.get("tools_dir") or cls.FOLDER
        return f"{folder}/{name}" if folder else name

    async def look(self, name: str, *words: str, timeout: float = 30) -> Result:
        return await self.host.probe(self.tool(self.options, name), *words, timeout=timeout, user=self.user)

    async def change(self, name: str, *words: str, timeout: float = 60) -> None:
        """Run a tool that changes something; again while it says that somebody else is at it."""
        until = self.host.now() + min(timeout, BUSY_SECONDS)
        while True:
            try:
                await self.host.run(self.tool(self.options, name), *words, timeout=timeout, user=self.user)
                return
            except CommandFailed as error:
                if not self._busy(error) or self.host.now() >= until:
                    raise
            await self.host.sleep(1.0)

    @property
    def user(self) -> str:
        """Who the tool is run as; the daemon's user when empty."""
        return ""

    def _busy(self, error: CommandFailed) -> bool:
        return any(
            mark in error.text if isinstance(mark, str) else mark == error.details.get("exit")
            for mark in self.BUSY
        )

    def only(self, files: Mapping[str, str], name: str) -> str:
        """The one file that defines a guest of this type."""
        if set(files) != {name}:
            raise InvalidRequest(
                f"a container of type {self.resource.type} has one file, {name}, and not {', '.join(files)}"
            )
        return files[name]

    def not_running(self) -> ActionFailed:
        return ActionFailed(f"{self.name} is not running, so nothing can be run in it")

    def autostart(self, mend: str, why: str = "starts by itself at boot") -> LogLine:
        return LogLine("warn", f"{self.name} {why}, which can make it run twice; mend: {mend}")


class Listed(Commanded):
    """A container whose tool lists all guests in one answer, and is asked no other question."""

    QUERY: ClassVar[tuple[str, ...]]
    seen = Seen(ContainerState.UNKNOWN)
    """What was last seen of the guest."""

    @classmethod
    @abstractmethod
    def read(cls, answer: Result) -> dict[str, Seen]:
        """The guests by name. Raises StateUnknown for anything that is not the documented answer."""

    @classmethod
    async def guests(cls, host: Host, options: Mapping[str, Any]) -> dict[str, Seen]:
        return cls.read(await cls.ask(host, options, cls.QUERY))

    @classmethod
    async def ask(cls, host: Host, options: Mapping[str, Any], query: tuple[str, ...]) -> Result:
        """The whole answer to a question that lists guests."""
        answer = await host.probe(cls.tool(options, query[0]), *query[1:])
        if len(answer.out.encode()) >= WHOLE:
            raise StateUnknown(f"{query[0]}: its list of guests is too long to be read")
        return answer

    @classmethod
    async def states(cls, host: Host, options: Mapping[str, Any]) -> Mapping[str, ContainerState]:
        return {name: seen.state for name, seen in (await cls.guests(host, options)).items()}

    async def state(self) -> ContainerState:
        listed = await self.guests(self.host, self.options)
        self.seen = listed.get(self.name) or await self.unlisted(listed)
        if self.seen.state is ContainerState.UNKNOWN:
            raise StateUnknown(f"{self.name} is {self.seen.word or '?'}, and that tells no state")
        return self.seen.state

    async def unlisted(self, listed: Mapping[str, Seen]) -> Seen:
        """What a guest is that is not in the list."""
        return Seen(ContainerState.ABSENT)


def first_line(answer: Result) -> str:
    """What the tool said first, for a sentence."""
    said = (answer.err.strip() or answer.out.strip()).splitlines()
    return said[0][:200] if said else f"exit {answer.code} and no output"


def refused(tool: str, answer: Result) -> StateUnknown:
    """The error for an answer that tells no state."""
    return StateUnknown(f"{tool}: {first_line(answer)}")


def usable(words: Iterable[str]) -> tuple[str, ...]:
    """The words that are addresses others can reach, IPv4 first; a length of the network is dropped."""
    found = []
    for word in words:
        try:
            address = ipaddress.ip_address(word.partition("/")[0])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            found.append(address)
    return tuple(str(address) for address in sorted(found, key=lambda address: address.version))

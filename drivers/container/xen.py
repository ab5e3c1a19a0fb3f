"""Xen through `xl` (format of `xl list` as in the source of Xen 4.6 to 4.20)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentd.core.converters import absolute_path
from agentd.core.errors import NotFound
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine
from drivers.base import ContainerState, Result
from drivers.container.tools import Listed, Seen, refused, unused

_LETTERS = re.compile(r"[-r][-b][-p][-s][-rscwS?][-d]")
_REASONS = {
    "-": ContainerState.STOPPING,  # powered off, and not taken down: its devices hang, or it is preserved
    "r": ContainerState.STARTING,  # reboots: xl makes it anew
    "S": ContainerState.STARTING,
    "s": ContainerState.MIGRATING,  # suspended, on its way to a file or to another machine
    "c": ContainerState.CRASHED,
    "w": ContainerState.CRASHED,
}
_IN_FLIGHT = ("--incoming", "--migratedaway")
_SERVICE = ("/etc/default/xendomains", "/etc/sysconfig/xendomains")


def state_of(letters: str) -> ContainerState:
    if letters[5] == "d":
        return ContainerState.STUCK
    if letters[3] == "s":
        return _REASONS.get(letters[4], ContainerState.UNKNOWN)
    return ContainerState.PAUSED if letters[2] == "p" else ContainerState.UP


class Xen(Listed):
    """A Xen domain, made by xl from a file of its own."""

    KEYWORDS = (
        *Listed.KEYWORDS,
        Keyword(
            "cf",
            "Configuration file of the domain; /etc/xen/NAME.cfg when absent. It holds the same name.",
            absolute_path,
            "",
            example="/etc/xen/vm1.cfg",
        ),
        *unused("snap", "snapof", "virtinst"),
    )
    QUERY = ("xl", "list")

    @classmethod
    def read(cls, answer: Result) -> dict[str, Seen]:
        header, *rows = answer.out.splitlines() or [""]
        found = {}
        for row in rows:
            # A name may have blanks and run into the numbers' place, so the row is read from its end.
            words = row.rsplit(None, 5)
            if len(words) != 6 or not _LETTERS.fullmatch(words[4]):
                raise refused("xl list", Result(answer.code, row))
            found[words[0]] = Seen(state_of(words[4]), words[4])
        if answer.code or not header.startswith("Name ") or "Domain-0" not in found:
            raise refused("xl list", answer)
        return found

    async def unlisted(self, listed: Mapping[str, Seen]) -> Seen:
        if any(self.name + ending in listed for ending in _IN_FLIGHT):
            return Seen(ContainerState.MIGRATING)
        defined = await self.host.exists(self._config)
        return Seen(ContainerState.DOWN if defined else ContainerState.ABSENT)

    async def start_guest(self) -> None:
        if not await self.host.exists(self._config):
            raise NotFound(
                f"{self.name} is not defined here: there is no {self._config}",
                hint="copy its configuration here, or say where it is: cf",
            )
        await self.change("xl", "create", self._config, timeout=float(self.options["start_timeout"]))

    async def shutdown_guest(self, seconds: float) -> None:
        await self.change("xl", "shutdown", "-F", self.name)

    async def kill_guest(self) -> None:
        await self.change("xl", "destroy", self.name)

    async def clear_guest(self) -> None:
        await self.kill_guest()  # a crashed domain that was preserved keeps its name

    async def pause(self) -> None:
        await self.change("xl", "pause", self.name)

    async def resume(self) -> None:
        await self.change("xl", "unpause", self.name)

    async def notes(self) -> tuple[LogLine, ...]:
        file = self._config.rpartition("/")[2]
        links = [f"/etc/xen/auto/{name}" for name in dict.fromkeys((file, self.name))]
        found = [self.autostart(f"rm {link}") for link in links if await self.host.exists(link)]
        for settings in _SERVICE:
            if await self.host.exists(settings) and restores(await self.host.read(settings)):
                found.append(
                    self.autostart(
                        f"sed -i -e 's/^XENDOMAINS_RESTORE=.*/XENDOMAINS_RESTORE=false/'"
                        f" -e 's/^XENDOMAINS_SAVE=.*/XENDOMAINS_SAVE=/' {settings}",
                        "is saved by xendomains at shutdown and restored at boot",
                    )
                )
        return tuple(found)

    async def export(self) -> Mapping[str, str]:
        return {"config": await self.host.read(self._config)}

    async def define(self, files: Mapping[str, str]) -> None:
        await self.host.write(self._config, self.only(files, "config"))

    @property
    def _config(self) -> str:
        return str(self.options["cf"] or f"/etc/xen/{self.name}.cfg")


def restores(settings: str) -> bool:
    """Whether the settings of xendomains make it save guests and start them again."""
    values = dict(re.findall(r"^\s*(XENDOMAINS_\w+)=[\"']?([^\"'\n#]*)", settings, re.MULTILINE))
    return bool(values.get("XENDOMAINS_SAVE", "").strip()) and values.get("XENDOMAINS_RESTORE") == "true"

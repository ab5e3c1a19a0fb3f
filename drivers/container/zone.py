"""Solaris and illumos zones through zoneadm, zonecfg and zlogin (Solaris 10, 11, illumos)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from agentd.core.converters import boolean, words
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine
from drivers.base import ContainerState, Result
from drivers.container.tools import Listed, Seen, refused, unused, usable

_STATES = {
    "configured": ContainerState.DOWN,
    "unavailable": ContainerState.DOWN,
    "installed": ContainerState.DOWN,
    "ready": ContainerState.STARTING,
    "running": ContainerState.UP,
    "shutting_down": ContainerState.STOPPING,
    "down": ContainerState.STOPPING,
    "incomplete": ContainerState.STUCK,  # being installed or removed, or damaged
    "mounted": ContainerState.STUCK,  # somebody works at its files
}
_ATTACH_OPTIONS = ("-u", "-U", "-F", "-x", "deny-zbe-clone", "force-zbe-clone")


def attach_options(text: str) -> tuple[str, ...]:
    found = words(text)
    if not set(found) <= set(_ATTACH_OPTIONS):
        raise ValueError(f"{text!r}: attach knows {' '.join(_ATTACH_OPTIONS)}")
    return found


class Zone(Listed):
    """A zone of Solaris or illumos."""

    KEYWORDS = (
        *Listed.KEYWORDS,
        Keyword("detach", "Detach it after a stop: for a zone on shared storage.", boolean, False),
        Keyword(
            "attach_options",
            "What attach is told, when a start finds the zone detached.",
            attach_options,
            (),
            example="-u",
        ),
        *unused("zonepath", "container_origin", "rootfs", "sc_profile", "ai_manifest", "brand"),
        *unused("install_archive", "snap", "snapof", "delete_on_stop"),
    )
    QUERY = ("zoneadm", "list", "-cp")

    @classmethod
    def read(cls, answer: Result) -> dict[str, Seen]:
        found = {}
        for line in answer.out.splitlines():
            # Each version adds fields at the end; a colon in the path is escaped.
            fields = re.split(r"(?<!\\):", line)
            if len(fields) < 5:
                raise refused("zoneadm list", Result(answer.code, line))
            found[fields[1]] = Seen(_STATES.get(fields[2], ContainerState.UNKNOWN), fields[2])
        if answer.code or "global" not in found:
            raise refused("zoneadm list", answer)
        return found

    async def unlisted(self, listed: Mapping[str, Seen]) -> Seen:
        # The list leaves out a zone that changes while it is made, so absence is asked for by name.
        answer = await self.look("zoneadm", "-z", self.name, "list", "-p")
        if answer.code and "No such zone configured" in answer.err:
            return Seen(ContainerState.ABSENT)
        raise refused("zoneadm list", answer)

    async def start_guest(self) -> None:
        seconds = float(self.options["start_timeout"])
        if self.seen.word == "configured":
            await self.change(
                "zoneadm", "-z", self.name, "attach", *self.options["attach_options"], timeout=seconds
            )
        await self.change("zoneadm", "-z", self.name, "boot", timeout=seconds)

    async def shutdown_guest(self, seconds: float) -> None:
        await self.change("zlogin", self.name, "/sbin/init 0")

    async def kill_guest(self) -> None:
        await self.change("zoneadm", "-z", self.name, "halt")

    async def release_guest(self) -> None:
        if self.options["detach"] and self.seen.word == "installed":
            await self.change("zoneadm", "-z", self.name, "detach")

    async def notes(self) -> tuple[LogLine, ...]:
        answer = await self.look("zonecfg", "-z", self.name, "info", "autoboot")
        if answer.code or not re.match(r"\s*autoboot: (true|false)\s*$", answer.out):
            raise refused("zonecfg info autoboot", answer)
        if "true" in answer.out:
            return (self.autostart(f"zonecfg -z {self.name} set autoboot=false"),)
        return ()

    async def execute(self, *argv: str, stdin: bytes | None = None, timeout: float = 30) -> Result:
        # zlogin joins its words and gives them to the guest's shell: quoted, they arrive as they are.
        result = await self.host.probe(
            self.tool(self.options, "zlogin"), self.name, shlex.join(argv), stdin=stdin, timeout=timeout
        )
        if result.code and "login allowed only to running zones" in result.err:
            raise self.not_running()
        return result

    async def addresses(self) -> tuple[str, ...]:
        """Those that the zone was given by its configuration; one that it took itself is not told."""
        answer = await self.look("zonecfg", "-z", self.name, "info", "net")
        return usable(re.findall(r"^\s*(?:allowed-)?address: (\S+)", answer.out, re.MULTILINE))

    async def export(self) -> Mapping[str, str]:
        answer = await self.look("zonecfg", "-z", self.name, "export")
        if answer.code or "create" not in answer.out:
            raise refused("zonecfg export", answer)
        return {"zonecfg": answer.out}

    async def define(self, files: Mapping[str, str]) -> None:
        text, path = self.only(files, "zonecfg"), self.run_path("zonecfg")
        await self.host.make_directory(self.setting.run)
        await self.host.write(path, text)
        try:
            await self.change("zonecfg", "-z", self.name, "-f", path)
        finally:
            await self.host.remove(path)

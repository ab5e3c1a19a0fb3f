"""Logical domains of SPARC through `ldm`, from the control domain (Oracle VM Server for SPARC 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.core.keywords import Keyword
from agentd.core.status import LogLine
from drivers.base import CommandFailed, ContainerState, Result
from drivers.container.tools import Listed, Seen, refused


def state_of(word: str, flags: str) -> ContainerState:
    """Six columns of flags: 1 on its way, 2 normal, in transition or degraded, 6 migrating."""
    flags = flags.ljust(6, "-")
    if flags[5] in "st":
        return ContainerState.MIGRATING
    if flags[5] == "e":
        return ContainerState.STUCK
    if word in ("inactive", "bound"):
        return ContainerState.DOWN
    if word != "active":
        return ContainerState.UNKNOWN
    if flags[1] == "t":
        return ContainerState.STARTING  # at the firmware, or booting
    if flags[0] == "s":
        return ContainerState.STOPPING
    return {"n": ContainerState.UP, "d": ContainerState.STUCK}.get(flags[1], ContainerState.UNKNOWN)


class Ldom(Listed):
    """A logical domain of a SPARC machine."""

    KEYWORDS = (
        *Listed.KEYWORDS,
        Keyword(
            "auto_boot",
            "What its auto-boot? should be. With false a started domain waits at the firmware's prompt.",
            default="true",
            candidates=("true", "false"),
        ),
    )
    QUERY = ("ldm", "list", "-p")

    @classmethod
    def read(cls, answer: Result) -> dict[str, Seen]:
        version, *lines = answer.out.splitlines() or [""]
        if answer.code or not version.startswith("VERSION "):
            raise refused("ldm list", answer)
        found = {}
        for line in lines:
            kind, *fields = line.split("|")
            if kind != "DOMAIN":
                continue  # later versions add records
            row = dict(field.partition("=")[::2] for field in fields)
            if not row.get("name") or not row.get("state"):
                raise refused("ldm list", Result(0, line))
            found[row["name"]] = Seen(state_of(row["state"], row.get("flags", "")), row["state"])
        if not found:  # the control domain is always there, for those who may see it
            raise refused("ldm list", answer)
        return found

    async def start_guest(self) -> None:
        seconds = float(self.options["start_timeout"])
        unbound = self.seen.word == "inactive"
        if unbound:
            await self.change("ldm", "bind-domain", self.name, timeout=seconds)
        try:
            await self.change("ldm", "start-domain", self.name, timeout=seconds)
        except CommandFailed:
            if unbound and await self.state() is ContainerState.DOWN:
                await self.release_guest()
            raise

    async def shutdown_guest(self, seconds: float) -> None:
        await self.change("ldm", "stop-domain", self.name, timeout=seconds)

    async def kill_guest(self) -> None:
        await self.change("ldm", "stop-domain", "-f", self.name)

    async def release_guest(self) -> None:
        """A bound domain keeps its processors and memory from the others."""
        if self.seen.word == "bound":
            await self.change("ldm", "unbind-domain", self.name)

    async def notes(self) -> tuple[LogLine, ...]:
        found = []
        if self.seen.word == "bound":
            found.append(LogLine("info", f"{self.name} is bound: it holds its processors and its memory"))
        answer = await self.look("ldm", "list-variable", "auto-boot?", self.name)
        value = answer.out.strip().partition("auto-boot?=")[2].lower()
        if answer.code or value not in ("true", "false"):
            raise refused("ldm list-variable", answer)
        wanted = str(self.options["auto_boot"])
        if value != wanted:
            mend = f"ldm set-variable 'auto-boot?={wanted}' {self.name}"
            if wanted == "false":
                found.append(self.autostart(mend, "boots by itself when its machine binds and starts it"))
            else:
                text = f"{self.name} waits at its firmware's prompt when it is started; mend: {mend}"
                found.append(LogLine("warn", text))
        return tuple(found)

    async def export(self) -> Mapping[str, str]:
        answer = await self.look("ldm", "list-constraints", "-x", self.name)
        if answer.code or "<LDM_interface" not in answer.out:
            raise refused("ldm list-constraints", answer)
        return {"constraints.xml": answer.out}

    async def define(self, files: Mapping[str, str]) -> None:
        text, path = self.only(files, "constraints.xml"), self.run_path("constraints.xml")
        await self.host.make_directory(self.setting.run)
        await self.host.write(path, text)
        try:
            await self.change("ldm", "add-domain", "-i", path)
        finally:
            await self.host.remove(path)

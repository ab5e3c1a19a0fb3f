"""OpenVZ through vzctl and vzlist (legacy 3 and 4, and 7), Virtuozzo also through prlctl."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from agentd.core.errors import NotSupported
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine
from drivers.base import ContainerState, Host, Result
from drivers.container import prlctl
from drivers.container.tools import Listed, Seen, refused, unused, usable

_STATES = {
    "running": ContainerState.UP,
    "paused": ContainerState.PAUSED,
    "mounted": ContainerState.STOPPING,
    "suspended": ContainerState.SAVED,
    "stopped": ContainerState.DOWN,
}
_STATUS = re.compile(
    r"\S+ \S+ (exist|deleted) (mounted|unmounted) (running|paused|suspended|down)( suspended)?\s*"
)
_CONFIG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}\.conf")
NOT_RUNNING = 31


class Openvz(Listed):
    """A container of OpenVZ: `name` is its number, its UUID or its name."""

    KEYWORDS = (
        *Listed.KEYWORDS,
        Keyword(
            "tool",
            "vzctl: containers. prlctl: also the virtual machines of Virtuozzo.",
            default="vzctl",
            candidates=("vzctl", "prlctl"),
        ),
        *unused("rootfs", "template"),
    )
    QUERY = ("vzlist", "-a", "-H", "-o", "ctid,status,onboot,name,ip")
    BUSY = (9,)

    @classmethod
    async def guests(cls, host: Host, options: Mapping[str, Any]) -> dict[str, Seen]:
        if options.get("tool") == "prlctl":
            return prlctl.read(await cls.ask(host, options, prlctl.QUERY))
        return await super().guests(host, options)

    @classmethod
    def read(cls, answer: Result) -> dict[str, Seen]:
        found = {}
        if answer.code and "not found" not in answer.err:  # "Container(s) not found": there is none at all
            raise refused("vzlist", answer)
        for row in answer.out.splitlines():
            fields = row.split()
            if len(fields) < 3 or fields[2] not in ("yes", "no", "-"):
                raise refused("vzlist", Result(answer.code, row))
            seen = Seen(
                _STATES.get(fields[1], ContainerState.UNKNOWN),
                fields[1],
                fields[0],
                autostart=fields[2] == "yes",
                addresses=usable(fields[3:]),
            )
            found[fields[0]] = seen
            if len(fields) > 3 and not usable(fields[3:4]) and fields[3] != "-":
                found.setdefault(fields[3], seen)  # a name that is somebody's number means the number
        return found

    async def unlisted(self, listed: Mapping[str, Seen]) -> Seen:
        answer = await self.look(self._vz, "status", self.name)
        if self._vz == "prlctl":
            return prlctl.status(answer)
        said = _STATUS.fullmatch(answer.out)
        if answer.code or not said:
            raise refused("vzctl status", answer)
        if said[1] == "deleted":
            return Seen(ContainerState.ABSENT)
        word = "suspended" if said[4] or said[3] == "suspended" else said[3]
        if word == "down":
            word = "mounted" if said[2] == "mounted" else "stopped"
        return Seen(_STATES[word], word)

    async def start_guest(self) -> None:
        await self.change(self._vz, "start", self.name, timeout=float(self.options["start_timeout"]))

    async def shutdown_guest(self, seconds: float) -> None:
        await self.change(self._vz, "stop", self.name, timeout=seconds)

    async def kill_guest(self) -> None:
        if self.seen.word == "mounted":  # nothing runs in it any more
            await self.change(self._vz, "umount", self.name)
        else:
            await self.change(self._vz, "stop", self.name, "--fast" if self._vz == "vzctl" else "--kill")

    async def pause(self) -> None:
        await self.change(self._vz, "pause", self.name)

    async def resume(self) -> None:
        await self.change(self._vz, "resume", self.name)

    async def notes(self) -> tuple[LogLine, ...]:
        found = []
        if self.seen.autostart:
            found.append(self.autostart(f"vzctl set {self.name} --onboot no --save"))
        if await self.host.exists("/etc/vz/vz.conf"):
            settings = await self.host.read("/etc/vz/vz.conf")
            if re.search(r"^\s*VE_STOP_MODE=\"?suspend", settings, re.MULTILINE):
                mend = "sed -i 's/^VE_STOP_MODE=.*/VE_STOP_MODE=stop/' /etc/vz/vz.conf"
                found.append(self.autostart(mend, "is suspended at shutdown and resumed at boot"))
        return tuple(found)

    async def execute(self, *argv: str, stdin: bytes | None = None, timeout: float = 30) -> Result:
        # The tools give a line to the guest's shell: quoted, the words arrive as they are.
        verb = "exec2" if self._vz == "vzctl" else "exec"
        words = (self.tool(self.options, self._vz), verb, self.name, shlex.join(argv))
        result = await self.host.probe(*words, stdin=stdin, timeout=timeout)
        doubtful = result.code == NOT_RUNNING or (result.code and verb == "exec")
        if doubtful and await self.state() is not ContainerState.UP:
            raise self.not_running()
        return result

    async def addresses(self) -> tuple[str, ...]:
        await self.state()
        return self.seen.addresses

    @property
    def _vz(self) -> str:
        return str(self.options["tool"])

    async def export(self) -> Mapping[str, str]:
        self._only_vzctl()
        await self.state()
        file = f"{self.seen.id or self.name}.conf"
        return {file: await self.host.read(f"/etc/vz/conf/{file}")}

    async def define(self, files: Mapping[str, str]) -> None:
        self._only_vzctl()
        file = next((name for name in files if _CONFIG.fullmatch(name)), "ID.conf")
        await self.host.write(f"/etc/vz/conf/{file}", self.only(files, file), 0o644)

    def _only_vzctl(self) -> None:
        if self._vz != "vzctl":
            raise NotSupported(
                f"{self.name} is defined by its private area", hint="make it known there: prlctl register"
            )

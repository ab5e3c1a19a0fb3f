"""OpenVZ and Virtuozzo containers through vzctl and vzlist (legacy 3 and 4, and 7)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from agentd.core.errors import NotFound
from agentd.core.status import LogLine
from drivers.base import ContainerState, Result
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

    KEYWORDS = (*Listed.KEYWORDS, *unused("rootfs", "template"))
    QUERY = ("vzlist", "-a", "-H", "-o", "ctid,status,onboot,name,ip")
    BUSY = (9,)

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
        answer = await self.look("vzctl", "status", self.name)
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
        if self.seen.state is ContainerState.ABSENT:
            raise NotFound(f"{self.name} is not defined here", hint="create it, or register its private area")
        await self.change("vzctl", "start", self.name, timeout=float(self.options["start_timeout"]))

    async def shutdown_guest(self, seconds: float) -> None:
        await self.change("vzctl", "stop", self.name, timeout=seconds)

    async def kill_guest(self) -> None:
        if self.seen.word == "mounted":  # nothing runs in it any more
            await self.change("vzctl", "umount", self.name)
        else:
            await self.change("vzctl", "stop", self.name, "--fast")

    async def pause(self) -> None:
        await self.change("vzctl", "pause", self.name)

    async def resume(self) -> None:
        await self.change("vzctl", "resume", self.name)

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
        # vzctl joins its words and gives them to the guest's shell: quoted, they arrive as they are.
        result = await self.host.probe(
            self.tool(self.options, "vzctl"),
            "exec2",
            self.name,
            shlex.join(argv),
            stdin=stdin,
            timeout=timeout,
        )
        if result.code == NOT_RUNNING and await self.state() is not ContainerState.UP:
            raise self.not_running()
        return result

    async def addresses(self) -> tuple[str, ...]:
        await self.state()
        return self.seen.addresses

    async def export(self) -> Mapping[str, str]:
        await self.state()
        file = f"{self.seen.id or self.name}.conf"
        return {file: await self.host.read(f"/etc/vz/conf/{file}")}

    async def define(self, files: Mapping[str, str]) -> None:
        file = next((name for name in files if _CONFIG.fullmatch(name)), "ID.conf")
        await self.host.write(f"/etc/vz/conf/{file}", self.only(files, file), 0o644)

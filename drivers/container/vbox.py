"""VirtualBox through VBoxManage (words as in the source of 4.3 to 7.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentd.core.converters import absolute_path, boolean
from agentd.core.errors import InvalidRequest
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine
from drivers.base import ContainerState, StateUnknown
from drivers.container.tools import Commanded, refused

_WORDS = {
    ContainerState.UP: "running livesnapshotting onlinesnapshotting deletingsnapshotlive",
    ContainerState.PAUSED: "paused deletingsnapshotlivepaused",
    ContainerState.STARTING: "starting restoring settingup",
    ContainerState.STOPPING: "stopping saving",
    ContainerState.MIGRATING: "teleporting teleportingin teleportingpausedvm faulttolerantsyncing",
    ContainerState.SAVED: "saved aborted-saved",
    # aborted: its process died, so there is nothing left to stop.
    ContainerState.DOWN: "poweroff teleported aborted snapshotting restoringsnapshot deletingsnapshot",
    ContainerState.CRASHED: "gurumeditation",  # its process is alive
}
_STATES = {word: state for state, words in _WORDS.items() for word in words.split()}


def account(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", text):
        raise ValueError(f"{text!r} is not the name of a user")
    return text


class Vbox(Commanded):
    """A virtual machine of VirtualBox. Its machines belong to a user."""

    KEYWORDS = (
        *Commanded.KEYWORDS,
        Keyword("user", "Whose machine it is; the daemon's user when absent.", account, "", example="vbox"),
        Keyword("headless", "Start it without a window.", boolean, True),
        Keyword(
            "cf",
            "Its .vbox file, where it is to be made known.",
            absolute_path,
            "",
            example="/srv/vm1/vm1.vbox",
        ),
    )
    BUSY = ("already locked by a session", "already locked for a session")
    ASK_EVERY = 15.0
    _word, _boot, _path = "", "", ""

    @property
    def user(self) -> str:
        return str(self.options["user"])

    async def state(self) -> ContainerState:
        answer = await self.look("VBoxManage", "showvminfo", self.name, "--machinereadable")
        if answer.code and "VBOX_E_OBJECT_NOT_FOUND" in answer.err:
            return await self._unregistered()
        found = dict(re.findall(r'^(\w[\w-]*)="((?:[^"\\\n]|\\.)*)"', answer.out, re.MULTILINE))
        self._word = found.get("VMState", "")
        if answer.code or self._word not in _STATES:
            raise refused(
                f"VBoxManage showvminfo: {self._word}" if self._word else "VBoxManage showvminfo", answer
            )
        self._boot = found.get("autostart-enabled", "")
        self._path = re.sub(r"\\(.)", r"\1", found.get("CfgFile", ""))
        return _STATES[self._word]

    async def _unregistered(self) -> ContainerState:
        """Absent, unless it looks as if the wrong user was asked."""
        if not self.options["user"]:
            answer = await self.look("VBoxManage", "list", "vms")
            if answer.code or not answer.out.strip():
                raise StateUnknown(
                    f"this user has no machine at all, so {self.name} may be another's: set user"
                )
        return ContainerState.ABSENT

    async def start_guest(self) -> None:
        kind = ("--type", "headless") if self.options["headless"] else ()
        await self.change(
            "VBoxManage", "startvm", self.name, *kind, timeout=float(self.options["start_timeout"])
        )

    async def shutdown_guest(self, seconds: float) -> None:
        await self.change("VBoxManage", "controlvm", self.name, "acpipowerbutton")

    async def kill_guest(self) -> None:
        await self.change("VBoxManage", "controlvm", self.name, "poweroff")

    async def clear_guest(self) -> None:
        await self.kill_guest()

    async def discard_guest(self) -> None:
        await self.change("VBoxManage", "discardstate", self.name)

    async def pause(self) -> None:
        await self.change("VBoxManage", "controlvm", self.name, "pause")

    async def resume(self) -> None:
        await self.change("VBoxManage", "controlvm", self.name, "resume")

    async def notes(self) -> tuple[LogLine, ...]:
        found = []
        if self._word == "aborted":
            found.append(LogLine("info", f"the process of {self.name} died"))
        if self._boot == "on":
            found.append(self.autostart(f"VBoxManage modifyvm {self.name} --autostart-enabled off"))
        return tuple(found)

    async def export(self) -> Mapping[str, str]:
        await self.state()
        return {"vbox": await self.host.read(self._path)}

    async def define(self, files: Mapping[str, str]) -> None:
        text = self.only(files, "vbox")
        if not self.options["cf"]:
            raise InvalidRequest(
                f"where {self.name} is to be made known is not told", hint="set cf, its .vbox file"
            )
        # Written as the user, who has to be able to change it.
        await self.host.run("tee", "--", self.options["cf"], stdin=text.encode(), user=self.user)
        await self.change("VBoxManage", "registervm", self.options["cf"])

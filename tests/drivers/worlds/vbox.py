"""VBoxManage: machine-readable properties, and sessions that lock a machine for a moment."""

from __future__ import annotations

from typing import ClassVar

from drivers.base import Result

from .base import S, ToolWorld

CONFIG = "/srv/c1/c1.vbox"
LOCKED = "VBoxManage: error: The machine 'c1' is already locked by a session (or being locked or unlocked)\n"
NOT_FOUND = (
    "VBoxManage: error: Could not find a registered machine named 'c1'\n"
    "VBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component VirtualBox, interface"
    " IVirtualBox, callee nsISupports\n"
)


class VboxWorld(ToolWorld):
    """The machines of user vbox."""

    type = "vbox"
    states = (S.ABSENT, S.DOWN, S.STARTING, S.UP, S.PAUSED, S.SAVED, S.STOPPING, S.MIGRATING, S.CRASHED)
    options: ClassVar[dict[str, object]] = {"user": "vbox", "cf": CONFIG}
    executes = False
    discards = True
    export = "vbox"
    WORDS: ClassVar = {
        S.DOWN: "poweroff",
        S.STARTING: "starting",
        S.UP: "running",
        S.PAUSED: "paused",
        S.SAVED: "saved",
        S.STOPPING: "stopping",
        S.MIGRATING: "teleporting",
        S.CRASHED: "gurumeditation",
    }

    def reset(self) -> None:
        self.files[CONFIG] = "<VirtualBox/>\n"

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        if tool == "tee":
            self.files[words[1]] = (stdin or b"").decode()
            return Result(0, self.files[words[1]])
        assert tool == "VBoxManage"
        if words[0] == "registervm":
            assert words[1] in self.files
            self.guests["c1"] = S.DOWN
            return Result(0)
        assert words[1] == "c1"
        if "c1" not in self.guests:
            return Result(1, "", NOT_FOUND)
        if words[0] == "showvminfo":
            return self.shown()
        if self.busy:
            self.busy -= 1
            return Result(1, "", LOCKED)
        if words[0] == "startvm":
            return self.begin(Result(1, "", LOCKED))
        if words[0] == "discardstate":
            self.slay()
            return Result(0)
        return self.control(words[2])

    def control(self, verb: str) -> Result:
        if self.now_is in (S.DOWN, S.SAVED):
            return Result(1, "", "VBoxManage: error: Machine 'c1' is not currently running\n")
        if verb == "acpipowerbutton":
            self.shut()
        elif verb == "poweroff":
            self.slay()
        else:
            assert verb in ("pause", "resume")
            self.guests["c1"] = S.PAUSED if verb == "pause" else S.UP
        return Result(0)

    def shown(self) -> Result:
        if self.garbage:
            return Result(0, 'name="c1"\nVMState="\x00\xff"\n')
        rows = {
            "name": "c1",
            "CfgFile": CONFIG,
            "description": 'a \\"quoted\\" = sign',
            "VMState": self.WORDS[self.now_is],
            "VMStateChangeTime": "2026-11-23T15:20:07.000000000",
            **({} if self.old else {"autostart-enabled": "on" if self.autostart else "off"}),
        }
        return Result(0, "".join(f'{key}="{value}"\n' for key, value in rows.items()) + "memory=1024\n")

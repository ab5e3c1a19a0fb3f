"""vzctl and vzlist. Exit 9: another vzctl is at the container."""

from __future__ import annotations

import shlex
from typing import ClassVar

from drivers.base import Result

from .base import S, ToolWorld

CONFIG = "/etc/vz/conf/c1.conf"


class OpenvzWorld(ToolWorld):
    """A machine with OpenVZ 7, or with the legacy one."""

    type = "openvz"
    waits = True
    states = (S.ABSENT, S.DOWN, S.UP, S.PAUSED, S.SAVED, S.STOPPING)
    address = "192.0.2.7"
    export = "c1.conf"
    WORDS: ClassVar = {
        S.DOWN: "stopped",
        S.STARTING: "mounted",
        S.UP: "running",
        S.PAUSED: "paused",
        S.SAVED: "suspended",
        S.STOPPING: "mounted",
    }

    def reset(self) -> None:
        self.files[CONFIG] = 'ONBOOT="no"\n'

    def defined(self) -> bool:
        return CONFIG in self.files

    def forget(self) -> None:
        del self.files[CONFIG]

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        if tool == "vzlist":
            return self.listed()
        assert tool == "vzctl"
        verb, name, *rest = words
        assert name == "c1"
        if verb == "status":
            head = "CTID" if self.old else "VEID"
            known = (
                f"{head} c1 exist unmounted down"
                if CONFIG in self.files
                else f"{head} c1 deleted unmounted down"
            )
            return Result(0, known + (" \n" if self.old else "\n"))
        if self.busy and verb != "exec2":
            self.busy -= 1
            return Result(9, "", "Container already locked\n")
        if verb == "exec2":
            refusal = Result(31, "", "Container is not running\n")
            return self.inside_if_up(tuple(shlex.split(" ".join(rest))), stdin, refusal)
        return self.change(verb, rest)

    def change(self, verb: str, rest: list[str]) -> Result:
        if verb == "start":
            return self.begin(Result(32, "", "Container is already running\n"))
        if verb == "umount":
            self.slay()
            return Result(0)
        if not self.running():
            return Result(31, "", "Container is not running\n")
        if verb == "stop":
            done = self.slay() if rest == ["--fast"] else self.shut()
            return Result(0) if done else Result(33, "", "Unable to stop Container: operation timed out\n")
        assert verb in ("pause", "resume")
        self.guests["c1"] = S.PAUSED if verb == "pause" else S.UP
        return Result(0)

    def listed(self) -> Result:
        if self.garbage:
            return Result(0, "VZ \x00\xff maybe\n")
        if self.old and not self.guests:
            return Result(1, "", "Container(s) not found\n")
        onboot = "yes" if self.autostart else "no"
        ip = self.address
        lines = [f"{n:>36s} {self.WORDS[s]:9s} {onboot:6s} -  {ip}" for n, s in self.rows().items()]
        return Result(0, "".join(f"{line}\n" for line in lines))

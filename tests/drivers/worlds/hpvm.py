"""The hpvm commands: one line a guest, fields between colons."""

from __future__ import annotations

from typing import ClassVar

from drivers.base import Result

from .base import S, ToolWorld


class HpvmWorld(ToolWorld):
    """A VM host of HP-UX."""

    type = "hpvm"
    waits = True
    states = (S.ABSENT, S.DOWN, S.STARTING, S.UP, S.CRASHED)
    executes = False
    WORDS: ClassVar = {
        S.DOWN: "Off",
        S.STARTING: "On (EFI)",
        S.UP: "On",
        S.STOPPING: "On",
        S.CRASHED: "Invalid",
    }

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        if (tool, words) == ("hpvmstatus", ("-M",)):
            return self.listed()
        assert words[-2:] == ("-P", "c1")
        if tool == "hpvmstart":
            chat = "(C) Copyright 2000 - 2012 Hewlett-Packard Development Company, L.P.\n"
            begun = self.begin(Result(1, "", f"{chat}hpvmstart: Guest c1 is already running.\n"))
            return begun if begun.code else Result(0, "", f"{chat}Daemonizing....\n")
        assert tool == "hpvmstop"
        done = self.shut() if words == ("-g", "-F", "-P", "c1") else self.slay()
        return Result(0 if done else 1)

    def listed(self) -> Result:
        if self.garbage:
            return Result(0, "c1:\x00\xff\n")
        if not self.guests:
            return Result(0, "No vPars or VMs currently configured\n")
        boot = "Auto" if self.autostart else "Manual"
        return Result(0, "".join(line(name, self.WORDS[state], boot) for name, state in self.rows().items()))


def line(name: str, state: str, boot: str) -> str:
    fields = [
        name,
        "",
        "1",
        "",
        "Integrity VM",
        "",
        "",
        "",
        "",
        "HPUX",
        state,
        boot,
        *[""] * 7,
        "4;1",
        "16GB;2",
    ]
    return ":".join(fields) + "\n"

"""`xl` of Xen: the format of `xl list` is that of its source; stopped domains are not listed."""

from __future__ import annotations

from typing import ClassVar

from drivers.base import Result

from .base import S, ToolWorld

CONFIG = "/etc/xen/c1.cfg"


class XenWorld(ToolWorld):
    """Dom0 of Xen. It always has a zombie without a name beside its guest."""

    type = "xen"
    states = (S.ABSENT, S.DOWN, S.STARTING, S.UP, S.PAUSED, S.STOPPING, S.MIGRATING, S.CRASHED, S.STUCK)
    executes = False
    export = "config"
    LETTERS: ClassVar = {
        S.STARTING: "---sr-",
        S.UP: "------",
        S.PAUSED: "--p---",
        S.STOPPING: "---s--",
        S.MIGRATING: "---ss-",
        S.CRASHED: "---sc-",
        S.STUCK: "-b---d",
    }

    def reset(self) -> None:
        self.files[CONFIG] = 'name = "c1"\n'

    def defined(self) -> bool:
        return CONFIG in self.files

    def forget(self) -> None:
        del self.files[CONFIG]

    async def exists(self, path: str) -> bool:
        return (path == "/etc/xen/auto/c1.cfg" and self.autostart) or await super().exists(path)

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        assert tool == "xl"
        unknown = Result(1, "", "c1 is an invalid domain identifier (rc=-6)\n")
        verb = words[0]
        if verb == "list":
            return self.listed()
        if verb == "create":
            assert words == ("create", CONFIG)
            return self.begin(
                Result(1, "Parsing config from /etc/xen/c1.cfg\n", "Domain with name c1 exists.\n")
            )
        assert words[-1] == "c1"
        if not self.running():
            return unknown
        if verb == "shutdown":
            self.shut()
            return Result(0, "", "Shutting down domain 5\n")
        if verb == "destroy":
            return Result(0) if self.slay() else Result(1, "", "destroy failed (rc=-3)\n")
        assert verb in ("pause", "unpause")
        self.guests["c1"] = S.PAUSED if verb == "pause" else S.UP
        return Result(0)

    def listed(self) -> Result:
        if self.garbage:
            return Result(0, "libxl: error: libxl.c\nName\x00\xff\n")
        tab = " " if self.old else "\t"
        lines = [f"{'Name':40s} {'ID':>5s} {'Mem':>5s} VCPUs{tab}State{tab}Time(s)"]
        rows = {"Domain-0": "r-----", **self.letters(), "(null)": "--psc-"}
        for number, (name, letters) in enumerate(rows.items()):
            lines.append(f"{name:40s} {number:5d} {1024:5d} {1:5d}     {letters}  {12345.6:8.1f}")
        return Result(0, "\n".join(lines) + "\n")

    def letters(self) -> dict[str, str]:
        return {name: self.LETTERS[state] for name, state in self.rows().items() if state is not S.DOWN}

"""`ldm` of the control domain: parseable lists, and slow answers."""

from __future__ import annotations

from typing import ClassVar

from drivers.base import Result

from .base import S, ToolWorld

XML = '<?xml version="1.0"?>\n<LDM_interface version="1.3">c1</LDM_interface>\n'


class LdomWorld(ToolWorld):
    """A SPARC machine. The world's own policy is that no domain boots by itself."""

    type = "ldom"
    waits = True
    states = (S.ABSENT, S.DOWN, S.STARTING, S.UP, S.STOPPING, S.MIGRATING, S.STUCK)
    options: ClassVar[dict[str, object]] = {"auto_boot": "false"}
    executes = False
    export = "constraints.xml"
    FLAGS: ClassVar = {
        S.STARTING: "-t----",
        S.UP: "-n----",
        S.STOPPING: "sn----",
        S.MIGRATING: "-n---s",
        S.STUCK: "-n---e",
    }
    bound = False

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        assert tool == "ldm"
        if words == ("list", "-p"):
            return self.listed()
        if words[:2] == ("add-domain", "-i"):
            assert self.files[words[2]] == XML
            self.guests["c1"] = S.DOWN
            return Result(0)
        if "c1" not in self.guests:
            return Result(1, "", "LDom c1 not found\n")
        if words[0] == "list-variable":
            return Result(0, f"auto-boot?={'true' if self.autostart else 'false'}\n")
        if words[0] == "list-constraints":
            return Result(0, XML)
        return self.change(words)

    def change(self, words: tuple[str, ...]) -> Result:
        if words[0] == "bind-domain":
            self.bound = True
        elif words[0] == "unbind-domain":
            self.bound = False
        elif words[0] == "start-domain":
            assert self.bound, "a domain that is not bound cannot be started"
            return self.begin(Result(1, "", "LDom c1 is already started\n"))
        elif words == ("stop-domain", "c1"):
            if not self.shut():
                return Result(1, "", "LDom c1 stop notification failed\n")
        else:
            assert words == ("stop-domain", "-f", "c1")
            if not self.slay():
                return Result(1, "", "LDom c1 stop failed\n")
        return Result(0)

    def listed(self) -> Result:
        if self.garbage:
            return Result(0, "VERSION 1.11\nDOMAIN|\x00\xff|\n")
        more = "" if self.old else "|norm_util=0.4"
        lines = [
            f"VERSION {'1.6' if self.old else '1.11'}",
            f"DOMAIN|name=primary|state=active|flags=-n-cv-{more}",
        ]
        for name, state in self.rows().items():
            word, flags = "active", self.FLAGS.get(state, "")
            if state is S.DOWN:
                word, flags = ("bound", "------") if self.bound else ("inactive", "")
            lines += [f"DOMAIN|name={name}|state={word}|flags={flags}|cons=5000|ncpu=1|mem=4294967296{more}"]
        return Result(0, "\n".join(lines) + "\n")

"""srp and srp_su of HP-UX Containers. There is one way to stop: srp itself kills what is left."""

from __future__ import annotations

import shlex
from typing import ClassVar

from drivers.base import Result

from .base import S, ToolWorld


class SrpWorld(ToolWorld):
    """An HP-UX. A guest that ignores a stop does so once: the second finds it without its services."""

    type = "srp"
    waits = True
    states = (S.ABSENT, S.DOWN, S.STARTING, S.UP, S.STOPPING, S.STUCK)
    address = "192.0.2.7"
    WORDS: ClassVar = {
        S.DOWN: "stopped",
        S.STARTING: "starting",
        S.UP: "started",
        S.STOPPING: "stopping",
        S.STUCK: "maintenance",
    }
    asked = False

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        if tool == "srp_su":
            assert words[:3] == ("c1", "root", "-c")
            (line,) = words[3:]
            return self.inside_if_up(tuple(shlex.split(line)), stdin, Result(1, "", "srp_su: not started\n"))
        assert tool == "srp"
        if words == ("-status",):
            return self.listed()
        assert words[1] == "c1"
        if words[0] == "-status":
            return Result(0, f"SRP Status:\n    IP:{self.address}      Interface:lan0:1 (UP)   id: 1\n")
        if words[0] == "-list":
            head = "Name: c1  Template: system Service: init ID: 1\n-----\n\n"
            return Result(0, f"{head}autostart={int(self.autostart)}\nsrp_name=c1\n")
        if words[0] == "-start":
            return self.begin(Result(1, "", "ERROR: c1 is already started\n"))
        assert words[0] == "-stop"
        done, self.asked = self.slay() if self.asked else self.shut(), True
        return Result(0 if done else 1)

    def listed(self) -> Result:
        if self.garbage:
            return Result(0, "NAME STATE\n\x00\xff\n")
        lines = [f"{'NAME':12s} {'TYPE':9s} {'STATE':11s} {'SUBTYPE':10s} ROOTPATH"]
        for name, state in self.rows().items():
            lines.append(
                f"{name:12s} {'system':9s} {self.WORDS[state]:11s} {'private':10s} /var/hpsrp/{name}"
            )
        return Result(0, "\n".join(lines) + "\n")

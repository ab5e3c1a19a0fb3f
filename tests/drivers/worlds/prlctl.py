"""prlctl of Virtuozzo: a list in JSON, and exit 0 for the status of what does not exist."""

from __future__ import annotations

import json
import shlex
from typing import ClassVar

from drivers.base import Result

from .base import S, ToolWorld


class PrlctlWorld(ToolWorld):
    """A Virtuozzo; c1 is a virtual machine with guest tools."""

    type = "openvz"
    options: ClassVar[dict[str, object]] = {"tool": "prlctl"}
    states = (S.ABSENT, S.DOWN, S.STARTING, S.UP, S.PAUSED, S.SAVED, S.STOPPING, S.MIGRATING)
    address = "192.0.2.7"
    autostarts = False
    exporting = True
    waits = True
    WORDS: ClassVar = {
        S.DOWN: "stopped",
        S.STARTING: "starting",
        S.UP: "running",
        S.PAUSED: "paused",
        S.SAVED: "suspended",
        S.STOPPING: "stopping",
        S.MIGRATING: "migrating",
    }

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        assert tool == "prlctl"
        if words[0] == "list":
            return self.listed()
        verb, name, *rest = words
        assert name == "c1"
        if verb == "status":
            return Result(0, "VM c1 deleted\n")
        if verb == "exec":
            refusal = Result(255, "", "Failed to login to the guest: the virtual machine is not running.\n")
            return self.inside_if_up(tuple(shlex.split(" ".join(rest))), stdin, refusal)
        if verb == "start":
            return self.begin(Result(255, "", "Failed to start the VM: it is already running.\n"))
        if verb == "stop":
            done = self.slay() if rest == ["--kill"] else self.shut()
            return Result(0) if done else Result(255, "", "Failed to stop the VM: operation timed out.\n")
        assert verb in ("pause", "resume")
        self.guests["c1"] = S.PAUSED if verb == "pause" else S.UP
        return Result(0)

    def listed(self) -> Result:
        if self.garbage:
            return Result(0, "[\n\t{\n")
        rows = [
            {"uuid": f"{n}-uuid", "status": self.WORDS[s], "name": n, "ip_configured": f"{self.address} "}
            for n, s in self.rows().items()
        ]
        return Result(0, json.dumps(rows, indent="\t") + "\n")

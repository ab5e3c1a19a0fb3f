"""zoneadm, zonecfg and zlogin. Each version of Solaris has other fields at the end of a row."""

from __future__ import annotations

import shlex
from typing import ClassVar

from drivers.base import Result

from .base import S, ToolWorld


class ZoneWorld(ToolWorld):
    """A global zone."""

    type = "zone"
    states = (S.ABSENT, S.DOWN, S.STARTING, S.UP, S.STOPPING, S.STUCK)
    address = "192.0.2.7"
    export = "zonecfg"
    WORDS: ClassVar = {
        S.DOWN: "installed",
        S.STARTING: "ready",
        S.UP: "running",
        S.STOPPING: "shutting_down",
        S.STUCK: "incomplete",
    }
    attached = True

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        if words == ("list", "-cp"):
            return self.listed()
        if tool == "zlogin":
            assert words[0] == "c1"
            return self.login(words[1:], stdin)
        assert words[:2] == ("-z", "c1")
        if "c1" not in self.guests and words[2] != "-f":
            return Result(1, "", f"{tool}: c1: No such zone configured\n")
        return self.configuration(words[2:]) if tool == "zonecfg" else self.administer(words[2])

    def listed(self) -> Result:
        if self.garbage:
            return Result(0, "zoneadm: \x00\xff?\n")
        more = "" if self.old else ":-:::"
        lines = [f"0:global:running:/::ipkg:shared{more}"]
        for name, state in self.rows().items():
            word = self.WORDS[state] if self.attached or name != "c1" else "configured"
            number = "3" if state is S.UP else "-"
            lines.append(rf"{number}:{name}:{word}:/zones/a\:b/{name}:77c1-uuid:ipkg:excl{more}")
        return Result(0, "\n".join(lines) + "\n")

    def administer(self, verb: str) -> Result:
        if verb == "boot":
            if not self.attached:
                return Result(1, "", "zoneadm: zone 'c1': must be installed before boot.\n")
            return self.begin(Result(1, "", "zoneadm: zone 'c1': zone is already booted\n"))
        if verb in ("attach", "detach"):
            self.attached = verb == "attach"
            return Result(0)
        assert verb == "halt"
        return Result(0) if self.slay() else Result(1, "", "zoneadm: zone 'c1': unable to destroy zone\n")

    def login(self, words: tuple[str, ...], stdin: bytes | None) -> Result:
        if words == ("/sbin/init 0",):
            self.shut()
            return Result(0)
        said = f"zlogin: login allowed only to running zones (c1 is '{self.WORDS[self.now_is]}').\n"
        return self.inside_if_up(tuple(shlex.split(" ".join(words))), stdin, Result(1, "", said))

    def configuration(self, words: tuple[str, ...]) -> Result:
        if words == ("info", "autoboot"):
            return Result(0, f"autoboot: {'true' if self.autostart else 'false'}\n")
        if words == ("info", "net"):
            return Result(
                0, f"net:\n\taddress: {self.address}/24\n\tphysical: net0\n\tdefrouter not specified\n"
            )
        if words == ("export",):
            return Result(0, "create -b\nset zonepath=/zones/c1\nset brand=ipkg\n")
        assert words[0] == "-f"
        assert self.files[words[1]].startswith("create")
        self.guests["c1"], self.attached = S.DOWN, False
        return Result(0)

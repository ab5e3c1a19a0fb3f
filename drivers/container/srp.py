"""HP-UX Containers (Secure Resource Partitions) through srp and srp_su."""

from __future__ import annotations

import re
import shlex

from agentd.core.status import LogLine
from drivers.base import ContainerState, Result
from drivers.container.tools import Listed, Seen, refused, unused, usable

_STATES = {
    "stopped": ContainerState.DOWN,
    "starting": ContainerState.STARTING,
    "started": ContainerState.UP,
    "stopping": ContainerState.STOPPING,
    "maintenance": ContainerState.STUCK,  # software is being installed: it takes no login and no start
}
_HEADER = ["NAME", "TYPE", "STATE", "SUBTYPE", "ROOTPATH"]


class Srp(Listed):
    """A container of HP-UX."""

    KEYWORDS = (*Listed.KEYWORDS, *unused("prm_cores", "ip"))
    FOLDER = "/opt/hpsrp/bin"
    QUERY = ("srp", "-status")

    @classmethod
    def read(cls, answer: Result) -> dict[str, Seen]:
        header, *rows = [line.split() for line in answer.out.splitlines() if line.strip()] or [[]]
        if answer.code or header != _HEADER or any(len(row) != 5 for row in rows):
            raise refused("srp -status", answer)
        return {row[0]: Seen(_STATES.get(row[2], ContainerState.UNKNOWN), row[2]) for row in rows}

    async def start_guest(self) -> None:
        await self.change("srp", "-start", self.name, timeout=float(self.options["start_timeout"]))

    async def shutdown_guest(self, seconds: float) -> None:
        await self.change("srp", "-stop", self.name, timeout=seconds)

    async def kill_guest(self) -> None:
        await self.change("srp", "-stop", self.name)  # it kills what is left itself: there is no other force

    async def notes(self) -> tuple[LogLine, ...]:
        answer = await self.look("srp", "-list", self.name, "-v")
        found = re.search(r"^\s*autostart=(\S*)", answer.out, re.MULTILINE)
        if answer.code or not found:
            raise refused("srp -list", answer)
        if found[1] in ("0", "no", ""):
            return ()
        return (self.autostart(f"srp -batch -replace {self.name} -s init autostart=no"),)

    async def execute(self, *argv: str, stdin: bytes | None = None, timeout: float = 30) -> Result:
        # srp_su gives one word to the guest's shell: quoted, the words arrive as they are.
        result = await self.host.probe(
            self.tool(self.options, "srp_su"),
            self.name,
            "root",
            "-c",
            shlex.join(argv),
            stdin=stdin,
            timeout=timeout,
        )
        if result.code and await self.state() is not ContainerState.UP:
            raise self.not_running()
        return result

    async def addresses(self) -> tuple[str, ...]:
        answer = await self.look("srp", "-status", self.name, "-v")
        return usable(re.findall(r"\bIP:(\S+)", answer.out))

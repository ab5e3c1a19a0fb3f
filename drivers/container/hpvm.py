"""HP Integrity virtual machines and vPars through the hpvm commands (HPVM 4 to V6)."""

from __future__ import annotations

from agentd.core.errors import NotFound
from agentd.core.status import LogLine
from drivers.base import ContainerState, Result
from drivers.container.tools import Listed, Seen, refused

_STATES = {
    "On": ContainerState.UP,
    "On (OS)": ContainerState.UP,
    "On (EFI)": ContainerState.STARTING,
    "Off": ContainerState.DOWN,
    "Off (NR)": ContainerState.ABSENT,  # not runnable: it is registered on another host
    "Invalid": ContainerState.CRASHED,
}
_NONE = "No vPars or VMs currently configured"


class Hpvm(Listed):
    """A virtual machine, or virtual partition, of HP-UX."""

    FOLDER = "/opt/hpvm/bin"
    QUERY = ("hpvmstatus", "-M")

    @classmethod
    def read(cls, answer: Result) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        if _NONE in answer.out + answer.err:
            return found
        for line in answer.out.splitlines():
            fields = line.split(":")
            if len(fields) < 12 or not fields[0]:
                raise refused("hpvmstatus -M", Result(answer.code, line))
            state = _STATES.get(fields[10], ContainerState.UNKNOWN)
            found[fields[0]] = Seen(state, fields[10], autostart=fields[11] == "Auto")
        if answer.code or not found:
            raise refused("hpvmstatus -M", answer)
        return found

    async def start_guest(self) -> None:
        if self.seen.word == "Off (NR)":
            raise NotFound(
                f"{self.name} is registered on another host, so it cannot run here",
                hint="see there that it is off, then: hpvmmodify -P NAME -x register_status=enabled",
            )
        await self.change("hpvmstart", "-P", self.name, timeout=float(self.options["start_timeout"]))

    async def shutdown_guest(self, seconds: float) -> None:
        await self.change("hpvmstop", "-g", "-F", "-P", self.name, timeout=seconds)

    async def kill_guest(self) -> None:
        await self.change("hpvmstop", "-F", "-P", self.name)

    async def notes(self) -> tuple[LogLine, ...]:
        return (self.autostart(f"hpvmmodify -P {self.name} -B manual"),) if self.seen.autostart else ()

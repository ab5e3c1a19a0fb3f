"""A flag: a file that says that the instance is up here. It is gone after a reboot."""

from __future__ import annotations

from agentd.core.status import Probe, Status
from drivers.base import Driver


class Flag(Driver):
    """A file that marks the instance as up. For services with nothing else to look at."""

    LABEL = "flag"

    @property
    def _path(self) -> str:
        return self.run_path("flag")

    async def probe(self) -> Probe:
        return Probe(Status.UP if await self.host.exists(self._path) else Status.DOWN)

    async def start(self) -> None:
        await self.host.make_directory(self.setting.run)
        await self.host.write(self._path, f"{self.setting.service} is up on {self.setting.node}\n")

    async def stop(self) -> None:
        await self.host.remove(self._path)

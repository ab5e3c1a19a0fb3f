"""Applications that are started and stopped by commands that come back."""

from __future__ import annotations

from agentd.core.status import LogLine, Probe, Status
from drivers.app.base import App


class Forking(App):
    """Commands that start, stop and check something that runs in the background.

    What stays in the background should not keep the output of its start command: nobody
    reads it after a restart of the daemon.
    """

    async def probe(self) -> Probe:
        found = await self.checked()
        if found is not None:
            return found
        bare = self.resource.rid == "app" and not any(self.options[verb] for verb in ("start", "stop"))
        why = "no checkup scripts" if bare else "check is not set"
        return Probe(Status.NA, (LogLine("info", why),))

    async def start(self) -> None:
        await self._launch("start")

    async def stop(self) -> None:
        await self._launch("stop")

    async def _launch(self, verb: str) -> None:
        argv = self.argv(verb)
        if argv:
            await self.host.run(*argv, timeout=self.deadline(verb), **self.surroundings)

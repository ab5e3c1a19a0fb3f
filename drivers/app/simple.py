"""Applications that stay in the foreground: the daemon starts them detached and knows them again."""

from __future__ import annotations

from agentd.core.errors import ActionFailed, InvalidRequest
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine, Probe, Status
from drivers import processes
from drivers.app.base import KEYWORDS, App

STOP_SECONDS = 10.0


class Simple(App):
    """A command in the foreground. It outlives the daemon; its output goes to a log file."""

    KEYWORDS = (
        *KEYWORDS,
        Keyword(
            "kill",
            "Who is told to end: the process, or all of its session.",
            str,
            "parent",
            candidates=("parent", "tree"),
        ),
    )

    async def probe(self) -> Probe:
        letter = await self._letter()
        if not letter:
            return Probe(Status.DOWN)
        if letter in "Tt":
            return Probe(Status.WARN, (LogLine("warn", "its process is suspended"),))
        return await self.checked() or Probe(Status.UP)

    async def start(self) -> None:
        if await self._letter():
            return
        argv = self.argv("start")
        if not argv:
            raise InvalidRequest(f"{self.resource.rid}: nothing to start", hint="set start to a command")
        await self.host.make_directory(self.setting.run)
        log = self.run_path("log")
        pid = await self.host.spawn(argv, log=log, **self.surroundings)
        if not await processes.remember(self.host, self._record, pid):
            raise ActionFailed(f"{argv[0]} ended at once", hint=f"see {log}")

    async def stop(self) -> None:
        started = await processes.recall(self.host, self._record)
        if started and await processes.alive(self.host, started):
            argv = self.argv("stop")
            if argv:
                await self.host.run(*argv, timeout=self.deadline("stop"), **self.surroundings)
            group = self.options["kill"] == "tree"
            given = self.options["stop_timeout"], self.options["timeout"]
            patience = next((float(seconds) for seconds in given if seconds is not None), STOP_SECONDS)
            if not await processes.end(self.host, started, patience, group=group):
                raise ActionFailed(f"process {started.pid} survives SIGKILL", code="stuck")
        await self.host.remove(self._record)

    @property
    def _record(self) -> str:
        return self.run_path("pid")

    async def _letter(self) -> str:
        started = await processes.recall(self.host, self._record)
        return await processes.alive(self.host, started) if started else ""

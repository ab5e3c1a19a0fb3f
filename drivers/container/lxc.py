"""LXC through the lxc-* tools (facts checked with 5.0.2; the same since 3.0)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentd.core.converters import absolute_path
from agentd.core.errors import ActionFailed, InvalidRequest, NotFound
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine
from drivers.base import CommandFailed, ContainerState, Result
from drivers.container.base import Container
from drivers.container.tools import refused, usable

_STATES = {
    "STOPPED": ContainerState.DOWN,
    "STARTING": ContainerState.STARTING,
    "RUNNING": ContainerState.UP,
    "STOPPING": ContainerState.STOPPING,
    "ABORTING": ContainerState.STUCK,
    "FREEZING": ContainerState.PAUSED,
    "FROZEN": ContainerState.PAUSED,
    "THAWED": ContainerState.UP,
}
_GUEST_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def signal_name(text: str) -> str:
    if not re.fullmatch(r"SIG[A-Z0-9]+([+-]\d{1,2})?|\d{1,2}", text):
        raise ValueError(f"{text!r} is not a signal, such as SIGPWR or SIGRTMIN+3")
    return text


class Lxc(Container):
    """A system container of the lxc tools."""

    KEYWORDS = (
        *Container.KEYWORDS,
        Keyword(
            "container_data_dir",
            "Folder of the containers (lxcpath), when not the default one.",
            absolute_path,
            "",
            example="/srv/lxc",
        ),
        Keyword(
            "cf",
            "Configuration file of the container, when not the one in its folder.",
            absolute_path,
            "",
            example="/srv/lxc/deb1.conf",
        ),
        Keyword(
            "rootfs", "Root file system, when not the one that its configuration names.", absolute_path, ""
        ),
        Keyword(
            "halt_signal",
            "Signal that asks its init for a clean shutdown, when not the one of its "
            "configuration. With a wrong one every stop takes stop_timeout and ends by force.",
            signal_name,
            "",
            example="SIGRTMIN+3",
        ),
    )
    _autostart = False

    async def state(self) -> ContainerState:
        answer = await self.host.probe(*self._tool("lxc-info"), "-s", "-c", "lxc.start.auto")
        if answer.code and "doesn't exist" in answer.err:
            return ContainerState.ABSENT
        found = dict(re.findall(r"^([\w.]+)(?::| =)\s*(\S*)", answer.out, re.MULTILINE))
        if answer.code or found.get("State") not in _STATES:
            raise refused("lxc-info", answer)
        self._autostart = found.get("lxc.start.auto", "0") not in ("0", "")
        return _STATES[found["State"]]

    async def notes(self) -> tuple[LogLine, ...]:
        if not self._autostart:
            return ()
        return (
            LogLine(
                "warn",
                f"{self.name} starts by itself at boot, which can make it run twice; mend: "
                f"sed -i 's/^lxc.start.auto.*/lxc.start.auto = 0/' {self._config}",
            ),
        )

    async def start_guest(self) -> None:
        if not await self.host.exists(self._config):
            raise NotFound(
                f"{self.name} is not defined here: there is no {self._config}",
                hint="create the container, or say where it is: container_data_dir, cf",
            )
        log = self.run_path("lxc.log")
        await self.host.make_directory(self.setting.run)
        settings = [f"lxc.rootfs.path={self.options['rootfs']}"] if self.options["rootfs"] else []
        if self.options["halt_signal"]:
            settings.append(f"lxc.signal.halt={self.options['halt_signal']}")
        words = [word for setting in settings for word in ("-s", setting)]
        file = ["-f", self._config] if self.options["cf"] else []
        try:
            await self.host.run(
                *self._tool("lxc-start"),
                "-d",
                *file,
                "-o",
                log,
                "-l",
                "INFO",
                *words,
                timeout=float(self.options["start_timeout"]),
            )
        except CommandFailed as error:
            raise ActionFailed(f"{error.text}{await self._errors_in(log)}", hint=f"see {log}") from error

    async def shutdown_guest(self, seconds: float) -> None:
        # --nokill: without it lxc-stop itself kills after -t, and says nothing of it.
        await self.host.run(
            *self._tool("lxc-stop"), "--nokill", "-t", str(max(1, int(seconds))), timeout=seconds + 15
        )

    async def kill_guest(self) -> None:
        try:
            await self.host.run(*self._tool("lxc-stop"), "-k", timeout=60)
        except CommandFailed as error:
            if error.details.get("exit") != 2:  # 2: it was not running any more
                raise

    async def pause(self) -> None:
        await self.host.run(*self._tool("lxc-freeze"))

    async def resume(self) -> None:
        await self.host.run(*self._tool("lxc-unfreeze"))

    async def execute(self, *argv: str, stdin: bytes | None = None, timeout: float = 30) -> Result:
        result = await self.host.probe(
            *self._tool("lxc-attach"),
            "--clear-env",
            "--set-var",
            _GUEST_PATH,
            "--",
            *argv,
            stdin=stdin,
            timeout=timeout,
        )
        if result.code and "Failed to get init pid" in result.err:
            raise ActionFailed(f"{self.name} is not running, so nothing can be run in it")
        return result

    async def addresses(self) -> tuple[str, ...]:
        answer = await self.host.probe(*self._tool("lxc-info"), "-iH")
        return usable(answer.out.split())

    async def export(self) -> Mapping[str, str]:
        return {"config": await self.host.read(self._config)}

    async def define(self, files: Mapping[str, str]) -> None:
        if set(files) != {"config"}:
            raise InvalidRequest(f"a container of type lxc has one file, config, and not {', '.join(files)}")
        await self.host.make_directory(self._config.rpartition("/")[0])
        await self.host.write(self._config, files["config"], 0o644)

    @property
    def _config(self) -> str:
        folder = self.options["container_data_dir"] or "/var/lib/lxc"
        return str(self.options["cf"] or f"{folder}/{self.name}/config")

    def _tool(self, tool: str) -> tuple[str, ...]:
        folder = self.options["container_data_dir"]
        return (tool, "-n", self.name, *(("-P", str(folder)) if folder else ()))

    async def _errors_in(self, log: str) -> str:
        """The last errors of lxc-start's own log, for the sentence."""
        try:
            lines = (await self.host.read(log)).splitlines()
        except NotFound:
            return ""
        errors = [line.partition(" - ")[2] or line for line in lines if " ERROR " in line]
        return "".join(f"; {line.strip()}" for line in errors[-2:])[:400]

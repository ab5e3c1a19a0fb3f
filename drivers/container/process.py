"""The embedded default: a guest is an agent with a root folder of its own, on this machine.

No hypervisor is needed, and no root. The guest has its own node name, its own folder and
an ephemeral port on loopback; its file systems, network and processes are this machine's,
so it isolates nothing. Stopping it takes all its processes away, like a power switch.
"""

from __future__ import annotations

import signal
import sys
from typing import ClassVar

from agentd.core.converters import absolute_path
from agentd.core.errors import ActionFailed, InvalidRequest, NotFound
from agentd.core.keywords import Keyword
from agentd.core.names import is_node_name
from drivers import processes
from drivers.base import ContainerState, Result, StateUnknown
from drivers.container.base import Container

BEGUN = "begun\n"
"""In place of the record of a process, until it is known which one it is."""


class Process(Container):
    """An agent of its own on this machine: a group of processes and a folder. No isolation."""

    KEYWORDS = (
        *Container.KEYWORDS,
        Keyword(
            "root",
            "The guest's root folder; one of the service's own when absent.",
            absolute_path,
            "",
            example="/srv/guests/vm1",
        ),
    )
    PROGRAM: ClassVar[tuple[str, ...]] = (sys.executable, "-I", "-m", "agentd")
    LISTEN: ClassVar[tuple[str, ...]] = ("127.0.0.1:0",)
    """Where its agent listens: the port is the kernel's choice."""

    @property
    def root(self) -> str:
        root = str(self.options["root"] or self.state_path("root")).rstrip("/")
        if f"{self.setting.state}/".startswith(f"{root}/"):
            # All that runs below a guest's root ends with the guest: this daemon must not be there.
            raise InvalidRequest(f"{root or '/'} is where this agent works, so it cannot be a guest's root")
        return root

    async def state(self) -> ContainerState:
        started = await processes.recall(self.host, self._record)
        if started:
            letter = await processes.alive(self.host, started)
            if letter:
                return ContainerState.PAUSED if letter in "Tt" else ContainerState.UP
            if await processes.marked(self.host, self.root):
                return ContainerState.CRASHED
        elif await self.host.exists(self._record):
            begun = await self._is_begun()
            if begun and await processes.marked(self.host, self.root):
                # This daemon ended in between, unless a start has just come to its end.
                return ContainerState.CRASHED if await self._is_begun() else await self.state()
            if not begun and await processes.recall(self.host, self._record):
                return await self.state()  # it was written just now
            if not begun:
                raise StateUnknown(f"{self._record} is not a record of a process")
        known = await self.host.exists(f"{self.root}/etc/encap/agentd.toml")
        return ContainerState.DOWN if known else ContainerState.ABSENT

    async def start_guest(self) -> None:
        if await self._is_begun():
            await processes.sweep(self.host, self.root)
        await self._write_settings()
        await self.host.make_directory(self.setting.run)
        # Before there is a process: one that nobody knows of would be taken for no process.
        await self.host.write(self._record, BEGUN)
        pid = await self.host.spawn(
            (*self.PROGRAM, "run", "--root", self.root),
            log=self.run_path("log"),
            # Its agent takes each start for a boot, as a machine's would.
            env={**self._environment, "ENCAP_BOOT": f"{self.host.now():.6f}"},
            cwd=self.root,
        )
        if not await processes.remember(self.host, self._record, pid):
            raise ActionFailed(f"{self.name}: its agent ended at once", hint=f"see {self.run_path('log')}")

    async def shutdown_guest(self, seconds: float) -> None:
        started = await processes.recall(self.host, self._record)
        if started:
            await self.host.kill(started.pid, signal.SIGTERM)

    async def kill_guest(self) -> None:
        started = await processes.recall(self.host, self._record)
        if started and await processes.alive(self.host, started):
            await self.host.kill(started.pid, signal.SIGKILL)
        await processes.sweep(self.host, self.root)

    async def stop(self) -> None:
        await super().stop()
        await self.host.remove(self._record)

    async def pause(self) -> None:
        await self._signal(signal.SIGSTOP)
        for _ in range(20):  # on a busy machine a moment passes until it stands still
            if await self.state() is ContainerState.PAUSED:
                return
            await self.host.sleep(0.05)

    async def resume(self) -> None:
        await self._signal(signal.SIGCONT)

    async def execute(self, *argv: str, stdin: bytes | None = None, timeout: float = 30) -> Result:
        """``agentd`` as the first word is the guest's own program, told where its root is."""
        if argv[:1] == ("agentd",):
            argv = (*self.PROGRAM, *argv[1:], "--root", self.root)
        return await self.host.probe(
            *argv, stdin=stdin, timeout=timeout, env=self._environment, cwd=self.root
        )

    async def addresses(self) -> tuple[str, ...]:
        """From the file in which its agent writes where it listens: loopback only is believed."""
        try:
            text = await self.host.read(f"{self.root}/run/encap/listen", 4096)
        except NotFound:
            return ()
        return tuple(line for line in text.split() if _is_loopback(line))

    async def _is_begun(self) -> bool:
        """Whether a start was begun of which it is not recorded which process it made."""
        try:
            return await self.host.read(self._record, 4096) == BEGUN
        except NotFound:
            return False

    @property
    def _record(self) -> str:
        return self.run_path("pid")

    @property
    def _environment(self) -> dict[str, str]:
        # The mark by which all processes of the guest are found: they inherit it.
        return {"ENCAP_ROOT": self.root}

    async def _signal(self, number: int) -> None:
        started = await processes.recall(self.host, self._record)
        if not started or not await processes.alive(self.host, started):
            raise ActionFailed(f"{self.name} is not running")
        await self.host.kill(started.pid, number)

    async def _write_settings(self) -> None:
        node = str(self.options.get("hostname") or self.name).lower()
        if not is_node_name(node):
            raise InvalidRequest(
                f"{node!r} cannot be the name of a guest", hint="set hostname in its section"
            )
        path = f"{self.root}/etc/encap/agentd.toml"
        await self.host.make_directory(self.root, 0o700)
        if not await self.host.exists(path):
            await self.host.write(path, f'node = "{node}"\nlisten = ["127.0.0.1:0"]\n')


def _is_loopback(line: str) -> bool:
    address, _, port = line.rpartition(":")
    return address in ("127.0.0.1", "[::1]") and port.isascii() and port.isdigit() and 0 < int(port) < 65536

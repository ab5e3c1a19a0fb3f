"""A pretended hypervisor: network, mounts, host name, processes and cgroups of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .commands import Argv, Result
from .daemon import Daemon
from .namespaces import Namespaces, members, remove_group, until
from .network import Network

KINDS = ("net", "mount", "uts", "pid")
FIRST = Path(__file__).parent / "first_process.py"


class Hypervisor:
    """A machine that can lose its power, its network and its daemon, each by itself.

    `disk` is the folder that outlives a power failure (``/var/lib/lxc`` is in it), `root` the
    daemon's ``--root`` on it. Commands run in the machine, but on the files of this one.
    """

    def __init__(self, name: str, address: str, network: Network, folder: Path, group: str) -> None:
        self.name = name
        self.address = address
        self.network = network
        self.disk = folder
        self.root = folder / "root"
        self.group = group
        self.root.mkdir(parents=True)
        self.daemons: list[Daemon] = []
        self.power_on()

    def power_on(self) -> None:
        """Boot: a machine with nothing running but its first process."""
        ready = self.disk / "ready"
        ready.unlink(missing_ok=True)
        first: list[str | Path] = [sys.executable, "-I", "-S", FIRST, self.name, self.disk, self.group, ready]
        self.machine = Namespaces(first, KINDS, self.disk / "first_process.log")
        until(lambda: not self.powered or ready.exists(), f"boot of {self.name}")
        assert ready.exists(), (self.disk / "first_process.log").read_text()
        self.network.plug(self.name, self.machine, self.address)

    def power_off(self) -> None:
        """Power failure: everything in it ends in the same instant, containers too."""
        self.machine.kill()
        for daemon in self.daemons:
            daemon.forget()
        until(lambda: not self.processes(), f"the end of all processes of {self.name}")

    @property
    def powered(self) -> bool:
        return self.machine.outer.poll() is None

    def processes(self) -> set[int]:
        """Process ids (as seen from outside) of this machine and of the containers in it."""
        return members(self.group)

    def run(self, argv: Argv, *, check: bool = True, timeout: float = 60, input: str | None = None) -> Result:
        """Run `argv` in this machine. The product's programs are found by their bare names."""
        return self.machine.run(argv, check=check, timeout=timeout, input=input, env=self.environment())

    def environment(self) -> dict[str, str]:
        programs = Path(sys.executable).parent
        kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        path = f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8", "ENCAP_ROOT": str(self.root), **kept}

    def svc(self, *words: str, check: bool = False, timeout: float = 120) -> Result:
        """``svc WORDS`` in this machine, on the daemon of its root."""
        return self.run(["svc", *words], check=check, timeout=timeout)

    def daemon(self, root: Path | None = None, **environment: str) -> Daemon:
        """``agentd run --root ROOT`` in this machine, not started yet: see `Daemon`."""
        daemon = Daemon(self.machine, self.name, root or self.root, {**self.environment(), **environment})
        self.daemons.append(daemon)
        return daemon

    def settings(self, **extra: str) -> None:
        """Write the settings with which a daemon here listens on this machine's address.

        `extra` are further lines, each value written as TOML by the caller.
        """
        lines = {"node": f'"{self.name}"', "listen": f'["{self.address}:1216"]', **extra}
        file = self.root / "etc/encap/agentd.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))

    def cut(self) -> None:
        """Pull this machine's network cable."""
        self.network.cut(self.name)

    def heal(self) -> None:
        self.network.heal(self.name)

    def close(self) -> None:
        self.power_off()
        remove_group(self.group)

"""One ``agentd run`` in a machine of the lab: started, killed, stopped, started again."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

from .namespaces import Namespaces, children, until


class Daemon:
    """A daemon as its unit would start it: it is ready when it says READY=1, as to systemd.

    ``with hypervisor.daemon() as agentd:`` starts it and stops it at the end. `log` is what
    it printed in all its lives.
    """

    def __init__(self, machine: Namespaces, name: str, root: Path, environment: dict[str, str]) -> None:
        self.machine = machine
        self.root = root
        self.environment = environment
        self.log_file = root.parent / f"agentd-{root.name}.log"
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, timeout: float = 20) -> Daemon:
        """Start it and return when it is ready; AssertionError with its log when it is not."""
        assert not self.alive, f"agentd of {self.name} runs already"
        with notices() as (path, listener), self.log_file.open("ab") as output:
            argv = ["agentd", "run", "--root", str(self.root)]
            environment = {**self.environment, "NOTIFY_SOCKET": path}
            self.process = subprocess.Popen(
                [str(word) for word in self.machine.enter(argv)],
                env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
            process = self.process
            until(lambda: process.poll() is not None or ready(listener), f"READY of {self.name}", timeout)
        assert self.alive, f"agentd of {self.name} ended with {process.returncode}:\n{self.log[-4000:]}"
        (self.pid,) = children(process.pid)  # nsenter waits for the daemon that it started
        return self

    def send(self, number: Signals) -> None:
        """Send it a signal, for example SIGSTOP: a daemon that hangs."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL: no goodbye, no clean-up."""
        self.end(SIGKILL)

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM, as systemd would; returns its exit code."""
        return self.end(SIGTERM, timeout)

    def end(self, number: Signals, timeout: float = 20) -> int:
        assert self.process is not None, f"agentd of {self.name} was never started"
        assert self.alive, f"agentd of {self.name} has ended already:\n{self.log[-4000:]}"
        self.send(number)
        return self.process.wait(timeout)

    def forget(self) -> None:
        """The machine is gone, and this daemon with it."""
        if self.process is not None:
            self.process.wait(10)

    def __enter__(self) -> Daemon:
        return self if self.alive else self.start()

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self.stop()


@contextlib.contextmanager
def notices() -> Iterator[tuple[str, socket.socket]]:
    """A socket for the notices that a service sends to systemd, on a path that is short enough."""
    with (
        tempfile.TemporaryDirectory(prefix="lab") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
    ):
        path = f"{folder}/notify"
        listener.bind(path)
        listener.setblocking(False)
        yield path, listener


def ready(listener: socket.socket) -> bool:
    try:
        return b"READY=1" in listener.recv(4096).splitlines()
    except BlockingIOError:
        return False

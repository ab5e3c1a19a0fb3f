"""Whole daemons in folders of their own, as processes, and `svc` against them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Result = subprocess.CompletedProcess[str]

SETTINGS = """\
node = "{node}"
listen = ["127.0.0.1:{port}"]
join_listen = ["127.0.0.1:0"]
status_interval = 1
sync_interval = 2
guest_silence = 4
peer_timeout = 2
"""


def until(question: Callable[[], Any], what: str, timeout: float = 30, pause: float = 0.05) -> Any:
    """Ask until the answer is true-ish, and return it."""
    end = time.monotonic() + timeout
    while not (answer := question()):
        assert time.monotonic() < end, f"{what}: not within {timeout:g} s"
        time.sleep(pause)
    return answer


def rows(document: dict[str, Any]) -> dict[str, str]:
    """rid -> status; resources of the guest under ``guest rid``."""
    found = {r["rid"]: r["status"] for r in document["resources"]}
    for row in document["resources"]:
        guest = row.get("guest") or {"resources": []}
        found |= {f"{guest['node']} {r['rid']}": r["status"] for r in guest["resources"]}
    return found


def guest_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(r["guest"] for r in document["resources"] if r.get("guest"))
    return found


class Machine:
    """One node: `agentd run --root` and the command line that talks to it."""

    def __init__(self, root: Path, node: str, port: int = 0) -> None:
        self.root, self.node, self.port = root, node, port
        self.process: subprocess.Popen[bytes] | None = None
        (root / "etc/encap").mkdir(parents=True)
        (root / "etc/encap/agentd.toml").write_text(SETTINGS.format(node=node, port=port))
        self.environment = {**os.environ, "ENCAP_ROOT": str(root)}

    def start(self, boot: str = "") -> None:
        """`boot`: a mark of the machine's boot; another one stands for a reboot."""
        with (self.root / "log").open("ab") as log:
            command = [sys.executable, "-m", "agentd", "run", "--root", str(self.root)]
            environment = {**self.environment, **({"ENCAP_BOOT": boot} if boot else {})}
            # The mark of a guest's processes is its root: a hypervisor's daemon must not carry one.
            environment.pop("ENCAP_ROOT")
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        until(self._answers, f"{self.node} answers")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return self.svc("daemon", "status").returncode == 0

    @property
    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """`svc WORDS`, not waited for."""
        return subprocess.Popen(self._command(words), env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def svc(self, *words: str, text: str | None = None) -> Result:
        return subprocess.run(self._command(words), input=text, env=self.environment, capture_output=True,
                              text=True, timeout=100)

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main())", *words]

    def ok(self, *words: str) -> str:
        """`svc WORDS`, which has to succeed; what it printed."""
        found = self.svc(*words)
        assert found.returncode == 0, f"svc {' '.join(words)}: {found.returncode}\n{found.stdout}{found.stderr}"
        return found.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def status(self, name: str = "web", *words: str) -> dict[str, Any]:
        document: dict[str, Any] = self.json("status", name, *words)
        return document

    def get(self, path: str) -> Any:
        """The API's answer, without the time that a command takes: for what passes quickly."""
        from cli.transport import local

        return local(str(self.root)).get(path)

    def phase(self, name: str = "web") -> tuple[str, str]:
        """Action and phase of what a service is doing; two times "" when nothing."""
        running = self.get(f"/v1/services/{name}/status")["operation"] or {}
        return str(running.get("action") or ""), str(running.get("phase") or "")

    def until_phase(self, *phases: str, name: str = "web") -> None:
        """Wait until what the service is doing is in one of these phases."""
        until(lambda: self.phase(name)[1] in phases, f"{name} in {phases[0]}", pause=0.002)

    def file(self, name: str, text: str) -> str:
        path = self.root / name
        path.write_text(text)
        return str(path)

    def create(self, text: str, name: str = "web") -> None:
        self.ok("create", name, "--config", self.file(f"{name}.new", text))

    def guest_root(self, service: str = "web", rid: str = "container.0") -> Path:
        return self.root / "var/lib/encap/services" / service / f"{rid}.root"

    def guest_settings(self, node: str, service: str = "web", rid: str = "container.0", more: str = "") -> None:
        """Settings of a guest that was not started yet: it looks every second, as hypervisors do here,
        and so is never silent for as long as `guest_silence`."""
        folder = self.guest_root(service, rid) / "etc/encap"
        folder.mkdir(parents=True)
        text = f'node = "{node}"\nlisten = ["127.0.0.1:0"]\nstatus_interval = 1\n{more}'
        (folder / "agentd.toml").write_text(text)

    def guest_pid(self, service: str = "web", rid: str = "container.0") -> int:
        """The agent of a guest of type process."""
        record = self.root / "run/encap/services" / service / f"{rid}.pid"
        return int(record.read_text().split()[0])


@contextmanager
def machines(*nodes: str, started: bool = True, joined: int | None = None) -> Iterator[list[Machine]]:
    """Daemons of one cluster (for one node: of none), each ended and gone at the end. `joined`:
    only so many of them are members, and run; a test lets the others join."""
    with tempfile.TemporaryDirectory(prefix="enc", ignore_cleanup_errors=True) as folder:
        found = [Machine(Path(folder) / node, node, port)
                 for node, port in zip(nodes, free_ports(len(nodes)), strict=True)]
        members = found[:joined]
        if len(members) > 1:
            _join(members)
        try:
            for each in members if started else ():
                each.start()
            yield found
        finally:
            for each in found:
                if each.alive:
                    each.end()
            sweep(Path(folder))


def _join(found: list[Machine]) -> None:
    from cli.offline import second_hypervisor

    first = found[0]
    first.ok("ca", "init", "--cluster", "test", "--node", first.node)
    for other in found[1:]:
        second_hypervisor(first.root, other.root)
    for other in found[1:-1]:  # each join added one: the last list is everybody's
        shutil.copy(found[0].root / "etc/encap/cluster.toml", other.root / "etc/encap/cluster.toml")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def sweep(folder: Path) -> None:
    """Kill what guests left: their processes carry the guest's root, which lies in `folder`."""
    mark = b"ENCAP_ROOT=" + os.fsencode(folder)
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue  # it ended meanwhile, or is another user's


@pytest.fixture
def machine() -> Iterator[Machine]:
    """One node without a certificate."""
    with machines("hv1") as found:
        yield found[0]
        if found[0].alive:
            found[0].svc("stop", "web")


@pytest.fixture
def pair() -> Iterator[tuple[Machine, Machine]]:
    """Two hypervisors of one cluster."""
    with machines("hv1", "hv2") as found:
        yield found[0], found[1]

"""What the benchmarks share: daemons in folders of their own, processes seen from /proc, the table."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds that anything is waited for."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One result. `limit` None: shown for comparison, not judged. `unit` "x" is a ratio."""

    name: str
    result: float
    limit: float | None
    unit: str

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        return "OK" if self.result <= self.limit else "MISSED"


def quick(description: str | None) -> bool:
    """Whether ``--quick`` was given: tiny numbers, to see that the benchmark works."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny numbers; the figures mean nothing")
    return bool(parser.parse_args().quick)


def show(figures: Sequence[Figure]) -> None:
    """A table: what, result, limit, verdict; and how busy the machine was, for noise."""
    rows = [("", "result", "limit", "")]
    for each in figures:
        limit = "" if each.limit is None else f"{each.limit:g} {each.unit}"
        rows.append((each.name, f"{each.result:.3g} {each.unit}", limit, each.verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, result, limit, verdict in rows:
        print(f"{name:<{widths[0]}}  {result:>{widths[1]}}  {limit:>{widths[2]}}  {verdict}".rstrip())
    print(f"(load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores)")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def interleaved(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each, taken in turns, so that what else runs on the machine meets all alike."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for place, measure in enumerate(measures):
            found[place].append(measure())
    return [median(values) for values in found]


def process_time(argv: list[str], environment: dict[str, str]) -> float:
    """Seconds from the start to the end of a process, its output thrown away."""
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    began = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, environment, file_actions=quiet)
    _, status = os.waitpid(pid, 0)
    taken = time.perf_counter() - began
    assert os.waitstatus_to_exitcode(status) == 0, argv
    return taken


def until(question: Callable[[], Any], what: str) -> Any:
    """Ask until the answer is true-ish, and return it."""
    end = time.monotonic() + PATIENCE
    while not (answer := question()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.02)
    return answer


# --- processes, from /proc


def private_memory(pid: int) -> float:
    """PSS in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no Pss of {pid}")


def wakeups(pid: int) -> int:
    """Voluntary context switches of all threads so far."""
    count = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for line in (thread / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                count += int(line.split()[1])
    return count


def processor_seconds(pid: int) -> float:
    """Time on a processor so far, of all threads, to the nanosecond."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


# --- daemons


class Daemon:
    """`agentd run` in a folder of its own, and `svc` against it."""

    def __init__(self, root: Path, node: str = "hv1") -> None:
        self.root, self.ready_after = root, 0.0
        self._process: subprocess.Popen[bytes] | None = None
        # The mark of a guest's processes is its root: a hypervisor's daemon must not carry one.
        self.environment = {key: value for key, value in os.environ.items() if key != "ENCAP_ROOT"}
        (root / "etc/encap/services").mkdir(parents=True)
        (root / "etc/encap/agentd.toml").write_text(f'node = "{node}"\nlisten = ["127.0.0.1:0"]\n')

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def write(self, service: str, text: str) -> None:
        (self.root / f"etc/encap/services/{service}.conf").write_text(text)

    def start(self) -> None:
        """Until it says READY; `ready_after` is how many seconds that took."""
        address = self.root / "notify"
        with (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
              (self.root / "log").open("ab") as log):
            listener.bind(str(address))
            listener.settimeout(PATIENCE)
            began = time.perf_counter()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "agentd", "run", "--root", str(self.root)], stdout=log,
                stderr=log, env={**self.environment, "NOTIFY_SOCKET": str(address)})
            while b"READY=1" not in listener.recv(4096):
                pass
            self.ready_after = time.perf_counter() - began
        address.unlink()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)

    def command(self, *words: str) -> list[str]:
        """`svc WORDS`, the installed program."""
        return [str(Path(sys.executable).with_name("svc")), *words, "--root", str(self.root)]

    def svc(self, *words: str) -> str:
        """What it printed; it has to succeed."""
        found = subprocess.run(self.command(*words), env=self.environment, capture_output=True,
                               text=True, timeout=PATIENCE, check=False)
        assert found.returncode == 0, f"svc {' '.join(words)}: {found.returncode}\n{found.stderr}"
        return found.stdout

    def get(self, path: str) -> Any:
        """The JSON of a GET over the Unix socket."""
        from cli.transport import local

        return local(str(self.root)).get(path)

    def events(self, path: str) -> list[dict[str, Any]]:
        """The events of an operation that has ended."""
        from cli.transport import local

        return [json.loads(each[1]) for each in local(str(self.root)).events(path) if each is not None]

    def operation(self) -> dict[str, Any]:
        """The newest operation."""
        listed: list[dict[str, Any]] = self.get("/v1/operations?limit=1")["operations"]
        return listed[0]

    def guest_pid(self, service: str, rid: str = "container.0") -> int:
        """The agent of a guest of type process."""
        return int((self.root / "run/encap/services" / service / f"{rid}.pid").read_text().split()[0])


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone at the end, with every process of a guest in it."""
    with tempfile.TemporaryDirectory(prefix="encap-bench-", ignore_cleanup_errors=True) as name:
        try:
            yield Path(name)
        finally:
            _sweep(Path(name))


@contextmanager
def daemon(*, cluster: bool = False, services: dict[str, str] | None = None) -> Iterator[Daemon]:
    """A daemon that is ready; `services`: name -> text; `cluster`: with a CA, so that it may have guests."""
    with folder() as root:
        found = Daemon(root / "hv1")
        for name, text in (services or {}).items():
            found.write(name, text)
        if cluster:
            found.svc("ca", "init", "--cluster", "bench", "--node", "hv1")
        try:
            found.start()
            yield found
        finally:
            found.stop()


def _sweep(root: Path) -> None:
    """End what guests run: their processes carry the guest's root, which lies in `root`."""
    mark = b"ENCAP_ROOT=" + os.fsencode(root)
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue  # it ended meanwhile, or is another user's

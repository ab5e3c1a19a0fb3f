"""The machine of `svc demo --lxc`: namespaces and a cgroup of its own, and its first process.

Started as ``unshare --net --mount --uts --ipc --pid python -I -m cli.demo_machine JSON``. This
process stays outside of the new process namespace and only waits; its child is process 1 in
there: it arranges what the machine sees, lets the tour run, and collects orphans. Its death is
the machine's: the kernel ends every process in there, and mounts and interfaces go with them.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "10.77.0"
ADDRESSES = {"hv1": f"{PREFIX}.11", "hv2": f"{PREFIX}.12"}
"""Of the two daemons, on the one bridge of the machine; nobody outside can see it."""

CGROUPS = Path("/sys/fs/cgroup")
_CLONE_NEWCGROUP, _PR_SET_PDEATHSIG = 0x02000000, 1


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line hands over. `answer` is the pipe for the one line of the answer."""

    root: str
    answer: int
    keep: bool
    verbose: bool
    no_color: bool

    @property
    def group(self) -> str:
        return Path(self.root).name

    def words(self) -> list[str]:
        return [json.dumps({name: getattr(self, name) for name in self.__slots__})]


class NotPossible(Exception):
    """This machine does not let us arrange another one in it."""


def main(words: list[str]) -> int:
    """Wait for process 1, and take it along when told to end."""
    order = Order(**json.loads(words[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent(signal.SIGKILL)
    # Held back until it reaches process 1 too.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    first = os.fork()
    if not first:
        os._exit(_guarded(lambda: _first(order)))
    signal.signal(signal.SIGTERM, lambda *_: _kill(first))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _, status = os.waitpid(first, 0)
    return os.waitstatus_to_exitcode(status)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended by itself meanwhile


def _first(order: Order) -> int:
    """Process 1."""
    outside = int(Path("/proc/self").readlink().name)  # the number of this process for those out there
    _die_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.set_inheritable(order.answer, False)
    try:
        arrange(Path(order.root), order.group)
    except NotPossible as why:
        _answer(order, {"trouble": str(why)})
        return 1
    tour = os.fork()
    if not tour:
        from cli.demo_lxc import inside

        signal.signal(signal.SIGINT, signal.default_int_handler)
        os._exit(_guarded(lambda: inside(order, outside)))
    code = collect(until=tour)
    if not (order.keep and code == 0):
        _answer(order, {"code": code})
        return code
    _die_with_parent(0)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # Whoever reads the output of the command must see its end.
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    _answer(order, {"code": code})
    return collect()


def _answer(order: Order, document: dict[str, Any]) -> None:
    with os.fdopen(order.answer, "w") as pipe:
        pipe.write(json.dumps(document) + "\n")


def _guarded(process: Callable[[], int]) -> int:
    """A forked process ends here and never in the frames of the one it came from."""
    try:
        return process()
    except BaseException:  # noqa: BLE001 - the last frame of a process: told, and it ends
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def collect(until: int = 0) -> int:
    """Collect ended processes for ever, or until one has ended: its exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            signal.sigtimedwait({signal.SIGCHLD}, 1)  # not for ever, so that a request to end is heard
            continue
        if pid == until:
            return os.waitstatus_to_exitcode(status)


def arrange(root: Path, group: str) -> None:
    """What this machine is to see: its own cgroups, interfaces, processes and run-time files."""
    try:
        _own_group(root / "cgroup", group)
        _run("mount", "-t", "proc", "proc", "/proc")
        _run("mount", "-t", "sysfs", "sysfs", "/sys")  # a new one, that shows the interfaces of here
        _run("mount", "-t", "cgroup2", "cgroup2", str(CGROUPS))
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        Path("/run/lock").mkdir()
        _network()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise NotPossible(f"{where}{error.strerror or error}") from error


def _own_group(top: Path, group: str) -> None:
    """A group of this machine, and from then on it is the root of all that can be seen from here.

    Version 2, whatever the machine itself uses: it is there in every kernel, and needs no controllers.
    """
    top.mkdir()
    try:
        _run("mount", "-t", "cgroup2", "cgroup2", str(top))
    except NotPossible:
        top.rmdir()  # whose presence says that there may be a group to remove
        raise
    own = top / group
    own.mkdir()
    (own / "cgroup.procs").write_text("0")
    if _libc().unshare(_CLONE_NEWCGROUP):
        raise NotPossible(f"no cgroup namespace: {os.strerror(ctypes.get_errno())}")
    # LXC takes a first process in init.scope for one in the root, and may hand controllers down:
    # a group with processes of its own could not.
    (own / "init.scope").mkdir()
    (own / "init.scope" / "cgroup.procs").write_text("0")
    _run("umount", str(top))


def _network() -> None:
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "br0", "type", "bridge")
    for address in ADDRESSES.values():
        _run("ip", "addr", "add", f"{address}/24", "dev", "br0")
    _run("ip", "link", "set", "br0", "up")


def _run(*words: str) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise NotPossible(f"{' '.join(words)}: {said[0] if said else f'exit {done.returncode}'}")


def _die_with_parent(number: int) -> None:
    _libc().prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

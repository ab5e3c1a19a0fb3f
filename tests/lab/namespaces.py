"""Processes in namespaces of their own, and their cgroups: started, entered, killed, gone.

Nothing here has a name outside: a namespace is that of a process and ends with it. When the
tests themselves are killed, the kernel kills these processes too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .commands import Argv, CommandFailed, Result, run

T = TypeVar("T")


def until(question: Callable[[], T], what: str, timeout: float = 10, every: float = 0.02) -> T:
    """Ask until the answer is true-ish and return it; CommandFailed with `what` when time is up."""
    end = time.monotonic() + timeout
    while True:
        if answer := question():
            return answer
        if time.monotonic() > end:
            raise CommandFailed(f"{what}: not within {timeout:g} s")
        time.sleep(every)


class Namespaces:
    """A first process in new namespaces, and the way in.

    `kinds` are those of unshare(1): net, mount, uts, pid. With pid, `argv` is process 1 in
    there, and its death ends all the others.
    """

    def __init__(self, argv: Argv, kinds: tuple[str, ...], log: Path) -> None:
        self.kinds = kinds
        fork = ("--fork", "--kill-child") if "pid" in kinds else ()
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", *(f"--{kind}" for kind in kinds), *fork, *argv]
        with log.open("ab") as output:
            self.outer = subprocess.Popen(
                [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.pid = until(self.child, "a process in new namespaces") if fork else self.unshared()

    def child(self) -> int:
        """The outer process id of the first process, 0 while there is none."""
        if self.outer.poll() is not None:
            raise CommandFailed(f"unshare ended with {self.outer.returncode}")
        return next(iter(children(self.outer.pid)), 0)

    def unshared(self) -> int:
        """The id of the process itself, once it has left our network."""
        ours, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{self.outer.pid}/ns/net")
        until(lambda: theirs.readlink() != ours.readlink(), "a network of its own")
        return self.outer.pid

    def enter(self, argv: Argv) -> list[str | Path]:
        """`argv` so that it runs in there."""
        flags = {"net": "--net", "mount": "--mount", "uts": "--uts", "pid": "--pid"}
        cgroup = ["--cgroup"] if "pid" in self.kinds else []
        return ["nsenter", f"--target={self.pid}", *(flags[kind] for kind in self.kinds), *cgroup, *argv]

    def run(self, argv: Argv, *, check: bool = True, timeout: float = 60, input: str | None = None,
            env: dict[str, str] | None = None) -> Result:  # fmt: skip
        return run(self.enter(argv), check=check, timeout=timeout, input=input, env=env)

    def kill(self) -> None:
        """SIGKILL to the first process; returns when the kernel has let it go."""
        if self.outer.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.outer.wait(10)


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # it has ended
        return []


def members(group: str) -> set[int]:
    """The processes that any cgroup hierarchy has in `group` or below."""
    found: set[int] = set()
    for folder in group_folders(group):
        try:
            found.update(int(word) for word in (folder / "cgroup.procs").read_text().split())
        except OSError:  # removed while we looked
            continue
    return found


def group_folders(group: str) -> list[Path]:
    """Every folder of `group`, in all hierarchies, the deepest first."""
    roots = [Path("/sys/fs/cgroup") / group, *Path("/sys/fs/cgroup").glob(f"*/{group}")]
    return [Path(here) for root in roots for here, _, _ in os.walk(root, topdown=False)]


def remove_group(group: str) -> None:
    """Remove the cgroups of `group`; the kernel needs a moment after the last process ended."""

    def gone() -> bool:
        for folder in group_folders(group):
            try:
                folder.rmdir()
            except OSError:  # still a process, or a new folder
                continue
        return not group_folders(group)

    until(gone, f"removal of the cgroups {group}")

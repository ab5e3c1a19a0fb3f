"""The first process of a hypervisor: arranges what the machine sees, then collects orphans for ever.

Started by `machines.py` in new net, mount, UTS and PID namespaces as
``first_process.py NAME DISK GROUP READY``. Killing it is a power failure: the kernel then kills
every process in the PID namespace, and mounts and interfaces go with the last of them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

MS_REC_PRIVATE = 0x4000 | (1 << 18)
CLONE_NEWCGROUP = 0x02000000
PERSISTENT = {"lxc": "/var/lib/lxc"}
"""What lies on the machine's disk, so that it is there after a power failure: folder -> where."""


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def checked(code: int, what: str) -> None:
    if code:
        raise OSError(ctypes.get_errno(), what)


def hierarchies() -> list[tuple[str, str, str]]:
    """The mounted cgroup hierarchies: (mount point, file system type, options)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            found.append((left.split(" ")[4], kind, options.removeprefix("rw").removeprefix(",")))
    return found


def join_group(found: list[tuple[str, str, str]], group: str) -> None:
    """Move this process into `group`, one level under the root of every hierarchy."""
    for point, _, _ in found:
        folder = Path(point) / group
        folder.mkdir(exist_ok=True)
        # Version 1 leaves these empty in a new group, and then nobody may enter it.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (Path(point) / name).exists() and "cpuset" in point:
                (folder / name).write_text((Path(point) / name).read_text())
        (folder / "cgroup.procs").write_text("0")


def arrange_cgroups(found: list[tuple[str, str, str]]) -> None:
    """Mount every hierarchy again: in this cgroup namespace its root is the machine's own group."""
    top = "/sys/fs/cgroup"
    if not any(point == top for point, _, _ in found):
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", top)
    for point, kind, options in found:
        Path(point).mkdir(exist_ok=True)
        mount("-t", kind, *(["-o", options] if kind == "cgroup" and options else []), kind, point)


def arrange(name: str, disk: Path, group: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    checked(libc.mount(None, b"/", None, MS_REC_PRIVATE, None), "cannot make the mounts private")
    found = hierarchies()
    join_group(found, group)
    checked(libc.unshare(CLONE_NEWCGROUP), "no cgroup namespace")
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "sysfs", "sysfs", "/sys")  # a new one, that shows the interfaces of this namespace
    arrange_cgroups(found)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path("/run/lock").mkdir()
    for folder, where in PERSISTENT.items():
        (disk / folder).mkdir(exist_ok=True)
        mount("--bind", str(disk / folder), where)
    socket.sethostname(name)


def collect_orphans() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


if __name__ == "__main__":
    arrange(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    Path(sys.argv[4]).touch()
    collect_orphans()

"""The guest of `svc demo --lxc`: a root file system of this machine's own programs, read-only, in a moment.

Nothing is copied or fetched: the folder holds a private etc, var, run, tmp and srv, the guest's
first process, and empty places on which LXC mounts this machine's programs and the Python that
runs the tour. The mounts are in the container's namespace only, so removing the folder from
outside can never reach what they show.
"""

from __future__ import annotations

import importlib.util
import os.path
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from cli.demo_machine import PREFIX

ADDRESS, SERVICE_ADDRESS = f"{PREFIX}.101", f"{PREFIX}.150"
PRIVATE = ("dev", "etc", "proc", "root", "run", "srv", "sys", "tmp", "usr/local/sbin", "var/log", "var/lib")
SYSTEM = tuple(Path(name) for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"))
OPENED = (Path("/usr"), Path("/usr/local"))
"""Shown entry by entry, since the guest has programs of its own in /usr/local/sbin, which comes
first on its PATH."""

CONTAINER = """\
# Written by svc demo --lxc.
lxc.uts.name = {name}
lxc.rootfs.path = dir:{rootfs}
lxc.init.cmd = /usr/local/sbin/first
lxc.autodev = 1
lxc.mount.auto = proc:mixed sys:ro
lxc.apparmor.profile = unconfined
lxc.net.0.type = veth
lxc.net.0.link = br0
lxc.net.0.flags = up
lxc.net.0.name = eth0
lxc.net.0.ipv4.address = {address}/24
{mounts}
"""
FIRST = '''\
"""The first process of the guest: keeps the agent running, collects orphans, ends when told to."""

import os
import signal

SIGNALS = {signal.SIGCHLD, signal.SIGPWR, signal.SIGTERM, signal.SIGINT}


def agent():
    log = os.open("/var/log/agentd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    program = "/usr/local/sbin/agentd"
    streams = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2), (os.POSIX_SPAWN_CLOSE, log)]
    pid = os.posix_spawn(program, [program, "run"], ENVIRONMENT, file_actions=streams, setsigmask=[])
    os.close(log)
    return pid


def collected():
    """The processes that have ended since the last time."""
    found = set()
    try:
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            found.add(pid)
    except ChildProcessError:
        pass  # there is none left
    return found


ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
running, ending = agent(), False
while True:
    if signal.sigwait(SIGNALS) != signal.SIGCHLD:
        ending = True
        os.kill(running, signal.SIGTERM)
    if running in collected():
        if ending or signal.sigtimedwait(SIGNALS - {signal.SIGCHLD}, 1):
            break
        running = agent()
'''


def make(folder: Path) -> Path:
    """The guest's root file system under `folder`."""
    rootfs = folder / "rootfs"
    for name in PRIVATE:
        (rootfs / name).mkdir(parents=True)
    (rootfs / "tmp").chmod(0o1777)
    _configure(rootfs / "etc")
    _programs(rootfs / "usr/local/sbin")
    for link, target in links():
        (rootfs / link.relative_to("/")).symlink_to(target)
    for _, place in shown():
        (rootfs / place.relative_to("/")).mkdir(parents=True, exist_ok=True)
    return rootfs


def container(name: str, rootfs: Path) -> str:
    """The configuration of the container for LXC."""
    mounts = [
        f"lxc.mount.entry = {_escaped(source)} {_escaped(place.relative_to('/'))} none bind,ro 0 0"
        for source, place in shown()
    ]
    return CONTAINER.format(name=name, rootfs=rootfs, address=ADDRESS, mounts="\n".join(mounts))


def _configure(etc: Path) -> None:
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    # Where the libraries of the shown programs are.
    for name in ("ld.so.cache", "ld.so.conf"):
        if (own := Path("/etc", name)).is_file():
            shutil.copyfile(own, etc / name)


def _programs(folder: Path) -> None:
    python = quote(sys.executable)
    for name, words in (
        ("agentd", f"{python} -I -m agentd"),
        ("svc", f"{python} -I -m cli.main"),
        ("first", f"{python} -I -S /usr/local/sbin/first.py"),
    ):
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)
    (folder / "first.py").write_text(FIRST)


def _escaped(path: Path) -> str:
    """As a word of fstab(5)."""
    return "".join(f"\\{ord(sign):03o}" if sign in " \t\n\\" else sign for sign in str(path))


def links() -> Iterator[tuple[Path, Path]]:
    """Symbolic links of the system's folders, such as /bin on most machines: where, and where to."""
    for path in _system():
        if path.is_symlink():
            yield path, path.readlink()


def shown() -> list[tuple[Path, Path]]:
    """What of this machine is shown in the guest, and where."""
    found = [(path, path) for path in _system() if path.is_dir() and not path.is_symlink()]
    if Path("/etc/alternatives").is_dir():
        found.append((Path("/etc/alternatives"), Path("/etc/alternatives")))
    links_there = {link for link, _ in links()}
    for folder in python_folders():
        within = any(folder.is_relative_to(place) for _, place in found)
        if not (within or folder in OPENED or links_there & {folder, *folder.parents}):
            found.append((folder.resolve(), folder))
    return found


def _system() -> Iterator[Path]:
    yield from (path for path in SYSTEM if path.exists())
    own = (*OPENED, Path("/usr/local/sbin"))
    for folder in OPENED:
        yield from (path for path in sorted(folder.glob("*")) if path not in own)


def python_folders(program: Path = Path(sys.executable)) -> list[Path]:
    """The folders that this Python needs: its environment, the one beneath, each through which a
    link to the interpreter leads, and the product's own."""
    found = [Path(sys.prefix), Path(sys.base_prefix)]
    for _ in range(40):  # as many links as the kernel follows
        found.append(program.parent.parent)
        if not program.is_symlink():
            break
        program = program.parent / program.readlink()
    found.append(program.resolve().parent.parent)
    product = importlib.util.find_spec("agentd")
    if product and product.origin:
        found.append(Path(product.origin).parent.parent)
    outermost: list[Path] = []
    for folder in sorted({Path(_normal(path)) for path in found}, key=lambda path: len(path.parts)):
        if folder != Path("/") and not any(folder.is_relative_to(other) for other in outermost):
            outermost.append(folder)
    return outermost


def _normal(path: Path) -> str:
    """Absolute, without the ``..`` of relative links."""
    return os.path.normpath(path.absolute())

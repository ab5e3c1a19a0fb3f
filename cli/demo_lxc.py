"""`svc demo --lxc`: the tour with a real container, real addresses and a real mount.

This machine makes another one in it (`cli.demo_machine`: network, mounts, processes and cgroups
of its own), the tour runs in there, and its guest is shown this machine's programs
(`cli.demo_guest`). This module owns what happens outside: what must be there before anything
is done, and that everything is gone afterwards. Inside, it owns the steps that differ.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from shlex import quote
from typing import Any

from cli import demo as tours
from cli.demo_guest import SERVICE_ADDRESS, container, make
from cli.demo_machine import ADDRESSES, Order
from cli.exits import DONE, FAILED, USAGE, Trouble
from cli.terminal import Terminal

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS = {
    "lxc-start": "lxc", "lxc-attach": "lxc", "lxc-info": "lxc", "lxc-stop": "lxc", "ip": "iproute2",
    "arping": "iputils-arping", "ping": "iputils-ping", "unshare": "util-linux", "nsenter": "util-linux",
    "mount": "mount", "findmnt": "util-linux", "pgrep": "procps",
}  # fmt: skip
"""What is run, and the package that has it, by its name in Debian."""

PRIVILEGED = (
    "It takes a root who may make namespaces, cgroups and mounts: that of a machine, or of a container "
    "that is privileged. svc demo runs the same chain without."
)
CONFIG = """\
# The seed's service: a container of the lxc tools, and in it a real address, a mount, a process.
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1
nodes@encapnodes = vm1
topology = failover

# Two hypervisors on one machine: each has a folder of containers.
[container#0]
type = lxc
name = vm1
container_data_dir = {root}/{{nodename}}/lxc
start_timeout = 30
stop_timeout = 10

[fs#1]
type = flag

[ip#1]
type = host
ipname = {address}
ipdev = eth0
netmask = 24
tags = encap

[fs#2]
type = tmpfs
mnt = /srv/data
tags = encap

# A real process, started by the agent in the guest.
[app#1]
type = simple
start = {python} -I /srv/application.py
tags = encap

# Each level's own launchers, of which there are none.
[app]
"""
SWEEP = """\
mount -t cgroup2 cgroup2 "$1/cgroup" || exit
for pause in 0 0.1 0.1 0.2 0.5 1 1 2 2 3; do
    sleep "$pause"
    [ -d "$1/cgroup/$2" ] || exit 0
    find "$1/cgroup/$2" -depth -type d -exec rmdir {} ";" 2>/dev/null
done
[ ! -d "$1/cgroup/$2" ]
"""
"""Remove the cgroups of a machine that has ended: the last of its processes may take a moment."""

END = """\
#!/bin/sh
# Ends what svc demo --lxc --keep left running, and removes this folder.
if grep -qs {group} /proc/{pid}/cmdline; then
    kill {pid}
fi
unshare --mount sh -c '{sweep}' sh {root} {group} && rm -r {root}
"""


def demo(arguments: Any, terminal: Terminal) -> int:
    """As `cli.demo.demo`; the machine in which it runs is gone afterwards, however it ended."""
    check()
    with tours.ended_by_signals():
        root = tours.new_folder()
        machine, keep = None, False
        try:
            read, write = os.pipe()
            order = Order(str(root), write, arguments.keep, arguments.verbose, not terminal.color)
            machine = _start(order)
            os.close(write)
            with os.fdopen(read) as pipe:
                answer = json.loads(pipe.readline() or '{"code": 1}')
            keep = arguments.keep and answer.get("code") == DONE
        finally:
            _clean(root, machine, terminal, keep)
    if "trouble" in answer:
        raise Trouble(
            f"svc demo --lxc cannot be run here: {answer['trouble']}",
            USAGE,
            code="not-supported",
            hint=PRIVILEGED,
        )
    if answer["code"] != DONE:
        return FAILED
    if not keep:
        terminal.say(tours.GONE)
    return DONE


def check() -> None:
    """Whatever is known to be missing, before anything is done."""
    hint = ""
    if os.geteuid() != 0:
        text, hint = "svc demo --lxc needs root", "sudo svc demo --lxc; svc demo needs no root."
    elif absent := [tool for tool in TOOLS if not shutil.which(tool, path=SEARCH_PATH)]:
        packages = sorted({TOOLS[tool] for tool in absent})
        text = f"svc demo --lxc needs {', '.join(absent)}"
        hint = f"apt-get install {' '.join(packages)}; svc demo needs none of it."
    elif "\tcgroup2\n" not in Path("/proc/filesystems").read_text():
        text, hint = "svc demo --lxc needs cgroups of version 2, which this kernel has not", PRIVILEGED
    else:
        probe = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "true"]
        tried = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return
        text, hint = f"svc demo --lxc needs namespaces: {tried.stderr.strip()}", PRIVILEGED
    raise Trouble(text, USAGE, code="not-supported", hint=hint)


def _start(order: Order) -> subprocess.Popen[bytes]:
    spaces = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid"]
    return subprocess.Popen(
        [*spaces, sys.executable, "-I", "-m", "cli.demo_machine", *order.words()],
        stdin=subprocess.DEVNULL,
        pass_fds=(order.answer,),
        start_new_session=True,  # Ctrl-C is for this process, which ends the others in order
    )


def _clean(root: Path, machine: subprocess.Popen[bytes] | None, terminal: Terminal, keep: bool) -> None:
    """End the machine, its cgroups and its folder; one that is kept loses only the process that waits."""
    impatient = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in impatient}
    try:
        if machine is not None:
            machine.send_signal(signal.SIGKILL if keep else signal.SIGTERM)
            try:
                machine.wait(15)
            except subprocess.TimeoutExpired:
                machine.kill()
                machine.wait()
        if not keep:
            _remove(root, terminal)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _remove(root: Path, terminal: Terminal) -> None:
    if (root / "cgroup").is_dir():
        swept = subprocess.run(
            ["unshare", "--mount", "sh", "-c", SWEEP, "sh", str(root), root.name],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if swept.returncode:
            terminal.note(f"the cgroup {root.name} is still there: {swept.stderr.strip() or 'it is in use'}")
    if f" {root}/" in Path("/proc/self/mountinfo").read_text():
        terminal.note(f"something is mounted under {root}, so it is left there")
        return
    shutil.rmtree(root, ignore_errors=True)


def inside(order: Order, first: int) -> int:
    """The tour itself, in its machine. `first`: the machine's first process, as seen from outside."""
    terminal = Terminal(no_color=order.no_color)
    tour = LxcTour(terminal, Path(order.root))
    if not tours.went_well(tour, order.verbose):
        return FAILED
    if order.keep:
        _left_running(tour, first)
    return DONE


class LxcTour(tours.Tour):
    """The tour whose guest is a container of the lxc tools."""

    INTRODUCTION = (
        "Encap, on this machine: hypervisors hv1 and hv2, and a guest vm1 that hv1 will start.\n"
        "The guest is a real LXC container on a bridge, its address is a real address, its mount a real\n"
        "mount. All of it is in namespaces of its own, so nothing outside of {root} is touched."
    )

    def listen(self) -> dict[str, str]:
        return dict(ADDRESSES)

    def configuration(self) -> str:
        """The service's. The guest's disk is the same for both, as one on shared storage is."""
        rootfs = make(self.root / "guest")
        (rootfs / "srv/application.py").write_text(tours.APPLICATION)
        for node in tours.NODES:
            place = self.root / node / "lxc" / tours.GUEST
            place.mkdir(parents=True)
            (place / "config").write_text(container(tours.GUEST, rootfs))
        return CONFIG.format(root=self.root, address=SERVICE_ADDRESS, python=quote(sys.executable))

    def seen_by_guest(self, path: str) -> dict[str, Any]:
        told = self.run(*self.attach("svc", "status", tours.SERVICE, "--json"))
        document: dict[str, Any] = json.loads(told)
        return document

    def check_up(self) -> None:
        self.tell("The guest's address answers on the network, and the mount is the guest's alone.")
        self.show("ping", "-c", "1", "-W", "2", SERVICE_ADDRESS)
        self.show("ip", "-brief", "address", "show", "eth0", inside=True)
        self.show("findmnt", "--noheadings", "/srv/data", inside=True)
        self.show("pgrep", "-af", "application.py", inside=True)
        if self.attempt("findmnt", "/srv/data").returncode == 0:
            raise tours.Failed("/srv/data is mounted outside of the guest too")

    def check_down(self) -> None:
        self.tell("Nobody answers under its address any more, and no process of the guest is left.")
        ping = ("ping", "-c", "1", "-W", "1", SERVICE_ADDRESS)
        self.terminal.say(f"\n   [hv1] $ {' '.join(ping)}\n")
        if self.attempt(*ping).returncode == 0:
            raise tours.Failed(f"{SERVICE_ADDRESS} still answers")
        self.terminal.say("no answer")
        self.until("the guest's processes have ended", lambda: not self.others())

    def others(self) -> list[int]:
        """Processes in this machine that are neither the first, nor this one, nor the daemons' own."""
        known = {1, os.getpid(), *(daemon.pid for daemon in self.daemons.values())}
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid not in known]

    def attach(self, *words: str) -> tuple[str, ...]:
        folder = str(self.root / "hv1" / "lxc")
        path = f"PATH={SEARCH_PATH}"
        return ("lxc-attach", "-P", folder, "-n", tours.GUEST, "--clear-env", "-v", path, "--", *words)

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30
        )

    def run(self, *words: str) -> str:
        """What a command says that has to succeed."""
        done = self.attempt(*words)
        if done.returncode:
            raise tours.Failed(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def show(self, *words: str, inside: bool = False) -> None:
        """Run a command as its user would, shown with what it says."""
        self.terminal.say(f"\n   [{tours.GUEST if inside else 'hv1'}] $ {' '.join(words)}\n")
        self.terminal.say(self.run(*(self.attach(*words) if inside else words)).strip())


def _left_running(tour: LxcTour, first: int) -> None:
    root, end = tour.root, tour.root / "end"
    end.write_text(END.format(pid=first, sweep=SWEEP, root=root, group=root.name))
    enter = f"nsenter -t {first} -n -m -u -i -p -C"
    tour.terminal.say(
        f"\nIt is left running. Talk to it:\n"
        f"  svc ls --root {root}/hv1\n"
        f"  svc start {tours.SERVICE} --root {root}/hv1\n"
        f"  svc status {tours.SERVICE} --root {root}/hv1\n"
        f"Enter its network, and its guest while the service is up:\n"
        f"  {enter}\n"
        f"  {enter} lxc-attach -P {root}/hv1/lxc -n {tours.GUEST}\n"
        f"End it:\n"
        f"  sh {end}"
    )

"""`svc demo`: a tour of the product on one machine, and its proof: each step is checked.

Two hypervisors' daemons on loopback under a temporary root, and the guest's daemon, which
hv1's container driver starts. Everything is a process of the caller; no root is needed.
`cli.demo_lxc` makes the same tour with a real container in a network of its own.
"""

from __future__ import annotations

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
from shlex import quote
from typing import Any

from cli.exits import DONE, FAILED, INTERRUPTED, Trouble
from cli.render import any_tree, safe
from cli.terminal import Terminal
from cli.transport import local, quoted

SERVICE, NODES, GUEST, CLUSTER = "deb1", ("hv1", "hv2"), "vm1", "demo"
PATIENCE = 30.0
CONFIG = """\
# The seed's service, without root: the container is a group of processes.
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1
nodes@encapnodes = vm1
topology = failover

[container#0]
type = process
name = vm1
hostname = vm1

[fs#1]
type = flag

# Two addresses of the guest. They are of type fake: no address is really set.
[ip#1]
type = fake
tags = encap

[ip#2]
type = fake
tags = encap

# A real process, started by the agent in the guest.
[app#1]
type = simple
start = {python} -I {script}
tags = encap

# Each level's own launchers, of which there are none.
[app]
"""
APPLICATION = """\
import signal
signal.pause()
"""


GONE = "\nAll of it was checked, and is gone again."


class Failed(Exception):
    """The tour did not see what it should have seen."""


class Tour:
    """One run: its folder, its processes, what it prints, and what is special to its kind of guest.

    This one's guest is a process; the methods from `listen` on are what another kind does otherwise.
    """

    INTRODUCTION = (
        "Encap, on this machine: hypervisors hv1 and hv2, and a guest vm1 that hv1 will start.\n"
        "The guest is a process group (container type process); its addresses are of type fake,\n"
        "so nothing outside of {root} is touched."
    )

    def __init__(self, terminal: Terminal, root: Path) -> None:
        self.terminal, self.root = terminal, root
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.number = 0

    def tell(self, text: str) -> None:
        self.number += 1
        self.terminal.say(f"\n{self.number}. {text}")

    def svc(self, *words: str, node: str = "hv1") -> None:
        """Run one command as its user would, shown; it has to succeed."""
        from cli.main import main

        shown = " ".join(words).replace(str(self.root), "$ROOT")
        self.terminal.say(f"\n   [{node}] $ svc {shown}\n")
        code = main([*words, "--root", str(self.root / node)])
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code != DONE:
            raise Failed(f"svc {shown} ended with {code}")

    def document(self, root: Path, path: str) -> dict[str, Any]:
        found: dict[str, Any] = local(str(root)).get(path)
        return found

    def until(self, what: str, check: Callable[[], bool]) -> None:
        """Wait for something; a daemon that ended meanwhile ends the waiting."""
        deadline = time.monotonic() + PATIENCE
        while not check():
            for node, process in self.daemons.items():
                if process.poll() is not None:
                    raise Failed(f"the daemon of {node} ended with {process.returncode}")
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {PATIENCE:g} s")
            time.sleep(0.05)

    def listen(self) -> dict[str, str]:
        """Where each hypervisor's daemon listens: ports of loopback that were free a moment ago."""
        return {node: f"127.0.0.1:{port}" for node, port in zip(NODES, free_ports(len(NODES)), strict=True)}

    def configuration(self) -> str:
        """The service's, once everything that it names is in place."""
        script = self.root / "application.py"
        script.write_text(APPLICATION)
        return CONFIG.format(python=quote(sys.executable), script=script)

    def seen_by_guest(self, path: str) -> dict[str, Any]:
        """A document of the guest's own daemon, from its socket, wherever hv1's driver put it."""
        own = self.root / "hv1/run/encap/agentd.sock"
        sockets = [found for found in (self.root / "hv1").rglob("agentd.sock") if found != own]
        if not sockets:
            raise Failed("there is no guest under the root of hv1")
        return self.document(sockets[0].parent.parent.parent, path)

    def check_up(self) -> None:
        """What else can be seen of a service that is up: of fake addresses, nothing."""

    def check_down(self) -> None:
        left = [p for p in processes(self.root) if p not in [d.pid for d in self.daemons.values()]]
        if left:
            raise Failed(f"processes of the guest are left: {left}")


def demo(arguments: Any, terminal: Terminal) -> int:
    """0 when every step was seen to work, 1 when one was not."""
    if arguments.lxc:
        from cli import demo_lxc

        return demo_lxc.demo(arguments, terminal)
    tour = Tour(terminal, new_folder())
    keep = False
    with ended_by_signals():
        try:
            done = went_well(tour, arguments.verbose)
            keep = done and arguments.keep
        finally:
            if keep:
                _left_running(tour)
            else:
                _clean(tour)
    if done and not keep:
        terminal.say(GONE)
    return DONE if done else FAILED


def new_folder() -> Path:
    # A short path: the socket of a guest lies deep under it.
    return Path(tempfile.mkdtemp(prefix="encap-", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """A request to end, or a terminal that is closed, ends the tour as Ctrl-C does: in order."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def went_well(tour: Tour, verbose: bool) -> bool:
    """Whether every step was seen to work; if not, it is told, with the ends of the logs."""
    try:
        tour_(tour)
    except (Failed, Trouble) as failure:
        tour.terminal.note(f"svc demo: {failure}")
        _logs(tour, 200 if verbose else 15)
        return False
    return True


def tour_(tour: Tour) -> None:
    """The steps, in order."""
    tour.terminal.say(tour.INTRODUCTION.format(root=tour.root))
    _prepare(tour)
    _start_daemons(tour)
    _create(tour)
    _start_service(tour)
    _trees(tour)
    _stop_service(tour)


def _prepare(tour: Tour) -> None:
    from cli.offline import second_hypervisor

    tour.tell("Trust: a certificate authority for the cluster, a certificate for each hypervisor.")
    listen = tour.listen()
    tour.svc("node", "init", "--node", "hv1", "--listen", listen["hv1"])
    tour.svc("ca", "init", "--cluster", CLUSTER, "--node", "hv1")
    tour.svc("node", "init", "--node", "hv2", "--listen", listen["hv2"], node="hv2")
    second_hypervisor(tour.root / "hv1", tour.root / "hv2")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _start_daemons(tour: Tour) -> None:
    tour.tell("The daemons of hv1 and hv2. There is one program; it also runs in the guest.")
    for node in NODES:
        with (tour.root / f"{node}.log").open("wb") as log:
            tour.daemons[node] = subprocess.Popen(
                [sys.executable, "-I", "-m", "agentd", "run", "--root", str(tour.root / node)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "ENCAP_DEMO": str(tour.root)},
            )  # fmt: skip
    for node in NODES:
        tour.until(f"the daemon of {node} answers", lambda node=node: _answers(tour.root / node))  # type: ignore[misc]
    tour.until("hv1 hears hv2", lambda: _heard(tour))
    tour.svc("node", "ls")


def _answers(root: Path) -> bool:
    try:
        local(str(root)).get("/v1/node", 2)
    except Trouble:
        return False
    return True


def _heard(tour: Tour) -> bool:
    nodes = tour.document(tour.root / "hv1", "/v1/nodes")["nodes"]
    return all(n["state"] == "answering" for n in nodes if n["name"] in NODES and n["name"] != "hv1")


def _create(tour: Tour) -> None:
    tour.tell("The service, as the seed has it: resources tagged encap belong to the guest.")
    file = tour.root / f"{SERVICE}.conf"
    file.write_text(tour.configuration())
    tour.terminal.say("\n" + "\n".join("   " + safe(line) for line in file.read_text().splitlines()))
    tour.svc("create", SERVICE, "--config", str(file))
    tour.until("hv2 has the service", lambda: _has_service(tour))


def _has_service(tour: Tour) -> bool:
    services = tour.document(tour.root / "hv2", "/v1/services")["services"]
    return SERVICE in [s["name"] for s in services]


def _start_service(tour: Tour) -> None:
    tour.tell("What a start would do. The steps of the guest hang under the one that is handed to it.")
    tour.svc("plan", SERVICE, "start")
    tour.tell("The start: the container, its agent, its configuration, then the guest's own resources.")
    tour.svc("start", SERVICE)


def _trees(tour: Tour) -> None:
    tour.tell("The service seen by hv1: what the guest runs is folded under its container, marked E.")
    path = f"/v1/services/{quoted(SERVICE)}/status"
    tour.until(
        "hv1 sees the guest's resources up", lambda: _folded(tour.document(tour.root / "hv1", path), "up")
    )
    tour.svc("status", SERVICE)
    tour.tell("The same service seen by its guest: there, nothing is special.")
    document = tour.seen_by_guest(path)
    tour.terminal.say(
        f"\n   [{GUEST}] $ svc status {SERVICE}\n\n" + any_tree(document, color=tour.terminal.color)
    )
    if document["level"] != "encap" or document["avail"] != "up":
        raise Failed(f"the guest sees {document['level']} level, avail {document['avail']}")
    tour.tell("And by hv2, which runs nothing of it: failover, never two.")
    elsewhere = tour.document(tour.root / "hv2", path)
    tour.svc("ls", node="hv2")
    if elsewhere["avail"] == "up":
        raise Failed("hv2 says that the service is up there too")
    tour.check_up()


def _folded(document: dict[str, Any], state: str) -> bool:
    """Whether the instance and every resource of its guest are in `state`."""
    guests = [r["guest"] for r in document["resources"] if r.get("guest")]
    inner = [r["status"] for g in guests for r in g["resources"] if r["group"] in ("ip", "fs", "app")]
    return (
        document["avail"] == state
        and len(inner) == 3
        and set(inner) <= {state, *("n/a",) * (state == "down")}
    )


def _stop_service(tour: Tour) -> None:
    tour.tell("The stop: the guest first, then the hypervisor.")
    tour.svc("stop", SERVICE)
    path = f"/v1/services/{quoted(SERVICE)}/status"
    tour.until("hv1 sees all of it down", lambda: _folded(tour.document(tour.root / "hv1", path), "down"))
    tour.svc("status", SERVICE)
    tour.check_down()


def processes(root: Path) -> list[int]:
    """Processes of the tour: with its mark in the environment, or this Python working under its
    folder. Not any process that names the folder: that could be somebody who reads its logs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if _belongs(entry, os.fsencode(root)):
                    found.append(int(entry.name))
            except OSError:  # it ended meanwhile, or is another user's
                continue
    return found


def _belongs(entry: Path, root: bytes) -> bool:
    marks = (b"ENCAP_DEMO=" + root, b"ENCAP_ROOT=" + root)
    if any(word.startswith(marks) for word in (entry / "environ").read_bytes().split(b"\0")):
        return True
    same_program = (entry / "exe").readlink() == Path(sys.executable).resolve()
    return same_program and root in (entry / "cmdline").read_bytes()


def _clean(tour: Tour) -> None:
    """End every process of the tour, the guest's too, and remove its folder."""
    for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        for pid in processes(tour.root):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # it ended by itself
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not _ended(tour):
            time.sleep(0.05)
    if left := processes(tour.root):
        tour.terminal.note(f"still there, after SIGKILL: {left}")
    shutil.rmtree(tour.root, ignore_errors=True)


def _ended(tour: Tour) -> bool:
    for process in tour.daemons.values():
        process.poll()
    return not processes(tour.root)


def _logs(tour: Tour, lines: int) -> None:
    for log in sorted(tour.root.rglob("*.log")):
        text = log.read_text("utf-8", "replace").splitlines()[-lines:]
        tour.terminal.note(f"-- the end of {log.relative_to(tour.root)}:")
        for line in text:
            tour.terminal.note(line)


def _left_running(tour: Tour) -> None:
    pids = " ".join(str(p.pid) for p in tour.daemons.values())
    tour.terminal.say(
        f"\nIt is left running. Talk to it:\n"
        f"  svc ls --root {tour.root}/hv1\n"
        f"  svc start {SERVICE} --root {tour.root}/hv1\n"
        f"  svc status {SERVICE} --root {tour.root}/hv1\n"
        f"  svc status {SERVICE} --cluster --root {tour.root}/hv2\n"
        f"End it:\n"
        f"  svc stop {SERVICE} --root {tour.root}/hv1 && kill {pids} && rm -r {tour.root}"
    )


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt

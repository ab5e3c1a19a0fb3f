"""`svc demo` and `svc demo --lxc` as a user runs them, and that they leave nothing, however they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .commands import run
from .namespaces import until

pytestmark = pytest.mark.usefixtures("able")
SVC = Path(sys.executable).parent / "svc"
ADDRESS = "10.77.0.150"


def folder_in(told: str) -> Path:
    """The tour's folder, which its first lines name."""
    found = re.search(r"nothing outside of (/\S+)", told)
    assert found, told
    return Path(found[1])


def left(root: Path) -> dict[str, list[str]]:
    """What there is of a tour: its processes, mounts, cgroups and its folder."""
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = [(entry / name).read_bytes() for name in ("cmdline", "environ", "mountinfo")]
            except OSError:  # it has ended
                continue
            if any(os.fsencode(root) in each for each in told):
                processes.append(told[0].replace(b"\0", b" ").decode(errors="replace"))
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(root) in line]
    groups = [root.name, f"*/{root.name}"]
    cgroups = [str(found) for each in groups for found in Path("/sys/fs/cgroup").glob(each)]
    return {"processes": processes, "mounts": mounts, "cgroups": cgroups, "folder": [str(root)] * root.exists()}


NOTHING: dict[str, list[str]] = {"processes": [], "mounts": [], "cgroups": [], "folder": []}


@contextmanager
def started(tmp_path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`svc demo WORDS` in a process group of its own, and the file that it writes to."""
    log = tmp_path / "told"
    with log.open("wb") as output:
        tour = subprocess.Popen([SVC, "demo", *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                start_new_session=True)  # fmt: skip
    try:
        yield tour, log
    finally:
        if tour.poll() is None:
            os.killpg(tour.pid, signal.SIGINT)
        tour.wait(30)


def test_the_tour_of_processes() -> None:
    done = run([SVC, "demo"], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "|  |  '- app#1       ...E up       app#1" in done.stdout
    assert "deb1 stop: succeeded" in done.stdout
    assert done.stdout.endswith("All of it was checked, and is gone again.\n")
    assert left(folder_in(done.stdout)) == NOTHING


def test_the_tour_with_a_container() -> None:
    done = run([SVC, "demo", "--lxc"], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for line in (
        f"|  |  |- ip#1        ...E up       {ADDRESS}@eth0",
        "|  |  |- fs#2        ...E up       tmpfs@/srv/data",
        "deb1     up     up       failover  hv1:up hv2:down",
        "1 packets transmitted, 1 received, 0% packet loss",
        "/srv/data tmpfs",
        "deb1 stop: succeeded",
        "no answer",
    ):
        assert line in done.stdout
    assert done.stdout.endswith("All of it was checked, and is gone again.\n")
    assert left(folder_in(done.stdout)) == NOTHING


def test_one_that_is_kept_can_be_entered_and_ended(tmp_path: Path) -> None:
    done = run([SVC, "demo", "--lxc", "--keep"], check=False)
    root = folder_in(done.stdout)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        enter = re.search(r"^  (nsenter .*)$", done.stdout, re.MULTILINE)
        assert enter
        run([SVC, "start", "deb1", "--root", root / "hv2"])
        document = json.loads(run([SVC, "status", "deb1", "--root", root / "hv2", "--json"]).stdout)
        assert document["avail"] == "up"
        run([*enter[1].split(), "ping", "-c1", "-W2", ADDRESS])
        attach = [*enter[1].split(), "lxc-attach", "-P", root / "hv2/lxc", "-n", "vm1", "--"]
        assert "fs#2" in run([*attach, "/usr/local/sbin/svc", "status", "deb1"]).stdout
        # Read-only, so that nothing in the guest can reach this machine's files.
        refused = run([*attach, "touch", "/usr/bin/svc-demo", f"{sys.prefix}/svc-demo"], check=False)
        assert refused.stderr.count("Read-only file system") == 2
        assert ADDRESS not in run(["ip", "-o", "address"]).stdout
    finally:
        run(["sh", root / "end"])
    assert left(root) == NOTHING


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path, "--lxc") as (tour, log):
        until(lambda: tour.poll() is not None or "phase: resources" in log.read_text(), "the start", 60)
        root = folder_in(log.read_text())
        assert left(root)["processes"]
        os.killpg(tour.pid, signal.SIGINT)
        assert tour.wait(30) == 130
        assert left(root) == NOTHING
    assert "Traceback" not in log.read_text()


def test_a_tour_that_fails_tells_why_and_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path, "--lxc", "--keep") as (tour, log):
        until(lambda: tour.poll() is not None or "phase: resources" in log.read_text(), "the start", 60)
        root = folder_in(log.read_text())
        run(["pkill", "-KILL", "-f", f"agentd run --root {root}/hv2"])
        assert tour.wait(60) == 1
        assert left(root) == NOTHING
    told = log.read_text()
    assert f"svc demo: the daemon is not reachable: nobody listens at {root}/hv2" in told
    assert "-- the end of hv1.log:" in told
    assert "is gone again" not in told

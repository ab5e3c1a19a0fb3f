"""Killed in the middle of a chained start: a named result, nothing twice, the claim free again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from .conftest import Machine, machines, rows, until

pytestmark = pytest.mark.socket

SERVICE = """\
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1

[container#0]
type = process
name = vm1
start_timeout = 120
stop_timeout = 10

[fs#0]
type = flag

[fs#1]
type = fake
machine = {fake}
tags = encap

[app#1]
type = simple
start = {python} -c "{program}" {record}
tags = encap
"""
PROGRAM = "import os,sys,signal; open(sys.argv[1],'a').write(f'{os.getpid()}\\\\n'); signal.pause()"
PHASES = ("up", "reachable", "agent", "config", "resources")


class Site:
    """Two hypervisors, a service that records each start of its application, and its guest's orders."""

    def __init__(self, hv1: Machine, hv2: Machine) -> None:
        self.hv1, self.hv2 = hv1, hv2
        self.fake, self._record = hv1.root / "fake", hv1.root / "starts"
        self.fake.mkdir()
        hv1.create(SERVICE.format(fake=self.fake, record=self._record, program=PROGRAM, python=sys.executable))
        until(lambda: hv2.svc("status", "web").returncode == 0, "hv2 has the service")
        hv2.guest_settings("vm1")

    def order(self, *orders: str) -> None:
        (self.fake / "orders").write_text("".join(f"{each}\n" for each in orders))

    def starts(self) -> list[int]:
        """The process of each start of the application, since it was last asked to forget."""
        return [int(line) for line in self._record.read_text().split()] if self._record.exists() else []

    def started(self, times: int) -> bool:
        """Whether the application was started so often, once the last one had the time to tell."""
        until(lambda: len(self.starts()) >= times, f"{times} starts")
        return len(self.starts()) == times

    def forget(self) -> None:
        self.order()
        self._record.unlink(missing_ok=True)
        (self.fake / "state").unlink(missing_ok=True)

    def killed_in(self, phase: str) -> str:
        """Begin a start at hv1 and kill its daemon as soon as it is in that phase, or after it;
        the operation's id."""
        running = self.hv1.begin("start", "web", "--node", "hv1")
        self.hv1.until_phase(*PHASES[PHASES.index(phase):])
        number = str(self.hv1.get("/v1/services/web/status")["operation"]["id"])
        self.hv1.end(signal.SIGKILL)
        running.kill()
        running.communicate()
        return number


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with machines("hv1", "hv2") as (hv1, hv2):
        yield Site(hv1, hv2)


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """The service is stopped, and its guest was enrolled by an earlier start."""
    if not shared.hv1.guest_root().exists():
        shared.hv1.guest_settings("vm1")
        shared.hv1.ok("start", "web", "--node", "hv1")
        shared.hv1.ok("stop", "web")
    shared.forget()
    yield shared
    shared.order()
    if not shared.hv1.alive:
        shared.hv1.start()
    until(lambda: shared.hv1.get("/v1/services/web/status")["operation"] is None, "nothing runs any more")
    shared.hv1.ok("stop", "web")


def resolved(machine: Machine, number: str) -> dict[str, Any]:
    """The operation once it has its result."""
    machine.svc("op", "wait", number)
    found: dict[str, Any] = machine.json("op", "show", number)
    assert found["state"] == "ended"
    return found


def claims(*machine: Machine) -> list[Any]:
    return [claim for each in machine for claim in each.get("/v1/claims")["claims"]]


def agents(machine: Machine) -> int:
    """How many agents run for the guest, whether or not a daemon knows of them."""
    command = b"\0".join((b"run", b"--root", os.fsencode(machine.guest_root())))
    found = 0
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            found += command in each.read_bytes()
    return found


@pytest.mark.parametrize("phase", PHASES)
def test_the_hypervisors_daemon_is_killed_in_a_phase_of_a_start(site: Site, phase: str) -> None:
    site.order("delay 1.5")
    number = site.killed_in(phase)
    site.hv1.start()
    operation = resolved(site.hv1, number)
    finished = operation["result"] == "succeeded"  # a guest goes on with what it was asked for
    assert finished is (phase == "resources") or phase == "config"  # that phase is as short as a kill
    # "up" ends with a process that is known: killed before, whether there is one has to be looked for.
    assert finished or operation["result"] in ("failed", *(["unknown"] if phase == "up" else [])), operation
    assert finished or "interrupted" in operation["problem"]["detail"]
    found = site.hv1.status("web", "--refresh")
    assert (rows(found)["vm1 app#1"] == "up", found["expected"]) == (finished, finished)
    assert site.started(finished)
    assert rows(found)["container#0"] == "up" or phase == "up"
    assert rows(found)["container#0"] != "down" or agents(site.hv1) == 0
    until(lambda: claims(site.hv1, site.hv2) == [], "the claim is given back")
    site.hv1.ok("stop", "web")
    site.order()
    site.hv2.ok("start", "web", "--node", "hv2")
    assert site.started(finished + 1)
    assert rows(site.hv1.status("web", "--refresh"))["container#0"] == "down"
    assert agents(site.hv1) == 0


def test_what_a_guest_that_was_never_enrolled_did_is_not_known(site: Site) -> None:
    shutil.rmtree(site.hv1.guest_root())
    site.hv1.guest_settings("vm1")
    number = site.killed_in("reachable")
    site.hv1.start()
    operation = resolved(site.hv1, number)
    assert operation["result"] == "unknown"
    assert "vm1 undef" in operation["problem"]["detail"]
    site.hv1.ok("stop", "web")
    until(lambda: site.hv1.svc("start", "web", "--node", "hv1").returncode == 0, "its agent has booted")
    assert site.started(1)


def test_a_start_after_a_killed_one_starts_only_what_is_not_up(site: Site) -> None:
    site.order("delay 1.5")
    number = site.killed_in("resources")
    guest = site.hv1.guest_pid()
    site.hv1.start()
    resolved(site.hv1, number)
    site.hv1.ok("start", "web", "--node", "hv1")
    assert (site.started(1), site.hv1.guest_pid()) == (True, guest)


def test_the_guests_agent_is_killed_in_the_middle_of_its_resources(site: Site) -> None:
    site.order("delay 3")
    number = site.hv1.json("start", "web", "--node", "hv1", "--detach")["id"]
    site.hv1.until_phase("resources")
    os.kill(site.hv1.guest_pid(), signal.SIGKILL)
    operation = resolved(site.hv1, number)
    assert (operation["result"], operation["undone"]) == ("failed", True)
    assert "vm1" in operation["problem"]["detail"]
    found = rows(site.hv1.status("web", "--refresh"))
    assert (found["container#0"], found["fs#0"], site.starts()) == ("down", "down", [])
    until(lambda: claims(site.hv1, site.hv2) == [], "the claim is given back")


def test_the_claim_of_a_killed_hypervisor_keeps_the_other_from_starting(site: Site) -> None:
    site.order("delay 1.5")
    number = site.killed_in("resources")
    refused = site.hv2.svc("start", "web", "--node", "hv2")
    assert (refused.returncode, "hv1" in refused.stderr) == (6, True)
    assert rows(site.hv2.status())["container#0"] == "down"
    assert [claim["operation"] for claim in claims(site.hv2)] == [number]

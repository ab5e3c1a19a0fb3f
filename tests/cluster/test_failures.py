"""What goes wrong inside a guest, and what becomes of its container then (acceptance vector 8)."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Machine, Result, guest_of, machines, rows, until

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
type = flag
tags = encap

[fs#2]
type = fake
machine = {fake}
tags = encap

[app#1]
type = simple
start = {python} -c "import signal; signal.pause()"
tags = encap
"""
DOWN = {"container#0": "down", "fs#0": "down", "vm1 fs#1": "down", "vm1 fs#2": "down", "vm1 app#1": "n/a"}
UP = {"container#0": "up", "fs#0": "up", "vm1 fs#1": "up", "vm1 fs#2": "up", "vm1 app#1": "up"}


class Site:
    """Two hypervisors, a service with a guest, and the folder whose orders make that guest fail."""

    def __init__(self, hv1: Machine, hv2: Machine) -> None:
        self.hv1, self.hv2, self.fake = hv1, hv2, hv1.root / "fake"
        self.fake.mkdir()
        hv1.create(SERVICE.format(fake=self.fake, python=sys.executable))
        until(lambda: hv2.svc("status", "web").returncode == 0, "hv2 has the service")
        hv1.guest_settings("vm1")

    def order(self, *orders: str) -> None:
        (self.fake / "orders").write_text("".join(f"{each}\n" for each in orders))

    def power_cut(self) -> None:
        """What a machine loses with its power, and a guest that is a folder keeps."""
        for each in (self.fake / "state", *self.hv1.guest_root().rglob("fs.1.flag")):
            each.unlink(missing_ok=True)

    def rows(self) -> dict[str, str]:
        found = rows(self.hv1.status("web", "--refresh"))
        del found["sync#i0"]
        return found


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with machines("hv1", "hv2") as (hv1, hv2):
        yield Site(hv1, hv2)


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """The service is stopped and nothing fails, before and after."""
    yield shared
    shared.order()
    shared.hv1.ok("stop", "web")
    shared.power_cut()


def start(machine: Machine) -> Result:
    return machine.svc("start", "web", "--node", machine.node)


def ended(machine: Machine) -> dict[str, Any]:
    """The newest operation of the service."""
    found: dict[str, Any] = machine.json("op", "ls", "--service", "web", "--limit", "1")["operations"][0]
    assert found["state"] == "ended"
    return found


def test_a_start_that_fails_in_the_guest_takes_back_what_it_did_at_both_levels(site: Site) -> None:
    site.order("fail start")
    failed = start(site.hv1)
    assert (failed.returncode, "told to fail" in failed.stdout + failed.stderr) == (1, True)
    assert (ended(site.hv1)["result"], ended(site.hv1)["undone"]) == ("failed", True)
    assert site.rows() == DOWN
    assert site.hv1.status()["expected"] is False


def test_a_container_that_was_up_before_stays_up_when_the_guest_fails(site: Site) -> None:
    site.hv1.ok("startcontainer", "web")
    pid = site.hv1.guest_pid()
    site.order("fail start")
    assert start(site.hv1).returncode == 1
    assert ended(site.hv1)["undone"] is True
    assert site.rows() == {**DOWN, "container#0": "up", "vm1 app#1": "down"}
    assert site.hv1.guest_pid() == pid


def test_what_was_up_in_the_guest_before_stays_up_when_the_rest_fails(site: Site) -> None:
    site.hv1.ok("startcontainer", "web")
    site.hv1.ok("start", "web", "--rid", "fs#1")
    site.order("fail start")
    assert start(site.hv1).returncode == 1
    assert site.rows() == {**DOWN, "container#0": "up", "vm1 fs#1": "up", "vm1 app#1": "down"}


def test_a_stop_that_fails_in_the_guest_leaves_the_hypervisors_part_alone(site: Site) -> None:
    start(site.hv1)
    pid = site.hv1.guest_pid()
    site.order("fail stop")
    failed = site.hv1.svc("stop", "web")
    assert (failed.returncode, "told to fail" in failed.stdout + failed.stderr) == (1, True)
    found = site.rows()
    assert (found["container#0"], found["fs#0"], found["vm1 fs#2"]) == ("up", "up", "up")
    assert site.hv1.guest_pid() == pid


def test_a_shutdown_goes_on_where_the_guest_fails(site: Site) -> None:
    start(site.hv1)
    site.order("fail stop")
    told = site.hv1.ok("shutdown", "web")
    assert "told to fail; going on" in told
    assert site.rows() == DOWN


def test_a_silent_guest_does_not_keep_its_container_from_being_stopped(site: Site) -> None:
    start(site.hv1)
    os.kill(site.hv1.guest_pid(), signal.SIGSTOP)
    told = site.hv1.ok("stop", "web")
    assert "vm1" in told
    assert "going on" in told
    assert site.rows() == DOWN


def test_a_guest_that_is_held_still_survives_a_start_and_goes_on_as_it_was(site: Site) -> None:
    start(site.hv1)
    pid = site.hv1.guest_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: guest_of(site.hv1.status())["agent"] == "silent", "the guest is silent")
        assert start(site.hv1).returncode == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: site.rows() == UP, "the guest is heard again, with all that was up in it")
    assert site.hv1.guest_pid() == pid


def test_a_cancel_in_the_middle_of_a_chained_start_undoes_both_levels(site: Site) -> None:
    site.order("delay 2")
    running = site.hv1.begin("start", "web", "--node", "hv1")
    site.hv1.until_phase("resources")
    number = site.hv1.get("/v1/services/web/status")["operation"]["id"]
    until(lambda: inside(site.hv1, "fs#2", "started", number), "the slow resource is being started", 10)
    site.order()
    site.hv1.ok("op", "cancel", number)
    told, _errors = running.communicate(timeout=60)
    assert running.returncode == 1, told
    operation = site.hv1.json("op", "show", number)
    assert (operation["result"], operation["undone"]) == ("cancelled", True)
    assert inside(site.hv1, "fs#1", "undone", number)
    assert not inside(site.hv1, "app#1", "started", number)
    assert site.rows() == DOWN


def inside(machine: Machine, rid: str, kind: str, number: str) -> bool:
    """Whether the operation told that of a resource of the guest."""
    story = next(s for s in machine.json("logs", "web", "--limit", "1") if s["operation"]["id"] == number)
    return any(e["where"] == "vm1" and (e["what"], e["kind"]) == (rid, kind) for e in story["events"])


def test_a_start_whose_agent_never_answers_names_the_phase_and_is_undone(site: Site) -> None:
    settings = site.hv1.guest_root() / "etc/encap/agentd.toml"
    accepted = settings.read_text()
    settings.write_text("nonsense = 1\n")
    site.hv1.ok("set", "web", "container#0.start_timeout=20")
    try:
        failed = site.hv1.svc("start", "web", "--node", "hv1", "--json")
    finally:
        settings.write_text(accepted)
        site.hv1.ok("set", "web", "container#0.start_timeout=120")
    operation = json.loads(failed.stdout)
    assert failed.returncode == 1
    assert (operation["result"], operation["undone"]) == ("failed", True)
    assert "vm1" in operation["problem"]["detail"]
    assert "phase 'agent answers'" in operation["problem"]["detail"]
    assert site.rows() == DOWN

"""What daemons do by themselves: restarts of resources, the start at boot, a guest that rebooted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .conftest import Machine, guest_of, machines, rows, until

pytestmark = pytest.mark.socket

SERVICE = """\
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1
orchestrate = start

[container#0]
type = process
name = vm1
start_timeout = 60
stop_timeout = 10
restart = 1

[app#0]
type = simple
start = {python} -c "{program}" {host}
restart = 2

[app#1]
type = simple
start = {python} -c "{program}" {guest}
restart = 2
tags = encap
"""
PROGRAM = "import os,sys,signal; open(sys.argv[1],'a').write(f'{os.getpid()}\\\\n'); signal.pause()"
LEVELS = ["host", "guest"]


class Site:
    """Two hypervisors, and the processes of one application at each level."""

    def __init__(self, hv1: Machine, hv2: Machine) -> None:
        self.hv1, self.hv2 = hv1, hv2
        records = {level: self._record(level) for level in LEVELS}
        hv1.create(SERVICE.format(python=sys.executable, program=PROGRAM, **records))
        until(lambda: hv2.svc("status", "web").returncode == 0, "hv2 has the service")
        hv1.guest_settings("vm1")

    def _record(self, level: str) -> Path:
        return self.hv1.root / f"{level}.starts"

    def starts(self, level: str) -> list[int]:
        """The processes that were started, oldest first."""
        record = self._record(level)
        return [int(line) for line in record.read_text().split()] if record.exists() else []

    def pid(self, level: str) -> int:
        """The application's process, once it has told that it was started."""
        root, name = (self.hv1.root, "app.0.pid") if level == "host" else (self.hv1.guest_root(), "app.1.pid")
        pid = int((root / "run/encap/services/web" / name).read_text().split()[0])
        until(lambda: pid in self.starts(level), f"{pid} has started")
        return pid

    def kill(self, level: str) -> None:
        os.kill(self.pid(level), signal.SIGKILL)

    def app(self, level: str) -> dict[str, Any]:
        """The row of the application in hv1's status."""
        document = self.hv1.status()
        listed = document["resources"] if level == "host" else guest_of(document)["resources"]
        return next(r for r in listed if r["rid"] == ("app#0" if level == "host" else "app#1"))

    def looks(self, count: int) -> None:
        """Until hv1 has looked so often again: each time the monitor could have acted."""
        for _ in range(count):
            before = self.hv1.status()["resources"][0]["observed_at"]
            until(lambda before=before: self.hv1.status()["resources"][0]["observed_at"] != before, "a look")


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with machines("hv1", "hv2") as (hv1, hv2):
        yield Site(hv1, hv2)


@pytest.fixture
def up(shared: Site) -> Site:
    """The service is up at hv1, nobody is frozen, and every budget is whole."""
    shared.hv1.ok("stop", "web")
    shared.hv1.ok("thaw", "web")
    shared.hv1.ok("start", "web", "--node", "hv1")
    return shared


@pytest.fixture
def stopped(shared: Site) -> Iterator[Site]:
    shared.hv1.ok("thaw", "web")
    shared.hv1.ok("stop", "web")
    yield shared
    for each in (shared.hv1, shared.hv2):
        if not each.alive:
            each.start()


@pytest.mark.parametrize("level", LEVELS)
def test_a_resource_that_ends_is_started_again_as_often_as_it_may(up: Site, level: str) -> None:
    for left in (1, 0):
        up.kill(level)
        number = len(up.starts(level))
        until(lambda number=number: len(up.starts(level)) == number + 1, "it is started again")
        until(lambda: up.app(level)["status"] == "up", "it is up again")
        assert up.app(level)["restart"] == {"left": left, "of": 2}
    up.kill(level)
    number = len(up.starts(level))
    until(lambda: up.app(level)["status"] == "down", "it is down")
    up.looks(2)
    assert (len(up.starts(level)), up.app(level)["status"]) == (number, "down")
    assert up.hv1.status()["avail"] == "warn"
    up.hv1.ok("start", "web", "--node", "hv1")
    assert up.app(level)["status"] == "up"


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_is_started_again_while_it_is_frozen(up: Site, level: str) -> None:
    up.hv1.ok("freeze", "web")
    up.kill(level)
    number = len(up.starts(level))
    until(lambda: up.app(level)["status"] == "down", "it is down")
    up.looks(2)
    assert len(up.starts(level)) == number
    up.hv1.ok("thaw", "web")
    until(lambda: len(up.starts(level)) == number + 1, "it is started after the thaw")


def test_nothing_is_started_again_after_a_stop(up: Site) -> None:
    up.hv1.ok("stop", "web")
    numbers = [len(up.starts(level)) for level in LEVELS]
    up.looks(2)
    assert [len(up.starts(level)) for level in LEVELS] == numbers
    assert rows(up.hv1.status())["container#0"] == "down"


def test_a_freeze_ends_by_itself_at_both_levels(up: Site) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    up.hv1.ok("freeze", "web", "--until", end.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    document = up.hv1.status("web", "--refresh")
    assert document["frozen"]["until"]
    assert guest_of(document)["frozen"]
    until(lambda: (d := up.hv1.status())["frozen"] is None and guest_of(d)["frozen"] is None, "both thawed")
    assert datetime.now(UTC) >= end.replace(microsecond=0)


def test_a_guest_that_lost_its_power_is_started_again_and_its_part_too(up: Site) -> None:
    before = up.hv1.guest_pid()
    up.kill("guest")
    number, host = len(up.starts("guest")), up.pid("host")
    os.kill(before, signal.SIGKILL)
    until(lambda: len(up.starts("guest")) == number + 1, "the guest's part is started again", 60)
    assert up.hv1.guest_pid() != before
    assert up.pid("host") == host
    until(lambda: up.hv1.status()["avail"] == "up", "all is up again")


def test_a_guest_whose_container_was_stopped_and_started_gets_its_part_again(up: Site) -> None:
    up.hv1.ok("stopcontainer", "web")
    number = len(up.starts("guest"))
    up.hv1.ok("startcontainer", "web")
    until(lambda: len(up.starts("guest")) == number + 1, "the guest's part is started again", 60)
    until(lambda: up.hv1.status()["avail"] == "up", "all is up again")


def test_a_boot_starts_what_is_to_be_started_at_boot(stopped: Site) -> None:
    stopped.hv1.end()
    stopped.hv1.start(boot="another")
    until(lambda: stopped.hv1.status()["avail"] == "up" and stopped.app("guest")["status"] == "up", "it is up")
    assert rows(stopped.hv2.status())["container#0"] == "down"
    assert stopped.hv1.json("op", "ls", "--limit", "1")["operations"][0]["origin"]["who"] == "boot"


def test_a_start_of_the_daemon_is_no_boot(stopped: Site) -> None:
    stopped.hv1.end()
    stopped.hv1.start(boot="another")
    stopped.looks(2)
    assert rows(stopped.hv1.status())["container#0"] == "down"


def test_a_start_at_boot_waits_for_a_silent_hypervisor_and_says_so(stopped: Site) -> None:
    stopped.hv2.end()
    stopped.hv1.end()
    stopped.hv1.start(boot="a third")
    document = until(lambda: (d := stopped.hv1.status())["log"] and d, "it tells for whom it waits")
    assert any("waiting for hv2" in line["text"] for line in document["log"])
    assert "waiting for hv2" in stopped.hv1.ok("status", "web")
    assert rows(document)["container#0"] == "down"
    stopped.hv2.start()
    until(lambda: rows(stopped.hv1.status())["container#0"] == "up", "it starts once hv2 answers", 40)
    until(lambda: stopped.hv1.status()["avail"] == "up" and not stopped.hv1.status()["log"], "all is up")

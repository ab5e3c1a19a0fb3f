"""One instance in one of several guests, whose containers run on several hypervisors or on one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Machine, machines, until

pytestmark = pytest.mark.socket

HEAD = """\
[DEFAULT]
nodes = {nodes}
topology = flex
encapnodes = {guests}
nodes@encapnodes = {guests}
topology@encapnodes = failover
"""
CONTAINER = """\
[container#{number}]
type = process
name = {guest}
start_timeout = 60
stop_timeout = 10
{more}
"""
# Each start tells when another instance has not ended, so that two are never missed.
APP = """\
[app#1]
type = forking
tags = encap
start = /bin/sh -c "test ! -s {log} || echo $ENCAP_NODE >> {log}.twice; echo $ENCAP_NODE >> {log}"
stop = /bin/sed -i /^vm/d {log}
check = /bin/sh -c "grep -qx $ENCAP_NODE {log}"
"""


class Farm:
    """A service over two guests, `log` says in which its application runs."""

    def __init__(self, name: str, hypervisors: tuple[Machine, ...], guests: dict[str, str], text: str) -> None:
        self.name, self.machines, self.log = name, hypervisors, hypervisors[0].root / f"{name}.log"
        self.log.write_text("")
        self.guests = guests
        hypervisors[0].create(text + APP.format(log=self.log), name)
        for machine in hypervisors:
            for guest, rid in guests.items():
                machine.guest_settings(guest, name, rid.replace("#", "."))
        until(lambda: all(m.svc("status", name).returncode == 0 for m in hypervisors), "all have it")

    def running(self) -> list[str]:
        """The guests in which the application runs now."""
        assert not Path(f"{self.log}.twice").exists(), "two at a time"
        return self.log.read_text().split()

    def at(self, machine: Machine, guest: str) -> dict[str, Any]:
        """The branch of a guest in the tree of a hypervisor."""
        document = machine.status(self.name)
        return next(r for r in document["resources"] if r["rid"] == self.guests[guest])

    def stop(self) -> None:
        self.machines[0].ok("stop", self.name)
        assert self.running() == []


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Machine, Machine]]:
    with machines("hv1", "hv2") as (hv1, hv2):
        yield hv1, hv2


@pytest.fixture(scope="module")
def shared(pair: tuple[Machine, Machine]) -> Farm:
    """container#1 (vm1) is hv1's and container#2 (vm2) hv2's."""
    text = HEAD.format(nodes="hv1 hv2", guests="vm1 vm2") + "".join(
        CONTAINER.format(number=n, guest=f"vm{n}", more=f"disable@hv{3 - n} = true") for n in (1, 2))
    return Farm("web", pair, {"vm1": "container#1", "vm2": "container#2"}, text)


@pytest.fixture
def farm(shared: Farm) -> Iterator[Farm]:
    yield shared
    shared.stop()


def test_starts_from_both_hypervisors_at_once_give_one_instance(farm: Farm) -> None:
    for whole in (True, False, True, False, True):
        words = [("start", "web", *(() if whole else ("--node", m.node))) for m in farm.machines]
        begun = [m.begin(*w) for m, w in zip(farm.machines, words, strict=True)]
        ended = [(each.communicate(timeout=90), each.returncode) for each in begun]
        codes = [code for _told, code in ended]
        assert sorted(codes) in ([0, 0], [0, 6]), ended  # 6: the other one's start has reached it already
        assert len(farm.running()) == 1, ended
        assert [m.status("web")["avail"] for m in farm.machines] == ["up", "up"]
        farm.stop()


def test_the_tree_says_where_the_one_instance_runs(farm: Farm) -> None:
    hv1, hv2 = farm.machines
    hv1.ok("start", "web")
    assert farm.running() == ["vm1"]
    other = until(lambda: (found := farm.at(hv2, "vm2"))["guest"]["agent"] == "answering" and found, "vm2")
    (app,) = other["guest"]["resources"]
    assert (other["status"], app["status"]) == ("up", "down")
    assert [line["text"] for line in app["log"]] == ["runs on vm1"]
    assert [m.status("web")["avail"] for m in (hv1, hv2)] == ["up", "up"]
    assert "runs on vm1" in hv2.ok("status", "web")
    document = hv2.status("web", "--cluster")
    assert (document["avail"], document["running"]) == ("up", ["hv1", "hv2"])


def test_a_start_of_what_is_up_in_a_guest_starts_no_second(farm: Farm) -> None:
    hv1, hv2 = farm.machines
    hv1.ok("start", "web")
    assert "already up on hv1" in hv2.ok("start", "web")
    assert farm.running() == ["vm1"]
    explicit = hv2.svc("start", "web", "--slave", "vm2")
    assert "vm1" in explicit.stdout + explicit.stderr
    assert farm.running() == ["vm1"]


def test_a_user_inside_a_guest_cannot_start_what_may_be_up_in_another(farm: Farm) -> None:
    _hv1, hv2 = farm.machines
    hv2.ok("start", "web")
    running = farm.running()
    refused = hv2.svc("start", "web", "--root", str(hv2.guest_root(rid="container.2")))
    assert (refused.returncode, "vm1" in refused.stderr) == (6, True)
    assert "on a hypervisor" in refused.stderr
    assert (farm.running(), len(running)) == (running, 1)


def test_a_silent_guest_keeps_the_instance_and_no_other_starts(farm: Farm) -> None:
    hv1, hv2 = farm.machines
    hv1.ok("start", "web")
    os.kill(hv1.guest_pid(rid="container.1"), signal.SIGSTOP)
    try:
        until(lambda: farm.at(hv1, "vm1")["guest"]["agent"] == "silent", "vm1 is silent")
        hv2.svc("start", "web", "--slave", "vm2")
        assert farm.running() == ["vm1"]
    finally:
        os.kill(hv1.guest_pid(rid="container.1"), signal.SIGCONT)
    until(lambda: farm.at(hv1, "vm1")["guest"]["agent"] == "answering", "vm1 is heard again")


def test_both_containers_on_one_hypervisor(pair: tuple[Machine, Machine]) -> None:
    hv1, _hv2 = pair
    text = HEAD.format(nodes="hv1", guests="vm3 vm4") + "".join(
        CONTAINER.format(number=n, guest=f"vm{n}", more="") for n in (3, 4))
    farm = Farm("one", (hv1,), {"vm3": "container#3", "vm4": "container#4"}, text)
    hv1.ok("start", "one")
    assert farm.running() == ["vm3"]
    (app,) = farm.at(hv1, "vm4")["guest"]["resources"]
    assert (app["status"], [line["text"] for line in app["log"]]) == ("down", ["runs on vm3"])
    assert hv1.status("one")["avail"] == "up"
    farm.stop()
    hv1.ok("startcontainer", "one")
    hv1.ok("start", "one", "--slave", "vm4")
    assert farm.running() == ["vm4"]
    farm.stop()

"""The seed's service over two hypervisors and a guest, whole daemons, as users meet them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from .conftest import Machine, guest_of, machines, rows, until

pytestmark = pytest.mark.socket

SEED = f"""\
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1
nodes@encapnodes = vm1
topology = failover

[container#0]
type = process
name = vm1
start_timeout = 60
stop_timeout = 10

[fs#0]
type = flag

[fs#1]
type = flag
tags = encap

[app#1]
type = simple
start = {sys.executable} -c "import signal; signal.pause()"
tags = encap
"""
Pair = tuple[Machine, Machine]


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    """Two hypervisors and the seed's service, for tests that leave it stopped, or up at hv1."""
    with machines("hv1", "hv2") as (hv1, hv2):
        hv1.create(SEED)
        hv1.guest_settings("vm1")
        hv2.guest_settings("vm1")
        until(lambda: hv2.svc("status", "web").returncode == 0, "hv2 has the service")
        yield hv1, hv2


@pytest.fixture
def stopped(shared: Pair) -> Pair:
    shared[0].ok("stop", "web")
    return shared


@pytest.fixture
def up(shared: Pair) -> Pair:
    shared[0].ok("start", "web", "--node", "hv1")
    return shared


def test_a_start_goes_through_the_container_into_the_guest_and_a_stop_back(stopped: Pair) -> None:
    hv1, hv2 = stopped
    told = hv1.ok("start", "web")
    for word in ("reachable", "agent", "config", "resources", "vm1 fs#1", "vm1 app#1"):
        assert word in told
    document = hv1.status()
    assert rows(document) == {"container#0": "up", "fs#0": "up", "sync#i0": "up",
                              "vm1 fs#1": "up", "vm1 app#1": "up"}
    assert (document["avail"], document["overall"]) == ("up", "up")
    assert guest_of(document)["agent"] == "answering"
    assert all(r["encap"] for r in guest_of(document)["resources"])
    assert rows(hv2.status())["container#0"] == "down"
    hv1.ok("stop", "web")
    assert rows(hv1.status()) == {"container#0": "down", "fs#0": "down", "sync#i0": "up",
                                  "vm1 fs#1": "down", "vm1 app#1": "n/a"}


def test_the_encap_file_system_is_the_guests_alone(up: Pair) -> None:
    hv1, _hv2 = up
    flags = [p.parent.parent.parent for p in hv1.root.rglob("fs.1*") if "root" not in p.name]
    inside = [p for p in hv1.root.rglob("*") if p.name.startswith("fs.1.")]
    assert inside != []
    assert all(str(hv1.guest_root()) in str(p) for p in inside), flags
    guest = json.loads(hv1.svc("status", "web", "--json", "--root", str(hv1.guest_root())).stdout)
    assert {r["rid"]: r["status"] for r in guest["resources"]} == {"fs#1": "up", "app#1": "up", "sync#i0": "up"}
    assert not any(r["encap"] and r.get("guest") for r in guest["resources"])


def test_the_plan_shows_what_the_guest_will_do_while_it_is_down(stopped: Pair) -> None:
    plan = stopped[0].json("plan", "web", "start")
    assert [(s["where"], s["what"], "under" in s) for s in plan["steps"]] == [
        ("hv1", "fs#0", False), ("hv1", "container#0", False), ("vm1", "web", False),
        ("vm1", "fs#1", True), ("vm1", "app#1", True)]


def test_an_edit_reaches_the_other_hypervisor_and_the_guest_its_view(up: Pair) -> None:
    hv1, hv2 = up
    hv1.ok("set", "web", "fs#1.comment=mounted in the guest")
    revision = hv1.status()["revision"]
    until(lambda: hv2.status()["revision"] == revision, "hv2 follows")
    view = (hv1.guest_root() / "etc/encap/services/web.conf").read_text()
    assert "mounted in the guest" in view
    assert "container#0" not in view
    until(lambda: rows(hv1.status())["sync#i0"] == "up", "all in step")
    hv2.ok("set", "web", "fs#1.comment=from hv2")
    until(lambda: hv1.status()["hash"] == hv2.status()["hash"], "hv1 follows")
    until(lambda: "from hv2" in (hv1.guest_root() / "etc/encap/services/web.conf").read_text(), "vm1 follows")


def test_an_edit_in_the_guest_is_refused_and_says_where_to_do_it(up: Pair) -> None:
    hv1, _hv2 = up
    refused = hv1.svc("set", "web", "fs#1.comment=x", "--root", str(hv1.guest_root()))
    assert refused.returncode == 6
    assert "hypervisor" in refused.stderr


def test_a_change_in_the_guest_shows_on_the_hypervisor_without_a_call(up: Pair) -> None:
    hv1, _hv2 = up
    hv1.ok("stop", "web", "--rid", "app#1", "--root", str(hv1.guest_root()))
    until(lambda: rows(hv1.status())["vm1 app#1"] == "down", "the change arrives", 3)
    assert hv1.status()["avail"] == "warn"
    hv1.ok("start", "web", "--rid", "app#1", "--slaves")
    assert rows(hv1.status())["vm1 app#1"] == "up"


def test_group_verbs_need_a_level(up: Pair) -> None:
    hv1, _hv2 = up
    wrong = hv1.svc("stopfs", "web")
    assert wrong.returncode == 2
    assert all(word in wrong.stderr for word in ("--master", "--slave", "--slaves"))
    unknown = hv1.svc("stopfs", "web", "--slave", "nope")
    assert (unknown.returncode, "vm1" in unknown.stderr) == (2, True)
    hv1.ok("stopfs", "web", "--master")
    assert (rows(hv1.status())["fs#0"], rows(hv1.status())["vm1 fs#1"]) == ("down", "up")
    hv1.ok("stopfs", "web", "--slave", "vm1")
    assert rows(hv1.status())["vm1 fs#1"] == "down"
    hv1.ok("startfs", "web", "--master", "--slaves")
    assert (rows(hv1.status())["fs#0"], rows(hv1.status())["vm1 fs#1"]) == ("up", "up")


def test_a_second_hypervisor_starts_nothing_that_is_up(up: Pair) -> None:
    _hv1, hv2 = up
    again = hv2.svc("start", "web")
    assert again.returncode == 0
    assert "already up on hv1" in again.stdout + again.stderr
    two = hv2.svc("start", "web", "--node", "hv2")
    assert two.returncode == 6
    assert "hv1" in two.stderr
    assert rows(hv2.status())["container#0"] == "down"
    part = hv2.svc("startcontainer", "web")
    assert part.returncode == 6
    assert rows(hv2.status())["container#0"] == "down"


def test_a_stop_goes_to_where_the_service_is(up: Pair) -> None:
    hv1, hv2 = up
    hv2.ok("stop", "web")
    assert rows(hv1.status())["container#0"] == "down"


def test_no_edit_leaves_out_the_node_where_the_service_is(up: Pair) -> None:
    hv1, hv2 = up
    refused = hv2.svc("set", "web", "DEFAULT.nodes=hv2")
    assert refused.returncode == 6
    assert "web is up on hv1, which the new text leaves out" in refused.stderr
    hv1.ok("stop", "web")
    hv1.ok("set", "web", "DEFAULT.nodes=hv1")
    until(lambda: hv2.status()["level"] == "none", "hv2 has learnt that it is left out")
    hv1.ok("set", "web", "DEFAULT.nodes=hv1 hv2")
    until(lambda: hv2.status()["level"] == "host", "hv2 is back")
    until(lambda: rows(hv1.status())["sync#i0"] == "up", "all in step")


def test_one_view_of_all_nodes(up: Pair) -> None:
    hv1, hv2 = up
    document = hv2.status("web", "--cluster")
    assert (document["avail"], document["running"], document["silent"]) == ("up", ["hv1"], [])
    assert [d["node"] for d in document["instances"]] == ["hv1", "hv2"]
    listed = hv2.json("ls")["services"]
    assert listed[0]["instances"] == {"hv1": "up", "hv2": "down"}
    assert listed[0]["avail"] == "up"
    names = {n["name"]: n["state"] for n in hv1.json("node", "ls")["nodes"]}
    assert names == {"hv1": "answering", "hv2": "answering", "vm1": "answering"}


def test_freeze_at_both_levels_at_one_and_back(up: Pair) -> None:
    hv1, _hv2 = up

    def frozen() -> tuple[bool, bool]:
        document = hv1.status("web", "--refresh")
        return document["frozen"] is not None, guest_of(document)["frozen"] is not None

    hv1.ok("freeze", "web", "--reason", "night work")
    assert frozen() == (True, True)
    assert hv1.status()["frozen"]["reason"] == "night work"
    hv1.ok("thaw", "web")
    assert frozen() == (False, False)
    hv1.ok("freeze", "web", "--master")
    assert frozen() == (True, False)
    hv1.ok("thaw", "web")
    hv1.ok("freeze", "web", "--slaves")
    assert frozen() == (False, True)
    hv1.ok("thaw", "web")
    assert frozen() == (False, False)


def test_a_silent_guest_is_not_known_and_its_last_word_stays(up: Pair) -> None:
    hv1, _hv2 = up
    until(lambda: rows(hv1.status())["vm1 app#1"] == "up", "the guest told")
    os.kill(hv1.guest_pid(), signal.SIGSTOP)
    try:
        document = until(lambda: (d := hv1.status()) and guest_of(d)["agent"] == "silent" and d, "silence")
    finally:
        os.kill(hv1.guest_pid(), signal.SIGCONT)
    inner = {r["rid"]: r for r in guest_of(document)["resources"]}
    assert (inner["app#1"]["status"], inner["app#1"]["last_status"]) == ("undef", "up")
    assert inner["app#1"]["age"] > 2
    assert document["overall"] == "warn"
    until(lambda: rows(hv1.status())["vm1 app#1"] == "up", "the guest is heard again")

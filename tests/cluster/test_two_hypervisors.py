"""Two hypervisors and one service: at the same instant, one of them silent, one of them gone."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from .conftest import Machine, machines, rows, until

pytestmark = pytest.mark.socket

SERVICE = """\
[DEFAULT]
nodes = hv1 hv2
[container#1]
type = fake
name = c1
[fs#1]
type = flag
"""
Pair = tuple[Machine, Machine]


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    with machines("hv1", "hv2") as (hv1, hv2):
        hv1.create(SERVICE)
        until(lambda: hv2.svc("status", "web").returncode == 0, "hv2 has the service")
        yield hv1, hv2


@pytest.fixture
def stopped(shared: Pair) -> Iterator[Pair]:
    """Both run and answer, and the service is down on both; also afterwards."""
    yield shared
    for each in shared:
        if not each.alive:
            each.start()
    shared[0].ok("stop", "web")


@contextmanager
def silent(machine: Machine) -> Iterator[None]:
    """Its daemon is there and says nothing; a test may kill it meanwhile."""
    assert machine.process is not None
    machine.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        if machine.alive:
            machine.process.send_signal(signal.SIGCONT)


def up_on(*pair: Machine) -> list[str]:
    return [each.node for each in pair
            if "up" in (found := rows(each.status("web", "--refresh")))["container#1"] or "up" in found["fs#1"]]


def claims(*pair: Machine) -> list[dict[str, str]]:
    return [claim for each in pair for claim in each.get("/v1/claims")["claims"]]


def test_of_two_starts_in_the_same_instant_one_wins(stopped: Pair) -> None:
    winners = []
    for _ in range(20):
        begun = [each.begin("start", "web", "--node", each.node) for each in stopped]
        ended = [(each.communicate(timeout=60), each.returncode) for each in begun]
        codes = [code for _told, code in ended]
        running = up_on(*stopped)
        assert sorted(codes) in ([0, 6], [6, 6]), ended
        assert running == [each.node for each, code in zip(stopped, codes, strict=True) if code == 0]
        for (told, code), other in zip(ended, reversed(stopped), strict=True):
            assert code == 0 or other.node in told[1], told
        winners += running
        stopped[0].ok("stop", "web")
        until(lambda: claims(*stopped) == [], "the claims are given back")
    assert len(winners) >= 15, "two that ask in the same order do not both give way"


def test_starts_without_a_node_in_the_same_instant_give_one(stopped: Pair) -> None:
    for _ in range(5):
        begun = [each.begin("start", "web") for each in stopped]
        ended = [(each.communicate(timeout=60), each.returncode) for each in begun]
        running = up_on(*stopped)
        assert len(running) <= 1
        for (told, code), each in zip(ended, stopped, strict=True):
            assert code in (0, 6)
            assert code == 6 or running == [each.node] or f"already up on {running[0]}" in told[0]
        stopped[0].ok("stop", "web")


def test_a_silent_hypervisor_refuses_a_start_until_a_user_vouches_for_it(stopped: Pair) -> None:
    hv1, hv2 = stopped
    with silent(hv2):
        refused = hv1.svc("start", "web", "--node", "hv1")
        assert (refused.returncode, "hv2" in refused.stderr) == (6, True)
        assert "--assume-down hv2" in refused.stderr
        assert up_on(hv1) == []
        hv2.end(signal.SIGKILL)  # so that what is said now is true
        hv1.ok("start", "web", "--node", "hv1", "--assume-down", "hv2")
    assert up_on(hv1) == ["hv1"]
    assert any(entry["assume_down"] == ["hv2"] for entry in audited(hv1, "claim"))
    hv2.start()
    until(lambda: claims(hv1, hv2) == [], "hv2 holds no claim, and hv1 none any more")
    assert hv2.svc("start", "web", "--node", "hv2").returncode == 6
    hv1.ok("stop", "web")
    hv2.ok("start", "web", "--node", "hv2")


def audited(machine: Machine, action: str) -> list[dict[str, Any]]:
    """The details of what was written to the audit trail."""
    with closing(sqlite3.connect(machine.root / "var/lib/encap/encap.db")) as database:
        found = database.execute("select detail from audit where action = ?", (action,)).fetchall()
    return [json.loads(detail) for (detail,) in found]


def test_who_is_silent_is_named_with_since_and_why_and_nobody_waits_long(stopped: Pair) -> None:
    hv1, hv2 = stopped
    hv1.json("ls")
    with silent(hv2):
        began = time.monotonic()
        document = hv1.status("web", "--cluster")
        listed = hv1.json("ls")
        assert time.monotonic() - began < 2 * 2 + 3  # peer_timeout is 2 s
        for one in (document["silent"], listed["silent"]):
            assert [s["node"] for s in one] == ["hv2"]
            assert one[0]["since"]
            assert one[0]["why"]
        assert document["avail"] == "undef"
        assert "hv2" in hv1.ok("status", "web", "--cluster")
        assert hv1.json("node", "ls")["nodes"][1]["state"] != "answering"
    until(lambda: hv1.status("web", "--cluster")["silent"] == [], "hv2 is heard again")


def test_what_a_stop_at_a_silent_hypervisor_did_is_not_known(stopped: Pair) -> None:
    hv1, hv2 = stopped
    hv2.ok("start", "web", "--node", "hv2")
    hv2.end(signal.SIGKILL)
    stop = hv1.svc("stop", "web")
    assert (stop.returncode, "hv2" in stop.stdout + stop.stderr) == (4, True)
    hv2.start()
    assert up_on(hv1, hv2) == ["hv2"]
    hv1.ok("stop", "web")
    assert up_on(hv1, hv2) == []


def test_an_edit_reaches_a_hypervisor_that_was_away_and_meanwhile_the_status_warns(stopped: Pair) -> None:
    hv1, hv2 = stopped
    until(lambda: rows(hv1.status())["sync#i0"] == "up", "in step")
    hv2.end()
    hv1.ok("set", "web", f"fs#1.comment=pid {os.getpid()}")
    document = hv1.status()
    assert rows(document)["sync#i0"] == "warn"
    log = next(r["log"] for r in document["resources"] if r["rid"] == "sync#i0")
    assert any("hv2" in line["text"] for line in log)
    assert document["overall"] == "warn"
    hv2.start()
    until(lambda: hv2.status()["hash"] == hv1.status()["hash"], "hv2 follows")
    until(lambda: rows(hv1.status())["sync#i0"] == "up", "in step again")


def test_a_service_that_was_deleted_while_one_was_away_does_not_come_back(stopped: Pair) -> None:
    hv1, hv2 = stopped
    hv1.create(SERVICE, "old")
    until(lambda: hv2.svc("status", "old").returncode == 0, "hv2 has the service")
    hv2.end()
    refused = hv1.svc("delete", "old")
    assert (refused.returncode, "hv2" in refused.stderr) == (6, True)
    hv1.ok("delete", "old", "--node", "hv1")
    hv2.start()
    until(lambda: "deleted on hv1" in hv2.ok("status", "old"), "hv2 says so")
    assert hv1.svc("status", "old").returncode == 7
    hv2.ok("delete", "old", "--node", "hv2")
    assert (hv1.svc("status", "old").returncode, hv2.svc("status", "old").returncode) == (7, 7)


def test_a_third_hypervisor_joins_by_a_token_and_is_removed_again() -> None:
    with machines("hv1", "hv2", "hv3", joined=2) as (hv1, hv2, hv3):
        token = hv1.json("node", "token", "hv3")["token"]
        hv3.ok("node", "join", token)
        hv3.start()
        names = {n["name"]: n["state"] for n in hv3.json("node", "ls")["nodes"]}
        assert names == {"hv1": "answering", "hv2": "answering", "hv3": "answering"}
        again = hv3.svc("node", "join", token)
        assert again.returncode != 0
        hv1.create(SERVICE.replace("hv1 hv2", "hv1 hv2 hv3"))
        until(lambda: hv3.svc("status", "web").returncode == 0, "hv3 has the service")
        hv3.ok("start", "web", "--node", "hv3")
        assert "already up on hv3" in hv2.ok("start", "web")
        hv3.ok("stop", "web")
        hv1.ok("node", "remove", "hv3")
        for each in (hv1, hv2):
            listed = next(n for n in each.json("node", "ls")["nodes"] if n["name"] == "hv3")
            assert listed["revoked"] is True
        refused = hv3.svc("start", "web", "--node", "hv3")
        assert refused.returncode == 6
        assert rows(hv3.status())["container#1"] == "down"

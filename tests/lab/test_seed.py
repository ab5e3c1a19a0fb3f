"""The acceptance vectors of the seed's service, on a real LXC guest with the daemon inside."""

from __future__ import annotations

import json

import pytest

from .machines import Lab
from .namespaces import until
from .seed import ADDRESS, NAME, Seed, guest_of, rows

CALL = """
import http.client, ssl
pki = "/var/lib/encap/pki"
context = ssl.create_default_context(cafile=f"{{pki}}/ca.crt")
context.check_hostname = False
context.load_cert_chain(f"{{pki}}/node.crt", f"{{pki}}/node.key")
connection = http.client.HTTPSConnection("{address}", 1216, context=context, timeout=5)
connection.request("GET", "/v1/node")
print(connection.getresponse().status)
"""
"""What a guest can do with its certificate at a hypervisor."""


@pytest.fixture(scope="module")
def seed(shared_lab: Lab) -> Seed:
    return Seed(shared_lab)


def test_the_start_goes_into_the_guest_and_its_address_answers_from_outside(seed: Seed) -> None:
    seed.stopped()
    told = seed.ok(seed.hv1, "start", NAME)
    for phase in ("up", "reachable", "agent", "config", "resources"):
        assert f"phase: {phase}" in told
    assert rows(seed.status()) == {
        "container#0": "up", "fs#0": "up", "app": "n/a", "sync#i0": "up",
        "vm1 ip#1": "up", "vm1 fs#1": "up", "vm1 app#1": "up"}
    assert seed.status()["avail"] == "up"
    seed.lab.network.client(["ping", "-c1", "-W2", ADDRESS])
    assert seed.vm1.running_on() == ["hv1"]
    assert ADDRESS in seed.vm1.interfaces()["eth0"]


def test_vector_2_what_is_tagged_encap_is_the_guests_alone(seed: Seed) -> None:
    seed.started()
    assert "/srv/data" not in seed.hv1.run(["findmnt", "-rno", "TARGET"]).stdout.split()
    assert "/srv/data" in seed.in_guest("findmnt", "-rno", "TARGET").stdout.split()
    inner = {r["rid"]: r for r in guest_of(seed.status())["resources"]}
    assert list(inner) == ["fs#1", "ip#1", "app#1"]
    assert all(r["encap"] for r in inner.values())
    tree = seed.ok(seed.hv1, "status", NAME)
    assert "|  |  |- fs#1        ...E up" in tree
    assert "...E" not in seed.in_guest("svc", "status", NAME).stdout


def test_vector_4_the_container_is_down_and_nobody_is_asked(seed: Seed) -> None:
    document = seed.stopped().status()
    assert rows(document) == {"container#0": "down", "fs#0": "down", "app": "n/a", "sync#i0": "up",
                              "vm1 ip#1": "down", "vm1 fs#1": "down", "vm1 app#1": "n/a"}
    assert (document["avail"], guest_of(document)["agent"]) == ("down", "down")


def test_vector_5_the_agent_is_silent_in_a_container_that_is_up(seed: Seed) -> None:
    seed.started()
    seed.in_guest("systemctl", "kill", "-s", "STOP", "agentd")
    document = until(lambda: (d := seed.status()) and guest_of(d)["agent"] == "silent" and d, "silence", 30)
    assert rows(document)["container#0"] == "up"
    inner = {r["rid"]: r for r in guest_of(document)["resources"]}
    assert {r["status"] for r in inner.values()} == {"undef"}
    assert inner["fs#1"]["last_status"] == "up"
    assert inner["fs#1"]["age"] >= 4
    container = next(r for r in document["resources"] if r["rid"] == "container#0")
    assert any("agent in vm1 has not answered for" in line["text"] for line in container["log"])
    assert (document["avail"], document["overall"]) == ("up", "warn")
    seed.in_guest("systemctl", "kill", "-s", "CONT", "agentd")
    until(lambda: rows(seed.status())["vm1 fs#1"] == "up", "the agent is heard again", 30)


def test_vector_6_group_verbs_need_a_level(seed: Seed) -> None:
    seed.started()
    wrong = seed.hv1.svc("stopfs", NAME)
    assert wrong.returncode == 2
    assert all(word in wrong.stderr for word in ("--master", "--slave", "--slaves"))
    assert seed.hv1.svc("stopfs", NAME, "--slave", "nope").returncode == 2

    def mounted() -> tuple[str, bool]:
        inside = "/srv/data" in seed.in_guest("findmnt", "-rno", "TARGET").stdout.split()
        return rows(seed.status())["fs#0"], inside

    seed.ok(seed.hv1, "stopfs", NAME, "--master")
    assert mounted() == ("down", True)
    seed.ok(seed.hv1, "startfs", NAME, "--master")
    seed.ok(seed.hv1, "stopfs", NAME, "--slaves")
    assert mounted() == ("up", False)
    seed.ok(seed.hv1, "startfs", NAME, "--slave", "vm1")
    assert mounted() == ("up", True)


def test_vector_9_a_freeze_in_the_guest_alone_and_at_both_levels(seed: Seed) -> None:
    seed.started()
    seed.ok(seed.hv1, "freeze", NAME, "--slave", "vm1", "--reason", "night work")
    assert seed.status()["frozen"] is None
    assert seed.inside()["frozen"]["reason"] == "night work"
    seed.ok(seed.hv1, "thaw", NAME)
    assert seed.inside()["frozen"] is None


def test_the_guest_belongs_to_its_hypervisors_and_to_nobody_else(seed: Seed) -> None:
    seed.started()
    assert seed.in_guest("svc", "set", NAME, "fs#1.mnt=/tmp", check=False).returncode == 6
    node = json.loads(seed.in_guest("svc", "daemon", "status", "--json").stdout)
    assert node["cluster"] == "lab"
    # Its certificate opens no route of a hypervisor.
    code = CALL.format(address=seed.hv1.address)
    assert seed.in_guest("/opt/encap/bin/python", "-I", "-c", code).stdout == "403\n"


def test_a_change_inside_shows_outside_within_a_second_of_being_noticed(seed: Seed) -> None:
    seed.started()
    seed.in_guest("umount", "/srv/data")
    seed.in_guest("svc", "status", NAME, "--refresh")
    until(lambda: rows(seed.status())["vm1 fs#1"] == "down", "the change shows", 1.5)
    assert seed.status()["avail"] == "warn"


def test_vector_8_a_guest_that_cannot_start_its_part_undoes_what_was_started(seed: Seed) -> None:
    seed.stopped()
    seed.ok(seed.hv1, "set", NAME, "app#1.start=/bin/false")
    try:
        failed = seed.hv1.svc("start", NAME)
        assert failed.returncode == 1, failed.stdout + failed.stderr
        assert seed.vm1.running_on() == []
        assert rows(seed.status())["fs#0"] == "down"
        # A container that was up before stays up.
        seed.ok(seed.hv1, "startcontainer", NAME)
        assert seed.hv1.svc("start", NAME).returncode == 1
        assert seed.vm1.running_on() == ["hv1"]
        assert "/srv/data" not in seed.in_guest("findmnt", "-rno", "TARGET").stdout.split()
    finally:
        seed.ok(seed.hv1, "set", NAME, 'app#1.start=/usr/bin/python3 -c "import signal; signal.pause()"')


def test_vector_8_a_stop_with_a_silent_guest_goes_on_with_a_warning(seed: Seed) -> None:
    seed.started()
    seed.in_guest("systemctl", "kill", "-s", "STOP", "agentd")
    until(lambda: guest_of(seed.status())["agent"] == "silent", "silence", 30)
    told = seed.ok(seed.hv1, "stop", NAME)
    assert "going on" in told
    assert seed.vm1.running_on() == []


def test_vector_8_an_error_in_the_guest_keeps_a_stop_from_going_on_and_a_shutdown_not(seed: Seed) -> None:
    seed.started()
    seed.vm1.run(["sh", "-c", "cd /srv/data && exec setsid sleep 600 >/dev/null 2>&1 &"])
    failed = seed.hv1.svc("stop", NAME)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert seed.vm1.running_on() == ["hv1"]
    assert rows(seed.status())["fs#0"] == "up"
    seed.ok(seed.hv1, "shutdown", NAME)
    assert seed.vm1.running_on() == []


def test_the_agent_in_the_guest_dies_and_its_unit_brings_it_back(seed: Seed) -> None:
    seed.started()
    before = seed.vm1.unit()["MainPID"]
    seed.in_guest("kill", "-9", before)
    until(lambda: seed.vm1.unit()["MainPID"] not in (before, "0"), "the unit starts it again", 30)
    until(lambda: guest_of(seed.status())["agent"] == "answering", "it is heard again", 30)
    assert rows(seed.status())["vm1 app#1"] == "up"

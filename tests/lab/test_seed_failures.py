"""What goes wrong on real machines: daemons killed in every phase, power, network, two at once."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cli.exits import Trouble
from cli.transport import local

from .daemon import Daemon
from .hypervisor import Hypervisor
from .machines import Lab
from .namespaces import until
from .seed import CONFIG, NAME, Seed, guest_of, rows

STARTS = "/root/starts"
COUNTING = CONFIG.replace(
    'start = /usr/bin/python3 -c "import signal; signal.pause()"',
    f"""start = /usr/bin/python3 -c "open('{STARTS}', 'a').write('x'); import signal; signal.pause()" """)
PHASES = ("up", "reachable", "agent", "config", "resources")


@pytest.fixture(scope="module")
def seed(shared_lab: Lab) -> Seed:
    return Seed(shared_lab, COUNTING)


def begun(hypervisor: Hypervisor) -> str:
    """A start that is not waited for; the id of its operation."""
    return hypervisor.svc("start", NAME, "--detach", check=True).stdout.strip()


def reached(hypervisor: Hypervisor, operation: str, phase: str) -> None:
    """Watch an operation as closely as one can, until it is in a phase."""
    daemon, end = local(str(hypervisor.root)), time.monotonic() + 60
    while True:
        document: dict[str, Any] = daemon.get(f"/v1/operations/{operation}")
        if document["phase"] == phase:
            return
        assert document["state"] != "ended", f"it never was in phase {phase}: {document}"
        assert time.monotonic() < end, f"phase {phase} never came"


def ended(hypervisor: Hypervisor, operation: str) -> dict[str, Any]:
    daemon = local(str(hypervisor.root))

    def look() -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = daemon.get(f"/v1/operations/{operation}")
        except Trouble:
            return None
        return document if document["state"] == "ended" else None

    found = until(look, "a named result", 60)
    assert found is not None
    return found


def starts(seed: Seed) -> int:
    """How often the application of the guest was started, on its disk."""
    file = seed.vm1.changes / STARTS.lstrip("/")
    return len(file.read_text()) if file.exists() else 0


def forget_starts(seed: Seed) -> None:
    (seed.vm1.changes / STARTS.lstrip("/")).unlink(missing_ok=True)


@pytest.mark.parametrize("phase", PHASES)
def test_a_daemon_killed_in_a_phase_leaves_a_named_result_and_no_second_start(seed: Seed, phase: str) -> None:
    seed.stopped()
    forget_starts(seed)
    seed.ok(seed.hv1, "set", NAME, f"fs#1.comment=for phase {phase}")  # so that there is something to bring in step
    operation = begun(seed.hv1)
    reached(seed.hv1, operation, phase)
    seed.daemon1.kill()
    seed.daemon1.start()
    document = ended(seed.hv1, operation)
    assert document["result"] in ("succeeded", "failed", "unknown")
    told = json.dumps(document["problem"]) + seed.ok(seed.hv1, "op", "show", operation)
    assert "interrupted" in told
    time.sleep(3)  # nothing is begun again by itself
    assert starts(seed) <= 1
    assert seed.vm1.running_on() in ([], ["hv1"])
    if document["result"] == "succeeded":
        assert seed.status()["avail"] == "up"
    # The claim is free: the service can be stopped here and started on the other one.
    seed.ok(seed.hv1, "stop", NAME)
    seed.ok(seed.hv2, "start", NAME)
    assert seed.vm1.running_on() == ["hv2"]
    seed.ok(seed.hv2, "stop", NAME)


def test_the_guests_agent_killed_in_the_middle_is_followed_to_an_end(seed: Seed) -> None:
    seed.stopped()
    forget_starts(seed)
    operation = begun(seed.hv1)
    reached(seed.hv1, operation, "resources")
    seed.in_guest("pkill", "-9", "-f", "agentd run")
    document = ended(seed.hv1, operation)
    assert document["result"] in ("succeeded", "failed", "unknown")
    assert starts(seed) <= 1


def test_two_hypervisors_told_at_once_start_it_once(seed: Seed) -> None:
    for _ in range(3):
        seed.stopped()
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(hv.svc, "start", NAME, "--node", hv.name) for hv in (seed.hv1, seed.hv2)]
            answers = [each.result() for each in both]
        codes = sorted(answer.returncode for answer in answers)
        assert codes == [0, 6], [answer.stdout + answer.stderr for answer in answers]
        refused = next(answer for answer in answers if answer.returncode == 6)
        winner = next(hv for hv, answer in zip((seed.hv1, seed.hv2), answers, strict=True)
                      if answer.returncode == 0)
        assert winner.name in refused.stderr
        assert seed.vm1.running_on() == [winner.name]


def test_a_cut_cable_refuses_a_start_elsewhere_and_nothing_is_stopped(seed: Seed) -> None:
    seed.started()
    seed.hv1.cut()
    try:
        refused = seed.hv2.svc("start", NAME)
        assert refused.returncode == 6
        assert "hv1" in refused.stderr
        document = json.loads(seed.ok(seed.hv2, "status", NAME, "--cluster", "--json"))
        assert (document["avail"], [s["node"] for s in document["silent"]]) == ("undef", ["hv1"])
        assert seed.vm1.running_on() == ["hv1"]
        assert seed.hv2.svc("stop", NAME).returncode == 4
    finally:
        seed.hv1.heal()
    until(lambda: json.loads(seed.ok(seed.hv2, "status", NAME, "--cluster", "--json"))["avail"] == "up",
          "hv1 is heard again", 30)


def test_power_failure_and_a_person_who_vouches_for_it(seed: Seed) -> None:
    seed.started()
    seed.hv1.power_off()
    refused = seed.hv2.svc("start", NAME)
    assert refused.returncode == 6
    assert "--assume-down hv1" in refused.stderr
    told = seed.hv2.svc("start", NAME, "--assume-down", "hv1")
    assert told.returncode == 0, told.stdout + told.stderr + seed.daemon2.log[-3000:]
    assert seed.vm1.running_on() == ["hv2"]
    seed.hv1.power_on()
    seed.daemon1 = Daemon(seed.hv1.machine, "hv1", seed.hv1.root, seed.hv1.environment()).start()
    seed.hv1.daemons.append(seed.daemon1)
    until(lambda: rows(seed.status())["container#0"] == "down", "hv1 looked", 20)
    time.sleep(3)
    assert seed.vm1.running_on() == ["hv2"]
    # hv1 knew it as up before its power went; now the whole is known, and it stays where it is.
    document = json.loads(seed.ok(seed.hv1, "status", NAME, "--cluster", "--json"))
    assert (document["avail"], document["running"], document["split"]) == ("up", ["hv2"], False)
    seed.ok(seed.hv1, "stop", NAME)
    assert seed.vm1.running_on() == []


def test_a_guest_that_reboots_gets_its_part_started_again(seed: Seed) -> None:
    seed.started()
    forget_starts(seed)
    seed.in_guest("systemctl", "reboot", check=False)
    until(lambda: starts(seed) == 1, "the application runs again", 60)
    until(lambda: seed.status()["avail"] == "up", "all is up", 60)
    assert guest_of(seed.status())["agent"] == "answering"
    seed.idle()
    seed.ok(seed.hv1, "freeze", NAME)
    seed.in_guest("systemctl", "reboot", check=False)
    until(lambda: rows(seed.status())["vm1 app#1"] == "down", "it came back without", 60)
    time.sleep(3)
    assert starts(seed) == 1

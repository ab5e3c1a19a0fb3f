"""One daemon as users meet it: a process, its socket and `svc`, with real resources."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

import pytest

from .conftest import Machine

pytestmark = pytest.mark.socket

WEB = "[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\n[app#1]\ntype = simple\nstart = /bin/sleep 1000\n"


def status(machine: Machine, name: str = "web") -> dict[str, Any]:
    found = machine.svc("status", name, "--refresh", "--json")
    assert found.returncode == 0, found.stderr
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def created(machine: Machine, text: str = WEB) -> None:
    answer = machine.svc("create", "web", "--config", machine.file("web.conf", text))
    assert answer.returncode == 0, answer.stderr


def test_start_and_stop_change_the_status(machine: Machine) -> None:
    created(machine)
    assert status(machine)["avail"] == "down"
    assert machine.svc("start", "web").returncode == 0
    assert status(machine)["avail"] == "up"
    assert machine.svc("stop", "web").returncode == 0
    assert status(machine)["avail"] == "down"


def test_a_start_of_what_is_up_starts_nothing(machine: Machine) -> None:
    created(machine)
    machine.svc("start", "web")
    again = machine.svc("start", "web", "--json")
    assert again.returncode == 0
    plan = machine.svc("start", "web", "--dry-run", "--json")
    assert json.loads(plan.stdout)["steps"] == []
    assert {s["why"] for s in json.loads(plan.stdout)["skipped"]} == {"already up on hv1"}


def test_killed_daemon_leaves_the_service_and_finds_it_again(machine: Machine) -> None:
    created(machine)
    machine.svc("start", "web")
    machine.svc("freeze", "web", "--reason", "test")
    machine.end(signal.SIGKILL)
    assert machine.svc("ls").returncode == 5
    machine.start()
    found = status(machine)
    assert found["avail"] == "up"
    assert found["frozen"]["reason"] == "test"


def test_killed_in_mid_start_ends_in_a_named_result_and_nothing_starts_again(machine: Machine) -> None:
    slow = WEB.replace("[app#1]", "[fs#2]\ntype = fake\ndelay = 30s\n[app#1]")
    created(machine, slow)
    begun = machine.svc("start", "web", "--detach", "--json")
    number = json.loads(begun.stdout)["id"]
    until = time.monotonic() + 20
    while {r["rid"]: r["status"] for r in status(machine)["resources"]}["fs#1"] != "up":
        assert time.monotonic() < until, "the start never got to its second step"
    machine.end(signal.SIGKILL)
    machine.start()
    operation = json.loads(machine.svc("op", "wait", number, "--json").stdout)
    assert operation["state"] == "ended"
    assert operation["result"] == "failed"
    assert "interrupted" in operation["problem"]["detail"]
    found = {r["rid"]: r["status"] for r in status(machine)["resources"]}
    assert (found["fs#1"], found["app#1"]) == ("up", "down")


def test_a_failed_start_is_undone(machine: Machine) -> None:
    created(machine, WEB.replace("/bin/sleep 1000", "/bin/false"))
    assert machine.svc("start", "web").returncode == 1
    assert {r["rid"]: r["status"] for r in status(machine)["resources"]}["fs#1"] == "down"


def test_what_needs_another_agent_is_refused_and_nothing_is_started(machine: Machine) -> None:
    created(machine, "[DEFAULT]\nnodes = hv1 hv2\n[fs#1]\ntype = flag\n[container#1]\ntype = fake\nname = c1\n")
    refused = machine.svc("start", "web")
    assert refused.returncode == 6
    assert "hv2" in refused.stderr
    assert {r["rid"]: r["status"] for r in status(machine)["resources"]}["fs#1"] == "down"


def test_errors_have_their_exit_codes(machine: Machine) -> None:
    assert machine.svc("start", "nope").returncode == 7
    bad = machine.svc("create", "web", "--config", machine.file("bad.conf", "[fs#1]\nfoo:bar\n"))
    assert bad.returncode in (1, 2)
    assert "line 2" in bad.stderr or ":2" in bad.stderr
    assert machine.svc("ls", "--json").stdout.count('"name"') == 0


def test_a_text_changed_by_an_editor_is_taken_and_a_bad_one_is_not(machine: Machine) -> None:
    created(machine)
    path = machine.root / "etc/encap/services/web.conf"
    path.write_text(WEB + "# a comment\n")


    time.sleep(2.5)
    assert status(machine)["revision"] == 2
    path.write_text("[DEFAULT\n")
    time.sleep(2.5)
    found = status(machine)
    assert found["revision"] == 2
    assert any("not accepted" in line["text"] for line in found["log"])


def test_stops_on_a_signal(machine: Machine) -> None:
    assert machine.end() == 0


STARTS = (["start", "web"], ["startfs", "web"], ["start", "web", "--rid", "fs#1"])


@pytest.mark.parametrize("words", STARTS, ids=" ".join)
@pytest.mark.parametrize("head", ["nodes = hv1 hv2", "nodes = hv1\ndrpnodes = dr1"])
def test_nothing_of_a_failover_service_starts_where_another_node_may_have_it(
    machine: Machine, head: str, words: list[str],
) -> None:
    created(machine, f"[DEFAULT]\n{head}\n[fs#1]\ntype = flag\n")
    assert machine.svc(*words).returncode != 0
    assert {r["rid"]: r["status"] for r in status(machine)["resources"]}["fs#1"] == "down"


def test_a_start_whose_steps_went_well_and_that_left_it_down_has_failed(machine: Machine) -> None:
    mark = machine.root / "mark"
    created(machine, "[DEFAULT]\nnodes = hv1\n"
            f"[app#1]\ntype = forking\nstart = /usr/bin/touch {mark}\nstop = /bin/rm -f {mark}\n"
            f"check = /usr/bin/test -e {mark}\n[app#2]\ntype = forking\nstart = /bin/rm {mark}\n")
    failed = machine.svc("start", "web")
    assert failed.returncode == 1
    assert "is down" in failed.stdout + failed.stderr


def test_nodes_that_were_not_asked_are_named(machine: Machine) -> None:
    created(machine, "[DEFAULT]\nnodes = hv1 hv2\ntopology = flex\n[fs#1]\ntype = flag\n")
    listed = json.loads(machine.svc("ls", "--json").stdout)
    assert [s["node"] for s in listed["silent"]] == ["hv2"]


def test_a_reload_refuses_bad_settings_and_the_daemon_goes_on(machine: Machine) -> None:
    settings = machine.root / "etc/encap/agentd.toml"
    before = settings.read_text()
    settings.write_text(before + 'nonsense = 1\n')
    assert machine.process is not None
    machine.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 20
    while "not taken" not in (machine.root / "log").read_text():
        assert time.monotonic() < until, "the bad settings were never refused"
        time.sleep(0.05)
    assert machine.svc("ls").returncode == 0


NOTE = """\
import os, sys
with open("{log}", "a") as log:
    print(sys.argv[1], os.environ["ENCAP_ACTION"], os.environ["ENCAP_RID"] or "web", file=log)
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
"""


def noted(machine: Machine, head: str, section: str) -> str:
    """A service whose commands write into a file what they were started for; {note} is such a command."""
    script = machine.file("note.py", NOTE.format(log=machine.root / "notes"))
    note = f"{sys.executable} -I {script}"
    return f"[DEFAULT]\nnodes = hv1\n{head}\n[fs#1]\ntype = flag\n{section}\n".replace("NOTE", note)


def notes(machine: Machine) -> list[str]:
    file = machine.root / "notes"
    return file.read_text().splitlines() if file.exists() else []


def test_commands_before_and_after_an_action_and_its_resources(machine: Machine) -> None:
    created(machine, noted(machine, "pre_start = NOTE a\nblocking_post_start = NOTE f\npre_stop = NOTE g",
                           "pre_start = NOTE b 1\nblocking_pre_start = NOTE c\npost_start = NOTE d 1\n"
                           "blocking_post_start = NOTE e"))
    machine.ok("start", "web")
    assert notes(machine) == ["a start web", "b start fs#1", "c start fs#1", "d start fs#1", "e start fs#1",
                              "f start web"]
    machine.ok("shutdown", "web")
    assert notes(machine)[-1] == "g stop web"


@pytest.mark.parametrize(("head", "section", "left"), [
    ("blocking_pre_start = NOTE x 1", "", "down"), ("", "blocking_pre_start = NOTE x 1", "down"),
    ("", "blocking_post_start = NOTE x 1", "down"), ("blocking_post_start = NOTE x 1", "", "down"),
    ("rollback = false", "blocking_post_start = NOTE x 1", "up"),
], ids=["before the whole", "before a resource", "after a resource", "after the whole", "nothing is undone"])
def test_a_blocking_command_that_fails_fails_the_start(
    machine: Machine, head: str, section: str, left: str,
) -> None:
    created(machine, noted(machine, head, section))
    failed = machine.svc("start", "web")
    assert failed.returncode == 1
    assert "blocking_p" in failed.stdout + failed.stderr
    assert {r["rid"]: r["status"] for r in status(machine)["resources"]}["fs#1"] == left


def test_a_resource_waits_for_nothing_that_it_requires_and_says_so(machine: Machine) -> None:
    created(machine, "[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\n[fs#2]\ntype = flag\nstart_requires = fs#1\n")
    failed = machine.svc("start", "web", "--rid", "fs#2")
    assert failed.returncode == 1
    assert "fs#2 requires fs#1 to be up or stdby up, and it is down" in failed.stdout + failed.stderr
    machine.ok("start", "web")

"""The commands as a person types them, against a daemon in the test's hands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.socket
Svc = Callable[..., tuple[int, str, str]]
SERVICE = {
    "name": "deb1",
    "node": "hv1",
    "level": "host",
    "avail": "up",
    "overall": "warn",
    "topology": "failover",
    "nodes": ["hv1", "hv2"],
    "frozen": {"by": "root"},
    "operation": None,
    "instances": {"hv1": "up", "hv2": "down"},
}


def test_ls(daemon: Any, svc: Svc) -> None:
    daemon.answers["GET /v1/services?cluster=true"] = daemon.answer(
        {
            "services": [SERVICE, {**SERVICE, "name": "web1", "frozen": None}],
            "silent": [{"node": "hv3", "since": "", "why": "no answer for 12 s"}],
        }
    )
    code, out, err = svc("ls", "d*")
    assert code == 0
    assert out.splitlines()[1].split() == ["deb1", "up", "warn", "failover", "hv1:up", "hv2:down", "frozen"]
    assert "web1" not in out
    assert "hv3 has not answered: no answer for 12 s" in err
    assert svc("ls", "nope*")[0] == 7
    assert json.loads(svc("ls", "--json")[1])["services"][0]["name"] == "deb1"


def test_status(daemon: Any, svc: Svc) -> None:
    daemon.answers["GET /v1/services/deb1/status"] = daemon.answer(daemon.status())
    code, out, err = svc("status", "deb1")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "deb1"
    assert "fs#1" in out
    assert json.loads(svc("status", "deb1", "--json")[1]) == daemon.status()
    assert [a.path for a in daemon.asked] == ["/v1/services/deb1/status"] * 2


def test_status_by_pattern(daemon: Any, svc: Svc) -> None:
    daemon.answers["GET /v1/services"] = daemon.answer({"services": [{"name": "deb1"}, {"name": "deb2"}]})
    for name in ("deb1", "deb2"):
        daemon.answers[f"GET /v1/services/{name}/status"] = daemon.answer(daemon.status(name))
    code, out, _ = svc("status", "deb*", "--json")
    assert code == 0
    assert [d["service"] for d in json.loads(out)] == ["deb1", "deb2"]
    assert svc("status", "web*")[0] == 7


def test_an_unknown_service_comes_with_near_names(daemon: Any, svc: Svc) -> None:
    daemon.answers["GET /v1/services"] = daemon.answer({"services": [{"name": "deb1"}, {"name": "mail"}]})
    code, out, err = svc("status", "deb2")
    assert (code, out) == (7, "")
    assert "there is no service 'deb2'" in err
    assert "Did you mean deb1?" in err


def test_without_a_daemon_the_snapshot_is_shown_as_stale(root: Path, svc: Svc, daemon: Any) -> None:
    daemon.close()
    path = root / "run/encap/status.json"
    path.write_text(json.dumps({"at": "2026-11-23T16:00:00.000Z", "services": {"deb1": daemon.status()}}))
    code, out, err = svc("status", "deb1")
    assert code == 5
    assert out.startswith("STALE: the last snapshot, of 2026-11-23T16:00:00.000Z")
    assert "fs#1" in out
    assert "not reachable" in err
    code, out, _ = svc("status", "deb1", "--json")
    assert code == 5
    assert json.loads(out)["stale"] is True
    path.write_text("{broken")
    assert svc("status", "deb1")[:2] == (5, "")


def started(daemon: Any, *events: bytes, **end: Any) -> None:
    daemon.answers["POST /v1/services/deb1/actions"] = daemon.answer(daemon.operation(), 202)
    daemon.answers["GET /v1/operations/01OP/events"] = daemon.chunked(*events)
    daemon.answers["GET /v1/operations/01OP"] = daemon.answer(daemon.operation(state="ended", **end))


def test_start_is_followed_in_plain_lines(daemon: Any, svc: Svc) -> None:
    started(
        daemon,
        daemon.event(1, "started", where="hv1", what="fs#1", step=1),
        daemon.event(2, "done", where="hv1", what="fs#1", step=1, text="mounted"),
        daemon.event(3, "done", where="vm1", what="app", step=1, under=2, text="\x1b[31mred"),
        daemon.event(4, "end", result="succeeded"),
        result="succeeded",
    )
    code, out, _ = svc("start", "deb1", "--rid", "fs#1,fs#2", "--rid", "app", "--slave", "vm1", "--to", "fs")
    assert code == 0
    assert "hv1 fs#1 done: mounted" in out
    assert "  vm1 app done: \\x1b[31mred" in out
    assert "\x1b" not in out
    assert out.splitlines()[-1].startswith("deb1 start: succeeded")
    sent = daemon.asked[0]
    assert sent.document == {"action": "start", "rids": ["fs#1", "fs#2", "app"], "slave": ["vm1"], "to": "fs"}
    assert len(sent.headers["idempotency-key"]) == 32


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"result": "succeeded"}, 0),
        ({"result": "failed", "undone": True}, 1),
        ({"result": "failed"}, 1),
        ({"result": "failed", "undone": False}, 3),
        ({"result": "unknown"}, 4),
        ({"result": "cancelled"}, 1),
        ({"result": "cancelled", "undone": False}, 3),
        ({"result": "new word"}, 4),
        ({"result": "failed", "problem": {"code": "held-elsewhere", "detail": "hv2 has it"}}, 6),
        ({"result": "failed", "undone": True, "problem": {"code": "busy", "detail": "x"}}, 1),
    ],
)
def test_exit_codes_of_results(daemon: Any, svc: Svc, end: dict[str, Any], code: int) -> None:
    started(daemon, daemon.event(1, "end", result=end["result"]), **end)
    assert svc("start", "deb1")[0] == code
    found, out, _ = svc("start", "deb1", "--json")
    assert found == code
    assert json.loads(out)["result"] == end["result"]


@pytest.mark.parametrize(
    ("status", "word", "code"),
    [
        (409, "busy", 6),
        (409, "held-elsewhere", 6),
        (409, "frozen", 6),
        (403, "forbidden", 6),
        (404, "not-found", 7),
        (400, "invalid-request", 2),
        (422, "invalid-config", 2),
        (501, "not-supported", 2),
        (504, "silent", 4),
        (507, "storage", 1),
        (500, "new-code", 1),
        (418, "new-code", 1),
    ],
)
def test_exit_codes_of_problems(daemon: Any, svc: Svc, status: int, word: str, code: int) -> None:
    daemon.answers["POST /v1/services/deb1/actions"] = daemon.problem(status, word, "told so", "and a hint")
    found, out, err = svc("stop", "deb1")
    assert (found, out) == (code, "")
    assert "told so" in err
    assert "and a hint" in err
    assert json.loads(svc("stop", "deb1", "--json")[1])["code"] == word


def test_detach_prints_the_id(daemon: Any, svc: Svc) -> None:
    daemon.answers["POST /v1/services/deb1/actions"] = daemon.answer(daemon.operation(), 202)
    assert svc("start", "deb1", "--detach") == (0, "01OP\n", "")


def test_time_is_up(daemon: Any, svc: Svc) -> None:
    started(daemon)
    daemon.answers["GET /v1/operations/01OP/events"] = lambda c: (
        c.sendall(daemon.chunked(daemon.event(1, "phase", text="agent answers"), end=False)),
        __import__("time").sleep(1),
    )
    code, _, err = svc("start", "deb1", "--time", "0.3s")
    assert code == 4
    assert "operation 01OP goes on" in err


def test_a_lost_stream_is_taken_up_where_it_ended(
    daemon: Any, svc: Svc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.following.RECONNECT_EVERY", 0.01)
    started(daemon, result="succeeded")
    daemon.answers["GET /v1/operations/01OP/events"] = [
        daemon.chunked(daemon.event(1, "done", where="hv1", what="fs#1"), end=False),
        b"",
        daemon.chunked(daemon.event(2, "done", where="hv1", what="app"), daemon.event(3, "end")),
    ]
    code, out, _ = svc("start", "deb1")
    assert code == 0
    assert out.count("done") == 2
    again = [a for a in daemon.asked if a.path.endswith("/events")]
    assert [a.headers.get("last-event-id") for a in again] == [None, "1", "1"]


def test_an_answer_lost_on_the_way_is_the_same_operation(daemon: Any, svc: Svc) -> None:
    started(daemon, daemon.event(1, "end"), result="succeeded")
    daemon.answers["POST /v1/services/deb1/actions"] = [b"", daemon.answer(daemon.operation(), 202)]
    assert svc("start", "deb1")[0] == 0
    keys = {a.headers["idempotency-key"] for a in daemon.asked if a.method == "POST"}
    assert len(keys) == 1


def test_dry_run_prints_the_plan(daemon: Any, svc: Svc) -> None:
    plan = {
        "schema": "encap.plan/1",
        "service": "deb1",
        "action": "start",
        "node": "hv1",
        "steps": [
            {
                "id": 1,
                "where": "hv1",
                "action": "start",
                "what": "fs#1",
                "after": [],
                "undo": "stop",
                "optional": False,
                "why": "",
            }
        ],
        "skipped": [],
    }
    daemon.answers["POST /v1/services/deb1/plan"] = daemon.answer(plan)
    code, out, _ = svc("start", "deb1", "--dry-run", "--force")
    assert code == 0
    assert "hv1  start  fs#1" in out
    assert daemon.asked[0].document == {"action": "start", "force": True}
    assert json.loads(svc("plan", "deb1", "startfs", "--slaves", "--json")[1]) == plan
    assert daemon.asked[1].document == {"action": "startfs", "slaves": True}


def test_config_commands(daemon: Any, svc: Svc, tmp_path: Path) -> None:
    path = "/v1/services/deb1/config"
    text = b"[DEFAULT]\nnodes = hv1 hv2\n[fs#1.a]\nmnt = /srv\n"
    daemon.answers[f"GET {path}"] = daemon.plain(text, ETag='"sha256:1"')
    daemon.answers[f"PUT {path}"] = daemon.answer(
        {"revision": 1, "hash": "x", "in_step": {"hv2": "no answer"}}
    )
    daemon.answers[f"PATCH {path}"] = [
        daemon.problem(412, "edit-conflict", "changed"),
        daemon.answer({"revision": 2, "hash": "y", "in_step": {}}),
    ]
    file = tmp_path / "deb1.conf"
    file.write_bytes(text)
    code, out, err = svc("create", "deb1", "--config", str(file))
    assert (code, out) == (0, "deb1: created, revision 1\n")
    assert "hv2 does not have it yet: no answer" in err
    assert (daemon.asked[0].body, daemon.asked[0].headers["if-none-match"]) == (text, "*")
    assert svc("get", "deb1", "nodes")[:2] == (0, "hv1 hv2\n")
    assert svc("get", "deb1", "fs#1.a.mnt")[:2] == (0, "/srv\n")
    assert svc("get", "deb1", "fs#1.a.nope")[0] == 7
    assert svc("set", "deb1", "fs#1.a.mnt@vm1 = /x=y")[:2] == (0, "deb1: changed, revision 2\n")
    patch = daemon.asked[-1]
    assert patch.document["set"] == [{"section": "fs#1.a", "option": "mnt@vm1", "value": "/x=y"}]
    assert patch.headers["if-match"] == '"sha256:1"'
    assert svc("set", "deb1", "fs#1.mnt")[0] == 2
    assert svc("unset", "deb1", "@vm1")[0] == 2


def test_edit_keeps_what_was_typed(
    daemon: Any,
    svc: Svc,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = "/v1/services/deb1/config"
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "bad = 1" >> "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    daemon.answers[f"GET {path}"] = daemon.plain(b"[DEFAULT]\n", ETag='"1"')
    daemon.answers[f"PUT {path}"] = daemon.problem(
        422,
        "invalid-config",
        "2 errors",
        problems=[
            {
                "section": "DEFAULT",
                "option": "bad",
                "line": 2,
                "text": "unknown keyword",
                "hint": "did you mean bar?",
            },
            {"section": "fs#1", "option": "mnt", "line": 0, "text": "missing", "hint": ""},
        ],
    )
    code, _, err = svc("edit", "deb1")
    assert code == 2
    assert "error: line 2: [DEFAULT] bad: unknown keyword (did you mean bar?)" in err
    assert "error: [fs#1] mnt: missing" in err
    kept = next(line for line in err.splitlines() if "kept in" in line).rpartition(" ")[2]
    assert Path(kept).read_text() == "[DEFAULT]\nbad = 1\n"
    daemon.answers[f"PUT {path}"] = daemon.answer({"revision": 3, "hash": "", "in_step": {}, "draft": True})
    assert svc("edit", "deb1")[0] == 8
    monkeypatch.setenv("VISUAL", "true")
    assert "not changed" in svc("edit", "deb1")[2]
    monkeypatch.setenv("VISUAL", "false")
    assert svc("edit", "deb1")[0] == 1


def test_validate(daemon: Any, svc: Svc) -> None:
    daemon.answers["GET /v1/services/deb1/config"] = daemon.plain(b"x", ETag='"1"')
    finding = {"section": "fs#1", "option": "mnt", "line": 3, "text": "missing", "hint": ""}
    daemon.answers["POST /v1/config/validate"] = [
        daemon.answer({"errors": [], "warnings": [finding]}),
        daemon.answer({"errors": [finding], "warnings": []}),
    ]
    code, out, err = svc("validate", "deb1")
    assert (code, out) == (0, "deb1: 0 errors, 1 warning\n")
    assert err == "warning: line 3: [fs#1] mnt: missing\n"
    assert svc("validate", "deb1")[0] == 1


def test_operations(daemon: Any, svc: Svc) -> None:
    ended = daemon.operation(
        state="ended", result="failed", problem={"code": "action-failed", "detail": "no disk"}
    )
    daemon.answers["GET /v1/operations?limit=20&service=deb1"] = daemon.answer({"operations": [ended]})
    daemon.answers["GET /v1/operations?service=deb1&limit=3"] = daemon.answer({"operations": [ended]})
    daemon.answers["GET /v1/operations/01OP"] = daemon.answer(ended)
    daemon.answers["GET /v1/operations/01OP/events"] = daemon.chunked(
        daemon.event(1, "failed", text="no disk")
    )
    daemon.answers["POST /v1/operations/01OP/cancel"] = daemon.answer(ended)
    assert svc("op", "ls", "--service", "deb1")[1].splitlines()[1].split()[:4] == [
        "01OP",
        "deb1",
        "start",
        "failed",
    ]
    assert "failed: no disk" in svc("op", "show", "01OP")[1]
    assert svc("op", "wait", "01OP")[0] == 1
    assert svc("op", "cancel", "01OP")[0] == 6
    assert "failed: no disk" in svc("logs", "deb1")[1]


def test_nodes(daemon: Any, svc: Svc) -> None:
    daemon.answers["GET /v1/nodes"] = daemon.answer(
        {
            "nodes": [
                {
                    "name": "hv2",
                    "role": "hypervisor",
                    "address": "h:1",
                    "state": "silent",
                    "age": 2,
                    "version": None,
                    "revoked": False,
                }
            ]
        }
    )
    daemon.answers["POST /v1/nodes/tokens"] = daemon.answer({"token": "T0K", "expires_at": "soon"})
    daemon.answers["DELETE /v1/nodes/hv2"] = daemon.answer(
        {"removed": "hv2", "told": ["hv1"], "not_told": ["hv3"]}
    )
    daemon.answers["GET /v1/node"] = daemon.answer({"node": "hv1", "listen": ["a", "b"]})
    assert svc("node", "ls")[1].splitlines()[1].split() == ["hv2", "hypervisor", "h:1", "silent"]
    assert svc("node", "token", "vm1", "--guest")[1] == "T0K\n"
    assert daemon.asked[-1].document == {"name": "vm1", "role": "guest"}
    code, _, err = svc("node", "remove", "hv2")
    assert code == 4
    assert "Not told yet: hv3" in err
    assert "listen       a, b" in svc("daemon", "status")[1]


def test_svcmgr(daemon: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from cli.svcmgr import main

    place = ["--root", str(daemon.root)]
    for overall, code in {
        "up": 0,
        "down": 1,
        "warn": 2,
        "n/a": 3,
        "undef": 5,
        "stdby up": 6,
        "stdby down": 7,
    }.items():
        daemon.answers["GET /v1/services/deb1/status"] = daemon.answer(daemon.status(overall=overall))
        assert main(["-s", "deb1", "print", "status", *place]) == code
    capsys.readouterr()
    assert main(["-s", "deb1", "json", "status", *place]) == 7
    assert json.loads(capsys.readouterr().out)["resources"]["fs#1"]["label"] == "/srv"
    started(daemon, daemon.event(1, "end"), result="succeeded")
    assert main(["-s", "deb1", "startfs", "--slave", "vm1", "--master", *place]) == 0
    sent = next(a for a in daemon.asked if a.method == "POST")
    assert sent.document == {"action": "startfs", "slave": ["vm1"], "master": True}
    assert main(["start"]) == 2
    assert main(["--help"]) == 0


def run(daemon: Any, *words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        **more.pop("env", {}),
    }
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words, "--root", str(daemon.root)],
        env=environment,
        capture_output=True,
        timeout=30,
        check=False,
        **more,
    )


@pytest.mark.real
def test_a_plain_character_set(daemon: Any) -> None:
    document = daemon.status()
    document["resources"][0]["label"] = "/srv/é→"
    daemon.answers["GET /v1/services/deb1/status"] = daemon.answer(document)
    ended = run(daemon, "status", "deb1", env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert rb"/srv/\xe9\u2192" in ended.stdout


@pytest.mark.real
def test_a_broken_pipe_is_quiet(daemon: Any) -> None:
    daemon.answers["GET /v1/services/deb1/status"] = daemon.answer(daemon.status())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "cli.main", "status", "deb1", "--root", str(daemon.root)],
        env=environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, b"")


@pytest.mark.real
def test_ctrl_c_only_stops_the_waiting(daemon: Any) -> None:
    import signal
    import threading

    started(daemon)
    reached = threading.Event()

    def endless(connection: Any) -> None:
        connection.sendall(daemon.chunked(daemon.event(1, "phase", text="up"), end=False))
        reached.set()
        threading.Event().wait(2)

    daemon.answers["GET /v1/operations/01OP/events"] = endless
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "start", "deb1", "--root", str(daemon.root)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert reached.wait(10)
    threading.Event().wait(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 4
    assert b"operation 01OP goes on" in err

"""Plans, events, tables and the 1.5 shape as text."""

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.core.events import Happening, Kind
from agentd.core.plan import Plan, Request, Skipped, Step
from cli.render import event_line, json15, plan_text, progress_line, status_code, table

GOLDEN = Path(__file__).parent.parent / "golden"

START = Plan(
    "deb1",
    "start",
    "hv1",
    steps=(
        Step(1, "hv1", "start", "fs#1", undo="stop"),
        Step(2, "hv1", "start", "container#0", after=(1,), undo="stop"),
        Step(
            3,
            "vm1",
            "start",
            "deb1",
            after=(2,),
            undo="stop",
            why="the guest's part",
            request=Request("start"),
        ),
        Step(5, "hv1", "start", "app", after=(3,), optional=True),
        Step(7, "vm1", "start", "ip#2", undo="stop", under=3),
        Step(8, "vm1", "start", "app#1", after=(7,), under=3),
    ),
    skipped=(Skipped("hv1", "fs#2", "disabled"), Skipped("vm2", "deb1", "vm1 is the chosen one")),
)


def test_plan_with_the_guests_steps_under_the_delegated_one() -> None:
    assert plan_text(START.document()) == (GOLDEN / "plans" / "start.txt").read_text(encoding="utf-8")


def test_plan_with_nothing_to_do() -> None:
    assert plan_text(Plan("deb1", "stop", "hv1").document()) == "deb1: stop on hv1, nothing to do\n"


def test_plan_of_one_step() -> None:
    one = Plan("deb1", "stop", "hv1", (Step(1, "hv1", "stop", "fs#1"),))
    assert plan_text(one.document()) == "deb1: stop on hv1, 1 step\n    1  hv1  stop  fs#1\n"


def test_plan_whose_steps_stand_in_each_other_still_ends() -> None:
    head = {
        "where": "h",
        "action": "stop",
        "what": "x",
        "after": [],
        "undo": "",
        "optional": False,
        "why": "",
    }
    steps = [{"id": 1, **head, "under": 2}, {"id": 2, **head, "under": 1}]
    text = plan_text({"service": "s", "action": "stop", "node": "h", "steps": steps, "skipped": []})
    assert text == "s: stop on h, 2 steps\n"


def event(kind: Kind, text: str = "", **more: Any) -> dict[str, Any]:
    happening = Happening(kind, text, **more)
    return {"id": 1, "at": "2026-11-23T16:00:00.000Z", "operation": "01J", **happening.document()}


AT = "2026-11-23T16:00:00.000Z"


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (event(Kind.STARTED, step=2, where="hv1", what="container#0"), f"{AT} hv1 container#0 started"),
        (
            event(Kind.PHASE, "agent answers", step=3, where="vm1", what="deb1"),
            f"{AT} vm1 deb1 phase: agent answers",
        ),
        (event(Kind.DONE, "", step=7, where="vm1", what="ip#2", under=3), f"{AT}   vm1 ip#2 done"),
        (
            event(Kind.SKIPPED, "already up", step=1, where="hv1", what="fs#1"),
            f"{AT} hv1 fs#1 skipped: already up",
        ),
        (
            event(Kind.FAILED, "mount: \x1b[2J\nbad", where="hv1", what="fs#1"),
            f"{AT} hv1 fs#1 failed: mount: \\x1b[2J\\x0abad",
        ),
        (event(Kind.END, "hv2 is silent", result="unknown"), f"{AT} unknown: hv2 is silent"),
        (event(Kind.END, result="succeeded"), f"{AT} succeeded"),
    ],
)
def test_event_lines(made: dict[str, Any], line: str) -> None:
    assert event_line(made) == line


def test_event_line_says_nested_when_told_to_and_colours_the_outcome_only() -> None:
    made = event(Kind.DONE, where="hv1", what="fs#1")
    assert event_line(made, nested=True) == f"{AT}   hv1 fs#1 done"
    assert event_line(made, color=True) == f"{AT} hv1 fs#1 \x1b[32mdone\x1b[0m"
    assert event_line(event(Kind.END, result="failed"), color=True) == f"{AT} \x1b[31mfailed\x1b[0m"


def test_progress_is_one_line_of_the_terminals_width() -> None:
    made = event(Kind.PHASE, "config in step", where="vm1", what="deb1")
    assert progress_line(made) == "... vm1 deb1: config in step"
    assert len(progress_line(event(Kind.PROGRESS, "x" * 500, where="hv1", what="fs#1"), width=20)) == 19
    assert progress_line(event(Kind.STARTED, where="hv1", what="fs#1"), width=1)
    assert progress_line(event(Kind.DONE, where="hv1", what="fs#1")) == ""


def test_tables() -> None:
    assert table([("web", "up", None), ("database", 3, "x")], ("NAME", "AVAIL", "")) == (
        "NAME      AVAIL\nweb       up\ndatabase  3      x\n"
    )
    assert table([]) == ""
    assert table([("a\x1bb", "c")]) == "a\\x1bb  c\n"
    assert table([("a",), ("b", "c")]) == "a\nb  c\n"


def test_the_shape_of_1_5() -> None:
    stored = json.loads((GOLDEN / "trees" / "seed_host.json").read_text(encoding="utf-8"))
    made = json15(stored)
    assert (made["overall"], made["avail"], made["sync"], made["hb"], made["frozen"]) == (
        "up",
        "up",
        "up",
        "n/a",
        False,
    )
    assert {"container", "ip", "disk", "fs", "share", "sync", "app", "hb"} <= set(made)
    assert list(made["resources"]) == ["container#0", "fs#1", "app", "sync#i0", "sync#1"]
    assert made["resources"]["app"] == {
        "status": "n/a",
        "label": "app",
        "log": "no checkup scripts",
        "monitor": False,
        "disable": False,
        "optional": False,
        "encap": False,
    }
    inner = made["encap"]["container#0"]
    assert inner["resources"]["ip#2"]["encap"] is True
    assert inner["hostname"] == "deb1"
    assert json.loads(json.dumps(made)) == made


def test_exit_codes_of_1_5() -> None:
    states = ("up", "down", "warn", "n/a", "undef", "stdby up", "stdby down", "whatever")
    assert [status_code(s) for s in states] == [0, 1, 2, 3, 5, 6, 7, 5]

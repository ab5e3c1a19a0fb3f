"""The named result of an operation that a killed daemon left behind."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.core.status import Status
from agentd.resolving import verdict

UP, DOWN, UNDEF, NA = Status.UP, Status.DOWN, Status.UNDEF, Status.NA


def document(action: str, *touched: tuple[str, str]) -> dict[str, Any]:
    return {"action": action, "node": "hv1",
            "plan": {"steps": [{"where": where, "what": what} for where, what in touched]}}


@pytest.mark.parametrize(("action", "status", "result"), [
    ("start", {("hv1", "fs#1"): UP, ("hv1", "app#1"): UP}, "succeeded"),
    ("start", {("hv1", "fs#1"): UP, ("hv1", "app#1"): NA}, "succeeded"),
    ("start", {("hv1", "fs#1"): UP, ("hv1", "app#1"): DOWN}, "failed"),
    ("start", {("hv1", "fs#1"): UP, ("hv1", "app#1"): UNDEF}, "unknown"),
    ("stop", {("hv1", "fs#1"): DOWN, ("hv1", "app#1"): DOWN}, "succeeded"),
    ("shutdown", {("hv1", "fs#1"): UP, ("hv1", "app#1"): DOWN}, "failed"),
    ("restart", {("hv1", "fs#1"): UP, ("hv1", "app#1"): UP}, "succeeded"),
    ("start", {("hv1", "container#0"): UP, ("vm1", "fs#1"): UP}, "succeeded"),
    ("start", {("hv1", "container#0"): UP, ("vm1", "fs#1"): DOWN}, "failed"),
    ("start", {("hv1", "container#0"): UP, ("vm1", "fs#1"): UNDEF}, "unknown"),
    ("stop", {("hv1", "web"): DOWN, ("hv2", "web"): UP}, "failed"),
])
def test_verdict_is_what_the_resources_say(
    action: str, status: dict[tuple[str, str], Status], result: str,
) -> None:
    found, text = verdict(document(action, *status), status)
    assert found == result
    for where, what in status:
        assert (f"{what} in {where}" if where != "hv1" else what) in text


def test_a_resource_of_the_same_name_at_another_level_is_another_one() -> None:
    touched = document("start", ("vm1", "fs#1"))
    assert verdict(touched, {("hv1", "fs#1"): UP, ("vm1", "fs#1"): DOWN})[0] == "failed"


def test_what_no_resource_tells_is_unknown() -> None:
    assert verdict(document("freeze", ("hv1", "web")), {("hv1", "fs#1"): UP})[0] == "unknown"
    assert verdict({"action": "start", "node": "hv1", "plan": None}, {})[0] == "unknown"

"""The named result of an operation that a killed daemon left behind."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.core.status import Status
from agentd.performing import verdict

UP, DOWN, UNDEF, NA = Status.UP, Status.DOWN, Status.UNDEF, Status.NA


def document(action: str, *rids: str) -> dict[str, Any]:
    return {"action": action, "plan": {"steps": [{"what": rid} for rid in rids]}}


@pytest.mark.parametrize(("action", "status", "result"), [
    ("start", {"fs#1": UP, "app#1": UP}, "succeeded"),
    ("start", {"fs#1": UP, "app#1": NA}, "succeeded"),
    ("start", {"fs#1": UP, "app#1": DOWN}, "failed"),
    ("start", {"fs#1": UP, "app#1": UNDEF}, "unknown"),
    ("stop", {"fs#1": DOWN, "app#1": DOWN}, "succeeded"),
    ("shutdown", {"fs#1": UP, "app#1": DOWN}, "failed"),
    ("restart", {"fs#1": UP, "app#1": UP}, "succeeded"),
])
def test_verdict_is_what_the_resources_say(action: str, status: dict[str, Status], result: str) -> None:
    found, text = verdict(document(action, *status), status)
    assert found == result
    assert "fs#1" in text


def test_what_no_resource_tells_is_unknown() -> None:
    assert verdict(document("freeze", "web"), {"fs#1": UP})[0] == "unknown"
    assert verdict({"action": "start", "plan": None}, {})[0] == "unknown"

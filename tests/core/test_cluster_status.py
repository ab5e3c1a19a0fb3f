"""A service over its nodes: counted, never merged, and silence is never down."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.cluster_status import cluster_document
from agentd.core.status import Status

SILENT = {"node": "hv9", "since": "2026-11-23T16:00:00.000Z", "why": "connection refused"}


def instance(number: int, avail: str, container: str = "") -> dict[str, Any]:
    resources = [{"group": "container", "status": container}] if container else []
    return {"node": f"hv{number}", "avail": avail, "overall": avail, "resources": resources}


def document(topology: str, avails: str, silent: int = 0, flex_min: int = 1) -> dict[str, Any]:
    instances = [instance(i, a.strip()) for i, a in enumerate(avails.split(","), 1) if a]
    return cluster_document("web", topology, flex_min, instances, [SILENT] * silent)


@pytest.mark.parametrize(
    ("avails", "silent", "avail", "overall", "split"),
    [
        ("up,down", 0, "up", "up", False),
        ("down,up,n/a", 0, "up", "up", False),
        ("up,up", 0, "warn", "warn", True),
        ("up,up,undef", 1, "warn", "warn", True),
        ("up", 1, "up", "warn", False),
        ("up,undef", 0, "up", "warn", False),
        ("up,warn", 0, "up", "warn", False),
        ("down,down", 0, "down", "down", False),
        ("down", 1, "undef", "undef", False),
        ("warn", 1, "undef", "undef", False),
        ("down,undef", 0, "undef", "undef", False),
        ("down,warn", 0, "warn", "warn", False),
        ("down,n/a", 0, "down", "down", False),
        ("down,stdby up", 0, "down", "down", False),
        ("stdby up,stdby down", 0, "stdby down", "stdby down", False),
        ("n/a,n/a", 0, "n/a", "n/a", False),
        ("", 0, "n/a", "n/a", False),
        ("", 2, "undef", "undef", False),
    ],
)
def test_failover(avails: str, silent: int, avail: str, overall: str, split: bool) -> None:
    made = document("failover", avails, silent)
    assert (made["avail"], made["overall"], made["split"]) == (avail, overall, split)


@pytest.mark.parametrize(
    ("avails", "silent", "flex_min", "avail"),
    [
        ("up,up", 0, 2, "up"),
        ("up,up", 1, 2, "up"),
        ("up,down", 0, 2, "warn"),
        ("up", 1, 2, "warn"),
        ("up,down", 0, 1, "up"),
        ("down,down", 0, 1, "down"),
        ("down,down", 0, 0, "down"),
        ("down", 1, 1, "undef"),
        ("down,undef", 0, 1, "undef"),
        ("warn,down", 0, 1, "warn"),
        ("n/a,n/a", 0, 1, "n/a"),
        ("", 0, 1, "n/a"),
    ],
)
def test_flex(avails: str, silent: int, flex_min: int, avail: str) -> None:
    made = document("flex", avails, silent, flex_min)
    assert made["avail"] == avail
    assert made["split"] is False


def test_half_an_instance_with_a_machine_that_runs_is_a_split_too() -> None:
    two = [instance(1, "up", "up"), instance(2, "warn", "up")]
    made = cluster_document("web", "failover", 1, two, [])
    assert (made["avail"], made["split"], made["running"]) == ("warn", True, ["hv1", "hv2"])
    down = [instance(1, "up", "up"), instance(2, "warn", "down")]
    assert cluster_document("web", "failover", 1, down, [])["split"] is False


def test_the_document_holds_every_instance_and_every_silence() -> None:
    made = document("failover", "up,down", 1)
    assert made["schema"] == "encap.cluster-status/1"
    assert [one["node"] for one in made["instances"]] == ["hv1", "hv2"]
    assert made["silent"] == [SILENT]


@given(
    st.sampled_from(["failover", "flex"]),
    st.lists(st.sampled_from([str(s) for s in Status]), max_size=5),
    st.integers(0, 3),
)
def test_with_silence_or_doubt_nothing_is_called_down(topology: str, avails: list[str], silent: int) -> None:
    made = cluster_document(
        "web", topology, 1, [instance(i, a) for i, a in enumerate(avails)], [SILENT] * silent
    )
    if silent or "undef" in avails:
        assert made["avail"] in ("up", "warn", "undef")
        assert made["overall"] in ("warn", "undef")
    assert (made["avail"] == "up") <= ("up" in avails)

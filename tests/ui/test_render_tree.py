"""Trees: the two samples of the format byte for byte, and what they leave open."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.cluster_status import cluster_document
from agentd.core.folding import InstanceContext, instance_document
from agentd.core.guest_part import GuestReport
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.reply import read_guest_status
from agentd.core.status import LogLine, Observation, Probe, Status
from cli.render import UnreadableDocument, any_tree, cluster_tree, tree

TREES = Path(__file__).parent.parent / "golden" / "trees"
NAME, AT = "deb1.opensvc.com", "2026-11-23T16:00:00.000Z"


def golden(name: str) -> str:
    return (TREES / f"{name}.txt").read_text(encoding="utf-8")


def stored(name: str) -> dict[str, Any]:
    return dict(json.loads((TREES / f"{name}.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("sample", ["seed_host", "seed_guest"])
def test_vector_3_seed_trees_from_stored_documents(sample: str) -> None:
    assert tree(stored(sample)) == golden(sample)


def test_the_tree_in_the_documentation_is_the_real_one() -> None:
    concepts = (TREES.parent.parent.parent / "docs" / "concepts.md").read_text(encoding="utf-8")
    assert f"```\n{golden('seed_host')}```\n" in concepts


# The same two, from services and observations through folding.

IPS = (
    Resource("ip#2", "host", "128.0.0.2@lo", encap=True),
    Resource("ip#1", "host", "deb1@eth0", encap=True),
)
APP = Resource("app", "forking", "app")
SYNC = Resource("sync#i0", "config", "rsync svc config to drpnodes, nodes", internal=True, optional=True)
FS = Resource("fs#1", "ext4", "/dev/mapper/data-deb1@/deb1")
COPY = Resource("sync#1", "btrfs", "btrfs of deb1:deb1 to ['nodes']", optional=True)
CONTAINER = Resource("container#0", "lxc", "deb1")
GUEST = Guest("container#0", "vm1", IPS)


def seen(status: str, *log: LogLine, last: Status | None = None) -> Observation:
    return Observation(Probe(Status(status), log), 99.6, AT, last=last, last_observed=69.0 if last else None)


UP = {rid: seen("up") for rid in ("container#0", "fs#1", "ip#1", "ip#2", "sync#i0", "sync#1")}
UP["app"] = seen("n/a", LogLine("info", "no checkup scripts"))


def host(*own: Resource, guest: Guest = GUEST) -> Service:
    guests = (guest,) if CONTAINER in own else ()
    return Service(NAME, "hv1", Level.HOST, ("hv1", "hv2"), encapnodes=("vm1",), resources=own, guests=guests)


INSIDE = Service(NAME, "vm1", Level.ENCAP, ("vm1",), encapnodes=("vm1",), resources=(*IPS, APP, SYNC))
CONTEXT = InstanceContext(now=100.0, observed_at=AT, revision=12, hash="sha256:00")


def answer(observations: dict[str, Observation] = UP) -> dict[str, Any]:
    inside = instance_document(INSIDE, observations, {}, CONTEXT)
    return read_guest_status(json.dumps(inside), host(CONTAINER), GUEST)


def document(
    *own: Resource,
    observations: dict[str, Observation] = UP,
    report: GuestReport | None = None,
    context: InstanceContext = CONTEXT,
) -> dict[str, Any]:
    reports = {"container#0": report or GuestReport("answering", answer(), 99.0, AT)}
    return instance_document(host(*own), observations, reports, context)


ALL = (SYNC, COPY, APP, FS, CONTAINER)


def test_vector_3_seed_trees_from_resources() -> None:
    assert tree(document(SYNC, COPY, APP, FS, CONTAINER)) == golden("seed_host")
    assert tree(instance_document(INSIDE, UP, {}, CONTEXT)) == golden("seed_guest")


def silent() -> dict[str, Any]:
    return document(*ALL, report=GuestReport("silent", answer(), 58.0, AT))


def down() -> dict[str, Any]:
    return document(*ALL, observations=UP | {"container#0": seen("down"), "fs#1": seen("down")})


def busy() -> dict[str, Any]:
    frozen = {"by": "alice", "reason": "disk swap", "since": AT, "until": None}
    operation = {"id": "01", "action": "start", "phase": "agent answers"}
    quoted = LogLine("warn", "the device answers slowly, three reads of twenty took more than five seconds")
    context = InstanceContext(
        100.0,
        AT,
        12,
        "",
        frozen,
        operation,
        notes=(LogLine("warn", "no claim"),),
        restart={"fs#1": {"left": 1, "of": 3}},
    )
    inside = dict(answer(), frozen={"by": "root", "reason": None, "since": AT, "until": None})
    watched = Resource(
        "fs#1", "ext4", "/dev/mapper/data-deb1@/deb1", monitor=True, standby=True, optional=True
    )
    return document(
        *ALL[:3],
        watched,
        Resource("hb#1", "external", "pacemaker"),
        Resource("task#1", "host", "night"),
        Resource("fs#2", "xfs", disable=True),
        CONTAINER,
        context=context,
        observations=UP | {"fs#1": seen("up", quoted), "hb#1": seen("up"), "task#1": seen("n/a")},
        report=GuestReport("answering", inside, 99.0, AT),
    )


def container_last() -> dict[str, Any]:
    warned = {"container#0": seen("up", LogLine("warn", "container auto boot is on"))}
    inside = answer(UP | {"ip#1": seen("warn", LogLine("warn", "no carrier"))})
    return document(CONTAINER, observations=warned, report=GuestReport("answering", inside, 99.0, AT))


def unknown() -> dict[str, Any]:
    why = LogLine("error", "lxc-info did not answer in 10 s")
    return document(
        *ALL,
        observations=UP | {"container#0": seen("undef", why, last=Status.UP)},
        report=GuestReport("silent", None, None),
    )


DRAWN: dict[str, Callable[[], str]] = {
    "silent": lambda: tree(silent()),
    "down": lambda: tree(down()),
    "busy": lambda: tree(busy()),
    "busy_wide": lambda: tree(busy(), wide=True, width=120),
    "container_last": lambda: tree(container_last()),
    "unknown": lambda: tree(unknown()),
    "nothing_here": lambda: tree(instance_document(Service(NAME, "x", Level.NONE), {}, {}, CONTEXT)),
    "cluster": lambda: cluster_tree(cluster()),
    "cluster_split": lambda: cluster_tree(
        cluster_document(NAME, "failover", 1, [document(*ALL), dict(silent(), node="hv2")], [])
    ),
}


def cluster() -> dict[str, Any]:
    unheard = [
        {"node": "hv3", "since": AT, "why": "connection refused"},
        {"node": "hv4", "since": AT, "age": 42.3, "why": "no answer in 3 s"},
    ]
    return cluster_document(NAME, "failover", 1, [silent(), dict(down(), node="hv2")], unheard)


@pytest.mark.parametrize("name", list(DRAWN))
def test_golden(name: str) -> None:
    assert DRAWN[name]() == golden(name)


@pytest.mark.parametrize("name", list(DRAWN))
def test_no_blank_at_the_end_of_a_line(name: str) -> None:
    assert [line for line in DRAWN[name]().splitlines() if line != line.rstrip()] == []


def test_vector_5_tree_says_how_long_the_agent_is_silent() -> None:
    drawn = tree(silent())
    assert "# agent in vm1 has not answered for 42 s" in drawn
    assert re.search(r"ip#2 +\.\.\.E undef +128\.0\.0\.2@lo \(was up, 42 s ago\)", drawn)


def test_lines_of_a_log_stay_within_the_width() -> None:
    lines = [one for one in tree(busy()).splitlines() if "# " in one]
    assert len(lines) > 3
    assert max(map(len, lines)) <= 78


@pytest.mark.parametrize("width", [-5, 0, 1, 20, 40, 1000])
def test_any_width_of_a_terminal(width: int) -> None:
    assert "lxc-info" in tree(unknown(), width=width)
    assert tree(stored("seed_host"), width=width).splitlines()[1] == golden("seed_host").splitlines()[1]


def test_the_mark_of_the_guest_is_shown_on_the_hypervisor_only() -> None:
    assert "...E" in tree(stored("seed_host"))
    assert "E up" not in tree(stored("seed_guest"))


def test_colours_change_nothing_but_colours() -> None:
    painted = tree(busy(), color=True)
    assert "\x1b[32mup\x1b[0m       deb1" in painted
    assert re.sub(r"\x1b\[\d*m", "", painted) == tree(busy())
    assert "\x1b" not in tree(busy())


HOSTILE = "\x1b]0;x\x07 a\nb \u202e \x9b2J <b>&"


def test_text_of_strangers_cannot_leave_its_place() -> None:
    bad = silent()
    bad["resources"][0]["label"] = HOSTILE
    bad["resources"][0]["log"] = [{"level": "warn", "text": HOSTILE}]
    bad["frozen"] = {"by": HOSTILE, "reason": HOSTILE}
    bad["service"] = bad["overall"] = bad["resources"][1]["rid"] = HOSTILE
    drawn = tree(bad, color=True)
    assert re.sub(r"\x1b\[\d*m", "", drawn).replace("\n", "").isprintable()
    assert len(drawn.splitlines()) < 25
    assert "<b>&" in drawn


def test_a_long_label_is_cut() -> None:
    bad = silent()
    bad["resources"][0]["label"] = "x" * 4096
    assert max(map(len, tree(bad).splitlines())) < 260


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        "text",
        {},
        {"schema": "encap.plan/1"},
        {"schema": ["encap.status/1"]},
        {"schema": "encap.status/1"},
        {"schema": "encap.status/1", "overall": "up", "avail": "up", "resources": {"a": 1}},
        {"schema": "encap.status/1", "overall": "up", "avail": "up", "resources": ["x"]},
        {"schema": "encap.status/1", "overall": "up", "avail": "up", "resources": [{"group": "fs"}]},
        {"schema": "encap.cluster-status/1", "overall": "up", "avail": "up", "instances": [1]},
    ],
)
def test_what_is_no_status_document_says_so(bad: object) -> None:
    with pytest.raises(UnreadableDocument):
        any_tree(bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    max_leaves=5,
)
FIELDS = [*stored("seed_host")["resources"][0]]


@given(key=st.sampled_from(FIELDS), value=JSON, top=st.sampled_from([*stored("seed_host")]), other=JSON)
def test_any_document_is_drawn_or_refused(key: str, value: object, top: str, other: object) -> None:
    bad = stored("seed_host")
    bad["resources"][0][key] = value
    bad[top] = other
    for wide in (False, True):
        try:
            drawn = tree(bad, wide=wide)
        except UnreadableDocument:
            continue
        assert drawn.replace("\n", "").isprintable()

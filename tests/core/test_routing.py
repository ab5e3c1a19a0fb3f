"""Which hypervisors a request goes to."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.errors import HeldElsewhere, InvalidRequest, Refused
from agentd.core.known import Known, offline_known
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.plan import Request
from agentd.core.routing import Route, plan_cluster, route

INSIDE = (Resource("fs#2", "fake", encap=True),)
WEB = Service(
    "web",
    "hv1",
    Level.HOST,
    ("hv1", "hv2"),
    ("dr1",),
    ("vm1",),
    resources=(Resource("fs#1", "fake"), Resource("container#0", "fake")),
    guests=(Guest("container#0", "vm1", INSIDE),),
)
FLEX = replace(WEB, topology="flex", nodes=("hv1", "hv2", "hv3"), drpnodes=(), flex_target=2)
ALL_DOWN = {"hv1": "down", "hv2": "down", "dr1": "down"}


def way(
    action: str,
    peers: dict[str, str],
    service: Service = WEB,
    here: str = "hv1",
    assume_down: tuple[str, ...] = (),
    **more: Any,
) -> Route:
    return route(service, Request(action, **more), {**ALL_DOWN, **peers}, here, assume_down)


def skipped(what: Route) -> dict[str, str]:
    return {one.where: one.why for one in what.skipped}


# --- start


def test_a_failover_start_is_for_the_one_that_got_it() -> None:
    assert way("start", {}).nodes == ("hv1",)
    assert way("start", {}, here="hv2").nodes == ("hv2",)
    assert way("start", {"hv1": "warn"}).nodes == ("hv1",)


def test_a_failover_start_of_what_is_up_is_skipped() -> None:
    for node in ("hv1", "hv2", "dr1"):
        what = way("start", {node: "up"})
        assert what.nodes == ()
        assert skipped(what) == {node: f"already up on {node}"}


@pytest.mark.parametrize("avail", ["silent", "undef", "warn"])
@pytest.mark.parametrize("node", ["hv2", "dr1"])
def test_a_start_that_could_make_two_is_refused(avail: str, node: str) -> None:
    for more in ({}, {"nodes": ("hv1",)}):
        with pytest.raises(HeldElsewhere) as caught:
            way("start", {node: avail}, **more)
        assert caught.value.details["holder"] == node


def test_a_node_that_was_never_heard_of_is_silent() -> None:
    with pytest.raises(HeldElsewhere, match="on hv2 is not known"):
        route(WEB, Request("start"), {"hv1": "down"}, "hv1")


def test_assume_down_stands_for_silence_and_not_for_an_answer() -> None:
    assert way("start", {"hv2": "silent"}, assume_down=("hv2",)).nodes == ("hv1",)
    assert way("start", {"hv2": "up"}, assume_down=("hv2",)).nodes == ()
    with pytest.raises(HeldElsewhere):
        way("start", {"hv2": "warn"}, assume_down=("hv2",))


def test_a_named_node_is_refused_where_it_is_up_elsewhere() -> None:
    assert way("start", {}, nodes=("dr1",)).nodes == ("dr1",)
    assert way("start", {"hv1": "up"}, nodes=("hv1",)).nodes == ("hv1",)
    with pytest.raises(HeldElsewhere, match="up on hv1"):
        way("start", {"hv1": "up"}, nodes=("hv2",))
    with pytest.raises(InvalidRequest, match="started on one node"):
        way("start", {}, nodes=("hv1", "hv2"))


def test_recovery_nodes_start_nothing_by_themselves() -> None:
    with pytest.raises(InvalidRequest, match="does not start by itself on dr1"):
        way("start", {}, here="dr1")


@pytest.mark.parametrize(
    ("peers", "nodes"),
    [
        ({"hv3": "down"}, ("hv1", "hv2")),
        ({"hv1": "up", "hv3": "down"}, ("hv2",)),
        ({"hv1": "up", "hv2": "up", "hv3": "down"}, ()),
        ({"hv2": "silent", "hv3": "down"}, ("hv1", "hv3")),
        ({"hv2": "silent", "hv3": "silent"}, ("hv1", "hv2")),
        ({"hv1": "undef", "hv3": "up"}, ("hv1",)),
    ],
)
def test_a_flex_start_goes_up_to_its_target_and_to_the_silent_last(
    peers: dict[str, str], nodes: tuple[str, ...]
) -> None:
    what = way("start", peers, FLEX)
    assert what.nodes == nodes
    assert set(what.nodes) | set(skipped(what)) == {"hv1", "hv2", "hv3"}


def test_no_target_means_all() -> None:
    assert way("start", {"hv3": "down"}, replace(FLEX, flex_target=0)).nodes == ("hv1", "hv2", "hv3")


# --- stop, restart, freeze, delete


@pytest.mark.parametrize("action", ["stop", "shutdown"])
def test_a_stop_goes_wherever_it_is_not_proven_down(action: str) -> None:
    what = way(action, {"hv1": "up", "hv2": "silent", "dr1": "undef"})
    assert what.nodes == ("hv1", "hv2", "dr1")
    assert "silent" in what.targets[1].why
    assert skipped(way(action, {"hv2": "warn"})) == {"hv1": "already down", "dr1": "already down"}


def test_standby_is_down_for_a_stop_and_not_for_a_shutdown() -> None:
    assert way("stop", {"hv2": "stdby up"}).nodes == ()
    assert way("shutdown", {"hv2": "stdby up"}).nodes == ("hv2",)
    assert way("stop", {"hv2": "stdby up"}, force=True).nodes == ("hv2",)


def test_a_failover_restart_stops_the_others_first_and_starts_one() -> None:
    what = way("restart", {"hv2": "up", "hv1": "undef"})
    assert [(t.node, t.action) for t in what.targets] == [("hv1", "stop"), ("hv2", "restart")]
    assert what.first == {"hv1"}
    assert [(t.node, t.action) for t in way("restart", {"hv2": "up"}).targets] == [("hv2", "restart")]
    assert way("restart", {}).nodes == ()
    assert [t.action for t in way("restart", {"hv1": "up", "hv2": "up"}, FLEX).targets] == ["restart"] * 3


def test_freeze_goes_to_all_nodes_silent_or_not() -> None:
    assert way("freeze", {"hv2": "silent"}).nodes == ("hv1", "hv2")
    assert way("thaw", {"hv1": "up"}, master=True).nodes == ("hv1", "hv2")
    assert way("freeze", {}, slave=("vm1",)).nodes == ("hv1",)


def test_delete_goes_everywhere_once_all_is_proven_stopped() -> None:
    what = way("delete", {})
    assert what.nodes == ("hv2", "dr1", "hv1")
    assert what.first == {"hv2", "dr1"}
    for avail in ("up", "silent", "undef", "warn", "stdby up"):
        with pytest.raises(Refused, match="hv2"):
            way("delete", {"hv2": avail})
        assert way("delete", {"hv2": avail}, force=True).nodes == ("hv2", "dr1", "hv1")


# --- what is for the receiving node, and --node


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("startfs", {"master": True}),
        ("stop", {"slaves": True}),
        ("start", {"rids": ("fs#1",)}),
        ("stop", {"tags": (("a",),)}),
        ("disable", {"rids": ("fs#1",)}),
        ("clear", {}),
        ("start", {"local": True}),
    ],
)
def test_levels_groups_and_selections_are_for_the_receiving_node(action: str, more: dict[str, Any]) -> None:
    assert way(action, {"hv1": "up", "hv2": "silent"}, **more).nodes == ("hv1",)


def test_a_receiver_outside_the_lists_needs_a_node() -> None:
    with pytest.raises(InvalidRequest, match="hv9 does not run web"):
        way("startfs", {}, here="hv9", master=True)


def test_node_narrows_in_the_fixed_order_and_must_be_in_the_lists() -> None:
    assert way("stop", {}, nodes=("dr1", "hv2", "hv2")).nodes == ("hv2", "dr1")
    for node in ("hv9", "vm1", ""):
        with pytest.raises(InvalidRequest, match="is no hypervisor of web"):
            way("stop", {}, nodes=("hv1", node))


AVAILS = st.sampled_from(("up", "down", "warn", "undef", "silent", "n/a", "stdby up", "stdby down"))


@given(
    st.fixed_dictionaries({"hv1": AVAILS, "hv2": AVAILS, "dr1": AVAILS}),
    st.sampled_from(("hv1", "hv2")),
    st.sampled_from(("start", "restart")),
)
def test_no_route_of_a_failover_service_can_make_two(peers: dict[str, str], here: str, action: str) -> None:
    try:
        what = way(action, peers, here=here)
    except HeldElsewhere:
        return
    starting = [t.node for t in what.targets if t.action == action]
    assert len(starting) <= 1
    for node, avail in peers.items():
        if starting and node not in starting and avail in ("up", "warn", "undef", "silent"):
            assert node in what.first, "something may be up there, and is not stopped before"


# --- the plan over several


def test_a_request_for_this_node_alone_is_its_own_plan() -> None:
    what = plan_cluster(WEB, Request("start"), offline_known(WEB, "start"))
    assert [step.what for step in what.own] == ["fs#1", "container#0", "web"]
    assert what.own[-1].where == "vm1"


def test_each_hypervisor_gets_one_request_and_this_ones_is_unfolded() -> None:
    known = replace(offline_known(WEB, "stop"), peers={"hv1": "up", "hv2": "warn", "dr1": "down"})
    what = plan_cluster(WEB, Request("stop", force=True), known)
    assert [(s.where, s.request) for s in what.own] == [
        (node, Request("stop", force=True, local=True)) for node in ("hv1", "hv2")
    ]
    assert [s.what for s in what.steps if s.under == 0] == ["web", "container#0", "fs#1"]
    assert all(step.undo == "" for step in what.own)
    assert list(what.waves()) == [what.own]


def test_a_request_for_another_hypervisor_is_one_step() -> None:
    what = plan_cluster(WEB, Request("startfs", nodes=("hv2",), slave=("vm7",)), Known(peers=ALL_DOWN))
    assert [(s.where, s.request) for s in what.steps] == [
        ("hv2", Request("startfs", slave=("vm7",), local=True))
    ]


def test_own_avail_is_taken_from_own_statuses_where_nobody_tells() -> None:
    others = {"hv2": "down", "dr1": "down"}
    up = replace(offline_known(WEB, "stop"), peers=others)
    assert [s.where for s in plan_cluster(WEB, Request("start"), up).skipped] == ["hv1"]
    assert plan_cluster(WEB, Request("stop"), replace(offline_known(WEB, "start"), peers=others)).steps == ()
    unknown = plan_cluster(WEB, Request("stop"), Known(peers=others))
    assert [s.what for s in unknown.own] == ["web", "container#0", "fs#1"]

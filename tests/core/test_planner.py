"""The rules of plans: what is done, skipped, refused and undone, at both levels."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.errors import InvalidRequest, NotSupported, Refused
from agentd.core.known import GuestInstance, Known, offline_known
from agentd.core.model import Guest, Level, Resource, Service, Subset
from agentd.core.placement import choose_guest
from agentd.core.plan import Plan, Request, undo_of
from agentd.core.planner import plan
from agentd.core.status import Status

UP, DOWN, UNDEF = Status.UP, Status.DOWN, Status.UNDEF


def resource(rid: str, **more: Any) -> Resource:
    return Resource(rid, "fake", **more)


def guest(container: str, node: str, topology: str = "failover", nodes: tuple[str, ...] = ()) -> Guest:
    inside = (resource("fs#2", encap=True), resource("app#1", encap=True))
    return Guest(container, node, inside, topology, nodes or (node,))


WEB = Service(
    "web",
    "hv1",
    Level.HOST,
    ("hv1", "hv2"),
    encapnodes=("vm1",),
    resources=(resource("fs#1"), resource("container#0"), resource("app#9")),
    guests=(guest("container#0", "vm1"),),
)
ALL_UP, ALL_DOWN = offline_known(WEB, "stop"), offline_known(WEB, "start")


def made(action: str, known: Known = ALL_UP, service: Service = WEB, **more: Any) -> Plan:
    return plan(service, Request(action, **more), known)


def done(what: Plan) -> list[str]:
    return [f"{step.where} {step.action} {step.what}" for step in what.own]


def skipped(what: Plan) -> dict[str, str]:
    return {f"{one.where} {one.what}": one.why for one in what.skipped}


def changed(rid: str, **more: Any) -> Service:
    return replace(WEB, resources=tuple(replace(r, **more) if r.rid == rid else r for r in WEB.resources))


# --- verbs


@pytest.mark.parametrize(
    "verb",
    [
        "migrate",
        "switch",
        "takeover",
        "giveback",
        "provision",
        "unprovision",
        "run",
        "boot",
        "startstandby",
        "syncnodes",
        "sync_nodes",
    ],
)
def test_verbs_of_later_work_say_so(verb: str) -> None:
    with pytest.raises(NotSupported, match="not yet supported"):
        made(verb)


@pytest.mark.parametrize(
    ("verb", "hint"),
    [
        ("strat", "start"),
        ("stopsf", "stopfs"),
        ("Start", "start"),
        ("", "The actions are"),
        ("x" * 5000, "The actions are"),
        ("start\x1b[2J", "start"),
    ],
)
def test_an_unknown_verb_is_refused_with_a_suggestion(verb: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        made(verb)
    assert hint in caught.value.hint
    assert "\x1b" not in caught.value.text
    assert len(caught.value.text) < 120


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("freeze", {"rids": ("fs#1",)}),
        ("delete", {"tags": (("a",),)}),
        ("clear", {"subsets": ("a",)}),
        ("enable", {}),
        ("disable", {}),
        ("restart", {"to": "fs"}),
        ("freeze", {"to": "fs"}),
    ],
)
def test_options_that_a_verb_does_not_take(action: str, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        made(action, **more)


def test_a_node_of_no_list_runs_nothing() -> None:
    with pytest.raises(Refused, match="in no list"):
        made("start", service=replace(WEB, level=Level.NONE))


# --- what is left alone, and why


def test_already_up_and_already_down_are_skipped() -> None:
    assert done(made("start")) == []
    assert skipped(made("start")) == {
        "hv1 fs#1": "already up",
        "hv1 container#0": "already up",
        "vm1 web": "already up",
        "hv1 app#9": "already up",
    }
    assert done(made("stop", ALL_DOWN)) == []
    assert skipped(made("stop", ALL_DOWN))["vm1 web"] == "container#0 is down"


@pytest.mark.parametrize("status", [UNDEF, Status.WARN, Status.NA])
@pytest.mark.parametrize("action", ["start", "stop"])
def test_what_is_not_proven_is_planned(status: Status, action: str) -> None:
    known = replace(ALL_UP, status={**ALL_UP.status, "fs#1": status})
    assert f"hv1 {action} fs#1" in done(made(action, known))


def test_a_status_that_is_missing_is_not_known() -> None:
    assert done(made("stop", Known())) == [
        "hv1 stop app#9",
        "vm1 stop web",
        "hv1 stop container#0",
        "hv1 stop fs#1",
    ]
    assert len(made("start", Known()).own) == 4


@pytest.mark.parametrize(
    ("more", "why"),
    [({"disable": True}, "disabled"), ({"tags": frozenset(("noaction",))}, "tagged noaction")],
)
def test_disabled_and_noaction_are_left_alone(more: dict[str, Any], why: str) -> None:
    service = changed("fs#1", **more)
    assert skipped(made("start", ALL_DOWN, service))["hv1 fs#1"] == why
    assert skipped(made("stop", ALL_UP, service))["hv1 fs#1"] == why


def test_a_disabled_container_takes_its_guest_with_it() -> None:
    service = changed("container#0", disable=True)
    assert skipped(made("stop", ALL_UP, service))["vm1 web"] == "container#0 is disabled"


def test_a_container_that_is_down_and_left_alone_has_no_guest_to_start() -> None:
    service = changed("container#0", tags=frozenset(("noaction",)))
    assert skipped(made("start", ALL_DOWN, service))["vm1 web"] == "container#0 is down, and is not started"
    assert "vm1 start web" in done(made("start", replace(ALL_UP, guests={}), service))


def test_standby_stays_up_on_a_stop_but_for_force_and_shutdown() -> None:
    service = changed("fs#1", standby=True)
    known = replace(ALL_UP, status={**ALL_UP.status, "fs#1": Status.STDBY_UP})
    assert skipped(made("stop", known, service))["hv1 fs#1"] == "standby: stays up, unless forced"
    assert "hv1 stop fs#1" in done(made("stop", known, service, force=True))
    assert "hv1 stop fs#1" in done(made("shutdown", known, service))
    assert "hv1 start fs#1" not in done(made("restart", known, service))


def test_a_doubt_about_the_container_is_no_proof_that_its_guest_is_down() -> None:
    doubt = replace(ALL_DOWN, states={"container#0": "unknown"}, guests={})
    assert done(made("stop", doubt)) == ["vm1 stop web"]
    doubt = replace(doubt, status={**ALL_DOWN.status, "container#0": UNDEF})
    assert done(made("stop", doubt)) == ["vm1 stop web", "hv1 stop container#0"]


def test_a_started_container_always_gets_its_guest_part() -> None:
    known = replace(ALL_UP, status={**ALL_UP.status, "container#0": DOWN}, states={"container#0": "down"})
    assert done(made("start", known)) == ["hv1 start container#0", "vm1 start web"]


def test_what_a_guest_said_before_its_container_starts_is_not_trusted() -> None:
    known = replace(ALL_UP, status={**ALL_UP.status, "container#0": UNDEF}, states={"container#0": "unknown"})
    assert done(made("start", known)) == ["hv1 start container#0", "vm1 start web"]


def test_a_silent_guest_is_not_known_to_be_up_or_down() -> None:
    known = replace(ALL_UP, guest_silent=frozenset(("container#0",)))
    assert done(made("start", known)) == ["vm1 start web"]
    assert "silent" in made("start", known).own[0].why


# --- what failure and silence of a guest mean


@pytest.mark.parametrize(
    ("action", "more", "silence", "failure"),
    [
        ("start", {}, "fail", "fail"),
        ("stop", {}, "go on", "fail"),
        ("shutdown", {}, "go on", "go on"),
        ("stop", {"slaves": True}, "fail", "fail"),
        ("shutdown", {"slaves": True}, "fail", "fail"),
        ("stopfs", {"master": True, "slaves": True}, "fail", "fail"),
        ("freeze", {}, "fail", "fail"),
    ],
)
def test_only_a_container_that_is_stopped_next_excuses_its_guest(
    action: str,
    more: dict[str, Any],
    silence: str,
    failure: str,
) -> None:
    known = ALL_DOWN if action == "start" else ALL_UP
    [step] = [step for step in made(action, known, **more).own if step.request is not None]
    assert (step.on_silence, step.on_failure) == (silence, failure)


def test_a_guest_that_cannot_stop_keeps_even_an_optional_container() -> None:
    service = changed("container#0", optional=True)
    assert [s.optional for s in made("stop", service=service).own] == [False, False, True, False]
    assert [s.optional for s in made("start", ALL_DOWN, service).own] == [False, True, True, False]


# --- requests to guests, and undo


def test_a_guest_is_asked_for_what_is_its_own() -> None:
    [step] = made("start", ALL_DOWN, rids=("fs#2", "app"), slave=("vm1",)).own
    assert step.request == Request("start", rids=("fs#2", "app#1"), local=True)
    [step] = made("stopfs", slaves=True, force=True).own
    assert step.request == Request("stopfs", local=True, force=True)


def test_undo_of_a_guest_part_names_what_it_was_to_start() -> None:
    known = replace(ALL_UP, guests={"container#0": {"fs#2": UP, "app#1": DOWN}})
    [step] = made("start", known).own
    assert undo_of(step).request == Request("stop", rids=("app#1",), force=True, local=True)
    assert undo_of(step, ("fs#2",)).request == Request("stop", rids=("fs#2",), force=True, local=True)
    [limited] = made("startfs", ALL_DOWN, slaves=True).own
    assert undo_of(limited).request == Request("stop", rids=("fs#2",), force=True, local=True)
    assert undo_of(limited).action == "stop"


# --- freeze, enable, delete


def test_freeze_reaches_both_levels_and_options_narrow_it() -> None:
    assert done(made("freeze")) == ["hv1 freeze web", "vm1 freeze web"]
    assert done(made("thaw", master=True)) == ["hv1 thaw web"]
    assert done(made("freeze", slave=("vm1",))) == ["vm1 freeze web"]
    assert skipped(made("freeze", ALL_DOWN)) == {"vm1 web": "container#0 is down"}
    assert all(step.undo == "" for step in made("freeze").steps)


def test_enable_and_disable_edit_here_also_what_is_in_the_guest() -> None:
    assert done(made("disable", rids=("fs",))) == ["hv1 disable fs#1", "hv1 disable fs#2"]
    assert skipped(made("enable", rids=("fs#2",))) == {"hv1 fs#2": "already enabled"}


def test_delete_needs_a_proof_or_force() -> None:
    assert done(made("delete", ALL_DOWN)) == ["hv1 delete web"]
    assert "copy inside stays" in skipped(made("delete", ALL_DOWN))["vm1 web"]
    for known in (ALL_UP, Known(), replace(ALL_DOWN, status={**ALL_DOWN.status, "fs#1": UNDEF})):
        with pytest.raises(Refused, match="fs#1"):
            made("delete", known)
    assert done(made("delete", ALL_UP, force=True)) == ["vm1 delete web", "hv1 delete web"]


# --- the chosen guest

FARM = replace(
    WEB,
    topology="flex",
    encapnodes=("vm1", "vm2"),
    guests=(guest("container#0", "vm2", nodes=("vm1", "vm2")),),
)


def there(avail: str, container: str) -> Known:
    return replace(offline_known(FARM, "start"), elsewhere={"vm1": GuestInstance(avail, container)})


@pytest.mark.parametrize(
    ("avail", "container", "why"),
    [
        ("up", "up", "vm1 is the chosen one: the service is up in it"),
        ("starting", "up", "vm1 is the chosen one: the service is being started in it"),
        ("undef", "undef", "vm1 is the chosen one: the service may be up in it"),
        ("down", "up", "vm1 is the chosen one"),
        ("down", "starting", "vm1 is the chosen one"),
        ("down", "down", ""),
        ("down", "undef", ""),
    ],
)
def test_a_guest_starts_only_where_it_is_the_chosen_one(avail: str, container: str, why: str) -> None:
    what = plan(FARM, Request("start"), there(avail, container))
    assert skipped(what).get("vm2 web", "") == why
    assert ("vm2 start web" in done(what)) is (why == "")


def test_a_guest_of_which_nothing_was_heard_may_be_up() -> None:
    known = replace(offline_known(FARM, "start"), elsewhere={})
    assert "may be up" in skipped(plan(FARM, Request("start"), known))["vm2 web"]


def test_a_named_slave_goes_before_the_order_but_never_beside_one_that_is_up() -> None:
    running = replace(offline_known(FARM, "stop"), guests={"container#0": {"fs#2": DOWN, "app#1": DOWN}})
    ready = replace(running, elsewhere={"vm1": GuestInstance("down", "up")})
    assert done(plan(FARM, Request("start", slave=("vm2",)), ready)) == ["vm2 start web"]
    assert done(plan(FARM, Request("start", slaves=True, master=True), ready)) == []
    taken = replace(running, elsewhere={"vm1": GuestInstance("up", "up")})
    assert done(plan(FARM, Request("start", slave=("vm2",)), taken)) == []


AVAILS = st.sampled_from(("up", "down", "undef", "starting"))
STATES = st.sampled_from(("up", "starting", "down", "undef"))


@given(st.lists(st.builds(GuestInstance, AVAILS, STATES), min_size=2, max_size=4))
def test_a_proven_choice_is_never_beside_one_that_could_be_up(instances: list[GuestInstance]) -> None:
    nodes = [f"vm{i}" for i in range(len(instances))]
    seen = dict(zip(nodes, instances, strict=True))
    chosen = choose_guest(nodes, seen)
    running = [node for node in nodes if seen[node].avail != "down"]
    if running:
        assert chosen.node in running
    else:
        able = [node for node in nodes if seen[node].container in ("up", "starting")]
        assert chosen.node == (able[0] if able else "")


# --- properties of any plan

KNOWN_STATUS = st.sampled_from(tuple(Status))


@st.composite
def situations(draw: st.DrawFn) -> tuple[Service, Known]:
    rids = draw(
        st.lists(
            st.sampled_from(
                (
                    "ip#1",
                    "ip#2",
                    "disk#1",
                    "fs#1",
                    "fs#2",
                    "fs#10",
                    "share#1",
                    "container#0",
                    "container#1",
                    "app#1",
                    "app#2",
                    "task#1",
                    "sync#1",
                )
            ),
            unique=True,
            min_size=1,
        )
    )
    containers = [rid for rid in rids if rid.startswith("container#")]
    resources = tuple(
        resource(
            rid,
            subset=draw(st.sampled_from(("", "p", "q"))),
            disable=draw(st.integers(0, 5)) == 0,
            standby=draw(st.integers(0, 5)) == 0,
            optional=draw(st.booleans()),
            options={"netns": draw(st.sampled_from(("", *containers)))},
        )
        for rid in rids
    )
    topology = draw(st.sampled_from(("failover", "flex")))
    guests = tuple(
        guest(rid, f"vm{rid[-1]}", topology, ("vm0", "vm1")) for rid in containers if draw(st.booleans())
    )
    service = Service(
        "web",
        "hv1",
        Level.HOST,
        ("hv1",),
        resources=resources,
        guests=guests,
        subsets={"p": Subset("p", parallel=True)},
    )
    inside = {
        g.container: {r.rid: draw(KNOWN_STATUS) for r in g.resources} for g in guests if draw(st.booleans())
    }
    status = {rid: draw(KNOWN_STATUS) for rid in rids if draw(st.booleans())}
    silent = frozenset(g.container for g in guests if draw(st.booleans()))
    return service, Known(status, guests=inside, guest_silent=silent)


@given(situations(), st.sampled_from(("start", "stop", "restart", "shutdown")))
def test_any_plan_can_be_carried_out_and_taken_back(situation: tuple[Service, Known], action: str) -> None:
    service, known = situation
    what = plan(service, Request(action), known)
    assert [step.id for step in what.steps] == list(range(len(what.steps)))
    assert all(number < step.id for step in what.steps for number in step.after), "a step before its needs"
    assert sum(len(wave) for wave in what.waves()) == len(what.own)
    for step in what.own:
        starts = step.action == "start"
        assert step.undo == ("stop" if starts else "")
        assert (step.request is not None) is (step.where != service.node)
        if starts:
            back = undo_of(step)
            assert (back.action, back.what, back.where, back.undo) == ("stop", step.what, step.where, "")
    once = [(step.where, step.what, step.action) for step in what.own]
    assert len(once) == len(set(once)), "acted on twice, so taken back twice"


@given(situations(), st.sampled_from(("start", "stop", "shutdown")))
def test_everything_is_acted_on_or_skipped_with_a_reason(
    situation: tuple[Service, Known], action: str
) -> None:
    service, known = situation
    what = plan(service, Request(action), known)
    acted = {(step.where, step.what) for step in what.own}
    left = {(one.where, one.what) for one in what.skipped if one.where == service.node or one.what == "web"}
    wanted = {("hv1", r.rid) for r in service.resources if r.group != "sync"} | {
        (g.node, "web") for g in service.guests
    }
    assert acted | left == wanted
    assert not acted & left
    assert all(one.why for one in what.skipped)
    for step in what.own:
        if step.request is None:
            assert known.of(step.what) not in (
                (UP, Status.STDBY_UP) if action == "start" else (DOWN, Status.STDBY_DOWN)
            )


@given(situations())
def test_at_most_one_guest_of_a_failover_encap_level_is_started(situation: tuple[Service, Known]) -> None:
    service, known = situation
    if any(g.topology == "failover" for g in service.guests):
        started = [
            step.where for step in plan(service, Request("start"), known).own if step.request is not None
        ]
        assert len(started) <= 1

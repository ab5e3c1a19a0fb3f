"""Status documents of instances: own resources, the guests' folded one by one."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.folding import InstanceContext, instance_document
from agentd.core.guest_part import GuestReport
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.status import LogLine, Observation, Probe, Status

NOW = 1000.0
AT = "2026-11-23T16:00:00.000Z"


def seen(
    status: str, *log: LogLine, ago: float = 0.4, label: str = "", last: Status | None = None
) -> Observation:
    return Observation(Probe(Status(status), log, label=label), NOW - ago, AT, last=last)


ENCAP = (
    Resource("ip#1", "host", "deb1@eth0", encap=True),
    Resource("fs#2", "flag", encap=True),
    Resource("app#1", "simple", encap=True),
)
OWN = (
    Resource("sync#i0", "config", "rsync svc config", internal=True, optional=True),
    Resource("app", "forking"),
    Resource("fs#1", "ext4", "/dev/data@/data"),
    Resource("container#0", "lxc", "deb1"),
)


def service(*own: Resource, guests: tuple[Guest, ...] = (), **more: Any) -> Service:
    return Service(
        "web", "hv1", Level.HOST, ("hv1", "hv2"), encapnodes=("vm1",), resources=own, guests=guests, **more
    )


SERVICE = service(*OWN, guests=(Guest("container#0", "vm1", ENCAP, "failover", ("vm1",)),))
ALL_UP = {"container#0": seen("up"), "fs#1": seen("up"), "app": seen("n/a"), "sync#i0": seen("up")}


def told(rid: str, status: str = "up", **more: Any) -> dict[str, Any]:
    return {
        "rid": rid,
        "status": status,
        "last_status": None,
        "label": rid,
        "log": [],
        "age": 2.0,
        "observed_at": AT,
        "disable": False,
        "optional": False,
        "provisioned": "n/a",
        "restart": {"left": 0, "of": 0},
        **more,
    }


def reply(*rows: dict[str, Any], revision: int = 7) -> dict[str, Any]:
    return {
        "schema": "encap.status/1",
        "service": "web",
        "node": "vm1",
        "level": "encap",
        "revision": revision,
        "hash": "",
        "frozen": None,
        "operation": None,
        "avail": "up",
        "overall": "up",
        "observed_at": AT,
        "log": [],
        "resources": list(rows),
    }


ALL_TOLD = reply(told("ip#1"), told("fs#2"), told("app#1"), told("sync#i0"), told("app", "n/a"))


def answering(document: dict[str, Any] = ALL_TOLD, ago: float = 0.5) -> GuestReport:
    return GuestReport("answering", document, NOW - ago, AT)


def document(
    what: Service = SERVICE,
    observations: dict[str, Observation] | None = None,
    guest: GuestReport | None = None,
    **context: Any,
) -> dict[str, Any]:
    guests = {"container#0": guest} if guest else {}
    return instance_document(
        what,
        ALL_UP if observations is None else observations,
        guests,
        InstanceContext(now=NOW, observed_at=AT, revision=7, **context),
    )


def by_rid(of: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = {r["rid"]: r for r in of["resources"]}
    for row in of["resources"]:
        rows |= {r["rid"]: r for r in row.get("guest", {}).get("resources", ())}
    return rows


def texts(row: dict[str, Any]) -> list[str]:
    return [one["text"] for one in row["log"]]


def test_all_up_and_in_the_order_of_display() -> None:
    made = document(guest=answering())
    assert [r["rid"] for r in made["resources"]] == ["container#0", "fs#1", "app", "sync#i0"]
    inner = made["resources"][0]["guest"]
    assert [r["rid"] for r in inner["resources"]] == ["fs#2", "ip#1", "app#1"]
    assert (made["avail"], made["overall"], made["optional"]) == ("up", "up", "n/a")
    assert (inner["agent"], inner["avail"], inner["overall"]) == ("answering", "up", "up")
    assert made["groups"]["sync"] == "up"
    assert made["groups"]["hb"] == "n/a"


def test_within_a_group_the_order_of_the_file_stays() -> None:
    own = [Resource(rid, "flag") for rid in ("fs#2", "ip#9", "fs#10", "fs#1")]
    made = document(service(*own), {})
    assert [r["rid"] for r in made["resources"]] == ["fs#2", "fs#10", "fs#1", "ip#9"]


def test_encap_resources_fold_one_by_one() -> None:
    made = document(guest=answering(reply(told("ip#1", "down"), told("fs#2"), told("app#1"))))
    assert (made["avail"], made["overall"]) == ("warn", "warn")
    assert made["resources"][0]["status"] == "up"


def test_age_is_the_guests_age_and_the_time_since_it_was_heard() -> None:
    made = document(guest=answering(ago=0.5))
    assert by_rid(made)["ip#1"]["age"] == 2.5
    assert by_rid(made)["container#0"]["age"] == 0.4


def test_vector_2_encap_resource_hangs_under_its_container_with_the_mark() -> None:
    row = by_rid(document(guest=answering()))["fs#2"]
    assert row["encap"] is True
    assert row["source"] == "guest"
    assert "fs#2" not in [r["rid"] for r in document(guest=answering())["resources"]]


def test_vector_4_container_down() -> None:
    observations = {
        "container#0": seen("down"),
        "fs#1": seen("down"),
        "app": seen("n/a"),
        "sync#i0": seen("up"),
    }
    made = document(observations=observations, guest=answering())
    rows = by_rid(made)
    assert made["avail"] == "down"
    assert made["overall"] == "down"
    assert {rid: rows[rid]["status"] for rid in ("ip#1", "fs#2", "app#1")} == {
        "ip#1": "down",
        "fs#2": "down",
        "app#1": "n/a",
    }
    assert rows["container#0"]["guest"]["agent"] == "down"
    assert {rows[rid]["source"] for rid in ("ip#1", "fs#2", "app#1")} == {"config"}
    assert rows["container#0"]["log"] == []


def test_container_down_lists_sync_of_the_guest_as_not_applicable() -> None:
    own = (
        *ENCAP,
        Resource("sync#3", "rsync", encap=True, optional=True),
        Resource("task#1", "host", encap=True),
    )
    made = document(
        service(OWN[3], guests=(Guest("container#0", "vm1", own),)), {"container#0": seen("down")}
    )
    rows = by_rid(made)
    assert (rows["sync#3"]["status"], rows["task#1"]["status"]) == ("n/a", "n/a")


def test_vector_5_container_up_and_agent_silent() -> None:
    silent = GuestReport("silent", ALL_TOLD, NOW - 42.7, AT)
    made = document(guest=silent)
    rows = by_rid(made)
    assert rows["container#0"]["status"] == "up"
    assert rows["container#0"]["log"] == [{"level": "warn", "text": "agent in vm1 has not answered for 42 s"}]
    for rid in ("ip#1", "fs#2", "app#1"):
        assert (rows[rid]["status"], rows[rid]["last_status"]) == ("undef", "up")
        assert rows[rid]["age"] == pytest.approx(44.7)
        assert (rows[rid]["source"], rows[rid]["stale"]) == ("last-known", True)
    assert (made["avail"], made["overall"]) == ("up", "warn")


def test_silent_agent_and_host_part_down_keeps_the_host_part() -> None:
    made = document(observations=ALL_UP | {"fs#1": seen("down")}, guest=GuestReport("silent", None, NOW - 20))
    assert made["avail"] == "warn"
    assert by_rid(made)["ip#1"]["last_status"] is None
    assert by_rid(made)["ip#1"]["age"] == 20.0


def test_a_last_value_that_was_undef_shows_the_one_before() -> None:
    before = reply(told("ip#1", "undef", last_status="down"), told("fs#2"), told("app#1"))
    made = document(guest=GuestReport("silent", before, NOW - 20))
    assert by_rid(made)["ip#1"]["last_status"] == "down"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (GuestReport("silent"), "agent in vm1 has not answered yet"),
        (GuestReport("absent"), "agent in vm1 has not answered yet"),
        (None, "agent in vm1 has not answered yet"),
        (GuestReport("enrolling"), "agent in vm1 is being enrolled"),
        (GuestReport("answering", None, NOW), "agent in vm1 has not told its status yet"),
        (GuestReport("none"), "vm1 holds no agent, so its resources are not known"),
        (
            GuestReport("answering", ALL_TOLD, NOW, reason="invalid reply: not JSON"),
            "agent in vm1: invalid reply: not JSON",
        ),
    ],
)
def test_why_a_guest_is_not_known(report: GuestReport | None, words: str) -> None:
    made = document(guest=report)
    assert texts(by_rid(made)["container#0"]) == [words]
    assert {by_rid(made)[rid]["status"] for rid in ("ip#1", "fs#2", "app#1")} == {"undef"}
    assert (made["avail"], made["overall"]) == ("up", "warn")


def test_no_encap_resource_nothing_to_ask_no_warning() -> None:
    made = document(service(OWN[3], guests=(Guest("container#0", "vm1"),)), {"container#0": seen("up")})
    assert made["resources"][0]["log"] == []
    assert made["overall"] == "up"


def test_container_undef_makes_avail_undef_and_asks_nobody_to_believe_otherwise() -> None:
    made = document(observations=ALL_UP | {"container#0": seen("undef", last=Status.UP)}, guest=answering())
    assert (made["avail"], made["overall"]) == ("undef", "undef")
    assert by_rid(made)["container#0"]["last_status"] == "up"
    why = LogLine("error", "lxc-info did not answer in 10 s")
    made = document(observations=ALL_UP | {"container#0": seen("undef", why)}, guest=GuestReport("silent"))
    assert (made["avail"], made["overall"]) == ("undef", "warn")
    assert texts(by_rid(made)["container#0"]) == ["lxc-info did not answer in 10 s"]


def test_the_age_of_an_unknown_is_that_of_its_last_value() -> None:
    probe = Probe(Status.UNDEF)
    known = Observation(probe, NOW - 1, AT, last=Status.UP, last_observed=NOW - 30)
    not_known = Observation(probe, NOW - 1, AT, last=Status.UP)
    rows = by_rid(document(observations=ALL_UP | {"fs#1": known, "app": not_known}, guest=answering()))
    assert (rows["fs#1"]["age"], rows["app"]["age"]) == (30.0, None)


def test_what_was_never_probed_is_undef_and_has_no_age() -> None:
    made = document(observations={})
    assert made["avail"] == "undef"
    assert {r["status"] for r in made["resources"]} == {"undef"}
    assert {r["age"] for r in made["resources"]} == {None}


def test_a_disabled_container_runs_nothing_and_warns_of_nothing() -> None:
    off = service(Resource("container#0", "lxc", disable=True), OWN[2], guests=SERVICE.guests)
    made = document(off, ALL_UP, GuestReport("silent"))
    assert {by_rid(made)[r]["status"] for r in ("container#0", "ip#1", "fs#2", "app#1")} == {"n/a"}
    assert (made["avail"], made["overall"]) == ("up", "up")


def test_disabled_and_nostatus_are_not_applicable_and_say_nothing() -> None:
    trouble = seen("down", LogLine("error", "no such device"))
    own = (
        OWN[2],
        Resource("fs#3", "xfs", disable=True),
        Resource("fs#4", "xfs", tags=frozenset({"nostatus"})),
    )
    made = document(service(*own), {"fs#1": seen("up"), "fs#3": trouble, "fs#4": trouble})
    assert [r["status"] for r in made["resources"]] == ["up", "n/a", "n/a"]
    assert (made["avail"], made["overall"]) == ("up", "up")


def test_standby_maps_up_and_down_and_leaves_the_rest() -> None:
    own = [Resource(f"fs#{i}", "flag", standby=True) for i in range(4)]
    made = document(
        service(*own), {f"fs#{i}": seen(s) for i, s in enumerate(("up", "down", "warn", "undef"))}
    )
    assert [r["status"] for r in made["resources"]] == ["stdby up", "stdby down", "warn", "undef"]


def test_optional_resources_feed_optional_and_overall_only() -> None:
    own = (OWN[2], Resource("ip#5", "host", optional=True))
    made = document(service(*own), {"fs#1": seen("up"), "ip#5": seen("down")})
    assert (made["avail"], made["optional"], made["overall"]) == ("up", "down", "warn")


@pytest.mark.parametrize(
    ("sync", "overall"), [("up", "up"), ("n/a", "up"), ("down", "warn"), ("warn", "warn"), ("undef", "warn")]
)
def test_sync_is_neutral_when_up_and_warns_otherwise(sync: str, overall: str) -> None:
    made = document(observations=ALL_UP | {"sync#i0": seen(sync)}, guest=answering())
    assert (made["avail"], made["overall"], made["groups"]["sync"]) == ("up", overall, sync)


@pytest.mark.parametrize(("hb", "overall"), [("up", "up"), ("n/a", "up"), ("down", "warn"), ("warn", "warn")])
def test_hb_counts_in_overall_unless_not_applicable(hb: str, overall: str) -> None:
    made = document(service(OWN[2], Resource("hb#1", "external")), {"fs#1": seen("up"), "hb#1": seen(hb)})
    assert (made["avail"], made["overall"], made["groups"]["hb"]) == ("up", overall, hb)


@pytest.mark.parametrize(("level", "overall"), [("info", "up"), ("warn", "warn"), ("error", "warn")])
def test_lines_of_a_log_degrade_overall_never_avail(level: str, overall: str) -> None:
    made = document(
        observations=ALL_UP | {"fs#1": seen("up", LogLine(level, "something"))}, guest=answering()
    )
    assert (made["avail"], made["overall"]) == ("up", overall)
    in_guest = reply(told("ip#1", log=[{"level": level, "text": "x"}]), told("fs#2"), told("app#1"))
    assert document(guest=answering(in_guest))["overall"] == overall
    assert document(guest=answering(), notes=(LogLine(level, "note"),))["overall"] == overall


def test_flat_over_both_levels() -> None:
    own = (Resource("container#0", "lxc"), Resource("fs#1", "ext4", standby=True))
    two = service(*own, guests=(Guest("container#0", "vm1", (ENCAP[0],)),))
    made = document(
        two, {"container#0": seen("up"), "fs#1": seen("up")}, answering(reply(told("ip#1", "down")))
    )
    assert made["avail"] == "warn"


def test_the_guest_disables_for_itself_and_the_host_decides_what_is_monitored() -> None:
    odd = reply(
        told("ip#1", "n/a", disable=True), told("fs#2", "down", optional=True, monitor=True), told("app#1")
    )
    made = document(guest=answering(odd))
    assert by_rid(made)["ip#1"]["disable"] is True
    assert by_rid(made)["fs#2"]["monitor"] is False
    assert (made["avail"], made["optional"], made["overall"]) == ("up", "down", "warn")


def test_a_resource_that_the_guest_does_not_report_is_undef() -> None:
    made = document(guest=answering(reply(told("ip#1"), told("app#1"))))
    assert by_rid(made)["fs#2"]["status"] == "undef"
    assert texts(by_rid(made)["fs#2"]) == ["the guest does not report this resource"]
    assert (made["avail"], made["overall"]) == ("up", "warn")


def test_resources_that_the_configuration_does_not_give_the_guest_are_ignored_with_a_warning() -> None:
    lying = reply(
        told("ip#1"), told("fs#2"), told("app#1"), told("container#0", "down"), told("fs#1", "down")
    )
    made = document(guest=answering(lying))
    assert made["avail"] == "up"
    assert by_rid(made)["fs#1"]["status"] == "up"
    assert texts(by_rid(made)["container#0"]) == [
        "vm1 reports what the configuration does not give it, ignored: container#0, fs#1"
    ]
    assert made["overall"] == "warn"


def test_a_guest_that_is_a_revision_behind_disagrees_without_a_warning() -> None:
    behind = reply(told("ip#1"), told("app#1"), told("fs#99"), revision=6)
    made = document(guest=answering(behind))
    assert {one["level"] for row in by_rid(made).values() for one in row["log"]} == {"info"}
    assert made["overall"] == "up"


def test_at_the_encap_level_there_is_nothing_to_fold() -> None:
    own = Service("web", "vm1", Level.ENCAP, ("vm1",), encapnodes=("vm1",), resources=ENCAP)
    made = document(own, {r.rid: seen("up") for r in ENCAP})
    assert (made["level"], made["avail"]) == ("encap", "up")
    assert all("guest" not in r for r in made["resources"])
    assert all(r["encap"] for r in made["resources"])


def test_a_machine_in_no_list_has_nothing() -> None:
    made = document(Service("web", "other", Level.NONE), {})
    assert (made["level"], made["avail"], made["overall"], made["resources"]) == ("none", "n/a", "n/a", [])


def test_context_shows() -> None:
    frozen = {"by": "alice", "reason": "audit", "since": AT, "until": None}
    made = document(
        guest=answering(),
        frozen=frozen,
        operation={"id": "01", "action": "start", "phase": "up"},
        restart={"fs#1": {"left": 1, "of": 3}},
        in_step=False,
        provisioned={"app": "false"},
    )
    assert made["frozen"] == frozen
    assert made["operation"]["phase"] == "up"
    assert by_rid(made)["fs#1"]["restart"] == {"left": 1, "of": 3}
    assert made["in_step"] is False
    assert made["provisioned"] == "mixed"


# Failover at the encap level, over the guests of one or several hypervisors.

VM1 = Guest("container#1", "vm1", (ENCAP[0], ENCAP[2]), "failover", ("vm1", "vm2"))
VM2 = Guest("container#2", "vm2", (ENCAP[0], ENCAP[2]), "failover", ("vm1", "vm2"))
FARM = service(
    Resource("container#1", "lxc"), Resource("container#2", "lxc"), guests=(VM1, VM2), topology="flex"
)
BOTH = {"container#1": seen("up"), "container#2": seen("up")}


def farm(
    one: str | None,
    two: str | None,
    what: Service = FARM,
    observations: dict[str, Observation] = BOTH,
    chosen: str = "",
) -> dict[str, Any]:
    def report(status: str | None) -> GuestReport:
        rows = reply(told("ip#1", status or "n/a"), told("app#1", status or "n/a"))
        return answering(rows) if status else GuestReport("silent", None, NOW - 30)

    return instance_document(
        what,
        observations,
        {"container#1": report(one), "container#2": report(two)},
        InstanceContext(now=NOW, observed_at=AT, revision=7, chosen=chosen),
    )


def branch(made: dict[str, Any], container: str) -> dict[str, Any]:
    return next(r for r in made["resources"] if r["rid"] == container)


def test_the_guest_that_is_not_chosen_folds_as_not_applicable_and_shows_down() -> None:
    made = farm("up", "down")
    other = branch(made, "container#2")["guest"]["resources"]
    assert [(r["status"], r["folds_as"], texts(r)) for r in other] == [("down", "n/a", ["runs on vm1"])] * 2
    assert (made["avail"], made["overall"]) == ("up", "up")
    assert farm("down", "up")["avail"] == "up"


def test_if_none_is_up_the_chosen_guest_folds_as_down() -> None:
    made = farm("down", "down")
    assert (made["avail"], made["overall"]) == ("warn", "warn")
    assert "folds_as" not in branch(made, "container#1")["guest"]["resources"][0]
    assert branch(made, "container#2")["guest"]["resources"][0]["folds_as"] == "n/a"


def test_the_first_whose_container_runs_is_chosen() -> None:
    made = farm("down", "down", observations={"container#1": seen("down"), "container#2": seen("up")})
    assert branch(made, "container#1")["guest"]["resources"][0]["folds_as"] == "n/a"
    assert "folds_as" not in branch(made, "container#2")["guest"]["resources"][0]


@pytest.mark.parametrize(
    ("one", "two", "runs", "stands_back"),
    [(None, "down", "container#1", "container#2"), ("down", None, "container#2", "container#1")],
)
def test_a_silent_guest_may_be_the_one_that_runs(
    one: str | None,
    two: str | None,
    runs: str,
    stands_back: str,
) -> None:
    made = farm(one, two)
    assert branch(made, stands_back)["guest"]["resources"][0]["folds_as"] == "n/a"
    assert branch(made, runs)["guest"]["resources"][0]["status"] == "undef"
    assert made["overall"] == "warn"


def test_two_that_are_up_are_shown_and_never_hidden() -> None:
    made = farm("up", "up")
    assert texts(branch(made, "container#2")) == ["up in vm2, and vm1 is the chosen one"]
    assert made["overall"] == "warn"
    assert "folds_as" not in branch(made, "container#2")["guest"]["resources"][0]


def test_a_hypervisor_that_cannot_tell_by_itself_is_told_or_says_down() -> None:
    alone = service(Resource("container#2", "lxc"), guests=(VM2,), topology="flex")
    assert farm(None, "down", alone, {"container#2": seen("up")})["avail"] == "warn"
    assert farm(None, "down", alone, {"container#2": seen("up")}, chosen="vm1")["avail"] == "up"
    assert farm(None, "down", alone, {"container#2": seen("up")}, chosen="vm2")["avail"] == "warn"


def test_farmed_farmed_guests_all_count() -> None:
    guests = tuple(Guest(g.container, g.node, g.resources, "flex", g.nodes) for g in (VM1, VM2))
    made = farm("up", "down", service(*FARM.resources, guests=guests, topology="flex"))
    assert made["avail"] == "warn"


STATES = st.sampled_from([str(s) for s in Status])


@given(
    container=STATES,
    fs=STATES,
    ip=STATES,
    app=STATES,
    agent=st.sampled_from(["answering", "silent", "absent"]),
)
def test_whatever_happens_nothing_unknown_is_shown_as_down_or_up(
    container: str,
    fs: str,
    ip: str,
    app: str,
    agent: str,
) -> None:
    report = GuestReport(agent, reply(told("ip#1", ip), told("fs#2", fs), told("app#1", app)), NOW - 1)
    made = document(observations=ALL_UP | {"container#0": seen(container)}, guest=report)
    rows = by_rid(made)
    if container == "undef":
        assert made["avail"] == "undef"
        assert made["overall"] in ("undef", "warn")
    if agent != "answering" and container not in ("down", "stdby down"):
        assert {rows[r]["status"] for r in ("ip#1", "fs#2", "app#1")} == {"undef"}
    if container in ("down", "stdby down"):
        assert rows["ip#1"]["status"] == "down"
    assert all(r["last_status"] is None or r["status"] == "undef" for r in rows.values())


def test_same_values_same_document() -> None:
    first, second = (document(guest=answering()) for _ in range(2))
    assert first == second
    assert ALL_TOLD["resources"][0] == told("ip#1")


def test_every_order_of_the_guests_resources_folds_alike() -> None:
    rows = [told("ip#1", "down"), told("fs#2", "stdby up"), told("app#1")]
    found = {document(guest=answering(reply(*p)))["avail"] for p in itertools.permutations(rows)}
    assert found == {"warn"}

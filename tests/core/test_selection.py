"""Levels, slaves, and what --rid, --tags, --subsets and --to name."""

from dataclasses import replace
from typing import Any

import pytest

from agentd.core.errors import InvalidRequest, NotFound
from agentd.core.known import offline_known
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.plan import Plan, Request
from agentd.core.planner import parse_tags, plan


def resource(rid: str, type: str = "fake", **more: Any) -> Resource:
    return Resource(rid, type, **more)


def tagged(*tags: str) -> frozenset[str]:
    return frozenset(tags)


INSIDE = (resource("fs#2", "flag", encap=True, tags=tagged("a")), resource("app#1", encap=True, subset="g"))
WEB = Service(
    "web",
    "hv1",
    Level.HOST,
    ("hv1", "hv2"),
    encapnodes=("vm1", "vm2"),
    resources=(
        resource("container#0", "lxc", options={"name": "deb1"}),
        resource("container#1", options={"name": "DEB2"}),
        resource("container#w", options={"name": "win", "guestos": "windows"}),
        resource("fs#1", "ext4", tags=tagged("a", "b")),
        resource("app", "forking"),
        resource("ip#1", tags=tagged("b"), options={"netns": "container#0"}),
        resource("sync#1", "rsync", tags=tagged("a")),
    ),
    guests=(Guest("container#0", "vm1", INSIDE, "flex"), Guest("container#1", "vm2", INSIDE, "flex")),
)
BARE = replace(WEB, guests=(), encapnodes=())
INNER = Service("web", "vm1", Level.ENCAP, ("vm1",), resources=INSIDE)


def made(action: str, service: Service = WEB, **more: Any) -> Plan:
    return plan(service, Request(action, **more), offline_known(service, action))


def done(action: str, service: Service = WEB, **more: Any) -> list[str]:
    """Steps of this level by rid, of guests as guest:rid."""
    return [
        step.what if step.where == service.node else f"{step.where}:{step.what}"
        for step in made(action, service, **more).steps
        if step.request is None
    ]


# --- levels: acceptance vector 6


def test_a_group_verb_without_a_level_names_the_three_options() -> None:
    with pytest.raises(InvalidRequest) as caught:
        made("startfs")
    assert caught.value.text == (
        "startfs acts on a subset of resources: say at which level: --master, --slave NAME or --slaves"
    )


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"master": True}, ["fs#1"]),
        ({"slaves": True}, ["vm1:fs#2", "vm2:fs#2"]),
        ({"master": True, "slaves": True}, ["fs#1", "vm1:fs#2", "vm2:fs#2"]),
        ({"slave": ("vm2",)}, ["vm2:fs#2"]),
        ({"slave": ("container#1",)}, ["vm2:fs#2"]),
        ({"slave": ("deb2",)}, ["vm2:fs#2"]),
        ({"slave": ("VM2",)}, ["vm2:fs#2"]),
        ({"slave": ("vm1", "deb1", "container#1")}, ["vm1:fs#2", "vm2:fs#2"]),
        ({"master": True, "slave": ("vm1",)}, ["fs#1", "vm1:fs#2"]),
    ],
)
def test_a_level_says_which_resources(levels: dict[str, Any], expected: list[str]) -> None:
    assert done("startfs", **levels) == expected


@pytest.mark.parametrize("name", ["nope", "", "container#9", "win", "container#w", "hv1", "vm1 ", "x\x1b[2J"])
@pytest.mark.parametrize("action", ["startfs", "start", "freeze"])
def test_an_unknown_slave_is_an_error_that_lists_the_known_ones(name: str, action: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        made(action, slave=("vm1", name))
    assert "container#0 (vm1, deb1), container#1 (vm2, deb2)" in caught.value.text
    assert "\x1b" not in caught.value.text


@pytest.mark.parametrize("service", [BARE, INNER])
@pytest.mark.parametrize("levels", [{}, {"master": True}, {"slaves": True}, {"slave": ("nope",)}])
def test_where_there_is_one_level_the_options_are_ignored(service: Service, levels: dict[str, Any]) -> None:
    assert done("startfs", service, **levels) == done("startfs", service)
    assert done("startfs", service) == (["fs#2"] if service is INNER else ["fs#1"])


def test_containers_never_need_a_level() -> None:
    assert done("startcontainer") == ["container#0", "container#1", "container#w"]
    assert done("stopcontainer") == ["container#w", "container#1", "container#0"]


def test_whole_verbs_chain_and_options_narrow_them() -> None:
    assert {"container#0", "vm1:fs#2", "vm2:app#1"} <= set(done("start"))
    assert not [step for step in done("start", master=True) if ":" in step]
    assert done("stop", slave=("vm2",)) == ["vm2:app#1", "vm2:fs#2"]


# --- selections


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"rids": ("fs#2",)}, ["vm1:fs#2", "vm2:fs#2"]),
        ({"rids": ("fs",)}, ["fs#1", "vm1:fs#2", "vm2:fs#2"]),
        ({"rids": ("fs.ext4",)}, ["fs#1"]),
        ({"rids": ("fs.flag", "app")}, ["vm1:fs#2", "vm1:app#1", "vm2:fs#2", "vm2:app#1", "app"]),
        ({"rids": ("fs",), "master": True}, ["fs#1"]),
        ({"rids": ("fs#2",), "slave": ("vm1",)}, ["vm1:fs#2"]),
        ({"tags": (("a",),)}, ["fs#1", "vm1:fs#2", "vm2:fs#2"]),
        ({"tags": (("a", "b"),)}, ["fs#1"]),
        ({"tags": (("encap",),)}, ["vm1:fs#2", "vm1:app#1", "vm2:fs#2", "vm2:app#1"]),
        ({"subsets": ("g",)}, ["vm1:app#1", "vm2:app#1"]),
        ({"subsets": ("app:g",)}, ["vm1:app#1", "vm2:app#1"]),
        ({"rids": ("fs",), "tags": (("b",), ("nothing",))}, ["fs#1"]),
    ],
)
def test_a_selection_needs_no_level(more: dict[str, Any], expected: list[str]) -> None:
    assert done("start", **more) == expected


def test_a_group_verb_with_a_selection_is_the_intersection() -> None:
    assert done("startfs", tags=(("a",),)) == ["fs#1", "vm1:fs#2", "vm2:fs#2"]
    assert made("startshare", master=True).steps == ()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"rids": ("fs#9",)}, "'fs#9' is no resource"),
        ({"rids": ("fs#1", "")}, "'' is no resource"),
        ({"rids": ("disk",)}, "'disk' is no resource"),
        ({"rids": ("fs.xfs",)}, "'fs.xfs' is no resource"),
        ({"subsets": ("nope",)}, "'nope' is no subset"),
        ({"subsets": ("",)}, "'' is no subset"),
        ({"tags": (("nope",),)}, "matches --tags 'nope'"),
        ({"rids": ("ip",), "tags": (("a",),)}, "matches --rid 'ip' and --tags 'a'"),
        ({"rids": ("fs#2",), "master": True}, "matches --rid 'fs#2'"),
        ({"to": "disk"}, "'disk' is no resource or group"),
        ({"to": "fs#9"}, "'fs#9' is no resource"),
        ({"rids": ("x" * 10000,)}, "xxx...'"),
    ],
)
def test_what_names_nothing_is_an_error(more: dict[str, Any], text: str) -> None:
    with pytest.raises(NotFound) as caught:
        made("start", **more)
    assert text in caught.value.text
    assert len(caught.value.text) < 200


def test_what_is_neither_started_nor_stopped_says_so() -> None:
    what = made("start", rids=("sync#1", "fs#1"))
    assert [s.what for s in what.steps] == ["fs#1"]
    assert what.skipped[0].why == "sync resources are neither started nor stopped"


# --- --to and --downto


@pytest.mark.parametrize(
    ("action", "to", "expected"),
    [
        ("start", "fs", ["fs#1"]),
        ("start", "fs#1", ["fs#1"]),
        ("start", "container#0", ["fs#1", "container#0"]),
        ("start", "container", ["fs#1", "container#0", "container#1", "container#w"]),
        ("start", "ip", ["fs#1", "container#0", "ip#1"]),
        ("start", "fs#2", ["fs#1", "container#0", "ip#1", "vm1:fs#2", "container#1", "vm2:fs#2"]),
        ("stop", "app", ["app"]),
        ("stop", "fs#2", ["app", "vm2:app#1", "vm2:fs#2", "vm1:app#1", "vm1:fs#2"]),
        ("stop", "container#1", ["app", "container#w", "vm2:app#1", "vm2:fs#2", "container#1"]),
    ],
)
def test_to_is_the_last_with_all_that_comes_before(action: str, to: str, expected: list[str]) -> None:
    assert done(action, to=to) == expected


def test_to_in_the_chosen_level() -> None:
    assert done("start", slaves=True, to="fs") == ["vm1:fs#2", "vm2:fs#2"]


# --- tags


def test_tags_are_alternatives_of_conjunctions() -> None:
    assert parse_tags("a,b+c") == (("a",), ("b", "c"))
    assert parse_tags(" a , b + c ") == (("a",), ("b", "c"))
    assert parse_tags("") == ()


@pytest.mark.parametrize("text", [",", "a,", "a++b", "+a", ",,", "a, ,b"])
def test_a_missing_tag_is_an_error(text: str) -> None:
    with pytest.raises(InvalidRequest, match="a tag is missing"):
        parse_tags(text)

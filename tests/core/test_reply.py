"""What a guest answers is text of a stranger: believed only in form, and only where it may speak."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.core.folding import InstanceContext, instance_document
from agentd.core.guest_part import GuestReport
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.reply import InvalidReply, clean, parse_strictly, read_guest_status
from agentd.core.status import Observation, Probe, Status

GUEST = Guest("container#0", "vm1", (Resource("fs#1", "flag", encap=True),))
SERVICE = Service(
    "web",
    "hv1",
    Level.HOST,
    ("hv1",),
    encapnodes=("vm1",),
    resources=(Resource("container#0", "lxc"),),
    guests=(GUEST,),
)


def reply(**change: Any) -> dict[str, Any]:
    return {
        "schema": "encap.status/1",
        "service": "web",
        "node": "vm1",
        "level": "encap",
        "revision": 3,
        "hash": "sha256:ab",
        "avail": "up",
        "overall": "up",
        "observed_at": "2026-11-23T16:00:00.000Z",
        "resources": [row()],
        **change,
    }


def row(**change: Any) -> dict[str, Any]:
    return {"rid": "fs#1", "status": "up", "label": "flag", **change}


def read(raw: object) -> dict[str, Any]:
    text = raw if isinstance(raw, bytes | str) else json.dumps(raw)
    return read_guest_status(text, SERVICE, GUEST)


def test_a_good_reply_is_reduced_to_what_is_used() -> None:
    made = read(
        reply(extra={"a": 1}, topology="failover", resources=[row(guest={"resources": []}, monitor=True)])
    )
    assert "extra" not in made
    assert made["revision"] == 3
    assert made["resources"] == [
        {
            "rid": "fs#1",
            "status": "up",
            "last_status": None,
            "label": "flag",
            "log": [],
            "age": None,
            "observed_at": None,
            "disable": False,
            "optional": False,
            "provisioned": "n/a",
            "restart": {"left": 0, "of": 0},
        }
    ]


def test_bytes_text_and_mapping_read_alike() -> None:
    text = json.dumps(reply())
    assert read(text) == read(text.encode()) == read_guest_status(reply(), SERVICE, GUEST)


def test_what_an_agent_writes_is_what_its_hypervisor_reads() -> None:
    inside = Service("web", "vm1", Level.ENCAP, ("vm1",), resources=GUEST.resources)
    at = "2026-11-23T16:00:00.000Z"
    seen = {"fs#1": Observation(Probe(Status.UNDEF), 6.9, at, last=Status.UP, last_observed=5.0)}
    made = read(
        instance_document(inside, seen, {}, InstanceContext(now=7.0, revision=3, frozen={"by": "root"}))
    )
    assert made["resources"][0]["last_status"] == "up"
    assert made["resources"][0]["age"] == 2.0
    assert made["frozen"] == {"by": "root", "reason": None, "since": None, "until": None}


HOSTILE: dict[str, object] = {
    "empty": b"",
    "not_utf8": b'{"schema": "\xff"}',
    "top_level_array": b"[]",
    "top_level_null": b"null",
    "trailing_garbage": json.dumps(reply()) + "x",
    "two_documents": json.dumps(reply()) * 2,
    "duplicate_key": '{"schema": "encap.status/1", "schema": "encap.status/1"}',
    "nan": json.dumps(reply(age=float("nan"))),
    "infinity": json.dumps(reply(age=float("inf"))),
    "huge_float": '{"age": 1e1000000}',
    "huge_integer": '{"age": ' + "9" * 400 + "}",
    "integer_of_5000_digits": '{"age": ' + "9" * 5000 + "}",
    "depth_10_000": "[" * 10_000,
    "depth_100_000": '{"a":' * 100_000,
    "depth_17": json.dumps(reply(x=json.loads("[" * 17 + "]" * 17))),
    "one_mebibyte_and_a_byte": json.dumps(reply()) + " " * (1 << 20),
    "label_of_10_kilobytes": reply(resources=[row(label="x" * 10_000)]),
    "long_text_in_an_unknown_field": reply(whatever="x" * 5000),
    "long_key": reply(**{"k" * 5000: 1}),
    "lone_surrogate": b'{"schema": "\\ud800"}',
    "resources_501": reply(resources=[row(rid=f"fs#{i}") for i in range(501)]),
    "resources_an_object": reply(resources={}),
    "resources_missing": {k: v for k, v in reply().items() if k != "resources"},
    "resource_a_text": reply(resources=["fs#1"]),
    "resource_twice": reply(resources=[row(), row()]),
    "rid_with_path": reply(resources=[row(rid="fs#../../etc")]),
    "rid_with_escape": reply(resources=[row(rid="fs#\x1b[2J")]),
    "rid_missing": reply(resources=[{"status": "up"}]),
    "rid_a_list": reply(resources=[row(rid=["fs#1"])]),
    "unknown_state": reply(resources=[row(status="UP")]),
    "state_a_list": reply(resources=[row(status=["up"])]),
    "state_of_the_instance": reply(avail="great"),
    "state_missing": reply(overall=None),
    "last_status_unknown": reply(resources=[row(last_status="fine")]),
    "negative_age": reply(resources=[row(age=-1)]),
    "age_a_text": reply(resources=[row(age="1")]),
    "age_true": reply(resources=[row(age=True)]),
    "disable_a_text": reply(resources=[row(disable="no")]),
    "restart_a_list": reply(resources=[row(restart=[])]),
    "restart_negative": reply(resources=[row(restart={"left": -1, "of": 0})]),
    "log_a_text": reply(resources=[row(log="x")]),
    "log_level_a_list": reply(resources=[row(log=[{"level": ["warn"], "text": "x"}])]),
    "log_level_unknown": reply(resources=[row(log=[{"level": "panic", "text": "x"}])]),
    "log_of_51_lines": reply(resources=[row(log=[{"level": "info", "text": "x"}] * 51)]),
    "label_a_number": reply(resources=[row(label=1)]),
    "revision_a_text": reply(revision="3"),
    "frozen_true": reply(frozen=True),
    "another_service": reply(service="other"),
    "another_node": reply(node="vm2"),
    "the_hypervisor_itself": reply(node="hv1", level="host"),
    "another_schema": reply(schema="encap.status/2"),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_replies(raw: object) -> None:
    with pytest.raises(InvalidReply) as caught:
        read(raw)
    assert caught.value.text.startswith("invalid reply: ")
    assert caught.value.text.isprintable()
    assert len(caught.value.text) < 400


def test_the_limits_themselves_are_accepted() -> None:
    rows = [row(rid=f"fs#{i}") for i in range(500)]
    assert len(read(reply(resources=rows))["resources"]) == 500
    assert read(reply(resources=[row(label="x" * 4096)]))["resources"][0]["label"] == "x" * 4096
    assert read(reply(x=json.loads("[" * 15 + "]" * 15)))["avail"] == "up"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\nb\r", "a\\x0ab\\x0d"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\U000e0001", "\\U000e0001"),
        ("Größe 名 ok", "Größe 名 ok"),
    ],
)
def test_text_of_a_guest_cannot_move_a_cursor(text: str, shown: str) -> None:
    assert clean(text) == shown
    told = row(label=text, log=[{"level": "warn", "text": text}])
    made = read(reply(resources=[told]))["resources"][0]
    assert (made["label"], made["log"][0]["text"]) == (shown, shown)


def test_a_faked_container_state_changes_nothing() -> None:
    document = read(reply(resources=[row(), row(rid="container#0", status="down")]))
    seen = {"container#0": Observation(Probe(Status.UP), 9.0, "")}
    made = instance_document(
        SERVICE,
        seen,
        {"container#0": GuestReport("answering", document, 9.5)},
        InstanceContext(now=10.0, revision=3),
    )
    assert made["resources"][0]["status"] == "up"
    assert made["avail"] == "up"


# The first texts that hypothesis draws on a machine build a table of all characters.
slow_start = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@slow_start
@given(st.dictionaries(st.sampled_from([*reply(), "log", "frozen", "operation"]), JSON))
def test_any_field_may_be_anything(change: dict[str, Any]) -> None:
    with suppress(InvalidReply):
        made = read_guest_status(reply(**change), SERVICE, GUEST)
        assert made["avail"] in [str(s) for s in Status]


@slow_start
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(read_guest_status(reply(), SERVICE, GUEST)["resources"][0], JSON)
    )
)
def test_any_field_of_a_resource_may_be_anything(change: dict[str, Any]) -> None:
    with suppress(InvalidReply):
        made = read_guest_status(reply(resources=[row(**change)]), SERVICE, GUEST)
        seen = {"container#0": Observation(Probe(Status.UP), 9.0, "")}
        report = {"container#0": GuestReport("answering", made, 9.5)}
        assert instance_document(SERVICE, seen, report, InstanceContext(now=10.0))["avail"] != "undef"


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    with pytest.raises(InvalidReply):
        read_guest_status(raw, SERVICE, GUEST)


def test_strict_parsing_serves_others_too() -> None:
    assert parse_strictly(b'{"a": [1, 2.5, "x"]}') == {"a": [1, 2.5, "x"]}

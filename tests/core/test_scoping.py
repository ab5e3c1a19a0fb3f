"""Which value a node reads, which node is what, and which sections it sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.config import Document, parse
from agentd.core.evaluation import evaluate
from agentd.core.model import Level
from agentd.core.scoping import NOBODY, View, scope

SEED = "[DEFAULT]\nencapnodes = vm1\n{explicit}nodes = hv1 hv2\n[container#0]\nname = vm1\n[fs#1]\ntags = encap\n[app]\n"


def read(text: str) -> Document:
    document, findings = parse(text)
    assert [f for f in findings if f.severity == "error"] == []
    return document


def seen(text: str, node: str) -> View:
    return scope(read(text), "svc1", node)


def value(view: View, section: str, key: str) -> str | None:
    return view.sections.get(section, {}).get(key)


@pytest.mark.parametrize("explicit", ["nodes@encapnodes = vm1\n", ""])
def test_acceptance_vector_1_the_seed_header(explicit: str) -> None:
    text = SEED.format(explicit=explicit)
    host, guest = seen(text, "hv1"), seen(text, "vm1")
    assert (host.level, host.nodes) == (Level.HOST, ("hv1", "hv2"))
    assert (guest.level, guest.nodes) == (Level.ENCAP, ("vm1",))
    assert evaluate(read(text), "svc1", "hv1")["nodes"] == ["hv1", "hv2"]
    assert evaluate(read(text), "svc1", "vm1")["nodes"] == ["vm1"]


def test_neither_level_sees_the_other_and_the_bare_app_is_at_both() -> None:
    text = SEED.format(explicit="")
    assert list(seen(text, "hv2").sections) == ["DEFAULT", "container#0", "app"]
    assert list(seen(text, "vm1").sections) == ["DEFAULT", "fs#1", "app"]
    assert seen(text, "other").sections == {}
    assert seen(text, "other").level is Level.NONE


LADDER = ("n1", "flex_primary", "encapnodes", "drpnodes", "nodes", "")


@pytest.mark.parametrize(("header", "node", "order"), [
    ("nodes = n1 n2\nflex_primary = n1\n", "n1", ["n1", "flex_primary", "nodes", ""]),
    ("nodes = n2\ndrpnodes = n1 n3\n", "n1", ["n1", "drp_flex_primary", "drpnodes", ""]),
    ("nodes = n2\nencapnodes = n1\nnodes@encapnodes = n3 n1\nflex_primary = n3\n", "n1", ["n1", "encapnodes", "nodes", ""]),
    ("nodes = n2\nencapnodes = n1\n", "n1", ["n1", "flex_primary", "encapnodes", "nodes", ""]),
])  # fmt: skip
def test_the_most_specific_scope_wins(header: str, node: str, order: list[str]) -> None:
    left = list(order)
    while left:
        # Less specific ones are written later, so that only the rank can decide.
        lines = "".join(f"k{'@' * bool(s)}{s} = {s or 'bare'}\n" for s in left)
        view = seen(f"[DEFAULT]\n{header}[env]\n{lines}", node)
        assert value(view, "env", "k") == (left[0] or "bare")
        left.pop(0)


def test_of_one_rank_the_last_wins() -> None:
    assert value(seen("[DEFAULT]\nnodes = n1\n[env]\nk@N1 = a\nk@n1 = b\n", "n1"), "env", "k") == "b"


def test_the_lists_are_resolved_in_their_order() -> None:
    view = seen("[DEFAULT]\nencapnodes = vm1\nencapnodes@nodes = vm2\nnodes = hv1 hv2\nnodes@nodes = hv9\n"
                "drpnodes = dr2\ndrpnodes@nodes = dr1\ndrpnode = dr0\nflex_primary@nodes = HV2\n", "hv1")
    assert view.encapnodes == ("vm1",)
    assert view.nodes == ("hv1", "hv2")
    assert view.drpnodes == ("dr0", "dr1")
    assert view.flex_primary == "hv2"


def test_a_guest_absent_from_nodes_takes_itself_also_for_its_scopes() -> None:
    view = seen("[DEFAULT]\nencapnodes = vm1 vm2\nnodes = hv1\n[env]\nk@nodes = a\nk = b\n", "vm2")
    assert (view.nodes, view.written_nodes, view.flex_primary) == (("vm2",), ("hv1",), "vm2")
    assert value(view, "env", "k") == "a"


def test_node_names_are_compared_in_lower_case_and_whole() -> None:
    text = "[DEFAULT]\nnodes = HV1.example.com, hv2 hv2\n[env]\nk@Hv2 = 1\n"
    assert seen(text, "HV2").nodes == ("hv1.example.com", "hv2")
    assert value(seen(text, "hV2"), "env", "k") == "1"
    assert seen(text, "hv1").level is Level.NONE


def test_encapnodes_from_the_name_of_a_container() -> None:
    text = "[DEFAULT]\nnodes = hv1\nencapnodes = {container#1.name}\n[container#1]\nname = VM1\n"
    assert seen(text, "vm1").level is Level.ENCAP
    assert seen(text.replace("name = VM1\n", ""), "svc1").level is Level.ENCAP


def test_a_list_that_cannot_be_resolved_is_told() -> None:
    view = seen("[DEFAULT]\nnodes = hv1\nencapnodes = {env.none}\n[env]\n", "hv1")
    assert [(t.key, t.line) for t in view.troubles] == [("encapnodes", 3)]


@pytest.mark.parametrize(("mark", "encap"), [
    ("tags = encap", True), ("tags = a encap b", True), ("encap = yes", True), ("encap = 0", False),
    ("tags = encaps", False), ("tags = {env.t}", True), ("tags@hv1 = encap noaction", False), ("encap@vm1 = true", True),
])  # fmt: skip
def test_the_encap_mark(mark: str, encap: bool) -> None:
    view = seen(f"[DEFAULT]\nnodes = hv1\nencapnodes = vm1\ntags = encap\n[env]\nt = x encap\n[fs#1]\n{mark}\n", "vm1")
    assert ("fs#1" in view.sections) is encap


def test_a_scoped_tag_moves_the_resource_for_that_node_only() -> None:
    text = "[DEFAULT]\nnodes = hv1 hv2\nencapnodes = vm1\n[fs#1]\ntags@hv1 = encap noaction\n"
    assert [n for n in ("hv1", "hv2", "vm1") if "fs#1" in seen(text, n).sections] == ["hv2"]


def test_tags_and_their_like_are_never_inherited() -> None:
    view = seen("[DEFAULT]\nnodes = hv1\nencapnodes = vm1\nencap = true\ntags = encap\n[fs#1]\ntype = flag\n", "hv1")
    assert "fs#1" in view.sections


def test_the_bare_view_is_nobody_s() -> None:
    view = seen("[DEFAULT]\nnodes = a\nnodes@a = b\nnodes@nodes = c\n", NOBODY)
    assert (view.level, view.nodes) == (Level.NONE, ("a",))


SCOPE_NAMES = ["", "n1", "n2", "nodes", "drpnodes", "encapnodes", "flex_primary", "drp_flex_primary", "unknown"]
RANK = ["NODE", "flex_primary", "drp_flex_primary", "encapnodes", "drpnodes", "nodes", ""]


@given(st.lists(st.sampled_from(SCOPE_NAMES), min_size=1, max_size=8), st.sampled_from(["n1", "n2", "n3"]),
       st.lists(st.sampled_from(["n1", "n2", "n3"]), max_size=3), st.lists(st.sampled_from(["n1", "n2", "n3"]), max_size=2))
def test_most_specific_wins_whatever_is_written(scopes: list[str], node: str, nodes: list[str], guests: list[str]) -> None:
    lines = "".join(f"k{'@' * bool(s)}{s} = v{i}\n" for i, s in enumerate(scopes))
    view = seen(f"[DEFAULT]\nnodes = {' '.join(nodes)}\nencapnodes = {' '.join(guests)}\n[fs#1]\n{lines}", node)

    def rank(scope_: str) -> int | None:
        if scope_ == node:
            return RANK.index("NODE")
        applies = scope_ == "" or (scope_ in RANK and node in view.lists.get(scope_, ()))
        return RANK.index(scope_) if applies else None

    ranked = [(rank(s), -i) for i, s in enumerate(scopes) if rank(s) is not None]
    entry = view.table["fs#1"].get("k")
    assert (entry.value if entry else None) == (f"v{-min(ranked)[1]}" if ranked else None)


CONFIG = """\
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1
mnt_opt = rw

[env]
size@hv2 = 2g
size = 1g
base = /srv/{svcname}

[container#0]
type = lxc
name@hv1 = vm1

[fs#1]
mnt = {env.base}/{nodename}
size = {env.size}
dev = {disk#0.exposed_devs[0]}
bad = {nope}

[disk#0]

[ip#1]
tags = encap
ipname = {nodes[0]} {#nodes}
"""


def test_eval_document_of_a_hypervisor() -> None:
    assert evaluate(read(CONFIG), "db", "hv2") == {
        "node": "hv2", "level": "host", "nodes": ["hv1", "hv2"], "sections": {
            "DEFAULT": {"nodes": "hv1 hv2", "encapnodes": "vm1", "mnt_opt": "rw"},
            "env": {"size": "2g", "base": "/srv/db"}, "container#0": {"type": "lxc"},
            "fs#1": {"mnt": "/srv/db/hv2", "size": "2g", "dev": "{disk#0.exposed_devs[0]}", "bad": "{nope}"},
            "disk#0": {},
        }}


def test_eval_document_of_a_guest_and_of_a_stranger() -> None:
    guest = evaluate(read(CONFIG), "db", "VM1")
    assert (guest["level"], guest["nodes"]) == ("encap", ["vm1"])
    assert guest["sections"]["DEFAULT"]["nodes"] == "vm1"
    assert guest["sections"]["ip#1"] == {"tags": "encap", "ipname": "vm1 1"}
    assert "fs#1" not in guest["sections"]
    assert evaluate(read(CONFIG), "db", "hv9") == {"node": "hv9", "level": "none", "nodes": [], "sections": {}}

"""The text that a guest receives: less than the whole, and read by the guest in the same way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.build import build
from agentd.core.config import Document, parse
from agentd.core.evaluation import evaluate
from agentd.core.keywords import Types
from agentd.core.replication import content_hash, view
from agentd.core.scoping import scope
from agentd.core.validation import validate

WHOLE = """\
# service of the shop
[DEFAULT]
# who
nodes = hv1 hv2
encapnodes = vm1 {env.second}
app = SECRET
# of the host
pre_start = /root/secret
timeout = 7s
restart = 1
mail = root@{env.domain}

[env]
domain = lan
second = vm2
password = secret

# the container
[container#0]
type = lxc
name = vm1
rootfs = /secret

# host data
[fs#1]
type = ext4
dev = /dev/secret
mnt = /srv

# shop data
[fs#2]
type = ext4
tags = encap
dev = {container#0.hostname}
# where
mnt = /srv/{env.domain}
subset = fast

[subset#fs:fast]
parallel = true

[subset#other]
parallel = true

[app#1]
tags@vm1 = encap
start = /bin/mail {mail}
"""

GUEST_TEXT = """\
# service of the shop
[DEFAULT]
# who
nodes = hv1 hv2
encapnodes = vm1 {env.second}
timeout = 7s
restart = 1
mail = root@{env.domain}

[env]
domain = lan
second = vm2

# the container
[container#0]
name = vm1

# shop data
[fs#2]
type = ext4
tags = encap
dev = {container#0.hostname}
# where
mnt = /srv/{env.domain}
subset = fast

[subset#fs:fast]
parallel = true

[app#1]
tags@vm1 = encap
start = /bin/mail {mail}
"""


def read(text: str) -> Document:
    return parse(text)[0]


@pytest.mark.parametrize("with_types", [True, False])
def test_the_view_of_a_guest(with_types: bool, types: Types) -> None:
    assert str(view(read(WHOLE), "shop", "vm1", types if with_types else None)) == GUEST_TEXT


def test_the_view_of_another_guest_has_no_foreign_section(types: Types) -> None:
    text = str(view(read(WHOLE), "shop", "vm2", types))
    assert "[app#1]" not in text
    assert "root@" not in text
    assert "timeout" not in text
    assert "[fs#2]" in text


def test_the_guest_builds_the_same_from_its_view(types: Types) -> None:
    whole, part = (build(document, "shop", "vm1", types)[0] for document in
                   (read(WHOLE), view(read(WHOLE), "shop", "vm1", types)))
    assert part.resources == whole.resources
    assert (part.nodes, part.topology, part.level) == (whole.nodes, whole.topology, whole.level)


@pytest.mark.xfail(strict=True, reason="validation judges a view as if it were the whole text")
def test_a_view_can_be_accepted_by_the_guest(types: Types) -> None:
    assert [f for f in validate(view(read(WHOLE), "shop", "vm1", types), types, "shop") if f.severity == "error"] == []


def test_an_edit_of_what_a_guest_does_not_see_leaves_its_view_alone(types: Types) -> None:
    document = read(WHOLE)
    views = [str(view(d, "shop", "vm2", types)) for d in (
        document, document.set("app#1", "start", "/bin/other"), document.set("fs#1", "dev", "/dev/x"),
        document.set("DEFAULT", "app", "other"))]
    assert len(set(views)) == 1
    assert str(view(document.set("fs#2", "dev", "/dev/y"), "shop", "vm2", types)) != views[0]


def test_a_stranger_receives_no_resource(types: Types) -> None:
    assert view(read(WHOLE), "shop", "vm9", types).sections == ("DEFAULT", "env")


def test_hashes_are_over_the_bytes() -> None:
    assert content_hash("") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert content_hash("a\n") != content_hash("a\r\n")
    assert len(content_hash("")) == len("sha256:") + 64


value_parts = st.sampled_from(["x", "{env.a}", "{env.b}", "{fs#1.dev}", "{fs#2.dev}", "{mail}", "{nodename}", "{#nodes}",
                               "{env.{env.a}}", "{container#0.hostname}", "{restart}", "vm1", "encap", "a b"])
keys = st.sampled_from(["dev", "mnt_opt", "tags", "encap", "subset", "a", "b", "restart"])
scopes = st.sampled_from(["", "", "@vm1", "@encapnodes", "@nodes", "@hv1"])
sections = st.sampled_from(["env", "fs#1", "fs#2", "app", "container#0", "subset#x", "sync#i0"])
entries = st.tuples(sections, keys, scopes, st.lists(value_parts, max_size=3).map(" ".join))


@given(st.lists(entries, max_size=25))
def test_a_guest_reads_the_same_out_of_its_view(written: list[tuple[str, str, str, str]]) -> None:
    by_section: dict[str, list[str]] = {}
    for section, key, scope_, value in written:
        by_section.setdefault(section, []).append(f"{key}{scope_} = {value}")
    text = "[DEFAULT]\nnodes = hv1\nencapnodes = vm1 {env.a}\nmail = {env.b}\nrestart = 2\n" + "".join(
        f"# of {name}\n[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in by_section.items())
    document = read(text)
    part = view(document, "s", "vm1")
    whole_view, part_view = scope(document, "s", "vm1"), scope(part, "s", "vm1")
    assert (part_view.lists, part_view.level) == (whole_view.lists, whole_view.level)
    shown, shown_part = (evaluate(d, "s", "vm1")["sections"] for d in (document, part))
    for section in shown:
        if section not in ("DEFAULT", "env") and not section.startswith("subset#"):
            assert shown_part[section] == shown[section]
    assert str(view(part, "s", "vm1")) == str(part)
    assert set(part.lines) <= set(document.lines)

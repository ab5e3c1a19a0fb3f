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


def test_a_view_can_be_accepted_by_the_guest(types: Types) -> None:
    part = view(read(WHOLE), "shop", "vm1", types)
    assert [f for f in validate(part, types, "shop", node="vm1") if f.severity == "error"] == []


@pytest.mark.parametrize(("good", "bad", "part"), [
    ("mnt = /srv/{env.domain}", "mnt = srv", "absolute path"),
    ("mnt = /srv/{env.domain}", "mnt = /srv/{env.gone}", "{env.gone} is not known"),
    ("mnt = /srv/{env.domain}\n", "", "mnt is missing"),
    ("type = ext4\n", "type = ext5\n", "no type ext5"),
    ("name = vm1", "name = vm1\nencap = true", "a container cannot be encap"),
    ("nodes = hv1 hv2", "nodes = hv1 vm1", "both a hypervisor and a guest"),
    ("nodes = hv1 hv2", "nodes = hv1 ../hv2", "is not a node name"),
    ("restart = 1", "restart = 1\ndev: x", "is not `key = value`"),
])
def test_a_broken_view_is_refused_by_the_guest(good: str, bad: str, part: str, types: Types) -> None:
    document, findings = parse(GUEST_TEXT.replace(good, bad, 1))
    told = [f.text for f in validate(document, types, "shop", findings, "vm1") if f.severity == "error"]
    assert any(part in text for text in told), told


def test_only_a_guest_may_hold_a_part(types: Types) -> None:
    document, findings = parse(GUEST_TEXT)
    for node in ("", "hv1", "vm9"):
        told = [f.text for f in validate(document, types, "shop", findings, node) if f.severity == "error"]
        assert "container#0 has no type" in told


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


lines = st.sampled_from(["tags = encap", "tags@vm1 = encap", "encap@vm2 = true", "type@vm1 = xfs", "type@hv1 = flag",
                         "dev@vm2 = {fs#1.dev}", "mnt@encapnodes = /b/{env.a}", "mnt@vm1 = /{container#0.hostname}",
                         "size@vm2 = 1g", "container = container#1", "start_requires = fs#1", "subset = x", "restart = {restart}"])
guests_lines = st.sampled_from(["[container#0]\ntype = lxc\nname = vm1\n[container#1]\ntype = kvm\nname = vm2\n",
                                "[container#0]\ntype = lxc\nname = {env.a}\n[container#1]\ntype = lxc\nname = vm2\n"])


@given(guests_lines, st.lists(st.lists(lines, max_size=6, unique=True), min_size=1, max_size=3))
def test_a_view_of_a_sound_text_is_sound_for_its_guest(types: Types, containers: str, written: list[list[str]]) -> None:
    text = ("[DEFAULT]\nnodes = hv1 hv2\nencapnodes = vm1 {container#1.name}\nrestart = 2\n[env]\na = vm1\n" + containers
            + "".join(f"[fs#{number}]\ntype = ext4\ndev = /dev/a\nmnt = /a\n" + "\n".join(f) + "\n"
                      for number, f in enumerate(written, 1)))
    document, findings = parse(text)
    if any(f.severity == "error" for f in validate(document, types, "s", findings)):
        return
    for guest in ("vm1", "vm2"):
        part, again = parse(str(view(document, "s", guest, types)))
        assert [f for f in validate(part, types, "s", again, guest) if f.severity == "error"] == []

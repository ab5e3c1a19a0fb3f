"""All problems of a configuration at once, from every point of view, with lines and hints."""

from __future__ import annotations

import time

import pytest

from agentd.core.config import Finding, parse
from agentd.core.keywords import Types
from agentd.core.validation import validate

HEAD = "[DEFAULT]\nnodes = hv1 hv2\nencapnodes = vm1\n"
CONTAINER = "[container#0]\ntype = lxc\nname = vm1\n"
FS = "[fs#1]\ntype = ext4\ndev = /dev/a\nmnt = /a\n"


def found(text: str, types: Types, name: str = "db") -> tuple[Finding, ...]:
    document, findings = parse(text)
    return validate(document, types, name, findings)


def one(text: str, types: Types, severity: str = "error") -> Finding:
    mine = [f for f in found(text, types) if f.severity == severity]
    assert len(mine) == 1, mine
    return mine[0]


def test_a_sound_configuration_has_no_finding(types: Types) -> None:
    assert found(HEAD + CONTAINER + FS + "[fs#2]\ntype = flag\ntags = encap\n", types) == ()


def test_everything_is_told_at_once_in_the_order_of_the_lines(types: Types) -> None:
    text = HEAD + "flex_min = x\nnodess = a\nkey: v\n" + CONTAINER + "[fs#1]\ntype = ext4\nmnt = m\nsize = 1x\ntags = encap\n"
    told = [(f.line, f.severity, f.option) for f in found(text, types)]
    assert told == [(4, "error", "flex_min"), (5, "warning", "nodess"), (6, "error", ""), (10, "error", "dev"),
                    (12, "error", "mnt"), (13, "error", "size")]


@pytest.mark.parametrize(("text", "line", "section", "option", "part", "hint"), [
    # types and values
    (HEAD + CONTAINER + "[fs#1]\ntype = ext5\n", 8, "fs#1", "type", "fs has no type ext5", "ext4"),
    (HEAD + "[container#0]\nname = vm1\n", 4, "container#0", "type", "container#0 has no type", "one of kvm"),
    (HEAD + "[fs#1]\ntype = ext4\ndev = /d\n", 4, "fs#1", "mnt", "mnt is missing", "mnt = /srv/data"),
    (HEAD + "[fs#1]\ntype = ext4\nmnt = /m\ndev@hv2 = /d\n", 7, "fs#1", "dev", "dev is missing at hv1", "dev ="),
    (HEAD + FS + "size@hv2 = much\n", 8, "fs#1", "size@hv2", "is not a size", ""),
    (HEAD + FS + "size@hv2 = 1\nsize@hv1 = 1\nsize = bad\n", 10, "fs#1", "size", "is not a size", ""),
    (HEAD + FS + "restart = -1\n", 8, "fs#1", "restart", "negative", ""),
    (HEAD + FS + "disable@hv9x = maybe\ndisable@hv9x = true\n", 8, "fs#1", "disable@hv9x", "neither true nor false", ""),
    (HEAD + "topology = ring\n", 4, "DEFAULT", "topology", "not one of failover, flex", ""),
    (HEAD + "encap_trust@hv1 = full\n", 4, "DEFAULT", "encap_trust@hv1", "cannot be scoped", "without @hv1"),
    (HEAD + "[app#1]\nstart = sh -c 'a\n", 5, "app#1", "start", "open quote", ""),
    (HEAD + "[app#1]\nstart = -rf\n", 5, "app#1", "start", "dash", ""),
    (HEAD + "[fs#1]\ntype = ext4\ndev = /d\nmnt = a/../b\n", 7, "fs#1", "mnt", "absolute path", ""),
    # references
    (HEAD + FS + "subset = {env.no}\n", 8, "fs#1", "subset", "{env.no} is not known", ""),
    (HEAD + "[env]\na = {env.b}\nb = {env.a}\n" + "", 5, "env", "a", "env.a -> env.b -> env.a", ""),
    # nodes and scopes
    ("[DEFAULT]\nnodes = *\n", 2, "DEFAULT", "nodes", "'*' is not a node name", "no wildcards"),
    ("[DEFAULT]\nnodes = hv1 ../etc\n", 2, "DEFAULT", "nodes", "is not a node name", "lower-case"),
    ("[DEFAULT]\nnodes = nodes\n", 2, "DEFAULT", "nodes", "is not a node name", ""),
    ("[DEFAULT]\nnodes = hv1 vm1\nencapnodes = vm1\n", 3, "DEFAULT", "encapnodes", "both a hypervisor and a guest", "nodes@encapnodes"),
    (HEAD + FS + "dev@hv1.lan = /x\n", 8, "fs#1", "dev@hv1.lan", "@hv1.lan and the node hv1 differ", "write @hv1"),
    # encap
    ("[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\ntags = encap\n", 5, "fs#1", "tags", "the service has no encapnodes", "add encapnodes"),
    (HEAD + CONTAINER + "encap = true\n", 7, "container#0", "encap", "a container cannot be encap", "remove"),
    (HEAD + CONTAINER.replace("vm1", "vm2") + "[fs#1]\ntype = flag\ntags = encap\n", 3, "DEFAULT", "encapnodes", "no container has the host name vm1", "hostname"),
    (HEAD + CONTAINER.replace("vm1", "vm1.lan") + "[fs#1]\ntype = flag\ntags = encap\n", 3, "DEFAULT", "encapnodes", "vm1 and the container's host name vm1.lan differ", "write vm1.lan in encapnodes"),
    (HEAD + CONTAINER + "guestos = windows\n[fs#1]\ntype = flag\ntags = encap\n", 3, "DEFAULT", "encapnodes", "no container has the host name vm1", "windows"),
    (HEAD + CONTAINER + "[container#1]\ntype = kvm\n[fs#1]\ntype = flag\ntags = encap\ncontainer = container#1\n", 12, "fs#1", "container", "no container can have fs#1", "encapnodes"),
    (HEAD + CONTAINER + "[container#1]\ntype = kvm\nhostname = VM1\n", 9, "container#1", "hostname", "the same host name vm1", "its own"),
    # sections
    (HEAD + "[fs]\ntype = flag\n", 4, "fs", "", "[fs] has no id", "[fs#1]"),
    (HEAD + "[fs#" + "x" * 40 + "]\ntype = flag\n", 4, "fs#" + "x" * 40, "", "not a resource id", ""),
    (HEAD + "[subset#a]\nparallel = often\n", 5, "subset#a", "parallel", "neither true nor false", ""),
    ("[DEFAULT]\nnodes = hv1\ntopology = flex\nflex_min = 1\nflex_max = 0\n[env]\nx = {env.y}\n", 7, "env", "x", "{env.y} is not known", ""),
])  # fmt: skip
def test_errors(text: str, line: int, section: str, option: str, part: str, hint: str, types: Types) -> None:
    errors = [f for f in found(text, types) if f.severity == "error"]
    mine = [f for f in errors if part in f.text]
    assert len(mine) == 1, errors
    assert (mine[0].line, mine[0].section, mine[0].option) == (line, section, option)
    assert hint in mine[0].hint


@pytest.mark.parametrize(("text", "severity", "line", "part", "hint"), [
    (HEAD + FS + "mnt_op = rw\n", "warning", 8, "mnt_op is not a known keyword", "mnt_opt"),
    (HEAD + FS + "Dev2 = rw\n", "warning", 8, "Dev2 is not a known keyword", ""),
    (HEAD + "nodez@hv1 = x\n", "warning", 4, "nodez is not a known keyword", "nodes"),
    (HEAD + "tags = x\n" + FS, "warning", 4, "tags is not inherited from [DEFAULT]", "in the sections"),
    (HEAD + "standby = true\n" + FS, "warning", 4, "standby is not inherited", ""),
    (HEAD + "[foo#1]\n", "warning", 4, "[foo#1] is no known kind of section", ""),
    (HEAD + "[Fs#1]\n", "warning", 4, "[Fs#1] is no known kind of section", "fs"),
    (HEAD + FS + FS.replace("fs#1", "fs#01"), "warning", 8, "[fs#01] and [fs#1] are two different resources", ""),
    ("[DEFAULT]\napp = x\n" + FS, "warning", 1, "no nodes", "nodes = hv1 hv2"),
    (HEAD + FS + "dev@encap_nodes = /x\n", "warning", 8, "names no node", "encapnodes"),
    (HEAD + FS + "dev@hv7 = /x\n", "warning", 8, "@hv7 names no node", ""),
    (HEAD + "encapnodes@nodes = vm2\n", "warning", 4, "encapnodes@nodes never applies", ""),
    (HEAD + "nodes@nodes = x\n", "warning", 4, "nodes@nodes never applies", ""),
    (HEAD + "[container#0]\ntype = ovm\nname = vm1\n", "warning", 5, "no driver for container of type ovm", "undef"),
    (HEAD + "[fs#1]\ntype = flag\ntags = encap\n", "warning", 3, "no container#* here", "container#0"),
    (HEAD + FS + "start_requires = fs#9 impossible\n", "warning", 8, "there is no fs#9", ""),
    (HEAD + FS + "container = container#0\n", "warning", 8, "fs#1 is none", "tags = encap"),
    ("[DEFAULT]\nnodes = hv1\nencapnodes = vm1\n" + CONTAINER + "[fs#1]\ntype = flag\ntags@hv1 = encap\n", "warning", 7,
     "fs#1 belongs to no node", "scopes"),
    ("[DEFAULT]\nnodes = hv1\ntopology = flex\nflex_min = 3\n", "warning", 4, "flex_min is 3, and hv1 knows 1", ""),
    (HEAD + "cluster_type = failover\n", "note", 4, "cluster_type is now called topology", "topology ="),
    (HEAD + "autostart_node = hv1\n", "note", 4, "autostart_node is now called orchestrate", "orchestrate@NODE = start"),
    (HEAD + FS + "always_on = nodes\n", "note", 8, "always_on is now called standby", "standby = true"),
    (HEAD + FS + "size = 1ki\n", "note", 8, "base 1024 here", ""),
    (HEAD + "docker_data_dir = /x\n", "note", 4, "is not used here", ""),
    (HEAD + "[hb#1]\ntype = linuxha\n", "note", 5, "read as external", "type = external"),
    (HEAD + "[vg#1]\nvgname = x\n", "note", 4, "[vg#1] is of another version", "[disk#...] with type = vg"),
    (HEAD + "[stonith#1]\n", "note", 4, "[stonith#1] is of another version", "fence agent"),
    ("[default]\nnodes = hv1\n", "note", 1, "[default] is read as [DEFAULT]", "write [DEFAULT]"),
    (HEAD + "[disk#1]\nname = a\n[disk#1pr]\nprkey = 1\n", "note", 6, "[disk#1pr] belongs to disk#1", ""),
])  # fmt: skip
def test_warnings_and_notes(text: str, severity: str, line: int, part: str, hint: str, types: Types) -> None:
    mine = one(text, types, severity)
    assert (mine.line, part in mine.text, hint in mine.hint) == (line, True, True), mine
    assert [f for f in found(text, types) if f.severity == "error"] == []


@pytest.mark.parametrize("text", [
    HEAD + "docker_data_dir = /srv/{svcname}\n" + CONTAINER + FS,
    HEAD + "timeout = 5s\n[app#1]\nstart = /bin/x\n", HEAD + "shared_base = /srv\n" + FS.replace("/a\n", "{shared_base}/a\n"),
    HEAD + FS + "start_requires = impossible\n", HEAD + "[env]\nAny_Key@hv1 = 1\nother.key = <allocate>\n",
    "[DEFAULT]\nnodes = hv1\nencapnodes = {container#1.name}\n[container#1]\ntype = lxc\nname = c1\n[fs#1]\ntype = flag\nencap = true\n",
])  # fmt: skip
def test_nothing_more_than_notes(text: str, types: Types) -> None:
    assert [f for f in found(text, types) if f.severity != "note"] == []


FARMED = "[DEFAULT]\nnodes = hv1 hv2\nencapnodes = vm1 vm2\ntopology = flex\n" + (
    "[container#0]\ntype = lxc\nname@hv1 = vm1\nname@hv2 = vm2\n[fs#1]\ntype = flag\ntags = encap\n")


def test_several_guests_that_would_each_believe_to_be_alone(types: Types) -> None:
    mine = one(FARMED, types)
    assert (mine.line, mine.option) == (3, "encapnodes")
    assert "vm1 and vm2 would believe to be alone" in mine.text
    assert "nodes@encapnodes = vm1 vm2" in mine.hint
    assert "topology@encapnodes = failover" in mine.hint


@pytest.mark.parametrize("lines", ["nodes@encapnodes = vm1 vm2\n", "nodes@encapnodes = vm1 vm2\ntopology@encapnodes = failover\n",
                                   "nodes@vm1 = vm1 vm2\nnodes@vm2 = vm1 vm2\n"])
def test_farmed_services_with_their_guests_named_are_sound(lines: str, types: Types) -> None:
    assert found(FARMED.replace("topology = flex\n", "topology = flex\n" + lines), types) == ()


@pytest.mark.parametrize(("lines", "node", "theirs"), [
    ("dev@nodes = /n\ndev@encapnodes = /e\n", "vm1", "dev@nodes (line 10)"),
    ("dev@nodes = /n\ndev@flex_primary = /p\n", "hv1", "dev@nodes (line 10)"),
])
def test_notes_where_opensvc_would_have_read_another_value(lines: str, node: str, theirs: str, types: Types) -> None:
    text = HEAD + CONTAINER + "[fs#1]\ntype = ext4\nmnt = /a\n" + lines + ("tags = encap\n" if node == "vm1" else "")
    mine = one(text, types, "note")
    assert mine.text.startswith(node)
    assert mine.text.endswith(f"would have read {theirs}")


@pytest.mark.parametrize("name", ["DB", "a/b", "", "..", "x" * 64, "a b"])
def test_a_bad_service_name_is_an_error(name: str, types: Types) -> None:
    assert [f.severity for f in found(HEAD, types, name)] == ["error"]


def test_findings_of_the_parser_are_kept(types: Types) -> None:
    assert [f.severity for f in found("\ufeff[DEFAULT]\nnodes = hv1\n", types)] == ["warning"]
    assert [f.text for f in found("", types)] == ["the text has no section"]


def test_a_document_for_programs(types: Types) -> None:
    assert one(HEAD + "[fs]\n", types).document() == {
        "section": "fs", "option": "", "line": 4, "text": "[fs] has no id", "hint": "write [fs#1]"}


def test_large_and_hostile_texts_are_judged_in_time(types: Types) -> None:
    texts = [
        HEAD + CONTAINER + "".join(f"[fs#{i}]\ntype = flag\ntags = encap\n" for i in range(10_000)),
        "[DEFAULT]\nnodes = " + " ".join(f"n{i}" for i in range(2000)) + "\n" + FS * 50,
        HEAD + "[fs#1]\n" + "".join(f"unknown_{i} = 1\n" for i in range(5000)),
        HEAD + "".join(f"[fs#{i}]\ntype = zz{i}\ndev@x{i} = 1\n" for i in range(1000)),
        "[DEFAULT]\nnodes = " + " ".join(f"n{i}" for i in range(100)) + "\n[fs#1]\n"
        + "".join(f"dev@n{i} = /d{i}\n" for i in range(100)),
    ]
    for text in texts:
        began = time.perf_counter()
        assert isinstance(found(text, types), tuple)
        assert time.perf_counter() - began < 8, text[:60]

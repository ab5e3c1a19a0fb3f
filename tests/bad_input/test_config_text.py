"""Bad configuration texts that no other test has: each is refused with its place, or means what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentd.core.config import Finding, parse
from agentd.core.errors import InvalidRequest
from agentd.core.validation import validate
from agentd.core.verbs import parse_tags
from agentd.registry import Registry
from drivers import catalogue

HEAD = "[DEFAULT]\nnodes = hv1 hv2\nencapnodes = vm1\n"
FS = "[fs#1]\ntype = ext4\ndev = /dev/a\nmnt = /a\n"
CONTAINER = "[container#0]\ntype = lxc\nname = vm1\n"


def found(text: str, severity: str = "error") -> list[Finding]:
    document, findings = parse(text)
    return [f for f in validate(document, catalogue(), "db", findings) if f.severity == severity]


@pytest.mark.parametrize("code", [
    0x01, 0x0B, 0x7F, 0x9B, 0xAD, 0x61C, 0x180E, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2029, 0x202A,
    0x202E, 0x2060, 0x2062, 0x2066, 0x2069, 0x206F, 0xFEFF, 0xE0001, 0xE007F], ids=hex)
def test_what_cannot_be_seen_is_refused_with_line_and_column(code: int) -> None:
    sign = chr(code)
    (told,) = [f for f in parse(f"[DEFAULT]\nnodes = hv1\n[fs#1]\ntags = enc{sign}ap\n")[1] if f.severity == "error"]
    assert (told.line, told.text) == (4, f"control character U+{code:04X} at column 11")
    in_a_comment = parse(f"[DEFAULT]\n# a{sign}b\n")[1]
    assert [f.line for f in in_a_comment] == [2]


@pytest.mark.parametrize("text", ["comment = Größe 名\n", "comment = a\tb\n", "comment = \U0001f600 \u2713\n"])
def test_what_can_be_seen_is_accepted(text: str) -> None:
    assert found(HEAD + text) == []


@pytest.mark.parametrize("text", ["[DEF\x0cAULT]\n", "nodes\u00a0= hv1\n", "[\u0421ontainer#0]\n", "nod\u0435s = hv1\n"])
def test_look_alikes_of_names_are_no_names(text: str) -> None:
    assert [f.line for f in found(HEAD + text)] == [4]


def test_a_reference_of_a_list_to_itself_is_told() -> None:
    (told,) = found("[DEFAULT]\nnodes = {nodes}\n")
    assert (told.line, told.option) == (2, "nodes")
    assert "leads back to itself" in told.text


def test_names_twice_or_with_commas_are_one_list() -> None:
    text = HEAD.replace("hv1 hv2", "hv1, HV2,hv1  hv2")
    assert found(text) == []
    assert [f.text for f in found(text.replace("hv2", "h*2"))] == ["'h*2' is not a node name"]


@pytest.mark.parametrize(("key", "value", "part"), [
    ("dev", "../x", "absolute path"), ("dev", "-o loop", "absolute path"), ("mnt", "srv", "absolute path"),
    ("mnt", "/a/../b", "absolute path"), ("restart", "1e309", "not a whole number"),
    ("stat_timeout", "1e309", "not a duration"), ("restart", "٣", "not a whole number"),
    ("disable", "ja", "neither true nor false"), ("pre_start", "-x", "dash"), ("pre_start", "a 'b", "open quote"),
])
def test_values_of_a_file_system(key: str, value: str, part: str) -> None:
    text = HEAD + "".join(line for line in FS.splitlines(True) if not line.startswith(f"{key} "))
    (told,) = found(f"{text}{key} = {value}\n")
    assert told.option == key
    assert part in told.text


@pytest.mark.parametrize("lines", [
    "[container#0]\ntype = lxc\nname = -vm1\n", "[container#0]\ntype = lxc\nname = ../../etc\n",
    "[ip#1]\nipname = -x\nipdev = eth0\n", "[ip#1]\nipname = 10.0.0.1\nipdev = --evil\n"])
def test_names_that_tools_would_take_for_options_or_paths(lines: str) -> None:
    assert len(found(HEAD.replace("encapnodes = vm1\n", "") + lines)) == 1


def test_a_path_over_two_lines_is_one_line() -> None:
    document, _ = parse(HEAD + FS.replace("mnt = /a\n", "mnt = /a\n  /b\n"))
    assert document.get("fs#1", "mnt") == "/a /b"


def test_two_containers_of_one_host_name() -> None:
    assert ["same host name" in f.text for f in found(HEAD + CONTAINER + CONTAINER.replace("#0", "#1"))] == [True]


@pytest.mark.parametrize("tags", [" ", ",", "a,", "a+", "+"])
def test_no_tag_is_not_every_tag(tags: str) -> None:
    with pytest.raises(InvalidRequest, match="a tag is missing"):
        parse_tags(tags)
    assert parse_tags("") == ()


# The file itself.

GOOD = "[DEFAULT]\nnodes = hv1\n"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "web.conf").write_text(GOOD)
    made = Registry(tmp_path, lambda: "hv1", catalogue())
    assert made.load("web", lambda name, hash_: 1) is not None
    return made


def _link(path: Path) -> None:
    (path.parent / "elsewhere").write_text(GOOD)
    path.symlink_to(path.parent / "elsewhere")


def _giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


@pytest.mark.parametrize(("put", "part"), [
    (os.mkfifo, "not a regular file"), (_link, "cannot be read"), (Path.mkdir, "not a regular file"),
    (_giant, "larger than 1 MiB"), (lambda path: path.symlink_to("/dev/zero"), "cannot be read"),
    (lambda path: path.write_bytes(b""), "the text has no section"),
    (lambda path: path.write_bytes(b"x" * 60), "is not `key = value`"),
    (lambda path: path.write_bytes(b"[DEFAULT]\n\xff"), "not UTF-8"),
], ids=["fifo", "link", "directory", "1 GiB", "device", "empty", "60 bytes", "not UTF-8"])
def test_a_file_that_is_no_text_leaves_the_last_good_one_in_force(
        registry: Registry, tmp_path: Path, put: object, part: str) -> None:
    path = tmp_path / "web.conf"
    path.unlink()
    put(path)  # type: ignore[operator]
    assert registry.load("web", lambda name, hash_: 2) is None
    held = registry.get("web")
    assert (held.text, held.revision) == (GOOD, 1)
    assert part in held.trouble[0]
    assert registry.changed() == ([], [])  # told once, and read again only when it changes


def test_files_whose_names_are_no_names_are_left_alone(registry: Registry, tmp_path: Path) -> None:
    for name in ("Web.conf", "..conf", "a b.conf", "-rf.conf", "web.conf.new", "x" * 64 + ".conf"):
        (tmp_path / name).write_text(GOOD)
    assert registry.changed() == ([], [])
    with pytest.raises(InvalidRequest, match="not a service name"):
        registry.examine("../web", GOOD)

"""The strict parser: what it accepts, what it refuses and where, and edits that touch nothing else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.config import Document, Finding, parse
from agentd.core.errors import InvalidRequest


def said(findings: tuple[Finding, ...], severity: str = "error") -> list[tuple[int, str]]:
    return [(f.line, f.text) for f in findings if f.severity == severity]


def values(text: str) -> dict[str, str]:
    document, findings = parse(text)
    assert said(findings) == []
    return {f"{e.section}.{e.option}": e.value for e in document.entries}


def only(text: str | bytes, severity: str = "error") -> Finding:
    """The one finding of a text."""
    found = [f for f in parse(text)[1] if f.severity == severity]
    assert len(found) == 1, found
    return found[0]


def test_what_real_files_hold() -> None:
    assert values(
        "# a service\n[DEFAULT]\nnodes =  hv1 hv2\ncomment = test db #2\n\n"
        "[container#1]\nrun_args = --net=none\n   -v /a:/b:ro\n\t-e X={env.x}\n"
        ";name = old\n#eip = <allocate>\n  # note\n"
        "start@hv1= /bin/a;/bin/b ; a remark\nlong = one \\\ntwo \\\n  three\n[env]\nipaddr =\nipname = <allocate>\n"
    ) == {
        "DEFAULT.nodes": "hv1 hv2", "DEFAULT.comment": "test db #2",
        "container#1.run_args": "--net=none -v /a:/b:ro -e X={env.x}",
        "container#1.start@hv1": "/bin/a;/bin/b", "container#1.long": "one two three",
        "env.ipaddr": "", "env.ipname": "<allocate>",
    }


def test_a_comment_between_continuation_lines_is_skipped() -> None:
    assert values("[fs#1]\na = 1\n  2\n# remark\n  3\n") == {"fs#1.a": "1 2 3"}


def test_a_blank_line_ends_a_value() -> None:
    assert values("[fs#1]\na = 1\n\n  b = 2\n") == {"fs#1.a": "1", "fs#1.b": "2"}


def test_keywords_indented_alike_are_keywords() -> None:
    assert values("[fs#1]\n  a = 1\n  b = 2\n") == {"fs#1.a": "1", "fs#1.b": "2"}


def test_a_keyword_that_an_indent_swallows_is_told() -> None:
    found = only("[fs#1]\ndev = /dev/x\n  mnt = /srv\n", "warning")
    assert (found.line, found.option) == (3, "dev")


def test_scoped_duplicate_the_last_counts_with_a_note() -> None:
    document, findings = parse("[share#1]\ndisable@n3 = true\ndisable@n3 = false\n")
    assert document.get("share#1", "disable@n3") == "false"
    assert said(findings, "note") == [(3, "disable@n3 was already set at line 2; the last one counts")]


def test_lower_case_default_is_read_with_a_note() -> None:
    document, findings = parse("[default]\napp = ERP\n")
    assert document.get("DEFAULT", "app") == "ERP"
    assert [f.hint for f in findings] == ["write [DEFAULT]"]


def test_all_problems_at_once_with_their_lines() -> None:
    _, findings = parse("[DEFAULT]\nnodes: a b\n[ fs#1 ]\ndev = 1\n  [fs#2]\nkey@ = 1\n[fs#3]\na b = 1\n@x = 1\na@b@c = 1\njust\n")
    assert [line for line, _ in said(findings)] == [2, 3, 5, 8, 9, 10, 11]
    assert findings[0].hint == "the sign between key and value is =, not :"


@pytest.mark.parametrize(("text", "line", "part"), [
    ("", 0, "no section"), (" \n\t\n", 0, "no section"), ("x" * 60, 1, "is not `key = value`"),
    ("a = 1\n[DEFAULT]\n", 1, "before the first section"),
    ("[DEFAULT]\na = \x00\n", 2, "U+0000 at column 5"), ("[DEFAULT]\na = b\x1b[2J\n", 2, "U+001B at column 6"),
    ("[DEFAULT]\na = b\rc\n", 2, "U+000D"), ("[DEFAULT]\na = b\u2028[app#evil]\n", 2, "U+2028"),
    ("[DEFAULT]\na = b\x85c\n", 2, "U+0085"), ("[DEFAULT]\na = \u202ebad\n", 2, "U+202E"),
    ("[DEFAULT]\ntags = enc\u200bap\n", 2, "U+200B"),
    (b"[DEFAULT]\nab\xff = 1\n", 2, "not UTF-8 at column 3"), ("[DEFAULT]\na = \ud800\n", 2, "not UTF-8 at column 5"),
    ("[DEFAULT]\na = " + "x" * 100_000, 2, "at most 16 KiB"), ("[" + "x" * 70, 1, "not a section header"),
    ("[DEFAULT]\n[\u0430pp#1]\n", 2, "not a section header"), ("[fs#1\ndev = 1\n", 1, "not a section header"),
    ("[app]\nstart = a \\\n[fs#1]\n", 3, "would swallow [fs#1]"),
    ("[DEFAULT]\n[fs#1]\na = 1\n [app#evil]\nb = 1\n", 4, "is indented"),
    ("[fs#1]\n[Fs#1]\n", 2, "differs from [fs#1] only by case"),
])  # fmt: skip
def test_refused(text: str | bytes, line: int, part: str) -> None:
    found = only(text)
    assert found.line == line
    assert part in found.text


def test_keys_that_differ_by_case_are_told() -> None:
    assert only("[fs#1]\ndev = 1\nDev = 2\n", "warning").line == 3


def test_a_section_written_twice_is_told() -> None:
    assert only("[fs#1]\na = 1\n[env]\n[fs#1]\nb = 1\n", "warning").line == 4


def test_a_text_of_one_mebibyte_is_the_largest() -> None:
    assert "at most 1 MiB" in only(b"#" * ((1 << 20) + 1)).text
    assert parse("[DEFAULT]\n" + "#\n" * ((1 << 19) - 5))[1] == ()


def test_byte_order_mark_is_stripped_with_a_warning() -> None:
    document, findings = parse(b"\xef\xbb\xbf[DEFAULT]\napp = x\n")
    assert (str(document), document.get("DEFAULT", "app")) == ("[DEFAULT]\napp = x\n", "x")
    assert said(findings, "warning") == [(1, "byte order mark removed")]


def test_windows_line_ends_are_accepted_and_kept() -> None:
    text = "[DEFAULT]\r\napp = x\r\nlong = a \\\r\n b\r\n"
    document, findings = parse(text)
    assert (findings, str(document)) == ((), text)
    assert document.get("DEFAULT", "long") == "a b"
    assert str(document.set("DEFAULT", "app", "y").set("env", "k", "v")) == (
        "[DEFAULT]\r\napp = y\r\nlong = a \\\r\n b\r\n\r\n[env]\r\nk = v\r\n")


def test_large_texts_are_read_in_linear_time() -> None:
    texts = [
        "".join(f"[fs#{i}]\ndev = /dev/{i}\n" for i in range(10_000)),
        "[fs#1]\na = 1\n" + " 2\n" * 300_000, "x\n" * 500_000, "[a" * 300_000, "a = \\\n" * 100_000,
    ]
    began = time.perf_counter()
    documents = [parse(text) for text in texts]
    assert time.perf_counter() - began < 6
    assert len(documents[0][0].sections) == 10_000
    assert documents[0][1] == ()
    assert len(documents[2][1]) <= 501


EXAMPLE = """\
# header

[DEFAULT]
nodes = hv1 hv2      ; two
; app = old
app=X

# the data
[fs#1]
  dev = /dev/a
  opts = a
    # why
    b
  dev = /dev/b

[env]
"""


@pytest.mark.parametrize(("section", "option", "value", "old", "new"), [
    ("DEFAULT", "nodes", "hv3", "nodes = hv1 hv2      ; two\n", "nodes = hv3 ; two\n"),
    ("DEFAULT", "app", "Y", "app=X\n", "app=Y\n"), ("DEFAULT", "app", "", "app=X\n", "app=\n"),
    ("DEFAULT", "env", "PRD", "app=X\n", "app=X\nenv = PRD\n"),
    ("fs#1", "dev", "/c", "  dev = /dev/b\n", "  dev = /c\n"),
    ("fs#1", "opts", "c\nd", "  opts = a\n    # why\n    b\n", "  opts = c\n      d\n    # why\n"),
    ("env", "x@hv1", "1", "[env]\n", "[env]\nx@hv1 = 1\n"),
    ("ip#1", "ipdev", "eth0", "[env]\n", "[env]\n\n[ip#1]\nipdev = eth0\n"),
])  # fmt: skip
def test_set_changes_its_own_lines_only(section: str, option: str, value: str, old: str, new: str) -> None:
    changed = parse(EXAMPLE)[0].set(section, option, value)
    assert str(changed) == (EXAMPLE.replace(old, new).replace("app=Y", "app= Y").replace("app=\n", "app=\n")
                            if option == "app" and value else EXAMPLE.replace(old, new))


def test_unset_removes_all_occurrences_and_keeps_comments() -> None:
    document = parse(EXAMPLE)[0]
    assert str(document.unset("fs#1", "opts")) == EXAMPLE.replace("  opts = a\n", "").replace("    b\n", "")
    assert str(document.unset("fs#1", "dev")) == EXAMPLE.replace("  dev = /dev/a\n", "").replace("  dev = /dev/b\n", "")
    assert document.unset("fs#1", "nope") is document


def test_without_a_section() -> None:
    assert parse(EXAMPLE)[0].without("fs#1").sections == ("DEFAULT", "env")


@pytest.mark.parametrize(("section", "option", "value"), [
    ("app#1", "start", "a ; b"), ("app#1", "start", "a\n[app#evil]\nb"), ("app#1", "start", "a\\"),
    ("app#1", "start", "a\x00"), ("app#1", "start\nx", "a"), ("app#1", "a b", "1"), ("app 1", "a", "1"),
    ("app#1]\n[x", "a", "1"), ("app#1", "a", "# x"[0:1] and "a\n# b"), ("app#1", "k", "x" * 20_000),
    ("app#1", "", "1"), ("app#1", "a", "; only"), ("app#1", "k@", "v"),
])  # fmt: skip
def test_what_a_text_cannot_carry_is_refused(section: str, option: str, value: str) -> None:
    with pytest.raises(InvalidRequest):
        parse("[app#1]\nstart = x\n[fs#1]\n")[0].set(section, option, value)


words = st.text(st.sampled_from("abAB019_-./{}$()=#:@ \t;\\[]é"), max_size=12)
lines = st.one_of(
    st.sampled_from(["[DEFAULT]", "[fs#1]", "[fs#2]", "[app]", "", "  ", "# note", " ; note", "[bad", "  [fs#1]"]),
    st.builds(lambda k, s, v: f"{k}{s} = {v}", st.sampled_from("abcD"), st.sampled_from(["", "@hv1", "@nodes"]), words),
    words,
)
texts = st.builds(lambda ls, end, last: end.join(ls) + last, st.lists(lines, max_size=25),
                  st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\n"]))


@given(st.one_of(texts, st.text()))
def test_every_text_is_read_and_given_back(text: str) -> None:
    document, findings = parse(text)
    if not any("UTF-8" in f.text for f in findings):
        assert str(document) == text.removeprefix("\ufeff")
    assert isinstance(document, Document)
    assert all("\n" not in e.value and e.value == e.value.strip(" \t\r") for e in document.entries)


@given(texts, st.sampled_from(["DEFAULT", "fs#1", "ip#9"]), st.sampled_from(["a", "b@hv1", "new"]), words)
def test_set_is_local_or_refused(text: str, section: str, option: str, value: str) -> None:
    before = parse(text)[0]
    try:
        after = before.set(section, option, value)
    except InvalidRequest:
        return
    assert after.get(section, option) == " ".join(p.strip() for p in value.split("\n") if p.strip())
    same = [e[:4] for e in before.entries if (e.section, e.option) != (section, option)]
    assert [e[:4] for e in after.entries if (e.section, e.option) != (section, option)] == same
    assert len(set(before.lines) - set(after.lines)) <= max(1, sum(
        e.last - e.line + 1 for e in before.entries if (e.section, e.option) == (section, option)))
    removed = after.unset(section, option)
    assert removed.get(section, option) is None
    assert [e[:4] for e in removed.entries] == same

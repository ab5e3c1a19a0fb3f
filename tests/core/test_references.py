"""References: what they resolve to, what stays literal, and what is refused with its path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.arithmetic import calculate
from agentd.core.config import parse
from agentd.core.references import ReferenceTrouble
from agentd.core.scoping import scope

TEXT = """\
[DEFAULT]
nodes = hv1 hv2 hv3
encapnodes = vm1
where = {rid}/{dev}
[env]
x = 7
index = 1
shards = 8
devs = /dev/a /dev/b
home = /srv/{env.x}
a.b = dotted
on_hv1 = here
hv1 = direct
empty =
[container#1]
type = lxc
[fs#1]
dev = /dev/one
mnt = /srv/{svcname}
label = own
[fs#2.a]
dev = /dev/two
mnt = {fs#1.mnt}/sub
"""


def resolve(value: str, extra: str = "", section: str = "fs#1") -> str:
    view = scope(parse(TEXT + extra)[0], "db", "hv1")
    return view.resolver().resolve(section, value, "probe")


@pytest.mark.parametrize(("value", "expected"), [
    ("{nodename}.{short_nodename}", "hv1.hv1"), ("{svcname}/{name}", "db/db"), ("{rid}-{rindex}", "fs#1-1"),
    ("{env.x}", "7"), ("{env.home}", "/srv/7"), ("{dev}", "/dev/one"), ("{fs#2.a.mnt}", "/srv/db/sub"),
    ("{where}", "fs#1//dev/one"), ("{#nodes}", "3"), ("{nodes[2]}", "hv3"), ("{env.devs[0]}", "/dev/a"),
    ("{nodes[$({env.index}+1)]}", "hv3"), ("$({env.shards}//{#nodes})", "2"), ("$({#nodes}*2)", "6"),
    ("a$( (1+2) * 3 % 4 )b", "a1b"), ("$(-7//2)", "-4"), ("$(1/2)", "0.5"), ("$(8/2)", "4"),
    ("{upper:nodename}", "HV1"), ("{capitalize:svcname}", "Db"), ("{title:fs#1.label}", "Own"), ("{lower:svcname}", "db"),
    ("{upper:nodes[1]}", "HV2"), ("{env.{nodename}}", "direct"), ("{env.on_{nodename}}", "here"),
    ("{env.a.b}", "dotted"), ("{env.empty}", ""), ("{container#1.name}", "db"), ("{container#1.hostname}", "db"),
    ("{topology}", "failover"), ("{DEFAULT.nodes}", "hv1 hv2 hv3"), ("{fs#1.restart}", "0"), ("{#env.devs}", "2"),
    # literal
    ("{1...n}", "{1...n}"), ("{}", "{}"), ("{a b}", "{a b}"), ("{{", "{{"), ("}", "}"), ("{" * 9000, "{" * 9000),
    ("${HOME} $HOME", "${HOME} $HOME"), ("$(hostname)", "$(hostname)"), ("f(a) (b", "f(a) (b"), ("$(", "$("),
    ('{"json": [1]}', '{"json": [1]}'), ("awk {print $1}", "awk {print $1}"), ("100%", "100%"), ("<allocate>", "<allocate>"),
    ("__SVCNAME__", "__SVCNAME__"), ("{fs#1.exposed_devs[0]}", "{fs#1.exposed_devs[0]}"),
    ("x{container#1.sub_devs}", "x{container#1.sub_devs}"),
])  # fmt: skip
def test_resolves(value: str, expected: str) -> None:
    assert resolve(value) == expected


@pytest.mark.parametrize(("value", "extra", "part"), [
    ("{nope}", "", "{nope} is not known"), ("{env.nope}", "", "{env.nope} is not known"),
    ("{nope#1.dev}", "", "is not known"), ("{fs#9.exposed_devs[0]}", "", "is not known"),
    ("{fs#1.size}", "", "is not known"), ("{nodes[9]}", "", "the list has 3 item(s)"), ("{nodes[-1]}", "", "not a place"),
    ("{nodes[x]}", "", "not a place"), ("$(1/0)", "", "divides by zero"), ("$(2**3)", "", "not arithmetic"),
    ("$({env.devs}+1)", "", "not arithmetic"), ("$(9" + "*9" * 99 + ")", "", "not arithmetic"),
    ("$(999999999*999999999*999999999)", "", "out of range"), ("{env.c1}", "[env]\nc1 = {env.c2}\nc2 = {env.c1}\n",
     "env.c1 -> env.c2 -> env.c1"), ("{env.me}", "[env]\nme = x{env.me}\n", "leads back to itself"),
    ("{env.w}", "[env]\nw = {env.gone}\n", "on the way fs#1.probe -> env.w"),
])  # fmt: skip
def test_refused_with_the_reason(value: str, extra: str, part: str) -> None:
    with pytest.raises(ReferenceTrouble) as refused:
        resolve(value, extra)
    assert part in str(refused.value)


def test_a_path_of_twenty_steps_is_the_longest() -> None:
    chain = "[env]\n" + "".join(f"s{i} = {{env.s{i + 1}}}\n" for i in range(30)) + "s30 = end\n"
    assert resolve("{env.s12}", chain) == "end"
    with pytest.raises(ReferenceTrouble, match="deeper than 20"):
        resolve("{env.s0}", chain)


def test_a_value_that_grows_is_given_up_early() -> None:
    bomb = "[env]\nb0 = " + "x" * 1000 + "\n" + "".join(f"b{i + 1} = {f'{{env.b{i}}}' * 10}\n" for i in range(15))
    with pytest.raises(ReferenceTrouble, match="16 KiB"):
        resolve("{env.b15}", bomb)


def test_ten_thousand_substitutions_are_the_most() -> None:
    resolver = scope(parse(TEXT)[0], "db", "hv1").resolver()
    with pytest.raises(ReferenceTrouble, match="10000 substitutions"):
        for _ in range(11):
            resolver.resolve("fs#1", "{env.x}" * 1000, "k")


def test_what_was_filled_in_is_not_read_again() -> None:
    assert resolve("{env.a}x}", "[env]\na = {1\nx = no\n") == "{1x}"


def test_an_inherited_value_is_read_for_the_section_that_uses_it() -> None:
    resolver = scope(parse(TEXT)[0], "db", "hv1").resolver()
    assert [resolver.resolve(s, "{where}", "k") for s in ("fs#1", "fs#2.a")] == ["fs#1//dev/one", "fs#2.a//dev/two"]


@pytest.mark.parametrize("value", ["{" * 8000 + "env.x" + "}" * 8000, "(" * 8000 + "}" * 8000, "{" + "(" * 16000 + "}",
                                   "$(" * 8000 + ")" * 8000, "{{env.x}" * 1600, "$(" + "(" * 60 + "1" + ")" * 60 + ")"])
def test_nesting_costs_little(value: str) -> None:
    try:
        assert len(resolve(value)) <= 16 << 10
    except ReferenceTrouble as refused:
        assert str(refused)  # noqa: PT017


pieces = st.sampled_from(["{", "}", "$(", "(", ")", "${", "env.", "x", "nodes", "[", "]", "0", "+", "*", "//", "%", "-", " ",
                          "#", "upper:", ".", "{env.x}", "{env.r}", "{env.q}", "a", "9" * 18, "/", "rid", "{#nodes}"])
values = st.lists(pieces, max_size=25).map("".join)


@given(values, values, values)
def test_references_never_crash_and_stay_in_bounds(first: str, second: str, third: str) -> None:
    try:
        assert len(resolve(first, f"[env]\nr = {second}\nq = {third}\n")) <= 16 << 10
    except ReferenceTrouble as refused:
        assert len(str(refused)) < 4000  # noqa: PT017


@given(st.recursive(st.integers(0, 999).map(str),
                    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(
                        lambda t: f"({t[0]} {t[1]} {t[2]})"), max_leaves=6))
def test_arithmetic_agrees_with_python_s(expression: str) -> None:
    try:
        expected = eval(expression)  # noqa: S307 - made of digits and operators above
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="divides by zero"):
            calculate(expression)
        return
    if abs(expected) < 10**15:
        try:
            assert calculate(expression) == str(expected)
        except ValueError as refused:
            assert "out of range" in str(refused)  # noqa: PT017

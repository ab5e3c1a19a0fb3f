"""Texts to values: what is accepted, and that nothing unreadable becomes a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core import converters as to


@pytest.mark.parametrize(("convert", "text", "value"), [
    (to.size, "1024", 1024), (to.size, "1k", 1024), (to.size, "1KB", 1024), (to.size, "1ki", 1024),
    (to.size, "2.2GB", int(2.2 * (1 << 30))), (to.size, "2,5g", 5 << 29), (to.size, "2.5TIB", 5 << 39),
    (to.size, "1 MiB", 1 << 20), (to.size, "3PiB", 3 << 50), (to.size, "7Eb", 7 << 60), (to.size, "50%FREE", "50%FREE"),
    (to.duration, "10", 10.0), (to.duration, "1w2d3h4m5s", 788645.0), (to.duration, "3M10S", 190.0),
    (to.duration_minutes, "5", 300.0), (to.duration_minutes, "1d3h", 97200.0),
    (to.boolean, "Yes", True), (to.boolean, "y", True), (to.boolean, "T", True), (to.boolean, "1", True),
    (to.boolean, "no", False), (to.boolean, "F", False), (to.boolean, "0", False), (to.boolean, "False", False),
    (to.names, "HV1, hv2 hv1", ("hv1", "hv2")), (to.words, " a  b ", ("a", "b")), (to.natural, "12", 12),
    (to.command, "/bin/sh -c 'a;b|c' $(x) &", ("/bin/sh", "-c", "a;b|c", "$(x)", "&")), (to.command, "", ()),
    (to.name, " HV1 ", "hv1"), (to.rid, "container#1", "container#1"), (to.absolute_path, "/a/b", "/a/b"),
    (to.requirements, "ip#0 fs#1(up,stdby up)", (("ip#0", ("up", "stdby up")), ("fs#1", ("up", "stdby up")))),
    (to.requirements, "ip#0(down)", (("ip#0", ("down",)),)),
])  # fmt: skip
def test_accepted(convert: Callable[[str], Any], text: str, value: Any) -> None:
    assert convert(text) == value


@pytest.mark.parametrize(("convert", "text"), [
    (to.size, ""), (to.size, "x"), (to.size, "-1"), (to.size, "1z"), (to.size, "0x10"), (to.size, "1e309"),
    (to.size, "٣"), (to.size, "9" * 40), (to.size, "999999e"), (to.size, "1.k"),
    (to.duration, ""), (to.duration, "-5"), (to.duration, "5x"), (to.duration, "1e3"), (to.duration, "٣"),
    (to.duration, "9" * 18), (to.duration, "1h "[0:2] + "h"), (to.natural, "-1"), (to.natural, "1.5"),
    (to.natural, "0x10"), (to.natural, "٣"), (to.natural, "1_000"), (to.natural, "9" * 30), (to.integer, ""),
    (to.boolean, ""), (to.boolean, "maybe"), (to.boolean, "2"), (to.command, "a 'b"), (to.command, "-rf x"),
    (to.command, "'' x"), (to.name, "a b"), (to.rid, "fs"), (to.rid, "Fs#1"), (to.rid, "fs#../1"),
    (to.absolute_path, "a/b"), (to.absolute_path, "/a/../b"), (to.absolute_path, ""), (to.requirements, "fs#1(up"),
])  # fmt: skip
def test_refused_with_a_sentence(convert: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"is |must|has|:|larger|neither"):
        convert(text)


@given(st.sampled_from([to.size, to.duration, to.duration_minutes, to.boolean, to.natural, to.command, to.name, to.rid,
                        to.absolute_path, to.requirements, to.names, to.words]), st.text(max_size=40))
def test_never_another_error(convert: Callable[[str], Any], text: str) -> None:
    try:
        value = convert(text)
    except ValueError as refused:
        assert str(refused)  # noqa: PT017
    else:
        assert value is not None

"""References in values: ``{section.key}``, ``{#list}``, ``{list[n]}``, ``$(arithmetic)``.

Pure text substitution with limits: no environment, no code, and what was filled in is not
read again. What a driver resolves at run time (``{disk#0.exposed_devs[0]}``), what is no
reference (``{1...n}``) and what is a shell's (``${HOME}``, ``$(date)``) stays literal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentd.core.arithmetic import calculate, looks_like_arithmetic
from agentd.core.dialect import VALUE_LIMIT, Entry
from agentd.core.rows import DEFAULT_ROWS, RESOURCE_ROWS

DEPTH = 20
"""Steps of a path of references."""
SUBSTITUTIONS = 10_000
"""Substitutions in one view of a configuration."""

_TOKEN = re.compile(r"(\$?\{|\}|\$?\(|\))")
_REFERENCE = re.compile(
    r"(?P<modifiers>(?:(?:upper|lower|capitalize|title):)*)(?P<count>\#?)"
    r"(?:(?P<section>[A-Za-z_]+(?:\#[A-Za-z0-9_.\-]+)?)\.)?(?P<key>[A-Za-z_][A-Za-z0-9_\-]*)"
    r"(?:\[(?P<index>[^\[\]]*)\])?",
    re.ASCII,
)
_DOTTED_ENV = re.compile(r"(?P<section>env)\.(?P<key>[A-Za-z_][A-Za-z0-9_.\-]*)", re.ASCII)
_MODIFIERS = {"upper": str.upper, "lower": str.lower, "capitalize": str.capitalize, "title": str.title}
_RUNTIME = frozenset({"exposed_devs", "sub_devs", "base_devs"})
_LISTS = frozenset({"nodes", "drpnodes", "drpnode", "encapnodes", "flex_primary", "drp_flex_primary"})
_REFERENCE_LIMIT = 256
"""Characters between two braces that can still be a reference."""

Table = Mapping[str, Mapping[str, Entry]]
"""Section -> keyword -> the entry that counts after scoping."""


class ReferenceTrouble(ValueError):
    """A reference that cannot be resolved, with the path that led to it."""


class Resolver:
    """Resolves the values of one view, and counts its substitutions.

    `lists`: the node lists that are already known; what is missing there is read from the
    table. Answers are remembered per section that asks, because of ``{rid}``.
    """

    def __init__(self, table: Table, name: str, node: str, lists: Mapping[str, tuple[str, ...]]) -> None:
        self._table, self._lists = table, lists
        self._words = {
            "nodename": node,
            "short_nodename": node.partition(".")[0],
            "svcname": name,
            "name": name,
        }
        self._known: dict[tuple[str, str, str], str] = {}
        self._left = SUBSTITUTIONS

    def resolve(self, section: str, text: str, key: str = "", origin: str = "") -> str:
        """`text`, which stands in ``section.key``, with everything filled in.

        `origin`: the section that the text was inherited from. Raises ReferenceTrouble.
        """
        if "{" not in text and "$(" not in text:
            return text
        return self._expand(section, text, ((origin or section, key),) if key else ())

    def _expand(self, section: str, text: str, path: tuple[tuple[str, str], ...]) -> str:
        """Brackets open a frame, closing ones evaluate it: nothing recurses on the text's nesting."""
        if len(path) > DEPTH:
            raise ReferenceTrouble(f"references lead deeper than {DEPTH}: {_way(path)}")
        frames: list[_Frame] = [_Frame("")]
        braces = 0
        for part in _TOKEN.split(text):
            if part in ("{", "${", "(", "$("):
                frames.append(_Frame(part))
                braces += "{" in part
            elif part == "}" and braces:
                while "{" not in frames[-1].opening:
                    _flatten(frames)
                self._close(section, frames, path)
                braces -= 1
            elif part == ")" and "(" in frames[-1].opening:
                _calculated(frames)
            elif part:
                frames[-1].parts.append(part)
        result = "".join(f.opening + "".join(f.parts) for f in frames)
        if len(result) > VALUE_LIMIT:
            raise ReferenceTrouble("the value grows beyond 16 KiB" + (f": {_way(path)}" if path else ""))
        return result

    def _close(self, section: str, frames: list[_Frame], path: tuple[tuple[str, str], ...]) -> None:
        frame = frames.pop()
        inside = "".join(frame.parts)
        found = None
        if frame.opening == "{" and len(inside) <= _REFERENCE_LIMIT:
            found = _REFERENCE.fullmatch(inside) or _DOTTED_ENV.fullmatch(inside)
        if found is None:
            frames[-1].add(f"{frame.opening}{inside}}}", frame.referred)
            return
        filled = self._substitute(section, found, path)
        frames[-1].add(filled, True)
        frames[0].grown += len(filled)
        if frames[0].grown > VALUE_LIMIT:
            raise ReferenceTrouble("the value grows beyond 16 KiB" + (f": {_way(path)}" if path else ""))

    def _substitute(self, section: str, found: re.Match[str], path: tuple[tuple[str, str], ...]) -> str:
        self._left -= 1
        if self._left < 0:
            raise ReferenceTrouble(f"more than {SUBSTITUTIONS} substitutions in one configuration")
        written = f"{{{found[0]}}}"
        parts = found.groupdict()
        where, key, index = parts["section"] or "", parts["key"], parts.get("index")
        if key in _RUNTIME and where in self._table:
            return written
        value = self._value(section, where, key, path, written)
        if parts.get("count"):
            return str(len(value.split()))
        if index is not None:
            value = _item(value, index, written)
        for modifier in reversed((parts.get("modifiers") or "").split(":")[:-1]):
            value = _MODIFIERS[modifier](value)
        return value

    def _value(
        self, section: str, where: str, key: str, path: tuple[tuple[str, str], ...], written: str
    ) -> str:
        fixed = self._fixed(section, where, key)
        if fixed is not None:
            return fixed
        for place in (where,) if where else (section, "DEFAULT"):
            entry = self._table.get(place, {}).get(key)
            if entry is not None:
                return self._of_entry(where or section, place, key, entry.value, path)
        default = self._default(section, where, key)
        if default is None:
            way = f", on the way {_way(path)}" if len(path) > 1 else ""
            raise ReferenceTrouble(f"{written} is not known{way}")
        return default

    def _of_entry(
        self, section: str, place: str, key: str, text: str, path: tuple[tuple[str, str], ...]
    ) -> str:
        if "{" not in text and "$(" not in text:
            return text
        if (place, key) in path:
            raise ReferenceTrouble(f"a reference leads back to itself: {_way((*path, (place, key)))}")
        asked = (section, place, key)
        if asked not in self._known:
            self._known[asked] = self._expand(section, text, (*path, (place, key)))
        return self._known[asked]

    def _fixed(self, section: str, where: str, key: str) -> str | None:
        if where in ("", "DEFAULT") and key in _LISTS and self._lists.get(key):
            return " ".join(self._lists[key])
        if where:
            return None
        if key == "rid":
            return section
        if key == "rindex":
            return section.partition("#")[2]
        return self._words.get(key)

    def _default(self, section: str, where: str, key: str) -> str | None:
        """What an unwritten keyword stands for, where that is known without a driver."""
        place = where or section
        if place.startswith("container#") and place in self._table and key in ("name", "hostname"):
            named = self._table[place].get("name") if key == "hostname" else None
            return self._of_entry(place, place, "name", named.value, ()) if named else self._words["svcname"]
        row = DEFAULT_ROWS.get(key) if where in ("", "DEFAULT") else None
        if row is None and place.partition("#")[1] and place in self._table:
            row = RESOURCE_ROWS.get(key)
        if row is None or row.default in (None, ()):
            return "" if row is not None and key in _LISTS else None
        return str(row.default).lower() if isinstance(row.default, bool) else str(row.default)


class _Frame:
    """What stands behind an opening bracket, so far.

    `referred`: something was filled in. `grown`, of the first frame: characters filled in
    anywhere, so that a value is given up before it is large.
    """

    __slots__ = ("grown", "opening", "parts", "referred")

    def __init__(self, opening: str) -> None:
        self.opening = opening
        self.parts: list[str] = []
        self.referred, self.grown = False, 0

    def add(self, text: str, referred: bool) -> None:
        self.parts.append(text)
        self.referred = self.referred or referred


def _flatten(frames: list[_Frame]) -> None:
    """A bracket that is never closed is plain text."""
    frame = frames.pop()
    frames[-1].add(frame.opening + "".join(frame.parts), frame.referred)


def _calculated(frames: list[_Frame]) -> None:
    frame = frames.pop()
    inside = "".join(frame.parts)
    if frame.opening == "$(" and (frame.referred or looks_like_arithmetic(inside)):
        try:
            frames[-1].add(calculate(inside), True)
        except ValueError as error:
            raise ReferenceTrouble(str(error)) from None
    else:
        frames[-1].add(f"{frame.opening}{inside})", frame.referred)


def _item(value: str, index: str, written: str) -> str:
    items, text = value.split(), index.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise ReferenceTrouble(f"{written}: {index!r} is not a place in a list; the first is 0")
    if int(text) >= len(items):
        raise ReferenceTrouble(f"{written}: the list has {len(items)} item(s); the first is 0")
    return items[int(text)]


def _way(path: tuple[tuple[str, str], ...]) -> str:
    return " -> ".join(f"{section}.{key}" for section, key in path)

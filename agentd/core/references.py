"""References in values: ``{section.key}``, ``{#list}``, ``{list[n]}``, ``$(arithmetic)``.

Pure text substitution with limits: no environment, no code. What a driver resolves at run
time (``{disk#0.exposed_devs[0]}``) and what is no reference (``{1...n}``) stays literal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

DEPTH = 20
VALUE = 16 << 10
SUBSTITUTIONS = 10_000

_REFERENCE = re.compile(r"\{(#?)((?:[A-Za-z]+:)?[A-Za-z_][A-Za-z0-9_.#:\-]*)(?:\[([^\[\]{}]*)\])?\}")
_ARITHMETIC = re.compile(r"\$\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|//|[-+*/%()])", re.ASCII)
_MODIFIERS = {"upper": str.upper, "lower": str.lower, "capitalize": str.capitalize, "title": str.title}
_RUNTIME = frozenset({"exposed_devs", "sub_devs", "base_devs", "mnt_dev", "name_dev"})


class ReferenceTrouble(ValueError):
    """A reference that cannot be resolved, with the path that led to it."""


class Resolver:
    """Resolves the values of one view. `raw`: section -> keyword -> scoped text."""

    def __init__(self, raw: Mapping[str, Mapping[str, str]], name: str, node: str,
                 lists: Mapping[str, tuple[str, ...]]) -> None:
        self._raw, self._name, self._node, self._lists = raw, name, node, lists
        self._left = SUBSTITUTIONS

    def resolve(self, section: str, text: str, key: str = "") -> str:
        """`text` of ``section.key`` with everything filled in; raises ReferenceTrouble."""
        if "{" not in text and "$(" not in text:
            return text
        return self._expand(section, text, ((section, key),) if key else ())

    def _expand(self, section: str, text: str, path: tuple[tuple[str, str], ...]) -> str:
        if len(path) > DEPTH:
            raise ReferenceTrouble(f"references are nested deeper than {DEPTH}: {_way(path)}")
        for _ in range(DEPTH):
            changed = _REFERENCE.sub(lambda m: self._one(section, m, path), text)
            changed = _ARITHMETIC.sub(lambda m: m[0] if "{" in m[1] else _calculate(m[1]), changed)
            if len(changed) > VALUE:
                raise ReferenceTrouble("the value grows beyond 16 KiB")
            if changed == text:
                break
            text = changed
        return text

    def _one(self, section: str, found: re.Match[str], path: tuple[tuple[str, str], ...]) -> str:
        self._left -= 1
        if self._left < 0:
            raise ReferenceTrouble(f"more than {SUBSTITUTIONS} substitutions in one configuration")
        count, target, index = found[1], found[2], found[3]
        modifier, colon, rest = target.partition(":")
        if colon and modifier in _MODIFIERS:
            return _MODIFIERS[modifier](self._value(section, rest, path, found[0]))
        if target.rpartition(".")[2] in _RUNTIME:
            return found[0]
        value = self._value(section, target, path, found[0])
        if count:
            return str(len(value.split()))
        return value if index is None else _item(value, index, found[0])

    def _value(self, section: str, target: str, path: tuple[tuple[str, str], ...], written: str) -> str:
        fixed = self._fixed(section, target)
        if fixed is not None:
            return fixed
        where, _, key = target.rpartition(".")
        places = [where] if where else [section, "DEFAULT"]
        for place in places:
            text = self._raw.get(place, {}).get(key)
            if text is None:
                continue
            if (place, key) in path:
                raise ReferenceTrouble(f"a reference leads back to itself: {_way((*path, (place, key)))}")
            return self._expand(place, text, (*path, (place, key)))
        raise ReferenceTrouble(f"{written} is not known")

    def _fixed(self, section: str, target: str) -> str | None:
        if target in self._lists and self._lists[target]:
            return " ".join(self._lists[target])
        match target:
            case "nodename":
                return self._node
            case "short_nodename":
                return self._node.partition(".")[0]
            case "svcname" | "name" if target == "svcname" or "name" not in self._raw.get(section, {}):
                return self._name
            case "rid":
                return section
            case "rindex":
                return section.partition("#")[2]
        return None


def _item(value: str, index: str, written: str) -> str:
    """The n-th word; an index that still holds a reference or arithmetic comes another round."""
    text = index.strip()
    if text.startswith("$("):
        text = _calculate(text[2:].removesuffix(")"))
    try:
        return value.split()[int(text)]
    except ValueError:
        raise ReferenceTrouble(f"{written}: {index!r} is not a number") from None
    except IndexError:
        raise ReferenceTrouble(f"{written}: the list has {len(value.split())} item(s)") from None


def _way(path: tuple[tuple[str, str], ...]) -> str:
    return " -> ".join(f"{section}.{key}" for section, key in path)


def _calculate(text: str) -> str:
    """``+ - * / // %`` and parentheses on numbers."""
    tokens, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        if not found:
            raise ReferenceTrouble(f"$({text}) is not arithmetic on numbers")
        tokens.append(found[1])
        at = found.end()
    if len(tokens) > 100:
        raise ReferenceTrouble(f"$({text[:40]}...) has more than 100 parts")
    value, rest = _sum(tokens, text)
    if rest:
        raise ReferenceTrouble(f"$({text}) is not arithmetic on numbers")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _sum(tokens: list[str], text: str) -> tuple[float, list[str]]:
    value, tokens = _product(tokens, text)
    while tokens and tokens[0] in "+-":
        sign = tokens[0]
        other, tokens = _product(tokens[1:], text)
        value = value + other if sign == "+" else value - other
    return value, tokens


def _product(tokens: list[str], text: str) -> tuple[float, list[str]]:
    value, tokens = _atom(tokens, text)
    while tokens and tokens[0] in ("*", "/", "//", "%"):
        operator = tokens[0]
        other, tokens = _atom(tokens[1:], text)
        if operator != "*" and other == 0:
            raise ReferenceTrouble(f"$({text}) divides by zero")
        value = {"*": lambda a, b: a * b, "/": lambda a, b: a / b,
                 "//": lambda a, b: a // b, "%": lambda a, b: a % b}[operator](value, other)
        if abs(value) > 1e18:
            raise ReferenceTrouble(f"$({text}) is out of range")
    return value, tokens


def _atom(tokens: list[str], text: str) -> tuple[float, list[str]]:
    if tokens and tokens[0] == "(":
        value, rest = _sum(tokens[1:], text)
        if rest and rest[0] == ")":
            return value, rest[1:]
    elif tokens and tokens[0] == "-":
        value, rest = _atom(tokens[1:], text)
        return -value, rest
    elif tokens and tokens[0][0].isdigit() and len(tokens[0]) <= 18:
        return (float(tokens[0]) if "." in tokens[0] else int(tokens[0])), tokens[1:]
    raise ReferenceTrouble(f"$({text}) is not arithmetic on numbers")

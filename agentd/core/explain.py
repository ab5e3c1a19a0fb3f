"""Help on keywords, from their rows: ``fs``, ``fs.ext4``, ``fs.mnt``, ``DEFAULT.nodes``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentd.core.converters import duration, duration_minutes, size
from agentd.core.errors import NotFound
from agentd.core.keywords import Keyword, Types
from agentd.core.model import GROUPS
from agentd.core.rows import DEFAULT_ROWS, RESOURCE_ROWS, SUBSET_ROWS, rows_of_group, tables

_SPECIAL: Mapping[str, Mapping[str, Keyword]] = {"DEFAULT": DEFAULT_ROWS, "subset": SUBSET_ROWS}


def explain(topic: str, types: Types) -> str:
    """Text for people, lines of at most 100 columns. NotFound names what is near.

    `topic`: a group, ``group.type``, ``group.keyword``, ``group.type.keyword``,
    ``DEFAULT`` or ``DEFAULT.keyword``.
    """
    section, _, rest = topic.strip().partition(".")
    section = next((known for known in (*_SPECIAL, *GROUPS) if known.lower() == section.lower()), section)
    if section in _SPECIAL:
        return _special(section, rest)
    if section not in GROUPS:
        raise _not_found(topic, [*_SPECIAL, *GROUPS])
    if not rest:
        return _group(section, types)
    type_, _, key = rest.partition(".")
    if type_ in types.names(section):
        return _keyword_of(section, type_, key, types) if key else _type(section, type_, types)
    return _keyword(section, rest, types)


def _special(section: str, key: str) -> str:
    rows = _SPECIAL[section]
    if not key:
        return _lines(f"[{section}]", _listed(rows.values()))
    about = [line for line in _about(_known(rows, section, key)) if "falls back" not in line]
    return _lines(f"{section}.{key}", about)


def _group(group: str, types: Types) -> str:
    default = types.default(group)
    named = [
        f"  {name}{'  (when no type is written)' if name == default else ''}" for name in types.names(group)
    ]
    own = [row for row in rows_of_group(group).known.values() if row.name not in RESOURCE_ROWS]
    return _lines(
        f"[{group}#...]",
        [
            "Types:",
            *named,
            "",
            "Keywords of every type:",
            *_listed(own),
            "",
            "Keywords of every resource:",
            *_listed(RESOURCE_ROWS.values()),
        ],
    )


def _type(group: str, type_: str, types: Types) -> str:
    info = types.find(group, type_)
    rows = [row for row in tables(types).of(group, type_).known.values() if row.name not in RESOURCE_ROWS]
    without = info is not None and not info.driver
    return _lines(f"{group}.{type_}", [
        *((info.help.splitlines() or []) if info else []),
        *(["This version has no driver for it."] if without else []),
        "", "Keywords:", *_listed(rows), "", f"and those of every resource: svc explain {group}",
    ])  # fmt: skip


def _keyword_of(group: str, type_: str, key: str, types: Types) -> str:
    return _lines(
        f"{group}.{type_}.{key}",
        _about(_known(tables(types).of(group, type_).known, f"{group}.{type_}", key)),
    )


def _keyword(group: str, key: str, types: Types) -> str:
    """A keyword of a group: each meaning that it has, with the types that share it."""
    meanings: dict[str, tuple[Keyword, list[str]]] = {}
    known: dict[str, Keyword] = dict(rows_of_group(group).known)
    for type_ in types.names(group):
        rows = tables(types).of(group, type_).known
        known |= rows
        if key in rows:
            meanings.setdefault("\n".join(_about(rows[key])), (rows[key], []))[1].append(type_)
    if key not in known:
        raise _not_found(f"{group}.{key}", [f"{group}.{name}" for name in (*known, *types.names(group))])
    if not meanings:
        return _lines(f"{group}.{key}", _about(known[key]))
    blocks: list[str] = []
    for text, (_, names) in meanings.items():
        blocks += [*(["For " + ", ".join(sorted(names)) + ":"] if len(meanings) > 1 else []), text, ""]
    return _lines(f"{group}.{key}", blocks[:-1])


def _known(rows: Mapping[str, Keyword], section: str, key: str) -> Keyword:
    by_name = {alias: row for row in rows.values() for alias in (*row.aliases, row.name)}
    if key not in by_name:
        raise _not_found(f"{section}.{key}", [f"{section}.{name}" for name in by_name])
    return by_name[key]


def _listed(rows: Iterable[Keyword]) -> list[str]:
    """One line a keyword, required ones first; a row that is known by several names once."""
    unique = {row.name: row for row in rows}
    ordered = sorted(unique.values(), key=lambda row: (not row.required, row.name))
    width = min(max((len(row.name) for row in ordered), default=0), 28)
    return [f"  {row.name:{width}}  {'(required) ' if row.required else ''}{row.help}" for row in ordered]


def _about(row: Keyword) -> list[str]:
    return [row.help, "", *(f"  {name}: {value}" for name, value in _properties(row))]


def _properties(row: Keyword) -> Iterator[tuple[str, str]]:
    yield "required", "yes" if row.required else "no"
    if not row.required:
        yield "default", _shown(row)
    if row.candidates:
        yield "one of", ", ".join(row.candidates)
    yield "may be scoped (key@node)", "yes" if row.scopable else "no"
    yield "falls back to [DEFAULT]", "yes" if row.inheritable else "no"
    if row.example:
        yield "example", f"{row.name} = {row.example}"
    if row.aliases:
        yield "older names", ", ".join(row.aliases)


def _shown(row: Keyword) -> str:
    value: Any = row.default
    if value in (None, "", ()):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if row.convert in (duration, duration_minutes):
        return f"{value:g}s"
    if row.convert is size:
        return f"{value} bytes"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _lines(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, "", *lines])


def _not_found(topic: str, known: Iterable[str]) -> NotFound:
    near = difflib.get_close_matches(topic[:64], list(known), 3, 0.6)
    return NotFound(
        f"nothing is known about {topic[:80]}",
        hint=f"did you mean {' or '.join(near)}?"
        if near
        else "svc explain DEFAULT, or a group: " + " ".join(GROUPS),
    )

"""What is written in a configuration, entry by entry, whoever reads it.

Owns the findings that need no point of view: kinds of sections, unknown and older keywords,
scopes that name nobody, values that OpenSVC 2.1 reads otherwise.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from agentd.core.config import Document, Entry, Finding
from agentd.core.keywords import Keyword
from agentd.core.model import GROUPS
from agentd.core.names import is_node_name, is_rid
from agentd.core.rows import (
    DEFAULT_TABLE,
    NEVER_INHERITED,
    OLD_GROUPS,
    OLD_HEARTBEATS,
    RESOURCE_ROWS,
    SUBSET_ROWS,
    UNUSED,
    Rows,
    Tables,
)
from agentd.core.scoping import LISTS, SCOPES, is_reservation, is_resource

_BINARY_UNIT = re.compile(r"\d\s*[kmgtpe]i", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
_SUGGESTIONS = 100


_PRESENT = {
    "autostart_node": "write orchestrate@NODE = start",
    "always_on": "write standby = true, with the scope that is meant",
    "cluster_type": "write topology = failover or flex",
}


class Spelling:
    """Findings about the entries of one document. `nodes`: every node that the lists name."""

    def __init__(self, document: Document, tables: Tables, nodes: frozenset[str]) -> None:
        self.document, self.tables, self.nodes = document, tables, nodes
        self.heads = dict(reversed(document.heads))
        self.rows = self._rows_by_section()
        used = {id(r): r for section, many in self.rows.items() if section != "DEFAULT" for r in many}
        self._inheritable = {key for r in used.values() for key in r.inheritable}
        self._elsewhere = {key for r in used.values() for key in r.known}
        self._referred = {w for e in document.entries if "{" in e.value for w in _WORD.findall(e.value)}
        self._suggestions = _SUGGESTIONS

    def findings(self) -> Iterator[Finding]:
        for section in self.document.sections:
            yield from self._section(section)
        for entry in self.document.entries:
            yield from self._entry(entry)
        yield from self._look_alikes()

    def near(self, word: str, known: Iterable[str], cutoff: float = 0.7) -> str:
        """A suggestion; so many a text, because looking for them takes time."""
        if self._suggestions <= 0 or len(word) > 64:
            return ""
        self._suggestions -= 1
        close = difflib.get_close_matches(word, list(known), 1, cutoff)
        return f"did you mean {close[0]}?" if close else ""

    def _rows_by_section(self) -> dict[str, list[Rows]]:
        """Section -> the rows of each type that it names, by whatever scope."""
        named: dict[str, list[str]] = defaultdict(list)
        for entry in self.document.entries:
            if entry.key == "type" and "{" not in entry.value:
                named[entry.section].append(entry.value.lower())
        found: dict[str, list[Rows]] = {}
        for section in self.document.sections:
            group = section.partition("#")[0]
            if section == "DEFAULT":
                found[section] = [DEFAULT_TABLE]
            elif section.startswith("subset#"):
                found[section] = [_SUBSET_TABLE]
            elif group in GROUPS:
                types = named.get(section) or [self.tables.default(group)]
                found[section] = [self.tables.of(group, type_) for type_ in types]
        return found

    def row(self, entry: Entry) -> Keyword | None:
        return next(
            (rows.known[entry.key] for rows in self.rows.get(entry.section, ()) if entry.key in rows.known),
            None,
        )

    def _section(self, section: str) -> Iterator[Finding]:
        group, mark, _ = section.partition("#")
        line = self.heads[section]
        if not is_resource(section):
            return
        if group in OLD_GROUPS:
            yield Finding(
                "note",
                section,
                "",
                line,
                f"[{section}] is of another version of OpenSVC and is not read",
                f"the present form is {OLD_GROUPS[group]}",
            )
        elif group not in GROUPS:
            yield Finding(
                "warning",
                section,
                "",
                line,
                f"[{section}] is no known kind of section; it is not read",
                self.near(group.lower(), [*GROUPS, "subset", "env", "DEFAULT"]),
            )
        elif not mark and section != "app":
            yield Finding("error", section, "", line, f"[{section}] has no id", f"write [{section}#1]")
        elif not is_rid(section):
            yield Finding(
                "error",
                section,
                "",
                line,
                f"{section} is not a resource id",
                "letters, digits, dot, dash and underscore behind the #, at most 32",
            )
        elif is_reservation(section, self.heads):
            yield Finding(
                "note", section, "", line, f"[{section}] belongs to {section[:-2]} and is no resource"
            )

    def _entry(self, entry: Entry) -> Iterator[Finding]:
        if entry.scope:
            yield from self._scope(entry)
        rows = self.rows.get(entry.section)
        if rows is None:  # env, and sections that are not read
            return
        row = self.row(entry)
        if row is None:
            yield from self._unknown(entry, rows)
            return
        if row.name != entry.key:
            yield self._said(
                "note",
                entry,
                f"{entry.key} is now called {row.name}",
                _PRESENT.get(entry.key, f"write {row.name}"),
            )
        elif row.help == UNUSED:
            yield self._said("note", entry, f"{entry.key} is of OpenSVC and is not used here")
        if entry.scope and not row.scopable:
            yield self._said(
                "error", entry, f"{entry.key} cannot be scoped", f"write it without @{entry.scope}"
            )
        if row.convert.__name__ == "size" and _BINARY_UNIT.search(entry.value):
            yield self._said(
                "note", entry, f"{entry.value} is base 1024 here; OpenSVC 2.1 reads it as base 1000"
            )
        if entry.section.startswith("hb#") and entry.key == "type" and entry.value.lower() in OLD_HEARTBEATS:
            yield self._said(
                "note",
                entry,
                f"type = {entry.value} is of an older version and is read as external",
                "write type = external",
            )

    def _scope(self, entry: Entry) -> Iterator[Finding]:
        scope = entry.scope.lower()
        if scope in SCOPES:
            if (
                entry.section == "DEFAULT"
                and entry.key in LISTS
                and LISTS.index(scope) >= LISTS.index(entry.key)
            ):
                yield self._said(
                    "warning",
                    entry,
                    f"{entry.option} never applies: {entry.key} is resolved before {scope} is known",
                )
            return
        if not is_node_name(scope):
            yield self._said(
                "error",
                entry,
                f"@{entry.scope} is neither a node nor a list",
                self.near(scope, [*SCOPES, *self.nodes]) or "a node name, or one of " + ", ".join(SCOPES),
            )
        elif scope not in self.nodes:
            other = next((node for node in sorted(self.nodes) if _same_host(scope, node)), "")
            if other:
                yield self._said(
                    "error",
                    entry,
                    f"@{entry.scope} and the node {other} differ only by their domain",
                    f"write @{other}",
                )
            else:
                yield self._said(
                    "warning",
                    entry,
                    f"@{entry.scope} names no node of this service",
                    self.near(scope, [*SCOPES, *self.nodes]),
                )

    def _unknown(self, entry: Entry, rows: list[Rows]) -> Iterator[Finding]:
        if entry.section == "DEFAULT":
            yield from self._unknown_in_default(entry)
            return
        known = [key for r in rows for key in r.known]
        complete = any(r.info and r.info.driver for r in rows) or entry.section.startswith("subset#")
        # Of a type without a driver not all keywords are known: only what looks misspelt is told.
        near = self.near(entry.key, known, 0.7 if complete else 0.85)
        if complete or near:
            yield self._said(
                "warning", entry, f"{entry.key} is not a known keyword here; it is ignored", near
            )

    def _unknown_in_default(self, entry: Entry) -> Iterator[Finding]:
        key = entry.key
        if key in self._inheritable or key in self._referred:
            return
        if key in NEVER_INHERITED or key in RESOURCE_ROWS or key in self._elsewhere:
            yield self._said(
                "warning",
                entry,
                f"{key} is not inherited from [DEFAULT]; it is ignored",
                "write it in the sections that need it",
            )
            return
        yield self._said(
            "warning",
            entry,
            f"{key} is not a known keyword here; it is ignored",
            self.near(key, DEFAULT_TABLE.known),
        )

    def _look_alikes(self) -> Iterator[Finding]:
        """``fs#1`` and ``fs#01`` are two resources, and hardly meant."""
        seen: dict[tuple[str, str], str] = {}
        for section in self.document.sections:
            group, _, index = section.partition("#")
            if index.isdigit():
                other = seen.setdefault((group, index.lstrip("0")), section)
                if other != section:
                    yield Finding(
                        "warning",
                        section,
                        "",
                        self.heads[section],
                        f"[{section}] and [{other}] are two different resources",
                        "use one spelling",
                    )

    def _said(self, severity: str, entry: Entry, text: str, hint: str = "") -> Finding:
        return Finding(severity, entry.section, entry.option, entry.line, text, hint)


_SUBSET_TABLE = Rows(SUBSET_ROWS, {row.name: row.default for row in SUBSET_ROWS.values()}, frozenset(), ())


def _same_host(one: str, other: str) -> bool:
    """The same name but for the domain of one of them."""
    return (
        one != other and one.partition(".")[0] == other.partition(".")[0] and ("." in one) != ("." in other)
    )


def near_miss(name: str, others: Iterable[str]) -> str:
    """The name among `others` that is `name` with or without its domain; "" when there is none."""
    return next((other for other in others if _same_host(name, other)), "")


def by_scopes(document: Document) -> Mapping[tuple[str, str], list[Entry]]:
    """(section, keyword) -> its entries, for keywords that name several lists as scopes."""
    found: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in document.entries:
        if entry.scope in SCOPES:
            found[entry.section, entry.key].append(entry)
    return {key: entries for key, entries in found.items() if len({e.scope for e in entries}) > 1}

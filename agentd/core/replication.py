"""What travels between nodes: content hashes, and the view that a guest receives."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from agentd.core.config import Document, Entry
from agentd.core.keywords import Types
from agentd.core.model import GROUPS, Level
from agentd.core.rows import DEFAULT_TABLE, rows_of_group, tables
from agentd.core.scoping import LISTS, View, scope

_ALWAYS = frozenset(
    (
        *LISTS,
        "topology",
        "cluster_type",
        "orchestrate",
        "autostart_node",
        "flex_min",
        "flex_max",
        "flex_target",
        "flex_min_nodes",
        "flex_max_nodes",
        "disable",
        "rollback",
        "monitor_action",
        "encap_trust",
    )
)
"""Keywords of DEFAULT that decide what the guest is for the service."""

_REFERRED = re.compile(
    r"([A-Za-z_]+(?:#[A-Za-z0-9_.\-]+)?)\.([A-Za-z_][A-Za-z0-9_\-]*|(?=\{))|([A-Za-z_][A-Za-z0-9_\-]*)"
)
"""``section.key``, ``section.{...}`` or ``key``, in the text between braces only."""


def content_hash(text: str) -> str:
    """``sha256:`` and 64 hex digits over the UTF-8 bytes."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def view(document: Document, name: str, guest: str, types: Types | None = None) -> Document:
    """The text that the guest receives: the guest reads the same out of it as out of the whole.

    DEFAULT is reduced to node lists, topology and what the guest's sections use or refer
    to; its own sections are whole; of other sections only the keys that it refers to are
    left. Comments stay with what they stand above. Without `types` every keyword of DEFAULT
    that a driver might inherit is kept.
    """
    keep = _Keep(document, scope(document, name, guest), types)
    gone = set(range(1, len(document.lines) + 1)).difference(keep.lines())
    return document.removing(gone)


class _Keep:
    """Which sections and entries of a document a guest needs."""

    def __init__(self, document: Document, seen: View, types: Types | None) -> None:
        self.document = document
        self.entries: dict[str, list[Entry]] = defaultdict(list)
        for entry in document.entries:
            self.entries[entry.section].append(entry)
        inside = seen.level is Level.ENCAP
        self.whole = {s for s in document.sections if inside and (s in seen.encap or s in ("app", "sync#i0"))}
        self.whole |= self._subsets()
        self.kept: set[int] = set()
        self.heads = {"DEFAULT"}
        inherited = self._inheritable(types)
        self._follow(
            [e for s in self.whole for e in self.entries[s]]
            + [e for e in self.entries["DEFAULT"] if e.key in _ALWAYS or e.key in inherited]
        )

    def lines(self) -> Iterator[int]:
        """The numbers of the lines that stay."""
        starts = [self._above(line) for _, line in self.document.heads]
        ends = [*starts[1:], len(self.document.lines) + 1]
        yield from range(1, starts[0] if starts else len(self.document.lines) + 1)
        for (section, line), start, end in zip(self.document.heads, starts, ends, strict=True):
            if section in self.whole:
                yield from range(start, end)
            elif section in self.heads:
                yield from self._partly(section, range(start, line + 1), end)

    def _partly(self, section: str, head: range, end: int) -> Iterator[int]:
        yield from head
        for entry in self.entries[section]:
            if entry.line in self.kept and head.stop <= entry.line < end:
                yield from range(self._above(entry.line), entry.last + 1)
        if not self.document.lines[end - 2].strip():
            yield end - 1

    def _above(self, line: int) -> int:
        """The first of the comment lines that stand directly above a line."""
        while line > 1 and self.document.lines[line - 2].lstrip()[:1] in ("#", ";"):
            line -= 1
        return line

    def _subsets(self) -> set[str]:
        """The subset sections that the guest's sections name."""
        named = {e.value for section in self.whole for e in self.entries[section] if e.key == "subset"}
        any_ = any("{" in value for value in named)
        return {
            s
            for s in self.document.sections
            if s.startswith("subset#") and (any_ or s.removeprefix("subset#").rpartition(":")[2] in named)
        }

    def _inheritable(self, types: Types | None) -> set[str]:
        """The keywords that the guest's sections take from DEFAULT when they do not have them."""
        found: set[str] = set()
        for section in self.whole:
            group = section.partition("#")[0]
            if group not in GROUPS:
                continue
            found |= rows_of_group(group).inheritable
            if types is not None:
                named = [e.value.lower() for e in self.entries[section] if e.key == "type"] or [
                    types.default(group)
                ]
                found = found.union(*(tables(types).of(group, type_).inheritable for type_ in named))
        if types is None:
            found |= {e.key for e in self.entries["DEFAULT"] if e.key not in DEFAULT_TABLE.known}
        return found

    def _follow(self, pending: list[Entry]) -> None:
        """Keep entries, and what their values refer to."""
        by_place: Mapping[str, list[Entry]] = self.entries
        while pending:
            entry = pending.pop()
            if entry.line in self.kept:
                continue
            self.kept.add(entry.line)
            self.heads.add(entry.section)
            if "{" not in entry.value:
                continue
            for section, inside, bare in _REFERRED.findall(_between_braces(entry.value)):
                place, key = section or "DEFAULT", inside or bare
                if place in by_place or place in self.document.sections:
                    self.heads.add(place)
                    # A key that is itself made by a reference can be any of the section's; the host
                    # name of a container falls back to its name.
                    pending += [
                        e
                        for e in by_place.get(place, ())
                        if not key or e.key == key or (key == "hostname" and e.key == "name")
                    ]


def _between_braces(text: str) -> str:
    """`text` with all that stands outside of braces blanked: it refers to nothing."""
    depth, kept = 0, []
    for character in text:
        if character == "}":
            depth = max(0, depth - 1)
        kept.append(character if depth else " ")
        if character == "{":
            depth += 1
            kept[-1] = "{" if depth > 1 else " "
    return "".join(kept)

"""What one node sees of a configuration: `scope` answers once, nobody asks again.

The most specific scope wins: the node's own name, flex_primary, drp_flex_primary,
encapnodes, drpnodes, nodes, bare; of two of the same rank the one written last.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from agentd.core.config import Document, Entry
from agentd.core.converters import boolean, names
from agentd.core.model import Level
from agentd.core.references import Resolver, Table

LISTS = ("encapnodes", "nodes", "drpnodes", "drpnode", "flex_primary", "drp_flex_primary")
"""The node lists, in the order in which they are resolved."""

SCOPES = ("flex_primary", "drp_flex_primary", "encapnodes", "drpnodes", "nodes")
"""Scopes other than a node's name, the most specific first."""

SPECIAL = frozenset({"DEFAULT", "env"})

NOBODY = ""
"""The node of the bare view: no scope applies to it."""

Lists = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something that decides about levels could not be read."""

    section: str
    key: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """A configuration as one node sees it.

    `table`: every section, whatever its level -> keyword -> the entry that counts, its value
    as written. `encap`: the sections that bear the mark. `lists`: the effective node lists;
    `written_nodes` is `nodes` before a guest that is absent from it took itself.
    """

    name: str
    node: str
    level: Level
    lists: Lists
    table: Table
    encap: frozenset[str] = frozenset()
    written_nodes: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.lists["nodes"]

    @property
    def drpnodes(self) -> tuple[str, ...]:
        return self.lists["drpnodes"]

    @property
    def encapnodes(self) -> tuple[str, ...]:
        return self.lists["encapnodes"]

    @property
    def flex_primary(self) -> str:
        return next(iter(self.lists["flex_primary"]), "")

    @property
    def sections(self) -> dict[str, dict[str, str]]:
        """The sections of this level -> keyword -> text after scoping, before references."""
        return {
            section: {key: entry.value for key, entry in keywords.items()}
            for section, keywords in self.table.items()
            if self.sees(section)
        }

    def sees(self, section: str) -> bool:
        """Neither level sees the other's resources; the bare ``[app]`` and ``sync#i0`` are at both."""
        if self.level is Level.NONE:
            return False
        if not is_resource(section) or section in ("app", "sync#i0"):
            return True
        return (section in self.encap) == (self.level is Level.ENCAP)

    def resolver(self) -> Resolver:
        """A fresh one, with its own count of substitutions."""
        return Resolver(self.table, self.name, self.node, self.lists)


def scope(document: Document, name: str, node: str) -> View:
    """The view of `node` on service `name`; `NOBODY` for what is written bare."""
    node = node.lower()
    by_section = _by_section(document)
    troubles: list[Trouble] = []
    lists, written = _resolve_lists(by_section, name, node, troubles)
    ranks = ranks_of(node, lists)
    table = {section: pick(entries, ranks) for section, entries in by_section.items()}
    resolver = Resolver(table, name, node, lists)
    encap = frozenset(s for s in table if is_resource(s) and _is_encap(s, table[s], resolver, troubles))
    return View(name, node, _level(node, lists), lists, table, encap, written, tuple(troubles))


def is_resource(section: str) -> bool:
    return section not in SPECIAL and not section.startswith("subset#")


def is_reservation(section: str, sections: Container[str]) -> bool:
    """``[disk#1pr]`` holds what the reservation of ``disk#1`` needs: it belongs to its peer."""
    return section.startswith("disk#") and section.endswith("pr") and section[:-2] in sections


def ranks_of(node: str, lists: Lists, order: tuple[str, ...] = SCOPES) -> dict[str, int]:
    """Scope -> how specific it is for `node`; scopes that do not apply are absent.

    `order`: the scopes that are not a node's name, the most specific first.
    """
    ranks = {"": 0}
    if node:
        ranks[node] = len(order) + 1
        ranks.update(
            {scope_: len(order) - place for place, scope_ in enumerate(order) if node in lists[scope_]}
        )
    return ranks


def pick(entries: Iterable[Entry], ranks: Mapping[str, int]) -> dict[str, Entry]:
    """Keyword -> the entry of the highest rank; the last one of several."""
    best: dict[str, Entry] = {}
    held: dict[str, int] = {}
    for entry in entries:
        rank = ranks.get(entry.scope)
        if rank is None:
            rank = ranks.get(entry.scope.lower())
            if rank is None:
                continue
        if rank >= held.get(entry.key, 0):
            best[entry.key], held[entry.key] = entry, rank
    return best


def _by_section(document: Document) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {section: [] for section in document.sections}
    for entry in document.entries:
        found[entry.section].append(entry)
    return found


def _resolve_lists(
    by_section: Mapping[str, list[Entry]], name: str, node: str, troubles: list[Trouble]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Each list is resolved with those before it already known; the lists, and nodes as written."""
    lists: dict[str, tuple[str, ...]] = dict.fromkeys(LISTS, ())
    written: tuple[str, ...] = ()
    for which in LISTS:
        # A list that is not known yet is empty, so its scope does not apply to itself.
        ranks = ranks_of(node, lists)
        entry = pick((e for e in by_section.get("DEFAULT", ()) if e.key == which), ranks).get(which)
        if entry is not None:
            lists[which] = _names(entry, by_section, ranks, Resolving(name, node, lists), troubles)
        if which == "nodes":
            written = lists["nodes"]
            if node and node in lists["encapnodes"] and node not in written:
                lists["nodes"] = (node,)
        if which == "drpnode":
            lists["drpnodes"] = tuple(dict.fromkeys((*lists["drpnode"], *lists["drpnodes"])))
    lists["flex_primary"] = lists["flex_primary"] or lists["nodes"][:1]
    lists["drp_flex_primary"] = lists["drp_flex_primary"] or lists["drpnodes"][:1]
    return lists, written


@dataclass(frozen=True, slots=True)
class Resolving:
    """Who asks, and which lists are known so far."""

    name: str
    node: str
    lists: Lists


def _names(
    entry: Entry,
    by_section: Mapping[str, list[Entry]],
    ranks: Mapping[str, int],
    asking: Resolving,
    troubles: list[Trouble],
) -> tuple[str, ...]:
    text = entry.value
    if "{" in text:
        table = {section: pick(entries, ranks) for section, entries in by_section.items()}
        resolver = Resolver(table, asking.name, asking.node, asking.lists)
        try:
            text = resolver.resolve("DEFAULT", text, entry.key)
        except ValueError as error:
            troubles.append(Trouble("DEFAULT", entry.option, entry.line, f"{entry.key}: {error}"))
            return ()
    return names(text)


def _is_encap(
    section: str, keywords: Mapping[str, Entry], resolver: Resolver, troubles: list[Trouble]
) -> bool:
    """Marked by ``tags = encap`` or by ``encap = true``: both mean the same."""
    tags, mark = keywords.get("tags"), keywords.get("encap")
    try:
        if tags is not None and "encap" in resolver.resolve(section, tags.value, "tags").split():
            return True
    except ValueError as error:
        troubles.append(
            Trouble(section, tags.option if tags else "tags", tags.line if tags else 0, f"tags: {error}")
        )
    try:
        return mark is not None and boolean(resolver.resolve(section, mark.value, "encap"))
    except ValueError as error:
        troubles.append(
            Trouble(section, mark.option if mark else "encap", mark.line if mark else 0, f"encap: {error}")
        )
    return False


def _level(node: str, lists: Lists) -> Level:
    if node in lists["encapnodes"]:
        return Level.ENCAP
    if node in lists["nodes"] or node in lists["drpnodes"]:
        return Level.HOST
    return Level.NONE

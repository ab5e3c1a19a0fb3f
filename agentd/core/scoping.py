"""What one node sees of a configuration: `scope` answers once, nobody asks again.

The most specific scope wins: the node's own name, flex_primary, drp_flex_primary,
encapnodes, drpnodes, nodes, bare; of two of the same rank the one written last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentd.core.config import Document, Entry
from agentd.core.converters import names
from agentd.core.model import Level
from agentd.core.references import Resolver

LISTS = ("encapnodes", "nodes", "drpnodes", "drpnode", "flex_primary", "drp_flex_primary")
"""The node lists, in the order in which they are resolved."""

SCOPES = ("flex_primary", "drp_flex_primary", "encapnodes", "drpnodes", "nodes")
"""Scopes other than a node's name, the most specific first."""

SPECIAL = frozenset({"DEFAULT", "env"})


@dataclass(frozen=True, slots=True)
class View:
    """A configuration as one node sees it.

    `raw`: every section -> keyword -> text after scoping, before references, whatever the
    level. `sections`: the names that belong to this level.
    """

    node: str
    level: Level
    lists: Mapping[str, tuple[str, ...]]
    raw: Mapping[str, Mapping[str, str]]
    sections: tuple[str, ...] = ()
    bare_nodes: tuple[str, ...] = ()
    troubles: tuple[str, ...] = field(default=())

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
        return next(iter(self.lists["flex_primary"]), next(iter(self.nodes), ""))


def scope(document: Document, name: str, node: str) -> View:
    """The view of `node` on service `name`."""
    node = node.lower()
    by_section = _by_section(document)
    lists, troubles = _resolve_lists(by_section.get("DEFAULT", ()), by_section, name, node)
    level = _level(node, lists)
    bare_nodes = lists["nodes"]
    if level is Level.ENCAP and node not in lists["nodes"]:
        lists["nodes"] = (node,)
    raw = {section: _scoped(entries, node, lists) for section, entries in by_section.items()}
    visible = tuple(s for s in by_section if _belongs(s, raw[s], level))
    return View(node, level, lists, raw, visible, bare_nodes, tuple(troubles))


def is_encap(section: Mapping[str, str]) -> bool:
    """Marked by ``tags = encap`` or by ``encap = true``: both mean the same."""
    truth = section.get("encap", "").strip().lower() in {"yes", "y", "true", "t", "1"}
    return truth or "encap" in section.get("tags", "").split()


def is_resource(section: str) -> bool:
    return section not in SPECIAL and not section.startswith("subset#")


def _belongs(section: str, keywords: Mapping[str, str], level: Level) -> bool:
    """Neither level sees the other's resources; the bare ``[app]`` exists at both."""
    if level is Level.NONE:
        return section == "DEFAULT"
    if not is_resource(section) or section == "app":
        return True
    return is_encap(keywords) == (level is Level.ENCAP)


def _by_section(document: Document) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {section: [] for section in document.sections}
    for entry in document.entries:
        found[entry.section].append(entry)
    return found


def _scoped(entries: list[Entry], node: str, lists: Mapping[str, tuple[str, ...]], without: str = "") -> dict[str, str]:
    best: dict[str, tuple[int, str]] = {}
    for entry in entries:
        rank = _rank(entry.scope, node, lists, without)
        if rank is not None and rank >= best.get(entry.key, (-1, ""))[0]:
            best[entry.key] = (rank, entry.value)
    return {key: value for key, (_, value) in best.items()}


def _rank(scope_: str, node: str, lists: Mapping[str, tuple[str, ...]], without: str) -> int | None:
    """How specific a scope is for a node; None when it does not apply."""
    if not scope_:
        return 0
    if scope_.lower() == node:
        return len(SCOPES) + 1
    if scope_ in SCOPES and scope_ != without and node in lists.get(scope_, ()):
        return len(SCOPES) - SCOPES.index(scope_)
    return None


def _resolve_lists(
    entries: list[Entry] | tuple[Entry, ...], by_section: Mapping[str, list[Entry]], name: str, node: str,
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Each list is resolved with those before it already known."""
    lists: dict[str, tuple[str, ...]] = dict.fromkeys(LISTS, ())
    troubles: list[str] = []
    for which in LISTS:
        raw = {section: _scoped(written, node, lists, which) for section, written in by_section.items()}
        text = raw.get("DEFAULT", {}).get(which, "")
        resolver = Resolver(raw, name, node, lists)
        try:
            lists[which] = names(resolver.resolve("DEFAULT", text, which))
        except ValueError as error:
            troubles.append(f"{which}: {error}")
        if which == "drpnode":
            lists["drpnodes"] = tuple(dict.fromkeys((*lists["drpnode"], *lists["drpnodes"])))
    if not lists["flex_primary"]:
        lists["flex_primary"] = lists["nodes"][:1]
    if not lists["drp_flex_primary"]:
        lists["drp_flex_primary"] = lists["drpnodes"][:1]
    return lists, troubles


def _level(node: str, lists: Mapping[str, tuple[str, ...]]) -> Level:
    if node in lists["encapnodes"]:
        return Level.ENCAP
    if node in lists["nodes"] or node in lists["drpnodes"]:
        return Level.HOST
    return Level.NONE

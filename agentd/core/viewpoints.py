"""From where a configuration is looked at when it is validated: one point for each node that
reads it in its own way, and one for each level that has no node."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agentd.core.build import Builder
from agentd.core.config import Document, Finding
from agentd.core.model import Level, Resource
from agentd.core.rows import Tables
from agentd.core.scoping import SCOPES, View, scope

LIST_LIMIT = 256
"""Names of one node list."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one point of view holds."""

    view: View
    resources: tuple[Resource, ...]
    builder: Builder


class Places:
    """Findings with the line of what they speak of; `requirements`: section -> its ``*_requires``."""

    def __init__(self, document: Document) -> None:
        self.heads = dict(reversed(document.heads))
        self.lines = {(e.section, e.key): e.line for e in reversed(document.entries)}
        self.requirements: dict[str, set[str]] = {}
        for section, key in self.lines:
            if key.endswith("_requires"):
                self.requirements.setdefault(section, set()).add(key)

    def error(self, section: str, key: str, text: str, hint: str = "") -> Finding:
        return self._finding("error", section, key, text, hint)

    def warning(self, section: str, key: str, text: str, hint: str = "") -> Finding:
        return self._finding("warning", section, key, text, hint)

    def placed(self, finding: Finding) -> Finding:
        """With a line, where a finding about a section has none."""
        return finding if finding.line else replace(finding, line=self.heads.get(finding.section, 0))

    def _finding(self, severity: str, section: str, key: str, text: str, hint: str) -> Finding:
        """At the line where the keyword is first written, or else at its section."""
        line = self.lines.get((section, key)) or self.heads.get(section, 0)
        return Finding(severity, section, key, line, text, hint)


def members(view: View) -> tuple[str, ...]:
    """Every node that the lists of a view name."""
    return tuple(dict.fromkeys((*view.written_nodes, *view.nodes, *view.drpnodes, *view.encapnodes)))


def most_points(document: Document) -> int:
    """How many nodes a text is looked at from, so that the largest is judged within seconds."""
    return max(4, min(LIST_LIMIT, 200_000 // (len(document.entries) + len(document.sections) + 1)))


def points(document: Document, tables: Tables, bare: View) -> list[Seen]:
    """Every node that reads the text; of nodes that read the same, one."""
    asked: dict[object, str] = {}
    pending, known = list(members(bare)), set[str]()
    named = {e.scope.lower() for e in document.entries if e.scope}
    by_name = any("nodename}" in e.value for e in document.entries)
    found: list[Seen] = []
    most = most_points(document)
    while pending:
        node = pending.pop(0)
        if node in known or len(known) > 3 * LIST_LIMIT or len(found) >= most:
            continue
        known.add(node)
        view = scope(document, bare.name, node)
        reads: object = node
        if not by_name and node not in named and view.nodes != (node,):
            reads = (tuple(node in view.lists[which] for which in SCOPES), view.nodes, view.encapnodes)
        if asked.setdefault(reads, node) == node:
            found.append(seen_as(view, tables))
            pending += [other for other in members(view) if other not in known]
    # Where a level has no node, what is written for it is read as it stands.
    if not any(s.view.level is Level.HOST for s in found):
        found.append(seen_as(replace(bare, level=Level.HOST), tables))
    if bare.encap and not any(s.view.level is Level.ENCAP for s in found):
        found.append(seen_as(replace(bare, level=Level.ENCAP), tables))
    return found


def seen_as(view: View, tables: Tables) -> Seen:
    """What is read from one point of view."""
    builder = Builder(view, tables)
    builder.head()
    builder.check_values()
    return Seen(view, tuple(builder.resources()), builder)

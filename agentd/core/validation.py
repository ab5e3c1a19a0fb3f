"""Everything that is wrong or odd in a configuration, from every point of view, at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from agentd.core.build import Rows, build, read_section, with_aliases
from agentd.core.config import Document, Entry, Finding
from agentd.core.keywords import Keyword, Types
from agentd.core.model import GROUPS, Level, Service
from agentd.core.names import is_node_name, is_rid
from agentd.core.rows import DEFAULT_ROWS, OLD_GROUPS
from agentd.core.scoping import LISTS, SCOPES, View, is_encap, is_resource, scope

_BINARY_UNIT = re.compile(r"\d\s*[kmgtpe]i", re.IGNORECASE)
_NEVER_INHERITED = ("tags", "encap", "type", "disable", "subset")


def validate(document: Document, types: Types, name: str, findings: Iterable[Finding] = ()) -> tuple[Finding, ...]:
    """`findings` are those of the parser; the result holds them and its own, by line."""
    found = list(findings)
    if document.heads:
        found += _sections(document)
        found += _entries(document, types)
        found += _levels(document, name)
        found += _views(document, name, types)
    unique = {(f.severity, f.section, f.option, f.text): f for f in reversed(found)}
    return tuple(sorted(unique.values(), key=lambda f: (f.line, f.section, f.option, f.text)))


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.7)
    return f"did you mean {close[0]}?" if close else ""


def _sections(document: Document) -> Iterator[Finding]:
    lines = {section: line for section, line in reversed(document.heads)}
    for section in document.sections:
        group = section.partition("#")[0]
        if not is_resource(section):
            continue
        if group in OLD_GROUPS:
            now = f"; the present form is [{OLD_GROUPS[group]}#...]" if OLD_GROUPS[group] else ""
            yield Finding("note", section, "", lines[section], f"[{section}] is of an older version{now}")
        elif group not in GROUPS:
            yield Finding("warning", section, "", lines[section], f"[{section}] is no known kind of section",
                          _near(group, [*GROUPS, "subset", "env", "DEFAULT"]))
        elif not is_rid(section) and group != section:
            yield Finding("error", section, "", lines[section], f"{section} is not a resource id",
                          "letters, digits, dot, dash and underscore behind the #, at most 32")
        elif group == section and section != "app":
            yield Finding("error", section, "", lines[section], f"[{section}] has no id", f"write [{section}#1]")


def _entries(document: Document, types: Types) -> Iterator[Finding]:
    rows = Rows(types)
    head = with_aliases(DEFAULT_ROWS)
    for entry in document.entries:
        if entry.section == "env" or entry.section.startswith("subset#"):
            continue
        table = head
        if entry.section != "DEFAULT":
            group = entry.section.partition("#")[0]
            if group not in GROUPS:
                continue
            table = _widest(document, entry.section, group, rows, types)
        yield from _entry(entry, table, document)


def _widest(document: Document, section: str, group: str, rows: Rows, types: Types) -> dict[str, Keyword]:
    """The rows of all the types that a section names, by whatever scope."""
    named = [e.value.lower() for e in document.options(section) if e.key == "type"] or [types.default(group)]
    table: dict[str, Keyword] = {}
    for type_ in named:
        table |= rows.of(group, type_)[0]
    return table


def _entry(entry: Entry, table: dict[str, Keyword], document: Document) -> Iterator[Finding]:
    row = table.get(entry.key)
    if row is None:
        inherited = entry.section == "DEFAULT" and entry.key not in _NEVER_INHERITED
        if not (inherited and _in_some_section(entry.key, document)):
            yield Finding("warning", entry.section, entry.option, entry.line,
                          f"{entry.key} is not a known keyword here; it is ignored", _near(entry.key, table))
        return
    if row.name != entry.key:
        yield Finding("note", entry.section, entry.option, entry.line, f"{entry.key} is now called {row.name}")
    if entry.scope and not row.scopable:
        yield Finding("error", entry.section, entry.option, entry.line, f"{entry.key} cannot be scoped")
    elif entry.scope and entry.scope not in SCOPES and not is_node_name(entry.scope.lower()):
        yield Finding("error", entry.section, entry.option, entry.line, f"@{entry.scope} is neither a node nor a list")
    elif entry.scope and entry.scope not in SCOPES and entry.scope.lower() not in _every_node(document):
        yield Finding("warning", entry.section, entry.option, entry.line,
                      f"@{entry.scope} names no node of this service", _near(entry.scope, _every_node(document)))
    if row.convert.__name__ == "size" and _BINARY_UNIT.search(entry.value):
        yield Finding("note", entry.section, entry.option, entry.line,
                      f"{entry.value} is base 1024 here; OpenSVC 2.1 reads it as base 1000")


def _in_some_section(key: str, document: Document) -> bool:
    """A keyword of a driver written once in DEFAULT, to be referred to."""
    return any(f"{{{key}}}" in e.value or f"{{DEFAULT.{key}}}" in e.value for e in document.entries)


def _every_node(document: Document) -> set[str]:
    words = {w for e in document.entries if e.section == "DEFAULT" and e.key in LISTS for w in e.value.lower().split()}
    return words | {e.value.strip().lower() for e in document.entries if e.key in ("hostname", "name")}


def _levels(document: Document, name: str) -> Iterator[Finding]:
    """What the node lists say together."""
    view = scope(document, name, "\0nobody")
    line = _line_of(document, "DEFAULT", "encapnodes")
    for trouble in view.troubles:
        option = trouble.partition(":")[0]
        yield Finding("error", "DEFAULT", option, _line_of(document, "DEFAULT", option), trouble)
    for node in (*view.bare_nodes, *view.drpnodes, *view.encapnodes):
        if not is_node_name(node):
            yield Finding("error", "DEFAULT", "nodes", _line_of(document, "DEFAULT", "nodes"),
                          f"{node!r} is not a node name", "lower-case letters, digits, dot, dash; no wildcard")
    for node in sorted(set(view.encapnodes) & {*view.bare_nodes, *view.drpnodes}):
        yield Finding("error", "DEFAULT", "encapnodes", line, f"{node} is both a hypervisor and a guest",
                      "a node is in nodes or in encapnodes; use nodes@encapnodes for the guests")
    if not view.bare_nodes:
        yield Finding("warning", "DEFAULT", "nodes", 0, "no nodes: the service runs nowhere", "nodes = hv1 hv2")
    encap = [s for s in document.sections if is_resource(s) and is_encap(view.raw[s])]
    for section in encap:
        at = _line_of(document, section, "tags") or _line_of(document, section, "encap")
        if section.partition("#")[0] == "container":
            yield Finding("error", section, "tags", at, "a container cannot be encap", "remove the encap mark")
        elif not view.encapnodes:
            yield Finding("error", section, "tags", at, f"{section} is encap, and the service has no encapnodes",
                          "add encapnodes = GUEST to [DEFAULT]")
    if len(view.encapnodes) > 1 and not any(e.key == "nodes" and e.scope == "encapnodes" for e in document.entries):
        topology = view.raw.get("DEFAULT", {}).get("topology", "failover")
        if topology in ("flex", "autoflex"):
            yield Finding("error", "DEFAULT", "encapnodes", line, "several guests, and no nodes@encapnodes: each would"
                          " believe that it is alone", "add nodes@encapnodes = " + " ".join(view.encapnodes))


def _views(document: Document, name: str, types: Types) -> Iterator[Finding]:
    """Build the service for each of its nodes; each finding once, with its line."""
    bare = scope(document, name, "\0nobody")
    nodes = tuple(dict.fromkeys((*bare.bare_nodes, *bare.drpnodes, *bare.encapnodes))) or ("nowhere",)
    for node in nodes[:64]:
        service, found = build(document, name, node, types)
        yield from (_placed(f, document) for f in found)
        yield from _resources(service, document, types, bare.encapnodes)
    view = scope(document, name, nodes[0])
    for finding in _head_values(view, name):
        yield _placed(finding, document)
    yield from _near_misses(nodes, bare.encapnodes, document, name, types)


def _head_values(view: View, name: str) -> list[Finding]:
    findings: list[Finding] = []
    read_section(view, "DEFAULT", name, with_aliases(DEFAULT_ROWS), findings)
    return findings


def _resources(service: Service, document: Document, types: Types, encapnodes: tuple[str, ...]) -> Iterator[Finding]:
    rows = Rows(types)
    for resource in service.resources:
        if resource.internal or resource.rid == "app":
            continue
        line = _line_of(document, resource.rid, "type") or _line_of(document, resource.rid, "")
        info = types.find(resource.group, resource.type)
        if not resource.type:
            yield Finding("error", resource.rid, "type", line, f"{resource.rid} has no type",
                          "one of " + ", ".join(sorted(types.names(resource.group))))
        elif info is None:
            yield Finding("error", resource.rid, "type", line, f"{resource.group} has no type {resource.type}",
                          _near(resource.type, types.names(resource.group))
                          or "one of " + ", ".join(sorted(types.names(resource.group))))
        elif not info.driver:
            yield Finding("warning", resource.rid, "type", line,
                          f"this version has no driver for {resource.group} of type {resource.type}",
                          "it can be planned and shown; at run time its state is undef")
        for row in {r.name: r for r in rows.of(resource.group, resource.type)[0].values()}.values():
            if row.required and resource.options.get(row.name) in (None, "", ()):
                yield Finding("error", resource.rid, row.name, line, f"{row.name} is missing",
                              f"{row.name} = {row.example}" if row.example else row.help)
    hosts = [str(r.options.get("hostname")) for r in service.resources if r.group == "container"]
    for host in sorted({h for h in hosts if hosts.count(h) > 1}):
        yield Finding("error", "", "hostname", 0, f"two containers have the host name {host}",
                      "give each container its own hostname")
    for resource in service.resources:
        if service.level is Level.ENCAP and resource.container and encapnodes:
            if resource.container not in document.sections:
                yield Finding("error", resource.rid, "container", _line_of(document, resource.rid, "container"),
                              f"there is no {resource.container}")


def _near_misses(nodes: tuple[str, ...], encapnodes: tuple[str, ...], document: Document, name: str,
                 types: Types) -> Iterator[Finding]:
    """`vm1` and `vm1.example.com` do not match silently."""
    for node in nodes:
        service, _ = build(document, name, node, types)
        for container in service.resources if service.level is Level.HOST else ():
            host = str(container.options.get("hostname", ""))
            if container.group != "container" or host in encapnodes:
                continue
            for other in encapnodes:
                if other.partition(".")[0] == host.partition(".")[0]:
                    yield Finding("error", container.rid, "hostname",
                                  _line_of(document, container.rid, "name"),
                                  f"the host name {host} and the encap node {other} differ only by their domain",
                                  f"write hostname = {other} in [{container.rid}], or {host} in encapnodes")


def _line_of(document: Document, section: str, option: str) -> int:
    if not option:
        return next((line for name, line in document.heads if name == section), 0)
    return next((e.line for e in reversed(document.entries)
                 if e.section == section and option in (e.option, e.key)), 0)


def _placed(finding: Finding, document: Document) -> Finding:
    line = _line_of(document, finding.section, finding.option) or _line_of(document, "DEFAULT", finding.option)
    return Finding(finding.severity, finding.section, finding.option, line, finding.text, finding.hint)

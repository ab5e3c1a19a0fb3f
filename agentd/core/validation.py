"""Everything that is wrong or odd in a configuration, from every point of view, at once.

Points of view: what is written bare, and each node of nodes, drpnodes and encapnodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from agentd.core.build import Builder, holds_an_agent
from agentd.core.config import Document, Finding
from agentd.core.keywords import Types
from agentd.core.model import Level, Resource
from agentd.core.names import is_node_name, is_service_name
from agentd.core.rows import Tables, tables
from agentd.core.scoping import NOBODY, SCOPES, View, is_resource, pick, ranks_of, scope
from agentd.core.spelling import Spelling, by_scopes, near_miss

LIST_LIMIT = 256
"""Names of one node list."""

_OTHER_ORDER = ("nodes", "drpnodes", "encapnodes", "flex_primary", "drp_flex_primary")
"""The order of OpenSVC 2.1, behind the node's own name."""


def validate(
    document: Document, types: Types, name: str, findings: Iterable[Finding] = ()
) -> tuple[Finding, ...]:
    """`findings` are those of the parser; the result holds them and its own, by line.

    The service may be accepted when none of them is an error.
    """
    found = list(findings)
    if not is_service_name(name):
        found.append(
            Finding(
                "error",
                "",
                "",
                0,
                f"{name[:80]!r} is not a service name",
                "lower-case letters, digits, dot, dash and underscore, at most 63",
            )
        )
    if document.heads:
        found += Validation(document, tables(types), name).findings()
    unique = {(f.severity, f.section, f.option, f.line, f.text): f for f in reversed(found)}
    return tuple(sorted(unique.values(), key=lambda f: (f.line, f.section, f.option, f.text)))


@dataclass(slots=True)
class Seen:
    """What one point of view holds."""

    view: View
    resources: tuple[Resource, ...]
    builder: Builder = field(repr=False)


class Validation:
    """One document under examination."""

    def __init__(self, document: Document, tables_: Tables, name: str) -> None:
        self.document, self.tables, self.name = document, tables_, name
        self.bare = scope(document, name, NOBODY)
        self.points = self._points()
        nodes = {node for seen in self.points for node in _members(seen.view)}
        self.spelling = Spelling(document, tables_, frozenset(nodes | set(_members(self.bare))))
        self.lines = {(e.section, e.key): e.line for e in reversed(document.entries)}

    def findings(self) -> Iterator[Finding]:
        yield from self.spelling.findings()
        yield from self._lists()
        yield from self._levels()
        for seen in self.points:
            yield from self._troubles(seen.view)
            yield from seen.builder.findings
            for resource in seen.resources:
                yield from self._resource(resource, seen)
            yield from self._containers(seen)
            yield from self._differences(seen.view)
            yield from self._flex(seen)
        yield from self._troubles(self.bare)
        yield from self._guests()
        yield from self._unread()

    def _points(self) -> list[Seen]:
        """Every node that reads the text, nodes that read the same counted once."""
        asked: dict[object, str] = {}
        pending, known = list(_members(self.bare)), set[str]()
        scopes = {e.scope.lower() for e in self.document.entries if e.scope}
        alone = any("nodename}" in e.value for e in self.document.entries)
        found = []
        while pending:
            node = pending.pop(0)
            if node in known or len(known) > 3 * LIST_LIMIT:
                continue
            known.add(node)
            view = scope(self.document, self.name, node)
            lists = tuple(node in view.lists[which] for which in SCOPES)
            key = (
                node
                if alone or node in scopes or view.nodes == (node,)
                else (lists, view.nodes, view.encapnodes)
            )
            if asked.setdefault(key, node) == node:
                found.append(self._seen(view))
                pending += [other for other in _members(view) if other not in known]
        # Where a level has no node, what is written for it is read as it stands.
        if not any(s.view.level is Level.HOST for s in found):
            found.append(self._seen(replace(self.bare, level=Level.HOST)))
        if self.bare.encap and not any(s.view.level is Level.ENCAP for s in found):
            found.append(self._seen(replace(self.bare, level=Level.ENCAP)))
        return found

    def _seen(self, view: View) -> Seen:
        builder = Builder(view, self.tables)
        builder.head()
        builder.check_values()
        return Seen(view, tuple(builder.resources()), builder)

    def _line(self, section: str, key: str = "") -> int:
        """Where a keyword is first written, or else its section."""
        return self.lines.get((section, key)) or self.spelling.heads.get(section, 0)

    def _error(self, section: str, key: str, text: str, hint: str = "") -> Finding:
        return Finding("error", section, key, self._line(section, key), text, hint)

    def _warning(self, section: str, key: str, text: str, hint: str = "") -> Finding:
        return Finding("warning", section, key, self._line(section, key), text, hint)

    def _troubles(self, view: View) -> Iterator[Finding]:
        for trouble in view.troubles:
            yield Finding("error", trouble.section, trouble.key, trouble.line, trouble.text)

    def _lists(self) -> Iterator[Finding]:
        """The node lists, from each point of view."""
        for view in (self.bare, *(seen.view for seen in self.points)):
            for which in ("nodes", "drpnodes", "encapnodes"):
                if len(view.lists[which]) > LIST_LIMIT:
                    yield self._error("DEFAULT", which, f"{which} has more than {LIST_LIMIT} names")
                for node in view.lists[which]:
                    if node in SCOPES or not is_node_name(node):
                        yield self._error(
                            "DEFAULT",
                            which,
                            f"{node[:80]!r} is not a node name",
                            "name each node; there are no wildcards"
                            if set("*?+=") & set(node)
                            else "lower-case letters, digits, dot, dash and underscore, at most 63",
                        )

    def _levels(self) -> Iterator[Finding]:
        """What the lists say together, and whether encap resources have a level at all."""
        bare = self.bare
        for node in bare.encapnodes:
            if node in bare.written_nodes or node in bare.drpnodes:
                yield self._error(
                    "DEFAULT",
                    "encapnodes",
                    f"{node} is both a hypervisor and a guest",
                    "a node is in nodes or in encapnodes; nodes@encapnodes is for the guests",
                )
        if not bare.written_nodes and not bare.drpnodes:
            yield self._warning(
                "DEFAULT", "nodes", "no nodes: no hypervisor runs this service", "nodes = hv1 hv2"
            )
        marked = set(bare.encap).union(*(seen.view.encap for seen in self.points))
        for section in sorted(marked):
            key = "tags" if (section, "tags") in self.lines else "encap"
            if section.startswith("container#"):
                yield self._error(
                    section,
                    key,
                    "a container cannot be encap: it is what the guest lives in",
                    "remove the encap mark",
                )
            elif not any(seen.view.encapnodes for seen in self.points) and not bare.encapnodes:
                yield self._error(
                    section,
                    key,
                    f"{section} is encap, and the service has no encapnodes",
                    "add encapnodes = GUEST to [DEFAULT]",
                )
        if len(bare.encapnodes) > 1 and any(
            s.view.level is Level.HOST and _topology(s) == "flex" for s in self.points
        ):
            alone = [g for g in bare.encapnodes if scope(self.document, self.name, g).nodes == (g,)]
            if alone:
                yield self._error(
                    "DEFAULT",
                    "encapnodes",
                    f"{' and '.join(alone)} would believe to be alone: several"
                    " guests, topology = flex, and no nodes@encapnodes",
                    f"add nodes@encapnodes = {' '.join(bare.encapnodes)}, and topology@encapnodes ="
                    " failover when one instance of the guests is to be up",
                )

    def _resource(self, resource: Resource, seen: Seen) -> Iterator[Finding]:
        rid, group = resource.rid, resource.group
        if resource.internal or (rid == "app" and "type" not in seen.view.table.get("app", {})):
            return
        type_ = seen.builder.type_of(rid, group)
        if type_ is None:
            return
        rows = self.tables.of(group, type_)
        if rows.info is None:
            known = self.tables.names(group)
            text = f"{group} has no type {type_[:80]}" if type_ else f"{rid} has no type"
            yield self._error(
                rid,
                "type",
                text,
                (type_ and self.spelling.near(type_, known)) or "one of " + ", ".join(known),
            )
        elif not rows.info.driver:
            yield self._warning(
                rid,
                "type",
                f"this version has no driver for {group} of type {type_}",
                "it can be planned and shown; at run time its state is undef",
            )
        for row in rows.required:
            if resource.options.get(row.name) in (None, "", ()) and row.name not in seen.view.table[rid]:
                where = f" at {seen.view.node}" if seen.view.node else ""
                yield self._error(
                    rid,
                    row.name,
                    f"{row.name} is missing{where}",
                    f"{row.name} = {row.example}" if row.example else row.help,
                )
        yield from self._pointers(resource)

    def _pointers(self, resource: Resource) -> Iterator[Finding]:
        """Keywords that name other sections. A guest's view has no containers, and is right so."""
        sections, rid = set(self.document.sections), resource.rid
        if resource.container and resource.container not in sections and self._has_containers():
            yield self._error(
                rid,
                "container",
                f"there is no [{resource.container}]",
                self.spelling.near(resource.container, sections),
            )
        if resource.container and not resource.encap:
            yield self._warning(
                rid,
                "container",
                f"container says which guest has an encap resource; {rid} is none",
                "add tags = encap, or remove it",
            )
        for key, value in resource.options.items():
            if not key.endswith("_requires") or not value:
                continue
            for target, _ in value:
                if target != "impossible" and target not in sections:
                    yield self._warning(
                        rid,
                        key,
                        f"there is no {target}; it is not waited for",
                        self.spelling.near(target, sections),
                    )

    def _has_containers(self) -> bool:
        return any(section.startswith("container#") for section in self.document.sections)

    def _containers(self, seen: Seen) -> Iterator[Finding]:
        """Two containers of one host name cannot be told apart."""
        held: dict[str, str] = {}
        for container in seen.resources:
            if container.group != "container":
                continue
            host = str(container.options["hostname"])
            other = held.setdefault(host, container.rid)
            if other != container.rid:
                yield self._error(
                    container.rid,
                    "hostname",
                    f"{container.rid} and {other} have the same host name {host}",
                    "give each container its own name or hostname",
                )

    def _guests(self) -> Iterator[Finding]:
        """Whether each encap resource has a container whose guest can have it."""
        hosts: dict[str, set[str]] = {}
        for seen in self.points:
            for container in seen.resources:
                if container.group == "container" and holds_an_agent(container):
                    hosts.setdefault(str(container.options["hostname"]), set()).add(container.rid)
        homes: dict[str, set[str]] = {}
        guests = [seen for seen in self.points if seen.view.level is Level.ENCAP]
        for seen in guests:
            for resource in seen.resources:
                if resource.encap and resource.rid != "app":
                    # Points that read the same were counted once, so each guest of the list is tried.
                    at = (
                        seen.view.encapnodes if len(guests) < len(self.bare.encapnodes) else (seen.view.node,)
                    )
                    found = homes.setdefault(resource.rid, set())
                    found |= {
                        rid for node in at for rid in hosts.get(node, ()) if resource.container in ("", rid)
                    }
        if not self._has_containers():
            if homes and self.bare.encapnodes:
                yield self._warning(
                    "DEFAULT",
                    "encapnodes",
                    "no container#* here: nothing starts the guests",
                    "add [container#0] with hostname = " + self.bare.encapnodes[0],
                )
            return
        for guest in self.bare.encapnodes if homes else ():
            if guest not in hosts:
                yield self._homeless(guest, hosts)
        for rid in sorted(rid for rid, found in homes.items() if not found):
            yield self._error(
                rid,
                "container",
                f"no container can have {rid}: no container#* of the guests that see"
                " it has a host name in encapnodes",
                "its hostname (or name) must be in encapnodes, and guestos not windows",
            )

    def _homeless(self, guest: str, hosts: Iterable[str]) -> Finding:
        near = near_miss(guest, hosts)
        if near:
            return self._error(
                "DEFAULT",
                "encapnodes",
                f"the encap node {guest} and the container's host name {near} differ only by their domain",
                f"write {near} in encapnodes, or hostname = {guest}",
            )
        return self._error(
            "DEFAULT",
            "encapnodes",
            f"no container has the host name {guest}",
            self.spelling.near(guest, hosts) or "a container's hostname (or name) says which guest it is",
        )

    def _differences(self, view: View) -> Iterator[Finding]:
        """Where OpenSVC 2.1 would have taken another value."""
        if not view.node:
            return
        many = by_scopes(self.document)
        if not many:
            return
        others = ranks_of(view.node, view.lists, _OTHER_ORDER)
        for (section, key), entries in many.items():
            ours = view.table[section].get(key)
            theirs = pick((e for e in entries if e.scope != key), others).get(key)
            if ours and theirs and ours.scope in SCOPES and ours.value != theirs.value:
                yield Finding(
                    "note",
                    section,
                    ours.option,
                    ours.line,
                    f"{view.node} reads {ours.option}; OpenSVC 2.1"
                    f" would have read {theirs.option} (line {theirs.line})",
                )

    def _flex(self, seen: Seen) -> Iterator[Finding]:
        options, count = seen.builder.head(), len(seen.view.nodes)
        if seen.view.level is Level.NONE or options["topology"] != "flex" or not seen.view.node:
            return
        if options["flex_min"] > count:
            yield self._warning(
                "DEFAULT",
                "flex_min",
                f"flex_min is {options['flex_min']}, and {seen.view.node} knows {count} node(s)",
            )
        if options["flex_max"] and options["flex_max"] < options["flex_min"]:
            yield self._error("DEFAULT", "flex_max", "flex_max is less than flex_min")

    def _unread(self) -> Iterator[Finding]:
        """What no point of view reads is still to be readable, and said to be unread."""
        views = [seen.view for seen in self.points]
        read = {
            entry.line for view in views for keywords in view.table.values() for entry in keywords.values()
        }
        for entry in self.document.entries:
            row = self.spelling.row(entry)
            if entry.line in read or row is None or row.name != entry.key or "{" in entry.value:
                continue
            try:
                value = row.convert(entry.value)
                if row.candidates and entry.value not in row.candidates and value not in row.candidates:
                    raise ValueError(f"{entry.value[:80]!r} is not one of {', '.join(row.candidates)}")
            except ValueError as error:
                yield Finding("error", entry.section, entry.option, entry.line, f"{entry.key}: {error}")
        for section in self.document.sections:
            if (
                is_resource(section)
                and section in self.spelling.rows
                and not any(v.sees(section) for v in views)
            ):
                yield self._warning(
                    section,
                    "",
                    f"{section} belongs to no node: no point of view sees it",
                    "look at the scopes of its tags and encap keywords",
                )


def _members(view: View) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*view.written_nodes, *view.nodes, *view.drpnodes, *view.encapnodes)))


def _topology(seen: Seen) -> str:
    return str(seen.builder.head()["topology"])

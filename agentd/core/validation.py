"""Everything that is wrong or odd in a configuration, from every point of view, at once.

Points of view: what is written bare, and each node of nodes, drpnodes and encapnodes. A
guest holds a part of the text (`agentd.core.replication.view`), and judges what it reads
itself: what it was not given is in the whole, and was judged there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from agentd.core.build import read_as
from agentd.core.config import Document, Entry, Finding
from agentd.core.hosting import has_containers, hosting
from agentd.core.keywords import Types
from agentd.core.model import Level, Resource
from agentd.core.names import is_node_name, is_service_name
from agentd.core.rows import Tables, tables
from agentd.core.scoping import NOBODY, SCOPES, View, is_resource, pick, ranks_of, scope
from agentd.core.spelling import Spelling, by_scopes
from agentd.core.viewpoints import LIST_LIMIT, Places, Seen, members, most_points, points, seen_as

_OTHER_ORDER = ("nodes", "drpnodes", "encapnodes", "flex_primary", "drp_flex_primary")
"""The order of OpenSVC 2.1, behind the node's own name."""


def validate(
    document: Document, types: Types, name: str, findings: Iterable[Finding] = (), node: str = NOBODY
) -> tuple[Finding, ...]:
    """`findings` are those of the parser; the result holds them and its own, by line.

    `node`: who asks. Where it is a guest of the service, its own view alone is judged.
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
        found += Validation(document, tables(types), name, node).findings()
    unique = {(f.severity, f.section, f.option, f.line, f.text): f for f in reversed(found)}
    return tuple(sorted(unique.values(), key=lambda f: (f.line, f.section, f.option, f.text)))


class Validation:
    """One document under examination."""

    def __init__(self, document: Document, tables_: Tables, name: str, node: str = NOBODY) -> None:
        self.document, self.tables, self.name = document, tables_, name
        self.bare = scope(document, name, NOBODY)
        own = scope(document, name, node) if node else self.bare
        self.guest = own if own.level is Level.ENCAP else None
        self.points = [seen_as(own, tables_)] if self.guest else points(document, tables_, self.bare)
        nodes = {node for view in self._views() for node in members(view)}
        self.spelling = Spelling(document, tables_, frozenset(nodes))
        self.places = Places(document)
        self.missing: dict[tuple[str, str], list[str]] = defaultdict(list)

    def findings(self) -> Iterator[Finding]:
        if self.guest is None:
            yield from self._of_each_point()
            yield from self._of_the_whole()
            return
        for finding in self._of_each_point():
            # Of a section that is not its own a guest has no more than the keys that it refers to.
            if not finding.section or self.guest.sees(finding.section):
                yield finding

    def _of_each_point(self) -> Iterator[Finding]:
        yield from self.spelling.findings()
        yield from self._lists()
        yield from self._levels()
        for view in self._views():
            for trouble in view.troubles:
                yield Finding("error", trouble.section, trouble.key, trouble.line, trouble.text)
        for seen in self.points:
            yield from map(self.places.placed, seen.builder.findings)
            for resource in seen.resources:
                yield from self._resource(resource, seen)
            yield from self._differences(seen.view)
            yield from self._flex(seen)
        yield from self._missing()

    def _of_the_whole(self) -> Iterator[Finding]:
        """What can be told only where nothing is left out."""
        yield from self._alone()
        if len(self.points) >= most_points(self.document):
            yield self.places.warning(
                "DEFAULT",
                "nodes",
                f"too large to be looked at from each of its nodes: {len(self.points)} were tried",
            )
        yield from hosting(self.points, self.bare.encapnodes, self.spelling, self.places)
        yield from self._unread()

    def _views(self) -> Iterator[View]:
        yield self.bare
        yield from (seen.view for seen in self.points)

    def _lists(self) -> Iterator[Finding]:
        """The names in the node lists, from each point of view."""
        for view in self._views():
            for which in ("nodes", "drpnodes", "encapnodes"):
                if len(view.lists[which]) > LIST_LIMIT:
                    yield self.places.error("DEFAULT", which, f"{which} has more than {LIST_LIMIT} names")
                for node in view.lists[which]:
                    if node in SCOPES or not is_node_name(node):
                        yield self.places.error(
                            "DEFAULT",
                            which,
                            f"{node[:80]!r} is not a node name",
                            "name each node; there are no wildcards"
                            if set("*?+=") & set(node)
                            else "lower-case letters, digits, dot, dash and underscore",
                        )

    def _levels(self) -> Iterator[Finding]:
        """What the lists say together, and whether encap resources have a level at all."""
        bare, error = self.bare, self.places.error
        for node in bare.encapnodes:
            if node in bare.written_nodes or node in bare.drpnodes:
                yield error(
                    "DEFAULT",
                    "encapnodes",
                    f"{node} is both a hypervisor and a guest",
                    "a node is in nodes or in encapnodes; nodes@encapnodes is for the guests",
                )
        if not bare.written_nodes and not bare.drpnodes:
            yield self.places.warning(
                "DEFAULT", "nodes", "no nodes: no hypervisor runs this service", "nodes = hv1 hv2"
            )
        encapnodes = any(view.encapnodes for view in self._views())
        for section in sorted(set[str]().union(*(view.encap for view in self._views()))):
            key = "tags" if (section, "tags") in self.places.lines else "encap"
            if section.startswith("container#"):
                yield error(
                    section,
                    key,
                    "a container cannot be encap: it is what the guest lives in",
                    "remove the encap mark",
                )
            elif not encapnodes:
                yield error(
                    section,
                    key,
                    f"{section} is encap, and the service has no encapnodes",
                    "add encapnodes = GUEST to [DEFAULT]",
                )

    def _alone(self) -> Iterator[Finding]:
        """Guests of a farmed service that would each believe to be the only one."""
        guests = self.bare.encapnodes
        hosts = [seen for seen in self.points if seen.view.level is Level.HOST]
        if len(guests) < 2 or not any(seen.builder.head()["topology"] == "flex" for seen in hosts):
            return
        # A guest that takes itself for the only node reads nothing like another: it has its own point.
        views = {seen.view.node: seen.view for seen in self.points}
        alone = [guest for guest in guests if guest in views and views[guest].nodes == (guest,)]
        if alone:
            yield self.places.error(
                "DEFAULT",
                "encapnodes",
                f"{' and '.join(alone[:4])} would believe to be alone: several guests,"
                " topology = flex, and no nodes@encapnodes",
                f"add nodes@encapnodes = {' '.join(guests[:8])}; and"
                " topology@encapnodes = failover when only one of the guests is to be up",
            )

    def _resource(self, resource: Resource, seen: Seen) -> Iterator[Finding]:
        rid, group = resource.rid, resource.group
        type_ = seen.builder.type_of(rid, group)
        if resource.internal or type_ is None or (rid == "app" and (rid, "type") not in self.places.lines):
            return
        rows = self.tables.of(group, type_)
        if rows.info is not None and not rows.info.driver:
            yield self.places.warning(
                rid,
                "type",
                f"this version has no driver for {group} of type {type_}",
                "it can be planned and shown; at run time its state is undef",
            )
        for row in rows.required:
            if resource.options.get(row.name) in (None, "", ()) and row.name not in seen.view.table[rid]:
                self.missing[rid, row.name].append(seen.view.node)
        yield from self._pointers(resource)

    def _missing(self) -> Iterator[Finding]:
        for (rid, key), nodes in self.missing.items():
            everywhere = len(nodes) == sum(seen.view.sees(rid) for seen in self.points)
            where = "" if everywhere else f" at {' '.join(nodes)}"
            row = next(rows.known[key] for rows in self.spelling.rows[rid] if key in rows.known)
            hint = f"{key} = {row.example}" if row.example else row.help
            yield self.places.error(rid, key, f"{key} is missing{where}", hint)

    def _pointers(self, resource: Resource) -> Iterator[Finding]:
        """Keywords that name other sections. A guest's view has no containers, and is right so."""
        sections, rid, place = self.places.heads, resource.rid, resource.container
        if place and place not in sections and self.guest is None and has_containers(self.places):
            yield self.places.error(
                rid, "container", f"there is no [{place}]", self.spelling.near(place, sections)
            )
        if place and not resource.encap:
            yield self.places.warning(
                rid,
                "container",
                f"container says which guest has an encap resource; {rid} is none",
                "add tags = encap, or remove it",
            )
        for key in self.places.requirements.get(rid, ()):
            for target, _ in resource.options.get(key) or ():
                if target != "impossible" and target not in sections:
                    yield self.places.warning(
                        rid,
                        key,
                        f"there is no {target}; it is not waited for",
                        self.spelling.near(target, sections),
                    )

    def _differences(self, view: View) -> Iterator[Finding]:
        """Where OpenSVC 2.1 would have taken another value."""
        many = by_scopes(self.document) if view.node else {}
        others = ranks_of(view.node, view.lists, _OTHER_ORDER) if many else {}
        for (section, key), entries in many.items():
            ours = view.table[section].get(key)
            theirs = pick((e for e in entries if e.scope != key), others).get(key)
            if not view.sees(section) or not ours or not theirs:
                continue
            if ours.scope in SCOPES and ours.value != theirs.value:
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
            yield self.places.warning(
                "DEFAULT",
                "flex_min",
                f"flex_min is {options['flex_min']}, and {seen.view.node} knows {count} node(s)",
            )
        if options["flex_max"] and options["flex_max"] < options["flex_min"]:
            yield self.places.error("DEFAULT", "flex_max", "flex_max is less than flex_min")

    def _unread(self) -> Iterator[Finding]:
        """What no point of view reads is still to be readable, and said to be unread."""
        views = [seen.view for seen in self.points]
        read = {
            entry.line
            for view in views
            for section, keywords in view.table.items()
            if view.sees(section) or not is_resource(section)
            for entry in keywords.values()
        }
        for entry in self.document.entries:
            if entry.line not in read:
                yield from self._unread_entry(entry)
        for section in self.spelling.rows:
            if is_resource(section) and not any(view.sees(section) for view in views):
                yield self.places.warning(
                    section,
                    "",
                    f"{section} belongs to no node: no point of view sees it",
                    "look at the scopes of its tags and encap keywords",
                )

    def _unread_entry(self, entry: Entry) -> Iterator[Finding]:
        row = self.spelling.row(entry)
        if row is None or row.name != entry.key or "{" in entry.value or "$(" in entry.value:
            return
        try:
            read_as(row, entry.value)
        except ValueError as error:
            yield Finding("error", entry.section, entry.option, entry.line, f"{entry.key}: {error}")

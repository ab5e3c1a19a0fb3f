"""A configuration -> the Service that one node sees. A bad resource spoils only itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.core.config import Document, Entry, Finding
from agentd.core.converters import boolean
from agentd.core.keywords import Keyword, TypeInfo, Types
from agentd.core.model import GROUPS, Guest, Level, Resource, Service, Subset
from agentd.core.references import ReferenceTrouble, Resolver
from agentd.core.rows import DEFAULT_TABLE, OLD_HEARTBEATS, Rows, Tables, tables
from agentd.core.scoping import View, is_reservation, scope

SYNC = "sync#i0"
SYNC_LABEL = "rsync svc config to drpnodes, nodes"


class Options(Mapping[str, Any]):
    """Converted keywords over the defaults of a type, which all resources of it share."""

    __slots__ = ("_defaults", "_own")

    def __init__(self, own: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._own, self._defaults = own, defaults

    def __getitem__(self, key: str) -> Any:
        return self._own[key] if key in self._own else self._defaults[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._defaults, **self._own})

    def __len__(self) -> int:
        return len({**self._defaults, **self._own})

    def __repr__(self) -> str:
        return repr(dict(self))

    def written(self, key: str) -> bool:
        """Whether the configuration says it, in the section or in DEFAULT."""
        return key in self._own


def build(document: Document, name: str, node: str, types: Types) -> tuple[Service, tuple[Finding, ...]]:
    """The service `name` as `node` sees it, and what could not be built, with its lines.

    A resource with a value that cannot be read has the type "", which no driver serves; a
    node in no list gets a service without resources, and a finding that says so.
    """
    view = scope(document, name, node)
    builder = Builder(view, tables(types))
    service = builder.service(document)
    return service, (*_troubles(view), *_absent(view), *builder.findings)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value comes from: `origin` is the section it stands in, `section` the one that uses it."""

    section: str
    origin: str
    entry: Entry


class Builder:
    """Reads one view with the tables of a catalogue; `findings` grows."""

    def __init__(self, view: View, tables_: Tables) -> None:
        self.view, self.tables = view, tables_
        self.resolver: Resolver = view.resolver()
        self.findings: list[Finding] = []
        self._head: Options | None = None

    def head(self) -> Options:
        """The keywords of DEFAULT, read once."""
        if self._head is None:
            self._head = Options(self.section("DEFAULT", DEFAULT_TABLE)[0], DEFAULT_TABLE.defaults)
        return self._head

    def service(self, document: Document) -> Service:
        view = self.view
        options = self.head()
        resources = tuple(self.resources())
        count = len(view.nodes)
        flex_min = min(options["flex_min"], count)
        flex_max = max(flex_min, min(options["flex_max"] or count, count))
        return Service(
            name=view.name,
            node=view.node,
            level=view.level,
            nodes=view.nodes,
            drpnodes=view.drpnodes,
            encapnodes=view.encapnodes,
            topology=options["topology"],
            orchestrate=options["orchestrate"],
            flex_min=flex_min,
            flex_max=flex_max,
            flex_primary=view.flex_primary,
            flex_target=max(flex_min, min(options["flex_target"] or flex_max, flex_max)),
            resources=resources,
            guests=tuple(self._guests(document, resources)),
            subsets=self.subsets(),
            options=options,
        )

    def resources(self) -> Iterator[Resource]:
        """This level's resources, in the order of the file; ``sync#i0`` is the first sync."""
        if self.view.level is Level.NONE:
            return
        internal: Resource | None = self._internal_sync()
        for section in self.view.table:
            group, mark, _ = section.partition("#")
            if section == SYNC or group not in GROUPS or not (mark or section == "app"):
                continue
            if not self.view.sees(section) or is_reservation(section, self.view.table):
                continue
            if group == "sync" and internal is not None:
                yield internal
                internal = None
            yield self._resource(section, group)
        if internal is not None:
            yield internal

    def section(self, section: str, rows: Rows) -> tuple[dict[str, Any], bool]:
        """Keyword -> converted value of what is written, and whether all of it could be read."""
        values: dict[str, Any] = {}
        sound = True
        for key, place in self._places(section, rows):
            row = rows.known.get(key)
            if row is None or (row.name != key and row.name in self.view.table[section]):
                continue
            try:
                values[row.name] = self._value(place, row)
            except ValueError as error:
                sound = False
                entry = place.entry
                self.findings.append(
                    Finding("error", section, entry.option, entry.line, f"{key}: {error}", _hint(row, error))
                )
        return values, sound

    def _places(self, section: str, rows: Rows) -> Iterator[tuple[str, Place]]:
        own = self.view.table.get(section, {})
        if section != "DEFAULT":
            head = self.view.table.get("DEFAULT", {})
            for key in rows.inheritable & head.keys() - own.keys():
                if rows.known[key].name not in own:
                    yield key, Place(section, "DEFAULT", head[key])
        for key, entry in own.items():
            yield key, Place(section, section, entry)

    def _value(self, place: Place, row: Keyword) -> Any:
        entry = place.entry
        text = entry.value
        if "{" in text or "$(" in text:
            text = self.resolver.resolve(place.section, text, entry.key, place.origin)
        if entry.key != row.name:
            text = _present(entry.key, text, self.view)
        return read_as(row, text)

    def check_values(self) -> None:
        """Report what cannot be read in sections that are no resources: env and subsets."""
        self.subsets()
        for key, entry in self.view.table.get("env", {}).items():
            try:
                self.resolver.resolve("env", entry.value, key)
            except ValueError as error:
                self.findings.append(Finding("error", "env", entry.option, entry.line, f"{key}: {error}"))

    def type_of(self, rid: str, group: str) -> str | None:
        """The type's name, "" when none is written and the group has no default; None: unreadable."""
        entry = self.view.table.get(rid, {}).get("type")
        if entry is None or not entry.value:
            return self.tables.default(group)
        try:
            type_ = self.resolver.resolve(rid, entry.value, "type").strip().lower()
        except ValueError:
            return None  # `section` reads the same entry and reports it
        return "external" if group == "hb" and type_ in OLD_HEARTBEATS else type_

    def _resource(self, rid: str, group: str) -> Resource:
        type_ = self.type_of(rid, group)
        rows = self.tables.of(group, type_ or "")
        if rows.info is None and type_ is not None:
            self.findings.append(self._no_type(rid, group, type_))
        own, sound = self.section(rid, rows)
        if group == "container":
            own["name"] = own.get("name") or self.view.name
            own["hostname"] = own.get("hostname") or str(own["name"]).lower()
        options = Options(own, rows.defaults)
        tags = frozenset(options["tags"])
        optional = own.get("optional")
        if optional is None:
            optional = group in ("sync", "task") or "noaction" in tags
        return Resource(
            rid=rid,
            type=rows.info.type if rows.info and sound else "",
            label=label_of(rid, rows.info, options),
            encap=rid in self.view.encap,
            tags=tags,
            subset=options["subset"],
            disable=options["disable"],
            optional=optional,
            monitor=options["monitor"],
            standby=options["standby"],
            restart=options["restart"],
            restart_delay=options["restart_delay"],
            container=options["container"],
            options=options,
        )

    def _no_type(self, rid: str, group: str, type_: str) -> Finding:
        known = self.tables.names(group)
        near = difflib.get_close_matches(type_[:64], known, 1, 0.7) if type_ else []
        entry = self.view.table[rid].get("type")
        return Finding(
            "error", rid, entry.option if entry else "type", entry.line if entry else 0,
            f"{group} has no type {type_[:80]}" if type_ else f"{rid} has no type",
            f"did you mean {near[0]}?" if near else "one of " + ", ".join(known),
        )

    def _internal_sync(self) -> Resource:
        """``sync#i0``: the configuration's own copies; a section of that name may disable it."""
        rows = self.tables.of("sync", "")
        own, _ = self.section(SYNC, rows) if SYNC in self.view.table else ({}, True)
        return Resource(
            SYNC,
            "config",
            SYNC_LABEL,
            tags=frozenset(own.get("tags", ())),
            optional=True,
            disable=own.get("disable", False),
            internal=True,
            options=Options(own, rows.defaults),
        )

    def _guests(self, document: Document, resources: tuple[Resource, ...]) -> Iterator[Guest]:
        """The containers whose host name is in encapnodes, each with its own part of the service."""
        if self.view.level is not Level.HOST:
            return
        seen: set[str] = set()
        for container in resources:
            node = str(container.options.get("hostname", "")) if container.group == "container" else ""
            if node in seen or node not in self.view.encapnodes or not holds_an_agent(container):
                continue
            seen.add(node)
            inside = Builder(scope(document, self.view.name, node), self.tables)
            mine = tuple(
                r
                for r in inside.resources()
                if r.encap and r.rid != "app" and not r.internal and r.container in ("", container.rid)
            )
            yield Guest(container.rid, node, mine, inside.head()["topology"], inside.view.nodes)

    def subsets(self) -> dict[str, Subset]:
        """By what stands behind ``subset#``; ``group.type:name`` also as ``group:name``."""
        found: dict[str, Subset] = {}
        for section in self.view.table:
            if section.startswith("subset#"):
                entry = self.view.table[section].get("parallel")
                try:
                    parallel = entry is not None and boolean(
                        self.resolver.resolve(section, entry.value, "parallel")
                    )
                except ValueError as error:
                    parallel = False
                    self.findings.append(
                        Finding("error", section, "parallel", entry.line if entry else 0, str(error))
                    )
                key = section.removeprefix("subset#")
                group, colon, name = key.rpartition(":")
                found[f"{group.partition('.')[0]}:{name}" if colon else key] = Subset(name, parallel)
        return found


def read_as(row: Keyword, text: str) -> Any:
    """The value of a keyword's text; ValueError with a sentence when it has none."""
    value = text if row.convert is str else row.convert(text)
    if row.candidates and text not in row.candidates and value not in row.candidates:
        raise ValueError(f"{text[:80]!r} is not one of {', '.join(row.candidates)}")
    return value


def holds_an_agent(container: Resource) -> bool:
    """A Windows guest holds none: an agentless container."""
    return container.options.get("guestos") != "windows"


def label_of(rid: str, info: TypeInfo | None, options: Mapping[str, Any]) -> str:
    """The type's template filled with the options; the rid when nothing comes of it."""
    if info is None or rid == "app":
        return rid
    group, _, index = rid.partition("#")
    label = info.label.format_map(_Filling(options, rid=rid, group=group, rindex=index, index=index))
    return label if label.strip("@ ") else rid


class _Filling:
    """Options as a label shows them: lists joined, what is missing as nothing."""

    def __init__(self, options: Mapping[str, Any], **words: str) -> None:
        self._options, self._words = options, words

    def __getitem__(self, key: str) -> str:
        value: Any = self._words.get(key, self._options.get(key))
        if isinstance(value, tuple):
            return " ".join(str(v) for v in value)
        return "" if value is None else str(value)


def _present(key: str, text: str, view: View) -> str:
    """The value that an older keyword's text has under its present name, for this node."""
    words = text.lower().replace(",", " ").split()
    if key == "always_on":
        lists = {word for word in ("nodes", "drpnodes") if view.node in view.lists[word]}
        return "true" if view.node in words or lists & set(words) else "false"
    if key == "autostart_node":
        return "start" if view.node in words else "no"
    if key == "cluster_type":
        return "flex" if text.lower() == "autoflex" else text.lower()
    return text


def _hint(row: Keyword, error: ValueError) -> str:
    if isinstance(error, ReferenceTrouble):
        return ""
    return f"for example {row.name} = {row.example}" if row.example else row.help


def _troubles(view: View) -> Iterator[Finding]:
    """What was not readable where levels are decided; of a resource, the build says it again."""
    for trouble in view.troubles:
        if trouble.section == "DEFAULT" or not view.sees(trouble.section):
            yield Finding("error", trouble.section, trouble.key, trouble.line, trouble.text)


def _absent(view: View) -> Iterator[Finding]:
    """A node in no list, said plainly; ``vm1`` and ``vm1.example.com`` do not match silently."""
    if view.level is not Level.NONE or not view.node:
        return
    short = view.node.partition(".")[0]
    for which in ("nodes", "drpnodes", "encapnodes"):
        for other in view.lists[which]:
            if other.partition(".")[0] == short and ("." in other) != ("." in view.node):
                yield Finding(
                    "error",
                    "DEFAULT",
                    which,
                    0,
                    f"this node is {view.node}, and {which} names {other}: they differ only by their domain",
                    f"write {view.node} in {which}, or name the node {other}",
                )
                return
    yield Finding(
        "warning",
        "DEFAULT",
        "nodes",
        0,
        f"{view.node} is in none of nodes, drpnodes and encapnodes: it runs nothing of this service",
    )

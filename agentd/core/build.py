"""A configuration -> the Service that one node sees. A bad resource spoils only itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentd.core.config import Document, Finding
from agentd.core.keywords import Keyword, TypeInfo, Types
from agentd.core.model import GROUPS, Guest, Level, Resource, Service, Subset
from agentd.core.references import Resolver
from agentd.core.rows import DEFAULT_ROWS, GROUP_ROWS, RESOURCE_ROWS
from agentd.core.scoping import View, is_encap, is_resource, scope

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
        return repr({**self._defaults, **self._own})

    def written(self, key: str) -> bool:
        """Whether the configuration says it, in the section or in DEFAULT."""
        return key in self._own


@dataclass
class Rows:
    """Keyword tables by (group, type), computed once."""

    types: Types
    _tables: dict[tuple[str, str], tuple[dict[str, Keyword], dict[str, Any]]] = field(default_factory=dict)

    def of(self, group: str, type_: str) -> tuple[dict[str, Keyword], dict[str, Any]]:
        """Rows by name (aliases too) and the defaults."""
        key = (group, type_)
        if key not in self._tables:
            info = self.types.find(group, type_)
            rows = {**RESOURCE_ROWS, **GROUP_ROWS.get(group, {}), **(info.keywords if info else {})}
            self._tables[key] = with_aliases(rows), {row.name: row.default for row in rows.values()}
        return self._tables[key]


def with_aliases(rows: Mapping[str, Keyword]) -> dict[str, Keyword]:
    return {**{alias: row for row in rows.values() for alias in row.aliases}, **rows}


_DEFAULT_TABLE = with_aliases(DEFAULT_ROWS)


def build(document: Document, name: str, node: str, types: Types) -> tuple[Service, tuple[Finding, ...]]:
    """The service `name` as `node` sees it, and what could not be built."""
    rows = Rows(types)
    findings: list[Finding] = []
    view = scope(document, name, node)
    head = read_section(view, "DEFAULT", name, _DEFAULT_TABLE, findings)
    resources = read_resources(view, name, rows, findings)
    guests = tuple(_guests(document, name, resources, view, rows)) if view.level is Level.HOST else ()
    if view.level is not Level.NONE:
        resources = (*resources, Resource("sync#i0", "config", SYNC_LABEL, internal=True, optional=True))
    service = Service(
        name=name, node=view.node, level=view.level, nodes=view.nodes, drpnodes=view.drpnodes,
        encapnodes=view.encapnodes, flex_primary=view.flex_primary, resources=resources, guests=guests,
        subsets=_subsets(view), topology=topology_of(head), options=head, flex_min=int(head.get("flex_min", 1)),
        orchestrate="start" if view.node in head.get("autostart_node", ()) else str(head.get("orchestrate", "no")),
        flex_max=int(head.get("flex_max") or len(view.nodes)),
        flex_target=int(head.get("flex_target") or len(view.nodes)),
    )
    return service, tuple(findings)


def topology_of(head: Mapping[str, Any]) -> str:
    """`cluster_type` of older files said autoflex for flex."""
    return "flex" if head.get("topology") in ("flex", "autoflex") else "failover"


def read_section(view: View, section: str, name: str, rows: Mapping[str, Keyword],
                 findings: list[Finding]) -> dict[str, Any]:
    """keyword -> converted value of what is written; an unreadable value is left out and reported."""
    resolver = Resolver(view.raw, name, view.node, view.lists)
    values: dict[str, Any] = {}
    written = dict(view.raw.get(section, {}))
    if section != "DEFAULT":
        head = view.raw.get("DEFAULT", {})
        written = {**{k: head[k] for k, row in rows.items() if row.inheritable and k in head}, **written}
    for key, text in written.items():
        row = rows.get(key)
        try:
            resolved = resolver.resolve(section, text, key)
            values[row.name if row else key] = row.convert(resolved) if row else resolved
            if row and row.candidates and resolved not in row.candidates and key == row.name:
                raise ValueError(f"{resolved!r} is not one of {', '.join(row.candidates)}")
        except ValueError as error:
            values.pop(row.name if row else key, None)
            findings.append(Finding("error", section, key, 0, f"{key}: {error}"))
    return values


def read_resources(view: View, name: str, rows: Rows, findings: list[Finding]) -> tuple[Resource, ...]:
    """This level's resources, in the order of the file."""
    return tuple(
        _resource(view, section, name, rows, findings)
        for section in view.sections if is_resource(section) and section.partition("#")[0] in GROUPS
    )


def _resource(view: View, rid: str, name: str, rows: Rows, findings: list[Finding]) -> Resource:
    group = rid.partition("#")[0]
    resolver = Resolver(view.raw, name, view.node, view.lists)
    try:
        type_ = resolver.resolve(rid, view.raw[rid].get("type", ""), "type").lower() or rows.types.default(group)
    except ValueError as error:
        findings.append(Finding("error", rid, "type", 0, f"type: {error}"))
        type_ = ""
    info = rows.types.find(group, type_)
    table, defaults = rows.of(group, info.type if info else type_)
    own = read_section(view, rid, name, table, findings)
    if group == "container":
        own.setdefault("name", name)
        own["hostname"] = own.get("hostname") or str(own["name"]).lower()
    options = Options(own, defaults)
    tags = frozenset(own.get("tags", ()))
    optional = own.get("optional")
    if optional is None:
        optional = group in ("sync", "task") or "noaction" in tags
    return Resource(
        rid=rid, type=info.type if info else type_, label=label_of(rid, info, options),
        encap=is_encap(view.raw[rid]), tags=tags, subset=own.get("subset", ""), optional=optional,
        disable=own.get("disable", False), monitor=own.get("monitor", False), standby=own.get("standby", False),
        restart=own.get("restart", 0), restart_delay=own.get("restart_delay", 0.0),
        container=own.get("container", ""), options=options,
    )


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return ""


def label_of(rid: str, info: TypeInfo | None, options: Mapping[str, Any]) -> str:
    """The type's template filled with the options; the rid when nothing comes of it."""
    if info is None or rid == "app":
        return rid
    label = info.label.format_map(_Blank({**options, "rid": rid}))
    return label if label.strip("@ ") else rid


def _guests(document: Document, name: str, resources: tuple[Resource, ...], host: View,
            rows: Rows) -> Iterator[Guest]:
    """The containers whose host name is in encapnodes, each with its own part of the service."""
    for container in resources:
        node = str(container.options.get("hostname", ""))
        if container.group != "container" or node not in host.encapnodes:
            continue
        if str(container.options.get("guestos", "")).lower() == "windows":
            continue
        view = scope(document, name, node)
        found = read_resources(view, name, rows, [])
        mine = tuple(r for r in found if r.encap and r.container in ("", container.rid))
        head = read_section(view, "DEFAULT", name, _DEFAULT_TABLE, [])
        yield Guest(container.rid, node, mine, topology_of(head), view.nodes)


def _subsets(view: View) -> dict[str, Subset]:
    found = {}
    for section, keywords in view.raw.items():
        if section.startswith("subset#"):
            name = section.removeprefix("subset#")
            parallel = keywords.get("parallel", "").strip().lower() in {"yes", "y", "true", "t", "1"}
            found[name] = Subset(name, parallel)
    return found

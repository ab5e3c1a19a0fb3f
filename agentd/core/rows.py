"""The keyword rows that no driver owns: DEFAULT, those of every resource, those of a group.

Also owns the tables that are made of them: by (group, type), computed once a catalogue.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, cast

from agentd.core import converters as to
from agentd.core.keywords import Keyword, TypeInfo, Types

Row = Keyword

NEVER_INHERITED = ("tags", "encap", "type", "disable", "subset")
"""Keywords of a resource that never fall back to DEFAULT."""


def table(*rows: Keyword | Iterable[Keyword]) -> dict[str, Keyword]:
    """Rows by name; later ones win."""
    flat: list[Keyword] = []
    for row in rows:
        flat.extend([row] if isinstance(row, Keyword) else row)
    return {row.name: row for row in flat}


VERBS = ("start", "stop", "startstandby", "provision", "unprovision", "run")

TRIGGERS = tuple(
    Row(
        f"{blocking}{when}_{verb}",
        f"A command run {'before' if when == 'pre' else 'after'} {verb}"
        + ("; its failure ends the action" if blocking else "")
        + ". An argument vector, no shell.",
        to.command,
        example="/usr/local/bin/note started",
    )
    for verb in (*VERBS, "sync_nodes", "sync_drp", "sync_resync", "sync_update", "sync_restore")
    for when in ("pre", "post")
    for blocking in ("", "blocking_")
)

REQUIRES = tuple(
    Row(
        f"{verb}_requires",
        f"Resources, with accepted states, that must be so before {verb}.",
        to.requirements,
        (),
        example="ip#0 fs#1(up,stdby up)",
    )
    for verb in (
        "start",
        "stop",
        "provision",
        "unprovision",
        "run",
        "sync_nodes",
        "sync_drp",
        "sync_update",
        "sync_break",
        "sync_resync",
        "sync_restore",
    )
)

_NODE_ROWS = (
    Row(
        "nodes",
        "The hypervisors of the service; at the encap level its guests.",
        to.names,
        (),
        example="hv1 hv2",
    ),
    Row(
        "drpnodes",
        "Hypervisors for disaster recovery; nothing is placed there by itself.",
        to.names,
        (),
        example="dr1",
    ),
    Row("drpnode", "The first of drpnodes.", to.name, "", example="dr1"),
    Row("encapnodes", "The guests that hold an agent for this service.", to.names, (), example="vm1"),
    Row("flex_primary", "The node that leads a flex service; the first of nodes when absent.", to.name, ""),
    Row("drp_flex_primary", "The leader among drpnodes; their first when absent.", to.name, ""),
)

_PLACING_ROWS = (
    Row(
        "topology",
        "failover: one instance up. flex: several.",
        default="failover",
        candidates=("failover", "flex"),
        aliases=("cluster_type",),
    ),
    Row(
        "orchestrate",
        "no: by hand. start: the first node starts it at boot. ha: kept up.",
        default="no",
        candidates=("no", "start", "ha"),
        aliases=("autostart_node",),
    ),
    Row(
        "placement",
        "How a node is chosen.",
        default="nodes order",
        candidates=("none", "nodes order", "load avg", "shift", "spread", "score"),
    ),
    Row("flex_min", "Fewest instances of a flex service.", to.natural, 1, aliases=("flex_min_nodes",)),
    Row(
        "flex_max",
        "Most instances of a flex service; 0: all nodes.",
        to.natural,
        0,
        aliases=("flex_max_nodes",),
    ),
    Row("flex_target", "Instances that a start brings up; 0: all nodes.", to.natural, 0),
    Row("priority", "0 is the most important.", to.natural, 100),
    Row("parents", "Services that start before.", to.words, ()),
    Row("children", "Services that stop before.", to.words, ()),
    Row("slaves", "Services that follow this one.", to.words, ()),
    Row("hard_affinity", "Services that must run beside this one.", to.words, (), aliases=("affinity",)),
    Row("hard_anti_affinity", "Services that must not.", to.words, (), aliases=("anti_affinity",)),
    Row("soft_affinity", "Services better beside this one.", to.words, ()),
    Row("soft_anti_affinity", "Services better elsewhere.", to.words, ()),
    Row(
        "live_migration",
        "auto: switch migrates live where the type can.",
        default="no",
        candidates=("no", "auto"),
    ),
    Row("shutdown_policy", "What a shutdown of the node does with the service.", default="stop"),
    Row("disable", "The whole service is left alone.", to.boolean, False),
    Row("rollback", "Undo a failed start.", to.boolean, True),
    Row(
        "encap_trust",
        "How far guests may change the configuration.",
        default="resources",
        scopable=False,
        candidates=("resources", "service", "full", "none"),
    ),
)

_OTHER_ROWS = (
    Row("env", "What the service is for.", default="", aliases=("service_type",), example="PRD"),
    Row("app", "Accounting code.", default=""),
    Row("comment", "For people.", default="", scopable=False),
    Row("id", "Identifier of the service, kept as it is.", default=""),
    Row("kind", "Kind of object, for files of other versions.", default="svc"),
    Row("monitor_action", "What follows when a monitored resource cannot be restarted.", default="none"),
    Row("pre_monitor_action", "A command run before monitor_action.", to.command),
    Row("monitor_schedule", "When monitored resources are looked at.", default=""),
    Row("status_schedule", "When the status is refreshed.", default=""),
    Row("sync_schedule", "When sync resources run.", default=""),
    Row("run_schedule", "When task resources run.", default=""),
    Row("bwlimit", "Kilobytes a second for copies.", default=""),
    Row("presnap_trigger", "A command run before a snapshot.", to.command),
    Row("postsnap_trigger", "A command run after a snapshot.", to.command),
    Row("prkey", "SCSI-3 reservation key.", default=""),
    Row("no_preempt_abort", "Preempt reservations without abort.", to.boolean, False),
    *(
        Row(name, "Kept for older files; not used.", default="", aliases=aliases)
        for name, aliases in (
            ("show_disabled", ()),
            ("lock_timeout", ()),
            ("docker_data_dir", ("container_data_dir",)),
            ("docker_daemon_args", ()),
            ("docker_daemon_private", ()),
            ("docker_exe", ()),
            ("dockerd_exe", ()),
            ("registry_creds", ()),
            ("mode", ()),
            ("constraints", ()),
            ("stonith", ()),
            ("create_pg", ()),
            ("flex_cpu_low_threshold", ("flex_cpu_min_threshold",)),
            ("flex_cpu_high_threshold", ("flex_cpu_max_threshold",)),
            ("containerize", ()),
            ("comp_schedule", ()),
            ("resinfo_schedule", ()),
            ("push_schedule", ()),
            ("scale", ()),
            ("pool", ()),
            ("size", ()),
            ("access", ()),
        )
    ),
)

DEFAULT_ROWS = table(_NODE_ROWS, _PLACING_ROWS, _OTHER_ROWS, TRIGGERS)

RESOURCE_ROWS = table(
    Row("type", "The driver of the resource."),
    Row(
        "tags",
        "Words that select resources; `encap` and `noaction` have a meaning.",
        to.words,
        (),
        example="encap",
    ),
    Row("encap", "The resource lives in the guest, like tags = encap.", to.boolean, False),
    Row(
        "container",
        "The container whose guest has this encap resource; all of encapnodes when absent.",
        to.rid,
        "",
        example="container#1",
    ),
    Row("subset", "The subset the resource runs with.", default=""),
    Row("disable", "The resource is left alone and counts as n/a.", to.boolean, False),
    Row(
        "optional",
        "Its failure fails nothing, its state does not enter avail. True for sync, task and"
        " the tag noaction.",
        to.boolean,
    ),
    Row(
        "monitor", "monitor_action follows when it cannot be restarted.", to.boolean, False, inheritable=True
    ),
    Row(
        "standby",
        "Up on every node, also where the service is not.",
        to.boolean,
        False,
        aliases=("always_on",),
    ),
    Row("restart", "How often it is started again by itself.", to.natural, 0, inheritable=True),
    Row("restart_delay", "Pause between two tries.", to.duration, 0.0, inheritable=True),
    Row("shared", "Seen from every node.", to.boolean, False, inheritable=True),
    Row("provision", "Made by provision.", to.boolean, True, inheritable=True),
    Row("unprovision", "Destroyed by unprovision.", to.boolean, True, inheritable=True),
    Row("comment", "For people.", default="", scopable=False),
    Row("schedule", "When it runs.", default=""),
    Row(
        "netns",
        "The container whose network the resource uses; it starts right after it.",
        default="",
        aliases=("container_rid",),
        example="container#0",
    ),
    Row("zone", "The zone the resource belongs to.", default=""),
    Row("scsireserv", "SCSI-3 reservations on its disks.", to.boolean, False, inheritable=True),
    Row("prkey", "SCSI-3 reservation key.", default="", inheritable=True),
    Row("promote_rw", "Make read-only devices writable first.", to.boolean, False),
    Row("no_preempt_abort", "Preempt reservations without abort.", to.boolean, False, inheritable=True),
    TRIGGERS,
    REQUIRES,
)

CONTAINER_ROWS = table(
    Row(
        "name",
        "The container's name for its tools; the service's name when absent.",
        default="",
        example="vm1",
    ),
    Row("hostname", "The guest's node name; the container's name when absent.", to.name, "", example="vm1"),
    Row("guestos", "windows: no agent inside.", to.name, "unix", candidates=("unix", "windows")),
    Row("address", "Where the guest's agent listens: host or host:port.", default="", example="10.0.0.5"),
    Row("start_timeout", "For a whole start, shared by its phases.", to.duration, 240.0, inheritable=True),
    Row("stop_timeout", "For a graceful stop, before force.", to.duration, 120.0, inheritable=True),
)

GROUP_ROWS: Mapping[str, Mapping[str, Keyword]] = {
    "container": CONTAINER_ROWS,
    "ip": table(
        Row("ipname", "Address, or a name that resolves to one.", default="", example="10.0.0.2"),
        Row("ipdev", "Network interface.", default="", example="eth0"),
    ),
    "fs": table(
        Row("mnt", "Mount point.", to.absolute_path, "", example="/srv/data"),
        Row("dev", "Device, or source of the mount.", default="", example="/dev/vg/lv"),
        Row("mnt_opt", "Mount options.", default="", example="rw,relatime"),
        Row("stat_timeout", "How long it may take to answer.", to.duration, 5.0, inheritable=True),
    ),
    "disk": table(Row("name", "Name of the object.", default="", aliases=("vgname",))),
    "sync": table(
        Row("src", "What is copied.", default=""),
        Row("dst", "Where to.", default=""),
        Row("target", "nodes, drpnodes or both.", to.words, ()),
        Row(
            "sync_max_delay",
            "Age from which a copy is late; a bare number is minutes.",
            to.duration_minutes,
            97200.0,
            inheritable=True,
        ),
    ),
}
"""Rows that every type of a group has; a driver's own rows win."""

SUBSET_ROWS = table(Row("parallel", "Its resources run at the same time.", to.boolean, False))

OLD_GROUPS = {
    "vg": "[disk#...] with type = vg",
    "vmdg": "the guest's own [disk#...]",
    "loop": "[disk#...] with type = loop",
    "pool": "[disk#...] with type = zpool",
    "zpool": "[disk#...] with type = zpool",
    "drbd": "[disk#...] with type = drbd",
    "lv": "[disk#...] with type = lv",
    "vdisk": "[disk#...]",
    "zone": "[container#...] with type = zone",
    "stonith": "a fence agent in the settings of the hypervisors",
    "volume": "[fs#...] or [disk#...]",
}
"""Section groups of other versions -> what says the same now."""

OLD_HEARTBEATS = frozenset({"openha", "linuxha", "ovm", "rhcs", "sg", "vcs"})
"""Cluster programs that older files named as the type of ``[hb#n]``: external, today."""

UNUSED = "Kept for older files; not used."


@dataclass(frozen=True, slots=True)
class Rows:
    """The keywords of one kind of section. `known`: also by their older names."""

    known: Mapping[str, Keyword]
    defaults: Mapping[str, Any]
    inheritable: frozenset[str]
    required: tuple[Keyword, ...]
    info: TypeInfo | None = None


def rows_of(rows: Mapping[str, Keyword], info: TypeInfo | None = None) -> Rows:
    aliases = {alias: row for row in rows.values() for alias in row.aliases}
    known = {**aliases, **rows}
    return Rows(
        known=known,
        defaults={row.name: row.default for row in rows.values()},
        inheritable=frozenset(
            key for key, row in known.items() if row.inheritable and key not in NEVER_INHERITED
        ),
        required=tuple(row for row in rows.values() if row.required),
        info=info,
    )


DEFAULT_TABLE = rows_of(DEFAULT_ROWS)


class Tables:
    """Rows by (group, type) of one catalogue."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._made: dict[tuple[str, str], Rows] = {}

    def of(self, group: str, type_: str) -> Rows:
        """The rows of a type; those of its group when the type is not known."""
        found = self._made.get((group, type_))
        if found is not None:
            return found
        info = self._types.find(group, type_) if type_ else None
        if info is None:
            return rows_of_group(group)
        rows = {**RESOURCE_ROWS, **GROUP_ROWS.get(group, {}), **info.keywords}
        return self._made.setdefault((group, type_), rows_of(rows, info))

    def default(self, group: str) -> str:
        return self._types.default(group)

    def names(self, group: str) -> tuple[str, ...]:
        return tuple(sorted(self._types.names(group)))


@cache
def rows_of_group(group: str) -> Rows:
    """What every type of a group has."""
    return rows_of({**RESOURCE_ROWS, **GROUP_ROWS.get(group, {})})


def tables(types: Types) -> Tables:
    """The tables of a catalogue; those of the last ones are kept: builds are many, catalogues few."""
    return _kept(cast("Hashable", types))


@lru_cache(maxsize=8)
def _kept(types: Any) -> Tables:
    return Tables(types)

"""The keyword rows that no driver owns: DEFAULT, those of every resource, those of a group."""

from __future__ import annotations

from collections.abc import Iterable

from agentd.core import converters as to
from agentd.core.keywords import Keyword

Row = Keyword


def table(*rows: Keyword | Iterable[Keyword]) -> dict[str, Keyword]:
    """Rows by name; later ones win."""
    flat: list[Keyword] = []
    for row in rows:
        flat.extend([row] if isinstance(row, Keyword) else row)
    return {row.name: row for row in flat}


_TRIGGERS = tuple(
    Row(f"{blocking}{when}_{verb}", f"A command run {'before' if when == 'pre' else 'after'} {verb}"
        + ("; its failure ends the action" if blocking else "") + ". No shell.", to.command, example="/usr/local/bin/note")
    for verb in ("start", "stop", "startstandby", "provision", "unprovision", "run")
    for when in ("pre", "post") for blocking in ("", "blocking_")
)

_REQUIRES = tuple(
    Row(f"{verb}_requires", f"Resources, with accepted states, that must be so before {verb}.", to.words,
        example="ip#0 fs#1(up,stdby up)")
    for verb in ("start", "stop", "provision", "unprovision", "run")
)

DEFAULT_ROWS = table(
    Row("nodes", "The hypervisors of the service; at the encap level its guests.", to.names, (), example="hv1 hv2"),
    Row("drpnodes", "Hypervisors for disaster recovery; nothing is placed there by itself.", to.names, ()),
    Row("drpnode", "The first of drpnodes.", to.name, ""),
    Row("encapnodes", "The guests that hold an agent for this service.", to.names, (), example="vm1"),
    Row("topology", "failover: one instance up. flex: several.", default="failover",
        candidates=("failover", "flex"), aliases=("cluster_type",)),
    Row("orchestrate", "no: by hand. start: the first node starts it at boot. ha: kept up.", default="no",
        candidates=("no", "start", "ha")),
    Row("placement", "How a node is chosen.", default="nodes order",
        candidates=("none", "nodes order", "load avg", "shift", "spread", "score")),
    Row("flex_min", "Fewest instances of a flex service.", to.natural, 1, aliases=("flex_min_nodes",)),
    Row("flex_max", "Most instances of a flex service; 0: all nodes.", to.natural, 0, aliases=("flex_max_nodes",)),
    Row("flex_target", "Instances that a start brings up; 0: all nodes.", to.natural, 0),
    Row("flex_primary", "The node that leads a flex service.", to.name, ""),
    Row("drp_flex_primary", "The leader among drpnodes.", to.name, ""),
    Row("env", "What the service is for.", default="", aliases=("service_type",), example="PRD"),
    Row("autostart_node", "Old form of orchestrate = start.", to.names, ()),
    Row("live_migration", "auto: switch migrates live where the type can.", default="no", candidates=("no", "auto")),
    Row("shutdown_policy", "What a shutdown of the node does with the service.", default="stop"),
    Row("encap_trust", "How far guests may change the configuration.", default="resources", scopable=False,
        candidates=("resources", "service", "full", "none")),
    Row("disable", "The whole service is left alone.", to.boolean, False),
    Row("monitor_action", "What follows when a monitored resource cannot be restarted.", default="none"),
    Row("priority", "0 is the most important.", to.natural, 100),
    Row("parents", "Services that start before.", to.words, ()),
    Row("children", "Services that stop before.", to.words, ()),
    Row("hard_affinity", "Services that must run beside this one.", to.words, (), aliases=("affinity",)),
    Row("hard_anti_affinity", "Services that must not.", to.words, (), aliases=("anti_affinity",)),
    Row("soft_affinity", "Services better beside this one.", to.words, ()),
    Row("soft_anti_affinity", "Services better elsewhere.", to.words, ()),
    Row("app", "Accounting code.", default=""),
    Row("comment", "For people.", default=""),
    Row("id", "Identifier of the service, kept as it is.", default=""),
    Row("kind", "Kind of object, for files of other versions.", default="svc"),
    Row("rollback", "Undo a failed start.", to.boolean, True),
    Row("scsireserv", "SCSI-3 reservations on the disks.", to.boolean, False),
    Row("sync_schedule", "When sync resources run.", default=""),
    Row("sync_max_delay", "Age from which a copy is late; a bare number is minutes.", to.duration_minutes, 97200.0),
    Row("stat_timeout", "How long a file system may take to answer.", to.duration, 5.0),
    Row("lock_timeout", "Kept for older files.", to.duration, 60.0),
    Row("show_disabled", "List disabled resources.", to.boolean, True),
    Row("docker_data_dir", "Kept for older files.", default="", aliases=("container_data_dir",)),
    Row("mode", "Kept for older files.", default=""),
    Row("constraints", "Kept for older files.", default=""),
    Row("stonith", "Kept for older files.", default=""),
    *_TRIGGERS,
)

RESOURCE_ROWS = table(
    Row("type", "The driver of the resource."),
    Row("tags", "Words that select resources; `encap` and `noaction` have a meaning.", to.words, ()),
    Row("encap", "The resource lives in the guest, like tags = encap.", to.boolean, False),
    Row("container", "The container whose guest has this encap resource.", default="", example="container#1"),
    Row("subset", "The subset the resource runs with.", default=""),
    Row("disable", "The resource is left alone and counts as n/a.", to.boolean, False),
    Row("optional", "Its failure fails nothing, its state does not enter avail.", to.boolean),
    Row("monitor", "monitor_action follows when it cannot be restarted.", to.boolean, False),
    Row("standby", "Up on every node, also where the service is not.", to.boolean, False, aliases=("always_on",)),
    Row("restart", "How often it is started again by itself.", to.natural, 0, inheritable=True),
    Row("restart_delay", "Pause between two tries.", to.duration, 0.0, inheritable=True),
    Row("shared", "Seen from every node.", to.boolean, False),
    Row("provision", "Made by provision.", to.boolean, True),
    Row("unprovision", "Destroyed by unprovision.", to.boolean, True),
    Row("comment", "For people.", default=""),
    Row("schedule", "When it runs.", default=""),
    Row("netns", "The container whose network the resource uses; it starts right after it.", default=""),
    Row("scsireserv", "SCSI-3 reservations on its disks.", to.boolean, False, inheritable=True),
    *_TRIGGERS, *_REQUIRES,
)

CONTAINER_ROWS = table(
    Row("name", "The container's name for its tools; the service's name when absent.", default=""),
    Row("hostname", "The guest's node name; the container's name when absent.", to.name, ""),
    Row("guestos", "windows: no agent inside.", default="unix"),
    Row("address", "Where the guest's agent listens: host or host:port.", default="", example="10.0.0.5"),
    Row("start_timeout", "For a whole start, shared by its phases.", to.duration, 240.0, inheritable=True),
    Row("stop_timeout", "For a graceful stop, before force.", to.duration, 120.0, inheritable=True),
)

GROUP_ROWS = {
    "container": CONTAINER_ROWS,
    "ip": table(Row("ipname", "Address, or a name that resolves to one.", default="", example="10.0.0.2"),
                Row("ipdev", "Network interface.", default="", example="eth0")),
    "fs": table(Row("mnt", "Mount point.", to.absolute_path, "", example="/srv/data"),
                Row("dev", "Device, or source of the mount.", default="", example="/dev/vg/lv"),
                Row("mnt_opt", "Mount options.", default="", example="rw,relatime")),
    "disk": table(Row("name", "Name of the object.", default="")),
    "sync": table(Row("src", "What is copied.", default=""), Row("dst", "Where to.", default=""),
                  Row("target", "nodes, drpnodes or both.", to.words, ()),
                  Row("sync_max_delay", "Age from which a copy is late.", to.duration_minutes, 97200.0,
                      inheritable=True)),
}
"""Rows that every type of a group has; a driver's own rows win."""

OLD_GROUPS = {"vg": "disk", "loop": "disk", "pool": "disk", "vmdg": "disk", "drbd": "disk", "lv": "disk",
              "stonith": "", "vdisk": "disk", "volume": "disk", "zone": "container"}
"""Section groups of older versions -> the present one, "" for none."""

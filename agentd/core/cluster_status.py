"""The status of a service over its nodes: instances are counted, not merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentd.core.status import Status

_WORST_FIRST = (Status.WARN, Status.UNDEF, Status.DOWN, Status.STDBY_DOWN, Status.STDBY_UP, Status.NA)


def cluster_document(
    service: str, topology: str, flex_min: int, instances: Sequence[Mapping[str, Any]],
    silent: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """``encap.cluster-status/1``. `instances`: status documents; `silent`: node, since, why.

    `split` is true where a failover service runs on more than one node.
    """
    statuses = [Status(one["avail"]) for one in instances]
    running = [one["node"] for one in instances if _runs(one)]
    split = topology == "failover" and len(running) > 1
    blind = bool(silent) or Status.UNDEF in statuses
    if topology == "failover":
        avail = Status.WARN if split else _failover(statuses, blind)
    else:
        avail = _flex(statuses, flex_min, blind)
    return {
        "schema": "encap.cluster-status/1", "service": service, "topology": topology,
        "avail": str(avail), "overall": str(_overall(avail, instances, bool(silent))),
        "split": split, "running": running,
        "instances": [dict(one) for one in instances], "silent": [dict(one) for one in silent],
    }


def _runs(instance: Mapping[str, Any]) -> bool:
    """Up, or with a machine of its own that runs: half an instance is one too many as well."""
    return instance["avail"] == Status.UP or any(
        r["group"] == "container" and r["status"] == Status.UP for r in instance.get("resources", ())
    )


def _failover(statuses: Sequence[Status], blind: bool) -> Status:
    if Status.UP in statuses:
        return Status.UP
    return Status.UNDEF if blind else _worst(statuses)


def _flex(statuses: Sequence[Status], flex_min: int, blind: bool) -> Status:
    up = statuses.count(Status.UP)
    if up:
        return Status.UP if up >= flex_min else Status.WARN
    if blind:
        return Status.UNDEF
    worst = _worst(statuses)
    return worst if worst in (Status.WARN, Status.NA) else Status.DOWN


def _worst(statuses: Sequence[Status]) -> Status:
    return next((s for s in _WORST_FIRST if s in statuses), Status.NA)


def _overall(avail: Status, instances: Sequence[Mapping[str, Any]], silent: bool) -> Status:
    """As avail, and warn where something on any node needs a look."""
    if avail is Status.UNDEF:
        return avail
    troubled = any(one["overall"] in (Status.WARN, Status.UNDEF) for one in instances)
    return Status.WARN if troubled or silent else avail

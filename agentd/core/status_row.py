"""One resource in a status document, and what many of them come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentd.core.algebra import merge
from agentd.core.model import Resource
from agentd.core.status import LogLine, Status

Row = dict[str, Any]

DISPLAY = ("container", "disk", "share", "fs", "ip", "app", "task", "sync", "hb")
"""Groups in the order of display; within a group the order of the file."""

_PLACE = {group: place for place, group in enumerate(DISPLAY)}
_STATES = {str(s): s for s in Status}

NOT_IN_AVAIL = frozenset({"sync", "task", "hb"})


def displayed(resources: Iterable[Resource]) -> list[Resource]:
    """In the order of display."""
    return sorted(resources, key=lambda r: _PLACE.get(r.group, len(_PLACE)))


def line(of: LogLine) -> dict[str, str]:
    return {"level": of.level, "text": of.text}


def row(
    resource: Resource, status: Status, *, last: Status | str | None = None, log: Iterable[LogLine] = (),
    label: str = "", age: float | None = None, observed_at: str = "", source: str = "config",
) -> Row:
    """The row of `resource`. `age` in seconds, None when it was never seen."""
    unknown = status is Status.UNDEF
    return {
        "rid": resource.rid, "group": resource.group, "type": resource.type,
        "label": label or resource.label or resource.rid, "status": str(status),
        "monitor": resource.monitor, "disable": resource.disable, "optional": resource.optional,
        "encap": resource.encap, "standby": resource.standby,
        "last_status": str(last) if unknown and last is not None else None, "provisioned": "n/a",
        "restart": {"left": resource.restart, "of": resource.restart}, "log": [line(one) for one in log],
        "age": None if age is None else round(age, 1), "observed_at": observed_at or None,
        "source": source, "stale": unknown and last is not None,
    }


def in_avail(of: Mapping[str, Any]) -> bool:
    return not of["optional"] and not of["disable"] and of["group"] not in NOT_IN_AVAIL


def counted(of: Mapping[str, Any]) -> Status:
    """The state that a row merges as; `folds_as` is there when that is not what it shows."""
    return _STATES[of.get("folds_as") or of["status"]]


def total(rows: Sequence[Mapping[str, Any]], notes: Iterable[Mapping[str, str]] = ()) -> dict[str, str]:
    """avail, overall and optional of resources, all merged flat, and of lines beside them."""
    live = [r for r in rows if not r["disable"]]
    needed = [counted(r) for r in live if in_avail(r)]
    optional = [counted(r) for r in live if r["optional"] and r["group"] not in NOT_IN_AVAIL]
    hb = [counted(r) for r in live if r["group"] == "hb" and r["status"] != Status.NA]
    sync = [counted(r) for r in live if r["group"] == "sync"]
    warnings = [Status.WARN for s in sync if s not in (Status.UP, Status.NA)]
    lines = [*(one for r in live for one in r["log"]), *notes]
    warnings += [Status.WARN for one in lines if one["level"] in ("warn", "error")]
    return {
        "avail": str(merge(needed)), "overall": str(merge([*needed, *optional, *hb, *warnings])),
        "optional": str(merge(optional)),
    }

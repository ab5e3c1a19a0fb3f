"""The status document of an instance: own resources, and the guest's folded one by one.

Pure: what is known goes in, ``encap.status/1`` comes out. Nothing is asked and nothing is
guessed: what a silent guest would have told is undef, with the last value beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentd.core.algebra import merge
from agentd.core.model import Guest, Resource, Service
from agentd.core.status import LogLine, Observation, Probe, Status

DISPLAY = ("container", "disk", "share", "fs", "ip", "app", "sync", "task", "hb")
"""Groups in the order of display."""

NOT_IN_AVAIL = frozenset({"sync", "task", "hb"})


@dataclass(frozen=True, slots=True)
class GuestReport:
    """What is known of the agent in a container.

    `agent`: answering, silent, enrolling, absent, down, none. `document`: its last status
    document, checked by `agentd.core.reply`. `heard`: monotonic time of its last byte.
    """

    agent: str
    document: Mapping[str, Any] | None = None
    heard: float | None = None
    last_answer: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The rest of what a status document says. `now` is this daemon's monotonic clock."""

    now: float = 0.0
    observed_at: str = ""
    revision: int = 0
    hash: str = ""
    frozen: Mapping[str, Any] | None = None
    operation: Mapping[str, Any] | None = None
    provisioned: str = "n/a"
    notes: tuple[LogLine, ...] = ()
    restarts: Mapping[str, int] = field(default_factory=dict)


def instance_document(
    service: Service, observations: Mapping[str, Observation], guests: Mapping[str, GuestReport], context: Context,
) -> dict[str, Any]:
    """The instance on this node. `observations` by rid, `guests` by container rid."""
    own = [_own(r, observations.get(r.rid), context) for r in _displayed(service.resources)]
    folded: list[dict[str, Any]] = []
    for row in own:
        guest = service.guest(row["rid"])
        if guest is not None:
            row["guest"], lines = _guest(guest, row, guests.get(row["rid"]) or GuestReport("absent"), context)
            row["log"] += lines
            folded += row["guest"]["resources"]
    totals = _totals([*own, *folded], own, context)
    return {
        "schema": "encap.status/1", "service": service.name, "node": service.node, "level": service.level.value,
        "revision": context.revision, "hash": context.hash, "topology": service.topology,
        "orchestrate": service.orchestrate, "frozen": context.frozen, "operation": context.operation,
        "provisioned": context.provisioned, **totals, "observed_at": context.observed_at,
        "log": [_line(n) for n in context.notes], "resources": own,
    }


def _displayed(resources: Iterable[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda r: DISPLAY.index(r.group) if r.group in DISPLAY else len(DISPLAY))


def _own(resource: Resource, seen: Observation | None, context: Context) -> dict[str, Any]:
    if seen is None:
        seen = Observation(Probe(Status.UNDEF, (LogLine("info", "not probed yet"),)), context.now, "", "config")
    status = Status.NA if resource.disable or "nostatus" in resource.tags else seen.probe.status
    if resource.standby:
        status = {Status.UP: Status.STDBY_UP, Status.DOWN: Status.STDBY_DOWN}.get(status, status)
    return _row(resource, status, last=seen.last, log=seen.probe.log, label=seen.probe.label,
                age=max(0.0, context.now - seen.observed), observed_at=seen.observed_at, source=seen.source,
                left=context.restarts.get(resource.rid))


def _row(resource: Resource, status: Status, *, last: Status | str | None = None, log: Iterable[LogLine] = (),
         label: str = "", age: float = 0.0, observed_at: str = "", source: str = "config",
         left: int | None = None) -> dict[str, Any]:
    return {
        "rid": resource.rid, "group": resource.group, "type": resource.type, "label": label or resource.label,
        "status": str(status), "monitor": resource.monitor, "disable": resource.disable,
        "optional": resource.optional and not resource.internal, "encap": resource.encap,
        "standby": resource.standby,
        "last_status": str(last) if last is not None and status is Status.UNDEF else None,
        "provisioned": "n/a", "restart": {"left": resource.restart if left is None else left, "of": resource.restart},
        "log": [_line(one) for one in log], "age": round(age, 1), "observed_at": observed_at or None,
        "source": source, "stale": status is Status.UNDEF and last is not None,
    }


def _line(line: LogLine) -> dict[str, str]:
    return {"level": line.level, "text": line.text}


def _guest(guest: Guest, container: Mapping[str, Any], report: GuestReport,
           context: Context) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The guest's branch, and the lines it puts on its container."""
    resources = _displayed(guest.resources)
    silence = context.now - report.heard if report.heard is not None else None
    lines: list[dict[str, str]] = []
    state = container["status"]
    agent = report.agent
    if state in (Status.DOWN, Status.STDBY_DOWN):
        agent, rows = "down", [_row(r, _when_down(r)) for r in resources]
    elif agent == "answering" and report.document is not None:
        rows = [_told(r, report.document, silence or 0.0) for r in resources]
    else:
        rows = [_unheard(r, report.document, silence) for r in resources]
        if resources and state != Status.UNDEF and agent != "none":
            lines.append(_line(LogLine("warn", _silent_words(guest.node, agent, silence))))
    document = report.document or {}
    return {
        "node": guest.node, "agent": agent, "last_answer": report.last_answer,
        "revision": document.get("revision"), "frozen": document.get("frozen"),
        "avail": str(merge(Status(r["status"]) for r in rows if _in_avail(r))),
        "overall": str(merge(Status(r["status"]) for r in rows)), "resources": rows,
    }, lines


def _when_down(resource: Resource) -> Status:
    return Status.NA if resource.disable or resource.group in ("app", "task", "sync") else Status.DOWN


def _silent_words(node: str, agent: str, silence: float | None) -> str:
    if agent == "enrolling":
        return f"agent in {node} is being enrolled"
    if silence is None:
        return f"agent in {node} has not answered yet"
    return f"agent in {node} has not answered for {int(silence)} s"


def _told(resource: Resource, document: Mapping[str, Any], late: float) -> dict[str, Any]:
    """What the guest says of one of the resources that the configuration gives it."""
    told = next((r for r in document["resources"] if r["rid"] == resource.rid), None)
    if told is None:
        return _row(resource, Status.UNDEF, log=(LogLine("warn", "the guest does not report this resource"),))
    log = [LogLine(str(one["level"]), str(one["text"])) for one in told.get("log", ())]
    row = _row(resource, Status(told["status"]), last=told.get("last_status"), log=log, label=str(told["label"]),
               age=float(told.get("age") or 0.0) + late, observed_at=str(told.get("observed_at") or ""),
               source="guest", left=int(told["restart"]["left"]) if "restart" in told else None)
    row["disable"], row["optional"] = bool(told.get("disable")), bool(told.get("optional"))
    return row


def _unheard(resource: Resource, document: Mapping[str, Any] | None, silence: float | None) -> dict[str, Any]:
    told = next((r for r in (document or {}).get("resources", ()) if r["rid"] == resource.rid), None)
    if resource.disable:
        return _row(resource, Status.NA)
    if told is None:
        return _row(resource, Status.UNDEF)
    last = told["last_status"] if told["status"] == Status.UNDEF else told["status"]
    age = float(told.get("age") or 0.0) + (silence or 0.0)
    return _row(resource, Status.UNDEF, last=last, label=str(told["label"]), age=age, source="last-known")


def _in_avail(row: Mapping[str, Any]) -> bool:
    return not row["optional"] and not row["disable"] and row["group"] not in NOT_IN_AVAIL


def _totals(rows: list[dict[str, Any]], own: list[dict[str, Any]], context: Context) -> dict[str, Any]:
    """avail, overall, optional and the groups, merged flat from resources."""
    live = [r for r in rows if not r["disable"]]
    needed = [Status(r["status"]) for r in live if _in_avail(r)]
    optional = [Status(r["status"]) for r in live if r["optional"] and r["group"] not in NOT_IN_AVAIL]
    by_group = {g: [Status(r["status"]) for r in live if r["group"] == g] for g in ("sync", "hb")}
    sync = [Status.WARN for s in by_group["sync"] if s not in (Status.UP, Status.NA)]
    hb = [s for s in by_group["hb"] if s is not Status.NA]
    logs = [one for r in live for one in r["log"]] + [_line(n) for n in context.notes]
    warned = [Status.WARN for one in logs if one["level"] in ("warn", "error")]
    unknown = any(r["group"] == "container" and r["status"] == Status.UNDEF and not r["disable"] for r in own)
    avail = Status.UNDEF if unknown else merge(needed)
    overall = Status.WARN if unknown else merge([*needed, *optional, *sync, *hb, *warned])
    return {
        "avail": str(avail), "overall": str(overall), "optional": str(merge(optional)),
        "groups": {group: str(merge(statuses)) for group, statuses in by_group.items()},
    }


"""The status document of an instance: own resources, and the guest's folded one by one.

Pure: what is known goes in, ``encap.status/1`` comes out. Nothing is asked and nothing is
guessed: what a silent guest would have told is undef, with the last value beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentd.core.algebra import merge
from agentd.core.guest_part import GuestReport, choose, fold_guest, stand_back
from agentd.core.model import Resource, Service
from agentd.core.status import LogLine, Observation, Probe, Status
from agentd.core.status_row import DISPLAY, Row, displayed, in_avail, line, row, total

_UNPROBED = Probe(Status.UNDEF, (LogLine("info", "not probed yet"),))


@dataclass(frozen=True, slots=True)
class InstanceContext:
    """The rest of what a status document says.

    `now`: this daemon's monotonic clock. `restart`: by rid, ``{"left", "of"}``.
    `provisioned`: by rid, "true" or "false"; what is up counts as provisioned.
    `in_step`: whether every copy of the configuration agrees, None when not known.
    `notes`: lines about the whole instance; warn and error ones degrade overall.
    `chosen`: the guest that has the instance of a failover encap level, where somebody
    else than the guests of this node knows it. `expected`: whether the instance is expected
    up here.
    """

    now: float = 0.0
    observed_at: str = ""
    revision: int = 0
    hash: str = ""
    frozen: Mapping[str, Any] | None = None
    operation: Mapping[str, Any] | None = None
    provisioned: Mapping[str, str] = field(default_factory=dict)
    in_step: bool | None = None
    notes: tuple[LogLine, ...] = ()
    restart: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    chosen: str = ""
    expected: bool = False


def instance_document(
    service: Service, observations: Mapping[str, Observation], guests: Mapping[str, GuestReport],
    context: InstanceContext,
) -> dict[str, Any]:
    """The instance on this node. `observations` by rid, `guests` by container rid."""
    own = [_own(r, observations.get(r.rid), context) for r in displayed(service.resources)]
    folded = _fold(service, own, guests, context)
    return {
        "schema": "encap.status/1", "service": service.name, "node": service.node,
        "level": service.level.value, "revision": context.revision, "hash": context.hash,
        "in_step": context.in_step, "topology": service.topology, "orchestrate": service.orchestrate,
        "expected": context.expected,
        "frozen": _plain(context.frozen), "operation": _plain(context.operation),
        "provisioned": _all_provisioned(own), **_totals(own, folded, context),
        "groups": {group: str(merge(_statuses(own, group))) for group in DISPLAY},
        "observed_at": context.observed_at, "log": [line(n) for n in context.notes], "resources": own,
    }


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(value)


def _own(resource: Resource, seen: Observation | None, context: InstanceContext) -> Row:
    """A resource of this level, from its probe."""
    probe = seen.probe if seen else _UNPROBED
    unasked = resource.disable or "nostatus" in resource.tags
    status = Status.NA if unasked else probe.status
    if resource.standby:
        status = {Status.UP: Status.STDBY_UP, Status.DOWN: Status.STDBY_DOWN}.get(status, status)
    made = row(
        resource, status, last=seen.last if seen else None, log=() if unasked else probe.log,
        label=probe.label, age=_age(seen, status, context.now),
        observed_at=seen.observed_at if seen else "", source=seen.source if seen else "config",
    )
    made["restart"] = dict(context.restart.get(resource.rid) or made["restart"])
    made["provisioned"] = (
        "true" if status in (Status.UP, Status.STDBY_UP) else context.provisioned.get(resource.rid, "n/a")
    )
    return made


def _age(seen: Observation | None, status: Status, now: float) -> float | None:
    """How old what is shown is: the probe, or the last known value where that stands beside."""
    if seen is None:
        return None
    at = seen.last_observed if status is Status.UNDEF and seen.last is not None else seen.observed
    return None if at is None else max(0.0, now - at)


def _fold(service: Service, own: list[Row], guests: Mapping[str, GuestReport],
          context: InstanceContext) -> list[Row]:
    """Hang each guest's branch under its container; all the rows of all guests."""
    branches = []
    for container in own:
        guest = service.guest(container["rid"])
        if guest is not None:
            report = guests.get(guest.container) or GuestReport("absent")
            container["guest"], lines = fold_guest(guest, container, report, context.now, context.revision)
            container["log"] += lines
            branches.append((guest, container))
    chosen = context.chosen or choose(branches)
    for guest, container in branches:
        container["log"] += stand_back(guest, container["guest"]["resources"], chosen)
        container["guest"] |= total(container["guest"]["resources"])
    return [r for _, container in branches for r in container["guest"]["resources"]]


def _totals(own: list[Row], folded: list[Row], context: InstanceContext) -> dict[str, str]:
    """avail, overall and optional, merged flat from the resources of both levels."""
    rows = [*own, *folded]
    totals = total(rows, [line(n) for n in context.notes])
    if any(r["group"] == "container" and r["status"] == Status.UNDEF and in_avail(r) for r in own):
        # Whether the machine itself runs is not known, so neither is the instance.
        troubled = totals["overall"] == Status.WARN
        totals |= {"avail": str(Status.UNDEF), "overall": str(Status.WARN if troubled else Status.UNDEF)}
    return totals


def _statuses(rows: Iterable[Row], group: str) -> Iterable[Status]:
    return (Status(r["status"]) for r in rows if r["group"] == group and not r["disable"])


def _all_provisioned(rows: Iterable[Row]) -> str:
    known = {r["provisioned"] for r in rows if not r["disable"]} - {"n/a"}
    return "mixed" if len(known) > 1 else next(iter(known), "n/a")

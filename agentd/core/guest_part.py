"""The branch of one guest under its container: what it told, or what is known without it.

The container's own state always comes from this hypervisor's driver; the guest speaks for
the resources that the configuration gives it and for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.core.model import Guest, Resource
from agentd.core.placement import relocatable
from agentd.core.status import LogLine, Status
from agentd.core.status_row import Row, displayed, in_avail, line, row

_DOWN = (Status.DOWN, Status.STDBY_DOWN)
_QUIET_WHEN_DOWN = frozenset({"app", "task", "sync"})
"""Groups that say n/a, not down, in a container that is down: nothing was to run there."""


@dataclass(frozen=True, slots=True)
class GuestReport:
    """What is known of the agent in a container.

    `agent`: answering, silent, enrolling, absent, down, none. `document`: its last status
    document, as `agentd.core.reply.read_guest_status` returned it. `heard`: monotonic time
    of its last byte. `last_answer`: the same for people, RFC 3339. `reason`: why an agent
    that answers cannot be believed ("invalid reply: ..."). `received`: monotonic time when
    the document came, where that was before the last byte.
    """

    agent: str
    document: Mapping[str, Any] | None = None
    heard: float | None = None
    last_answer: str | None = None
    reason: str = ""
    received: float | None = None

    def lateness(self, now: float) -> float:
        """Seconds since the document came: as much older is what it tells by now."""
        came = self.received if self.received is not None else self.heard
        return 0.0 if came is None else max(0.0, now - came)


def fold_guest(guest: Guest, container: Row, report: GuestReport, now: float,
               revision: int) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The guest's branch, without its totals, and the lines that it puts on its container."""
    resources = displayed(guest.resources)
    silence = max(0.0, now - report.heard) if report.heard is not None else None
    state, agent, lines = Status(container["status"]), report.agent, []
    told = {r["rid"]: r for r in report.document["resources"]} if report.document else {}
    if container["disable"]:
        rows = [row(r, Status.NA) for r in resources]
    elif state in _DOWN:
        agent, rows = "down", [_when_down(r, container) for r in resources]
    elif agent == "answering" and report.document is not None and not report.reason:
        level = "warn" if report.document.get("revision") == revision else "info"
        rows = [_told(r, told.get(r.rid), report.lateness(now), level) for r in resources]
        lines = _strangers(guest, told, level)
    else:
        rows = [_unheard(r, told.get(r.rid), silence, report.lateness(now)) for r in resources]
        if resources and state is not Status.UNDEF:
            lines = [line(LogLine("warn", _silent_words(guest.node, report, silence)))]
    document = report.document or {}
    return {
        "node": guest.node, "agent": agent, "last_answer": report.last_answer,
        "reason": report.reason or None, "revision": document.get("revision"),
        "frozen": document.get("frozen"), "resources": rows,
    }, lines


def _when_down(resource: Resource, container: Row) -> Row:
    quiet = resource.disable or resource.group in _QUIET_WHEN_DOWN
    status = Status.NA if quiet else Status.STDBY_DOWN if resource.standby else Status.DOWN
    return row(resource, status, age=container["age"], observed_at=container["observed_at"] or "")


def _silent_words(node: str, report: GuestReport, silence: float | None) -> str:
    if report.reason:
        return f"agent in {node}: {report.reason}"
    if report.agent == "enrolling":
        return f"agent in {node} is being enrolled"
    if report.agent == "none":
        return f"{node} holds no agent, so its resources are not known"
    if report.agent == "answering":
        return f"agent in {node} has not told its status yet"
    if silence is None:
        return f"agent in {node} has not answered yet"
    return f"agent in {node} has not answered for {int(silence)} s"


def _told(resource: Resource, told: Mapping[str, Any] | None, late: float, level: str) -> Row:
    """What the guest says of one of the resources that the configuration gives it."""
    if told is None and resource.disable:
        return row(resource, Status.NA)
    if told is None:
        return row(resource, Status.UNDEF, log=[LogLine(level, "the guest does not report this resource")])
    made = row(
        resource, Status(told["status"]), last=told["last_status"], label=told["label"],
        log=[LogLine(one["level"], one["text"]) for one in told["log"]],
        age=None if told["age"] is None else told["age"] + late,
        observed_at=told["observed_at"] or "", source="guest",
    )
    # The guest's own word on these, which it may change for itself.
    for key in ("disable", "optional", "provisioned", "restart"):
        made[key] = told[key]
    return made


def _strangers(guest: Guest, told: Iterable[str], level: str) -> list[dict[str, str]]:
    """A line about resources that the guest claims and the configuration does not give it.

    ``app`` and internal ones exist at each level by themselves and are never folded.
    """
    own = {r.rid for r in guest.resources}
    strange = [r for r in told if r not in own and r != "app" and not r.startswith("sync#i")]
    if not strange:
        return []
    named = ", ".join(strange[:5]) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
    text = f"{guest.node} reports what the configuration does not give it, ignored: {named}"
    return [line(LogLine(level, text))]


def _unheard(resource: Resource, told: Mapping[str, Any] | None, silence: float | None, late: float) -> Row:
    """A resource of a guest that says nothing: undef, and beside it the last known value."""
    if resource.disable:
        return row(resource, Status.NA)
    if told is None:
        return row(resource, Status.UNDEF, age=silence)
    last = told["last_status"] if told["status"] == Status.UNDEF else told["status"]
    age = None if told["age"] is None else told["age"] + late
    return row(resource, Status.UNDEF, last=last, label=told["label"], age=age,
               observed_at=told["observed_at"] or "", source="last-known")


def choose(branches: Sequence[tuple[Guest, Row]]) -> str:
    """The guest that has the one instance of a failover encap level; "" when this node's
    guests alone cannot tell. Up comes first, then not known; if all guests of the level
    are here and proven not up, the first whose container runs."""
    candidates = [(g, c) for g, c in branches if relocatable(g) and not c["disable"]]
    for wanted in (Status.UP, Status.UNDEF):
        for guest, container in candidates:
            if any(r["status"] == wanted for r in container["guest"]["resources"] if in_avail(r)):
                return guest.node
    here = {g.node: c for g, c in candidates}
    if not candidates or not here.keys() >= set(candidates[0][0].nodes):
        return ""
    runs = (node for node in candidates[0][0].nodes if Status(here[node]["status"]) not in _DOWN)
    return next(runs, "")


def stand_back(guest: Guest, rows: Sequence[Row], chosen: str) -> list[dict[str, str]]:
    """Where another guest is the chosen one, what is down here is as it should be: it still
    shows down, with the reason, and counts as n/a. What is up here says so on the container."""
    if not chosen or chosen == guest.node or not relocatable(guest):
        return []
    for one in rows:
        if one["status"] in _DOWN:
            one["folds_as"] = str(Status.NA)
            one["log"].append(line(LogLine("info", f"runs on {chosen}")))
    if any(one["status"] == Status.UP for one in rows if in_avail(one)):
        return [line(LogLine("warn", f"up in {guest.node}, and {chosen} is the chosen one"))]
    return []

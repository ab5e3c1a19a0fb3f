"""A Plan is one value: printed by --dry-run, executed, streamed, golden-tested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks of a service, before it is planned.

    `nodes`: the hypervisors named by --node. `master`, `slave`, `slaves`: the level
    options. `rids`, `tags` (``a,b+c`` parsed into alternatives of conjunctions),
    `subsets`: the selection. `to`: the last rid or group to act on (--to, --downto).
    `local`: act on this node only (a call from another agent carries it).
    """

    action: str
    nodes: tuple[str, ...] = ()
    rids: tuple[str, ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    subsets: tuple[str, ...] = ()
    to: str = ""
    master: bool = False
    slave: tuple[str, ...] = ()
    slaves: bool = False
    force: bool = False
    local: bool = False

    @property
    def selective(self) -> bool:
        """Names resources itself, so that it needs no level."""
        return bool(self.rids or self.tags or self.subsets)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `after`: ids of the steps that must have ended well before.

    `where` is the node whose agent does it; when that is not the plan's own node the step
    is *delegated*: `what` is then the service's name and `request` what that agent is
    asked. `under` is the id of the delegated step that this one unfolds. `undo` is the
    action that takes it back, "" for none. A failing `optional` step does not fail the
    operation. `on_silence` and `on_failure`: ``fail``, or ``go on`` (tell it and go on) when
    whoever does the step does not answer, and when it answers that it failed.
    `touches`: the resources that a delegated step is expected to act on, as planned.

    A step with a `request` at the plan's own node is this node's part of a plan over several
    hypervisors: it is planned and carried out here, inside the same operation.
    """

    id: int
    where: str
    action: str
    what: str
    after: tuple[int, ...] = ()
    undo: str = ""
    optional: bool = False
    why: str = ""
    under: int | None = None
    request: Request | None = None
    on_silence: str = "fail"
    on_failure: str = "fail"
    touches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was left out of a plan, and why."""

    where: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order that respects `after`. Steps with `under` set are shown, not run:
    the agent of the delegated step plans and runs them itself. `chosen`: the guest that is to
    have the one instance of a failover encap level, where this plan starts something of it."""

    service: str
    action: str
    node: str
    steps: tuple[Step, ...] = ()
    skipped: tuple[Skipped, ...] = field(default=())
    chosen: str = ""

    @property
    def own(self) -> tuple[Step, ...]:
        """The steps that this plan's executor runs, delegated ones included."""
        return tuple(s for s in self.steps if s.under is None)

    def waves(self) -> Iterator[tuple[Step, ...]]:
        """Own steps that can run together, in order."""
        own, done = self.own, set[int]()
        while len(done) < len(own):
            ready = tuple(s for s in own if s.id not in done and done.issuperset(s.after))
            if not ready:
                raise ValueError(f"{self.service}: the steps depend on one another in a circle")
            yield ready
            done.update(s.id for s in ready)

    def document(self) -> dict[str, Any]:
        """The plan document, schema encap.plan/1."""
        return {
            "schema": "encap.plan/1", "service": self.service, "action": self.action,
            "node": self.node, "steps": [_step_document(s) for s in self.steps],
            "skipped": [{"where": s.where, "what": s.what, "why": s.why} for s in self.skipped],
        }


def undo_of(step: Step, started: tuple[str, ...] | None = None) -> Step:
    """The step that takes `step` back.

    `started`: the rids that a delegated step really started, when its agent told; else
    those that were planned. They are named with force, so that a standby resource that the
    step started is stopped too. Only where neither is known the whole service is asked to stop.
    """
    back = replace(step, action=step.undo, undo="", after=(), on_failure="fail", on_silence="fail")
    if step.request is None:
        return back
    rids = step.touches if started is None else started
    return replace(back, request=Request(step.undo, rids=rids, force=bool(rids), local=True), touches=rids)


def _step_document(step: Step) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": step.id, "where": step.where, "action": step.action, "what": step.what,
        "after": list(step.after), "undo": step.undo, "optional": step.optional, "why": step.why,
    }
    if step.under is not None:
        document["under"] = step.under
    for name in ("on_silence", "on_failure"):
        if getattr(step, name) != "fail":
            document[name] = getattr(step, name)
    return document

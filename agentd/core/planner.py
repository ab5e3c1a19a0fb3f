"""(service, request, what is known) -> the Plan of this node. Pure.

The plan holds the steps of this level and one delegated step per guest agent, followed by
the guest's own steps `under` it, which the same function plans from the guest's part of the
configuration. Which hypervisors a request goes to is `routing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agentd.core.errors import Refused
from agentd.core.known import IS_DOWN, IS_UP, Known, offline_known
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.ordering import Part, guest_key, keep, reverse, start_order
from agentd.core.placement import Chosen, chosen_guest, counted, proven_down, relocatable
from agentd.core.plan import Plan, Request, Skipped, Step
from agentd.core.selection import Limit, Selection, levels, limit, select, with_parts
from agentd.core.status import Status
from agentd.core.verbs import ACTING, EDITING, TELLING, Verb, check, parse_tags, read_verb

__all__ = ["Draft", "Known", "offline_known", "parse_tags", "plan"]


def plan(service: Service, request: Request, known: Known) -> Plan:
    """What the agent of `service.node` does for `request`, guests included.

    Raises InvalidRequest, NotSupported, NotFound, and Refused where it would be wrong.
    """
    verb = read_verb(request.action)
    check(verb, request)
    if service.level is Level.NONE:
        raise Refused(f"{service.node} is in no list of {service.name}: it runs nothing of it",
                      hint="nodes, drpnodes and encapnodes in the configuration say who does.")
    draft = Draft(service, request)
    if verb.name in ACTING:
        _act(draft, verb, known)
    elif verb.name in TELLING:
        _tell(draft, verb, known)
    elif verb.name in EDITING:
        _edit(draft, verb)
    else:
        _delete(draft, verb, known)
    return draft.plan()


class Draft:
    """A plan in the making; it numbers the steps."""

    def __init__(self, service: Service, request: Request) -> None:
        self.service, self.request = service, request
        self.steps: list[Step] = []
        self.skipped: list[Skipped] = []
        self.chosen = ""

    def add(self, step: Step) -> int:
        """Append a step under the next id, whatever id it came with."""
        self.steps.append(replace(step, id=len(self.steps)))
        return self.steps[-1].id

    def skip(self, where: str, what: str, why: str) -> None:
        self.skipped.append(Skipped(where, what, why))

    def unfold(self, under: int, inner: Plan) -> None:
        """Show the plan that another agent will make, below the step that asks for it."""
        first = len(self.steps)
        for step in inner.steps:
            after = tuple(first + number for number in step.after)
            above = under if step.under is None else first + step.under
            self.add(replace(step, after=after, under=above))
        self.skipped += inner.skipped

    def forget_what_is_done(self) -> None:
        """One line for what both halves of a restart leave alone, none for what one acts on."""
        done = {(step.where, step.what) for step in self.steps}
        first = {(s.where, s.what): s for s in reversed(self.skipped)}
        self.skipped = [s for key, s in first.items() if key not in done][::-1]

    def plan(self) -> Plan:
        return Plan(self.service.name, self.request.action, self.service.node,
                    tuple(self.steps), tuple(self.skipped), self.chosen)


# --- start, stop, restart, shutdown, and their groups


def _act(draft: Draft, verb: Verb, known: Known) -> None:
    service, request = draft.service, draft.request
    selection = select(service, request, verb)
    for rid, group in selection.inert:
        draft.skip(service.node, rid, f"{group} resources are neither started nor stopped")
    forward = start_order(service)
    if verb.name == "start":
        _Phase(draft, "start", selection, known, forward, verb).run()
        return
    stop = _Phase(draft, "stop", selection, known, reverse(forward), verb)
    ends = stop.run()
    if verb.name == "restart":
        _Phase(draft, "start", selection, stop.afterwards(), forward, verb, ends).run()
        draft.forget_what_is_done()


@dataclass(frozen=True, slots=True)
class _Part:
    """What a guest is asked for, and the plan it is expected to make."""

    request: Request
    plan: Plan


class _Phase:
    """One direction of an action: all that it starts, or all that it stops."""

    def __init__(
        self, draft: Draft, direction: str, selection: Selection, known: Known,
        parts: tuple[Part, ...], verb: Verb, after: tuple[int, ...] = (),
    ) -> None:
        self.draft, self.service, self.request = draft, draft.service, draft.request
        self.starts = direction == "start"
        self.direction, self.selection, self.known = direction, selection, known
        self.parts, self.verb, self.after = parts, verb, after
        self.limit: Limit = limit(self.service, parts, selection, self.request.to)
        self.acting: dict[str, _Part | None] = {}
        self.chosen: Chosen | None = None

    def run(self) -> tuple[int, ...]:
        """Add the steps; the ids of those that nothing in this phase comes after."""
        why_not = {}
        for part in self.parts:
            if part.resource is not None and part.key in self.selection.own & self.limit.keys:
                why_not[part.key] = self._why_not(part.resource)
                if not why_not[part.key]:
                    self.acting[part.key] = None
        if self.starts:
            self.chosen = chosen_guest(self.service, self.known, self.acting, self._preferred())
            self.draft.chosen = self.chosen.node if self.chosen is not None else ""
        for part in self.parts:
            if part.key in why_not:
                if why_not[part.key]:
                    self.draft.skip(self.service.node, part.key, why_not[part.key])
            elif part.guest is not None and self._is_asked(part):
                self._consider(part.guest)
        return self._lay_out()

    def _is_asked(self, part: Part) -> bool:
        return part.guest is not None and part.guest.container in self.selection.inside \
            and part.key in self.limit.keys

    def _why_not(self, resource: Resource) -> str:
        """Why a resource of this level is left alone; "" to act on it."""
        if resource.disable:
            return "disabled"
        if "noaction" in resource.tags:
            return "tagged noaction"
        status = self.known.of(resource.rid)
        if self.starts:
            return "already up" if status in IS_UP else ""
        if status in IS_DOWN:
            return "already down"
        if resource.standby and not (self.request.force or self.verb.name == "shutdown"):
            return "standby: stays up, unless forced"
        return ""

    def _preferred(self) -> tuple[str, ...]:
        """The guests that the user named come first, where there is a choice."""
        if not self.request.slave:
            return ()
        return tuple(g.node for g in self.service.guests if g.container in self.selection.inside)

    def _consider(self, guest: Guest) -> None:
        """Ask a guest for its part, or say why not."""
        part = self._ask(guest)
        if isinstance(part, str):
            self.draft.skip(guest.node, self.service.name, part)
        else:
            self.acting[guest_key(guest.container)] = part

    def _ask(self, guest: Guest) -> _Part | str:
        rid = guest.container
        container = self.service.resource(rid)
        if container is None or container.disable:
            return f"{rid} is disabled"
        down = self.known.container_down(rid)
        if down and not self.starts:
            return f"{rid} is down"
        if down and rid in self.selection.own and rid not in self.acting:
            return f"{rid} is down, and is not started"
        if self.starts and self.chosen is not None and relocatable(guest) and guest.node != self.chosen.node \
                and (self.chosen.node or rid in self.selection.own):
            return self.chosen.why
        part = self._unfold(guest)
        if not part.plan.steps:
            reasons = {skipped.why for skipped in part.plan.skipped}
            return reasons.pop() if len(reasons) == 1 else "nothing to do"
        return part

    def _unfold(self, guest: Guest) -> _Part:
        """The guest's own plan, as far as it can be known here."""
        request = Request(
            self.request.action if self.verb.name != "restart" else self.direction,
            rids=() if self.selection.whole else self.selection.inside[guest.container],
            to=self.limit.inside.get(guest.container, ""), force=self.request.force, local=True,
        )
        inside = self.known.inside(guest)
        if self.starts and guest.container in self.acting and not self.known.container_down(guest.container):
            # The container may come up anew: what its guest said before is no promise.
            inside = {}
        return _Part(request, plan(as_seen_inside(self.service, guest), request, Known(status=inside)))

    def _lay_out(self) -> tuple[int, ...]:
        ids: dict[str, int] = {}
        needed: set[int] = set()
        for part in keep(self.parts, self.acting):
            after = tuple(sorted(ids[key] for key in part.needs)) or self.after
            needed.update(after)
            step = self._step(part, after)
            ids[part.key] = self.draft.add(step)
            inner = self.acting[part.key]
            if inner is not None:
                self.draft.unfold(ids[part.key], inner.plan)
        return tuple(number for number in ids.values() if number not in needed) or self.after

    def _step(self, part: Part, after: tuple[int, ...]) -> Step:
        undo = "stop" if self.starts else ""
        inner = self.acting[part.key]
        if inner is None or part.guest is None:
            optional = part.resource is not None and part.resource.optional
            doubt = self.known.of(part.key) is Status.UNDEF
            why = "its state is not known" if doubt else ""
            return Step(0, self.service.node, self.direction, part.key, after, undo, optional, why)
        container = self.service.resource(part.guest.container)
        stays = not self.starts and part.guest.container in self.acting
        silence = "go on" if stays else "fail"
        failure = "go on" if stays and self.verb.name == "shutdown" else "fail"
        return Step(
            0, part.guest.node, inner.request.action, self.service.name, after, undo,
            # A guest that cannot stop keeps even an optional container from being stopped.
            self.starts and container is not None and container.optional,
            self._why(part.guest), None, inner.request,
            silence, failure, tuple(dict.fromkeys(s.what for s in inner.plan.steps)),
        )

    def _why(self, guest: Guest) -> str:
        rid = guest.container
        if rid not in self.acting and self.known.container_down(rid):
            return f"in {rid}, which is down"
        silent = rid in self.known.guest_silent and not self.known.container_down(rid)
        return f"in {rid}" + (", whose agent is silent" if silent else "")

    def afterwards(self) -> Known:
        """What is known once this phase, a stop, has ended well: what it acted on is down."""
        known = self.known
        stopped = {key for key, inner in self.acting.items() if inner is None}
        states = {rid: "down" if rid in stopped else state for rid, state in known.states.items()}
        guests = dict(known.guests)
        for guest in self.service.guests:
            inner = self.acting.get(guest_key(guest.container))
            touched = {step.what for step in inner.plan.steps} if inner is not None else set()
            guests[guest.container] = {**known.inside(guest), **dict.fromkeys(touched, Status.DOWN)}
        status = {**known.status, **dict.fromkeys(stopped, Status.DOWN)}
        return replace(known, status=status, states=states, guests=guests)


def as_seen_inside(service: Service, guest: Guest) -> Service:
    """The service from the guest's point of view, as the hypervisor knows it."""
    return Service(
        service.name, guest.node, Level.ENCAP, nodes=guest.nodes, topology=guest.topology,
        resources=guest.resources, subsets=service.subsets,
    )


# --- freeze, thaw, clear


def _tell(draft: Draft, verb: Verb, known: Known) -> None:
    """Both levels, unless an option narrows it. The levels do not wait for one another."""
    service = draft.service
    master, guests = levels(service, draft.request, verb)
    if master:
        already = {("freeze", True): "already frozen: author, reason and end are replaced",
                   ("thaw", False): "not frozen"}
        why = already.get((verb.name, known.frozen), "")
        draft.add(Step(0, service.node, verb.name, service.name, why=why))
    for guest in guests:
        if known.container_down(guest.container):
            draft.skip(guest.node, service.name, f"{guest.container} is down")
            continue
        draft.add(Step(0, guest.node, verb.name, service.name, why=f"in {guest.container}",
                       request=Request(verb.name, force=draft.request.force, local=True)))


# --- enable, disable


def _edit(draft: Draft, verb: Verb) -> None:
    """An edit of the one configuration text, at this node also for what is in the guests."""
    service = draft.service
    selection = select(service, draft.request, verb)
    inside = {rid for rids in selection.inside.values() for rid in rids}
    wanted = selection.own | inside | {rid for rid, _ in selection.inert}
    copies: dict[str, list[Resource]] = {}
    for resource in (*service.resources, *(r for guest in service.guests for r in guest.resources)):
        if resource.rid in wanted:
            copies.setdefault(resource.rid, []).append(resource)
    for rid, resources in copies.items():
        if all(resource.disable is (verb.name == "disable") for resource in resources):
            draft.skip(service.node, rid, f"already {verb.name}d")
        else:
            draft.add(Step(0, service.node, verb.name, rid, why="an edit of the configuration"))


# --- delete


def _delete(draft: Draft, verb: Verb, known: Known) -> None:
    """Remove the instance of this node: in the guests first, and here last."""
    service = draft.service
    _refuse_unless_stopped(service, draft.request, known)
    _, guests = levels(service, Request("delete", local=True), verb)
    removed = []
    for guest in guests:
        if known.container_down(guest.container):
            draft.skip(guest.node, service.name, f"{guest.container} is down: the copy inside stays")
            continue
        request = Request("delete", force=draft.request.force, local=True)
        removed.append(draft.add(Step(0, guest.node, "delete", service.name, request=request,
                                      why=f"in {guest.container}")))
    draft.add(Step(0, service.node, "delete", service.name, tuple(removed)))


def _refuse_unless_stopped(service: Service, request: Request, known: Known) -> None:
    """Raises Refused where something of this instance is not proven down."""
    if request.force:
        return
    running = [r.rid for r in counted(service.resources) if not proven_down((known.of(r.rid),))]
    for guest in with_parts(service):
        inside = known.inside(guest)
        running += [f"{r.rid} in {guest.node}" for r in counted(guest.resources)
                    if not proven_down((inside.get(r.rid, Status.UNDEF),))]
    if running:
        raise Refused(f"{service.name} is not proven stopped on {service.node}: {', '.join(running[:10])}",
                      hint="Stop it first (shutdown stops standby resources too), or use --force.")

"""Which hypervisors a request goes to, and the plan over several of them.

A whole-service verb goes where the service is; what names a level, a group or resources is
for the hypervisor that got it. What another hypervisor would say is not known here: its step
is one step, and its own plan comes with its events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from agentd.core.algebra import merge
from agentd.core.errors import HeldElsewhere, InvalidRequest, Refused
from agentd.core.known import IS_DOWN, Known
from agentd.core.model import Level, Service
from agentd.core.placement import counted
from agentd.core.plan import Plan, Request, Skipped, Step
from agentd.core.planner import Draft, plan
from agentd.core.selection import is_whole
from agentd.core.status import Status
from agentd.core.verbs import Verb, check, read_verb, shown

SILENT = "silent"
_DOWN = frozenset(status.value for status in IS_DOWN)
Peers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """One hypervisor and what it is asked. `why`: what is to be known about it."""

    node: str
    action: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. `first`: targets that must have ended well before the others."""

    targets: tuple[Target, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    first: frozenset[str] = frozenset()

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(target.node for target in self.targets)


def all_nodes(service: Service) -> tuple[str, ...]:
    """The hypervisors, in the order in which everything is asked: nodes, then drpnodes."""
    return tuple(dict.fromkeys((*service.nodes, *service.drpnodes)))


def route(
    service: Service, request: Request, peers: Peers, here: str, assume_down: Collection[str] = (),
    expected: Collection[str] = (),
) -> Route:
    """Which hypervisors get `request`, which came to `here`.

    `peers`: avail of each hypervisor's instance, or ``silent``; a missing one is silent.
    `expected`: where the instance is expected up, so that a stop has to be heard there too.
    Raises InvalidRequest for a node of no list, Refused and HeldElsewhere where a start
    could make two.
    """
    verb = read_verb(request.action)
    check(verb, request)
    if request.local or service.level is not Level.HOST:
        return Route((Target(here, request.action),))
    view = _View(service, request, verb, peers, here, frozenset(assume_down), frozenset(expected))
    if request.nodes:
        return view.named()
    if not is_whole(request, verb):
        return view.only_here()
    if verb.name == "start":
        return view.start_flex() if service.topology == "flex" else view.start_failover()
    if verb.name == "restart" and service.topology != "flex":
        return view.restart_failover()
    if verb.name in ("stop", "shutdown", "restart"):
        return view.stop()
    if verb.name in ("freeze", "thaw"):
        return view.to(service.nodes)
    return view.delete() if verb.name == "delete" else view.only_here()


@dataclass(frozen=True, slots=True)
class _View:
    """A request as it looks from the hypervisor that got it."""

    service: Service
    request: Request
    verb: Verb
    peers: Peers
    here: str
    assume_down: frozenset[str]
    expected: frozenset[str]

    def avail(self, node: str) -> str:
        return self.peers.get(node, SILENT)

    def unclear(self, node: str) -> bool:
        return self.avail(node) in (SILENT, Status.UNDEF.value) and node not in self.assume_down

    def to(self, nodes: tuple[str, ...], skipped: tuple[Skipped, ...] = ()) -> Route:
        return Route(tuple(self.target(node) for node in nodes), skipped)

    def target(self, node: str, action: str = "") -> Target:
        silent = self.avail(node) == SILENT and node != self.here
        why = f"{node} is silent: until it answers the result there is not known" if silent else ""
        return Target(node, action or self.request.action, why)

    def skip(self, node: str, why: str) -> Skipped:
        return Skipped(node, self.service.name, why)

    def named(self) -> Route:
        """--node: exactly these."""
        everywhere = all_nodes(self.service)
        for node in self.request.nodes:
            if node not in everywhere:
                raise InvalidRequest(f"{shown(node)} is no hypervisor of {self.service.name}",
                                     hint="They are " + ", ".join(everywhere) + ".")
        nodes = tuple(node for node in everywhere if node in self.request.nodes)
        if self.verb.name in ("start", "restart") and is_whole(self.request, self.verb) \
                and self.service.topology != "flex":
            if len(nodes) > 1:
                raise InvalidRequest(f"{self.service.name} is failover: it is started on one node, not on "
                                     + " and ".join(nodes))
            self.refuse_two(nodes[0])
        return self.to(nodes)

    def refuse_two(self, node: str) -> None:
        """Raise HeldElsewhere unless every other hypervisor's instance is proven not up."""
        name = self.service.name
        for other in all_nodes(self.service):
            avail = self.avail(other)
            if other == node:
                continue
            if avail in (Status.UP.value, Status.WARN.value):
                partly = "" if avail == Status.UP.value else "partly "
                raise HeldElsewhere(f"{name} is {partly}up on {other}: a start on {node} would make two",
                                    hint=f"Stop it on {other} first.", holder=other)
            if self.unclear(other):
                raise HeldElsewhere(
                    f"whether {name} is up on {other} is not known", holder=other,
                    hint=f"When it is certain that {other} is down: --assume-down {other}")

    def only_here(self) -> Route:
        if self.here not in all_nodes(self.service):
            raise InvalidRequest(f"{self.here} does not run {self.service.name}",
                                 hint="Say where with --node: " + ", ".join(all_nodes(self.service)))
        return self.to((self.here,))

    def start_failover(self) -> Route:
        up = [node for node in all_nodes(self.service) if self.avail(node) == Status.UP.value]
        if up:
            return Route((), tuple(self.skip(node, f"already up on {node}") for node in up))
        if self.here not in self.service.nodes:
            raise InvalidRequest(f"{self.service.name} does not start by itself on {self.here}",
                                 hint="Say where with --node: " + ", ".join(self.service.nodes))
        self.refuse_two(self.here)
        return self.to((self.here,))

    def start_flex(self) -> Route:
        """As many of `nodes` as flex_target says; a silent one only when the others are too few."""
        nodes = self.service.nodes
        up = [node for node in nodes if self.avail(node) == Status.UP.value]
        wanted = (self.service.flex_target or len(nodes)) - len(up)
        ready = [node for node in nodes if node not in up]
        ready.sort(key=lambda node: self.avail(node) == SILENT and node != self.here)
        chosen = set(ready[:max(wanted, 0)])
        target = f"flex_target {self.service.flex_target} is reached without it"
        skipped = tuple(self.skip(node, f"already up on {node}" if node in up else target)
                        for node in nodes if node not in chosen)
        return self.to(tuple(node for node in nodes if node in chosen), skipped)

    def stop(self) -> Route:
        """Every hypervisor where the instance is not proven down, however late it answers."""
        proven = {node for node in all_nodes(self.service)
                  if self.avail(node) in self._proofs() and node not in self.expected}
        skipped = tuple(self.skip(node, "already down") for node in all_nodes(self.service) if node in proven)
        return self.to(tuple(node for node in all_nodes(self.service) if node not in proven), skipped)

    def _proofs(self) -> frozenset[str]:
        """Standby resources of a stopped instance stay up, but for a shutdown."""
        thorough = self.verb.name == "shutdown" or self.request.force
        return _DOWN if thorough else _DOWN | {Status.STDBY_UP.value}

    def restart_failover(self) -> Route:
        """One hypervisor restarts; any other that is not proven down stops before, so that the
        restart can never make two."""
        stopping = self.stop()
        nodes = sorted(stopping.nodes, key=lambda n: (self.avail(n) != Status.UP.value, n != self.here))
        if not nodes:
            return stopping
        targets = tuple(self.target(node, "" if node == nodes[0] else "stop") for node in stopping.nodes)
        return Route(targets, stopping.skipped, frozenset(nodes[1:]))

    def delete(self) -> Route:
        """Every hypervisor, this one last, so that a delete that was cut short can be repeated."""
        nodes = all_nodes(self.service)
        doubtful = [n for n in nodes if self.avail(n) not in (*_DOWN, Status.NA.value)]
        if doubtful and not self.request.force:
            states = ", ".join(f"{self.avail(node)} on {node}" for node in doubtful)
            raise Refused(f"{self.service.name} is not proven stopped: {states}",
                          hint="Stop it first (shutdown stops standby resources too), or use --force.")
        others = frozenset(nodes) - {self.here}
        here = (self.here,) if self.here in nodes else ()
        return replace(self.to((*(n for n in nodes if n in others), *here)), first=others)


def plan_cluster(
    service: Service, request: Request, known: Known, here: str = "", assume_down: Collection[str] = (),
) -> Plan:
    """The plan of a request that came to `here` (the service's own node, unless said).

    When it is for this node alone, this node's own plan. Else one step per hypervisor, with
    a request for that one; the step of this node is unfolded, since its plan is known.
    """
    here = here or service.node
    peers = {here: instance_avail(service, known), **known.peers}
    way = route(service, request, peers, here, assume_down, known.expected)
    if way.nodes == (here,) and service.node == here:
        local = plan(service, replace(request, action=way.targets[0].action, local=True), known)
        return replace(local, action=request.action, skipped=(*way.skipped, *local.skipped))
    return _over_several(service, request, known, here, way)


def _over_several(service: Service, request: Request, known: Known, here: str, way: Route) -> Plan:
    draft = Draft(service, request)
    draft.skipped += way.skipped
    ordered = sorted(way.targets, key=lambda target: target.node not in way.first)
    before: list[int] = []
    for target in ordered:
        asked = replace(request, action=target.action, nodes=(), local=True)
        after = () if target.node in way.first else tuple(before)
        # Every hypervisor takes back its own failed start; what is up elsewhere stays up.
        number = draft.add(Step(0, target.node, target.action, service.name, after, why=target.why,
                                request=asked))
        if target.node in way.first:
            before.append(number)
        if target.node == here and service.node == here:
            draft.unfold(number, plan(service, asked, known))
    return replace(draft.plan(), node=here)


def instance_avail(service: Service, known: Known) -> str:
    """What this node's statuses come to, for a caller that has no avail of its own."""
    return merge(_statuses(service, known)).value


def _statuses(service: Service, known: Known) -> Iterator[Status]:
    yield from (known.of(r.rid) for r in counted(service.resources))
    for guest in service.guests:
        inside = known.inside(guest)
        yield from (inside.get(r.rid, Status.UNDEF) for r in counted(guest.resources))

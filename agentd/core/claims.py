"""Claims: never two, without a quorum service. Pure state and decisions of both sides.

A claim is one operation's right to start an instance. Every hypervisor of the service is
asked, one after the other, always in the order of `nodes`, then `drpnodes`; all must grant,
and silence refuses. Because the order is the same for everybody, of several claimants that
all get answers the one that the first hypervisor grants gets all: exactly one.

Decided here:

* ``--assume-down NODE`` replaces NODE's silence, never its answer: NODE is asked as well, and
  a node that answers is not down, so what it says counts. On every hypervisor asked it ends
  what NODE holds *of that instance*; claims on other services are other decisions.
* The same operation asking again is granted again: an answer may have been lost.
* At its own place the claimant's containers refuse nothing but what could be two of them:
  unknown, or on its way to or from another node. A second container may start beside a first
  that is up here, and a paused one is a matter for its driver.
* A claim ends when its operation ended, or is not known to its claimant any more; never by
  time, never by silence. A migration's claim ends only by its own operation's release.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from agentd.core.known import PROVEN_DOWN
from agentd.core.model import Service
from agentd.core.placement import relocatable

_COULD_BE_TWO = frozenset(("unknown", "undef", "migrating"))


@dataclass(frozen=True, slots=True)
class Claim:
    """What is granted: to which operation of which node, for what. `to`: where a migration
    goes; for an encap instance the guest that is to have it."""

    instance: str
    operation: str
    claimant: str
    action: str = "start"
    to: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """A claimant's question. `assume_down`: the nodes that a user vouches for, named and audited."""

    claim: Claim
    assume_down: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimTable:
    """What one hypervisor has granted, by instance. It is persisted before it is answered."""

    held: Mapping[str, Claim] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Granted:
    """The table to persist, then answer."""

    table: ClaimTable


@dataclass(frozen=True, slots=True)
class Denied:
    """Why not. `holder`: the claim that stands in the way, None when it is a container."""

    why: str
    holder: Claim | None = None


def instance_name(service: Service) -> str:
    """What a start at this level claims: "" where each hypervisor has an instance of its own,
    or where there is nobody else to ask. A file system mounted twice is as bad as a container
    that runs twice, so it does not matter which resources the service has."""
    if service.topology == "flex" or len(order(service)) < 2:
        return ""
    return service.name


def encap_instance_name(service: Service) -> str:
    """What a delegated start claims, where the encap level is failover over several guests."""
    return f"{service.name}/encap" if any(relocatable(guest) for guest in service.guests) else ""


def order(service: Service) -> tuple[str, ...]:
    """Whom to ask, in this order and no other: also the claimant itself, at its own place."""
    return tuple(dict.fromkeys((*service.nodes, *service.drpnodes)))


def decide(table: ClaimTable, ask: Ask, own_state: Mapping[str, str | None], here: str) -> Granted | Denied:
    """What the hypervisor `here` answers.

    `own_state`: the fresh state of every container of the claim on this node by rid, None or
    ``unknown`` when it could not be told. For an encap instance: avail by guest node (up, down,
    undef) of the guests that run here. Nothing is granted on an old probe.
    """
    claim = ask.claim
    if here in ask.assume_down:
        return Denied(f"{here} is not down: it answers")
    held = table.held.get(claim.instance)
    if held is not None and held.claimant in ask.assume_down and held.claimant != claim.claimant:
        held = None
    if held is not None and (held.operation, held.claimant) != (claim.operation, claim.claimant):
        return Denied(f"{held.claimant} holds the claim on {held.instance} for {held.action}"
                      f" (operation {held.operation})", held)
    for name, state in sorted(own_state.items()):
        if _endangers(claim, name, state or "unknown", here):
            return Denied(f"{name} is {state or 'unknown'} on {here}")
    return Granted(ClaimTable({**table.held, claim.instance: claim}))


def _endangers(claim: Claim, name: str, state: str, here: str) -> bool:
    if claim.instance.endswith("/encap"):
        return name != claim.to and state not in PROVEN_DOWN
    if claim.claimant != here:
        return state not in PROVEN_DOWN
    # The source of a migration still runs it, and is the one that moves it.
    return state in _COULD_BE_TWO and claim.action != "migrate"


def release(table: ClaimTable, instance: str, operation: str) -> ClaimTable:
    """Without the claim, if this operation holds it; else unchanged. Repeating it is harmless."""
    held = table.held.get(instance)
    if held is None or held.operation != operation:
        return table
    return ClaimTable({name: claim for name, claim in table.held.items() if name != instance})


def must_release(claim: Claim, answer: str) -> bool:
    """Whether a granter ends `claim` after what the claimant said of its operation.

    `answer`: running, ended, unknown-operation, silent. Only what the claimant itself says
    ends it; and a migration is ended by those who read both ends.
    """
    return claim.action != "migrate" and answer in ("ended", "unknown-operation")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the claim was not got: `node` denied it, or did not answer."""

    node: str
    why: str
    holder: Claim | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Claiming:
    """A claimant on its way round: says whom to ask next, and what the answers come to.

    Feed it with `granted`, `denied` or `silent` for the node that `next_ask` named, until
    `held` or `refusal`. Then, at once after a refusal and at the end of the operation after
    `finished`, tell every node of `owed` to release, again and again until each acknowledged.
    A refused or finished one can never hold again.
    """

    ask: Ask
    order: tuple[str, ...]
    done: tuple[str, ...] = ()
    owed: frozenset[str] = frozenset()
    """The nodes that granted, or may have: the answer of a silent one may have been lost."""
    refusal: Refusal | None = None
    over: bool = False

    @property
    def next_ask(self) -> str | None:
        """The node to ask now; None when there is nobody left to ask."""
        if self.refusal is not None or self.over:
            return None
        return next((node for node in self.order if node not in self.done), None)

    @property
    def held(self) -> bool:
        """Every node granted. Nothing may be started before, or after `finished`."""
        return self.refusal is None and not self.over and set(self.order) == set(self.done)

    @property
    def give_back(self) -> frozenset[str]:
        """The nodes to tell now that the claim is over."""
        return self.owed if self.refusal is not None or self.over else frozenset()

    def granted(self, node: str) -> Claiming:
        self._expect(node)
        return replace(self, done=(*self.done, node), owed=self.owed | {node})

    def denied(self, node: str, why: str, holder: Claim | None = None) -> Claiming:
        self._expect(node)
        return replace(self, refusal=Refusal(node, why, holder))

    def silent(self, node: str) -> Claiming:
        """No answer in time. The node may have granted all the same, so it is owed a release."""
        self._expect(node)
        asked = replace(self, owed=self.owed | {node})
        if node in self.ask.assume_down:
            return replace(asked, done=(*self.done, node))
        return replace(asked, refusal=Refusal(node, f"{node} does not answer", silent=True))

    def finished(self) -> Claiming:
        """The operation ended, whatever its result."""
        return replace(self, over=True)

    def acknowledged(self, node: str) -> Claiming:
        """`node` said that it released the claim, or never had it."""
        return replace(self, owed=self.owed - {node})

    def _expect(self, node: str) -> None:
        if node != self.next_ask:
            raise ValueError(f"{node} was not asked: next is {self.next_ask}")


def claiming(claim: Claim, order: tuple[str, ...], assume_down: Collection[str] = ()) -> Claiming:
    """A claimant at its start. Raises ValueError for an order that leaves the claimant out."""
    if claim.claimant not in order:
        raise ValueError(f"{claim.claimant} is not among {', '.join(order)}")
    if claim.claimant in assume_down:
        raise ValueError(f"{claim.claimant} is not down: it asks")
    return Claiming(Ask(claim, tuple(assume_down)), order)

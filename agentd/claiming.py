"""Claims between hypervisors: the claimant's way round, and giving back.

A claim that was not got, and one whose operation has ended, is given back to every node that
granted it or may have: again and again until it acknowledged, for as long as the daemon runs.
After a restart the claimant tells what it still knows of; the others learn it when they ask.

A release may arrive late, long after it was given up on and sent again. So an operation that
asks once more, after it was refused, asks under a new word: its id, a full stop and the number
of the try. Nothing that was sent for an earlier try can end, or revive, a later one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import quote

from agentd.audit import Audit
from agentd.core.claims import Ask, Claim, Claiming, claiming, must_release
from agentd.core.errors import (
    ActionFailed,
    EncapError,
    HeldElsewhere,
    InvalidRequest,
    NotFound,
    NotSupported,
    Refused,
    Silent,
)
from agentd.granting import Granting, Ledger, Look, operation_of, shown
from agentd.peers import Peers
from agentd.store import ClaimRows

log = logging.getLogger("encap.claims")

ASK_TIMEOUT = 10.0
"""Seconds for a grant: the node looks at its containers, and may ask a holder, before it answers."""
SAYS_TIMEOUT = 2.0
"""Seconds for what a claimant says of its operation: it only has to look it up."""
RELEASE_TIMEOUT = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds between two tries to give back."""

_CERTAINLY_NOT = (Refused, NotFound, InvalidRequest, NotSupported)
"""Answers after which a node has granted nothing. Any other error may have come after the grant."""


@dataclass(slots=True, eq=False)
class Taking:
    """One try of an operation to get a claim. `settled`: it has been round, with or without it."""

    state: Claiming
    hint: str = ""
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def claim(self) -> Claim:
        return self.state.ask.claim

    @property
    def live(self) -> bool:
        """It holds the claim, or may still come to hold it."""
        return self.state.held or not (self.settled.is_set() or self.state.over)


class Claims:
    """Both sides on one hypervisor. `look`: probes the own containers of a claim now;
    `operation_state`: running, ended or unknown-operation, of an operation of this node.

    Call `load`, then `recover`, before the first `take`; and `finished` after the end of every
    operation.
    """

    def __init__(self, node: Callable[[], str], rows: ClaimRows, audit: Audit, peers: Peers, look: Look,
                 operation_state: Callable[[str], Awaitable[str]]) -> None:
        self._node, self._peers, self._operation_state = node, peers, operation_state
        self._ledger = Ledger(node, rows, audit)
        self._granting = Granting(node, self._ledger, look, self._says)
        self._giving_back = GivingBack(node, self._granting, peers)
        self._newest: dict[tuple[str, str], Taking] = {}
        """The newest try, by instance and operation."""
        self._tries: dict[str, int] = {}
        """How many words an operation has asked under."""
        self._order_of: Callable[[str], tuple[str, ...]] = lambda instance: ()

    async def load(self) -> None:
        """The table, from the store. Until this has succeeded everything is refused."""
        await self._ledger.load()

    async def close(self) -> None:
        await self._giving_back.close()
        await self._granting.close()

    # --- for other hypervisors

    async def answer(self, ask: Ask, who: str) -> dict[str, Any]:
        """See `Granting.answer`."""
        return await self._granting.answer(ask, who)

    async def release(self, instance: str, operation: str, claimant: str) -> None:
        """End a claim of `claimant`; harmless when it holds none. Forbidden if another node holds it."""
        await self._granting.release(instance, operation, claimant)

    def held(self) -> list[dict[str, str]]:
        """What this node has granted."""
        return [{**asdict(claim), "operation": operation_of(claim.operation)}
                for _instance, claim in sorted(self._ledger.table().held.items())]

    async def claimant_says(self, operation: str) -> dict[str, str]:
        """Whether what `operation` claimed may still be needed: running, ended, unknown-operation."""
        self._ledger.table()  # before that, the operations may not have been read either
        state = await self._operation_state(operation_of(operation))
        return {"state": "ended" if state == "running" and self._given_up(operation) else state}

    # --- for the operations of this node

    async def take(self, claim: Claim, order: tuple[str, ...], assume_down: tuple[str, ...] = (),
                   who: str = "") -> None:
        """Get the claim from every node of `order`, for a running operation of this node.

        Raises HeldElsewhere (details ``holder``, ``node``, ``silent``) when it was not got; what
        was got is then being given back. Taking what the operation has got already does nothing.
        """
        key, state = (claim.instance, claim.operation), await self._operation_state(claim.operation)
        while (before := self._newest.get(key)) is not None and not before.settled.is_set():
            await before.settled.wait()
            state = await self._operation_state(claim.operation)
        if state != "running":
            raise Refused(f"operation {claim.operation} does not run on {self._node()}: it claims nothing")
        if before is not None and before.state.held:
            _check_same(before.claim, claim)
            return
        taking = self._newest[key] = self._begin(claim, order, assume_down, again=before is not None)
        try:
            await self._go_round(taking, who)
        finally:
            taking.settled.set()
            if not taking.state.held:
                taking.state = taking.state.finished()
                self._giving_back.begin(taking)
        if not taking.state.held:
            raise _not_got(taking)

    async def finished(self, operation: str, *, migrated: bool = False) -> None:
        """The operation ended: give back all that it holds. A migration's claim stays, unless both
        ends were read and exactly one runs the guest: `migrated`."""
        known = operation in self._tries
        for key, taking in [(k, t) for k, t in self._newest.items() if k[1] == operation]:
            was_held = taking.state.held
            if was_held and taking.claim.action == "migrate" and not migrated:
                continue
            del self._newest[key]
            taking.state = taking.state.finished()
            if was_held:  # else `take` gives back, or does so already
                self._giving_back.begin(taking)
        if not any(of == operation for _instance, of in self._newest):
            self._tries.pop(operation, None)
        if known:
            return
        for claim in self._ledger.of(self._node()):  # taken in an earlier run of the daemon
            if operation_of(claim.operation) == operation and (migrated or claim.action != "migrate"):
                await self._giving_back.left(claim, self._order_of(claim.instance))

    async def recover(self, order_of: Callable[[str], tuple[str, ...]]) -> None:
        """After a restart: give back what this node holds for operations that are over.

        `order_of`: instance -> whom to ask for it, () when that is not known any more.
        """
        self._order_of = order_of
        for claim in self._ledger.of(self._node()):
            try:
                state = await self._operation_state(operation_of(claim.operation))
            except EncapError as error:
                log.warning("the claim on %s stays: %s", claim.instance, error.text)
                continue
            if must_release(claim, state):
                await self._giving_back.left(claim, order_of(claim.instance))

    # --- inside

    def _begin(self, claim: Claim, order: tuple[str, ...], assume_down: tuple[str, ...], *,
               again: bool) -> Taking:
        if claim.claimant != self._node():
            raise InvalidRequest(f"{self._node()} takes no claim for {claim.claimant}")
        number = self._tries.get(claim.operation, 0) + 1 if again else 1
        word = claim.operation if number == 1 else f"{claim.operation}.{number}"
        try:
            state = claiming(replace(claim, operation=word), order, assume_down)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        self._tries[claim.operation] = max(number, self._tries.get(claim.operation, 0))
        return Taking(state)

    async def _go_round(self, taking: Taking, who: str) -> None:
        while (node := taking.state.next_ask) is not None:
            # Owed before it is asked: whatever comes in between, it may have granted.
            taking.state = replace(taking.state, owed=taking.state.owed | {node})
            error = await self._ask(node, taking.state.ask, who)
            if taking.state.over:
                return
            taking.state = _heard(taking.state, node, error)
            taking.hint = error.hint if error is not None else ""

    async def _ask(self, node: str, ask: Ask, who: str) -> EncapError | None:
        try:
            if node == self._node():
                await self.answer(ask, who)
                return None
            body = {"claim": asdict(ask.claim), "assume_down": list(ask.assume_down)}
            answer = await self._peers.ask(node, "POST", "/v1/claims", timeout=ASK_TIMEOUT, body=body)
        except EncapError as error:
            return error
        granted = isinstance(answer, Mapping) and answer.get("granted") is True
        return None if granted else ActionFailed(f"{node} answered neither yes nor no", code="invalid-reply")

    async def _says(self, claim: Claim) -> str:
        """What the claimant of a claim that was granted here says of its operation."""
        path = f"/v1/claims/operations/{quote(claim.operation, safe='')}"
        try:
            if claim.claimant == self._node():
                answer: Any = await self.claimant_says(claim.operation)
            else:
                answer = await self._peers.ask(claim.claimant, "GET", path, timeout=SAYS_TIMEOUT)
        except EncapError as error:
            log.info("%s says nothing of operation %s: %s", claim.claimant, claim.operation, error.text)
            return "silent"
        state = answer.get("state") if isinstance(answer, Mapping) else None
        return state if isinstance(state, str) else "silent"

    def _given_up(self, word: str) -> bool:
        """Whether all that was asked for under `word` is over, though its operation may go on."""
        operation, _, number = word.partition(".")
        if not (number or "1").isdecimal() or int(number or "1") > self._tries.get(operation, 0):
            return False
        return not any(taking.live and taking.claim.operation == word for taking in self._newest.values())


class GivingBack:
    """Tells nodes that a claim is over, until each acknowledged. `granting`: the one of this `node`."""

    def __init__(self, node: Callable[[], str], granting: Granting, peers: Peers) -> None:
        self._node, self._granting, self._peers = node, granting, peers
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, taking: Taking) -> None:
        """Tell every node that is owed a release, in the background."""
        for node in sorted(taking.state.give_back):
            task = asyncio.get_running_loop().create_task(
                self._until_acknowledged(taking, node), name=f"release of {taking.claim.instance} by {node}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def left(self, claim: Claim, order: tuple[str, ...]) -> None:
        """Give back what an earlier run of the daemon took: here at once, then everywhere."""
        here = self._node()
        taking = Taking(Claiming(Ask(claim), order, owed=frozenset((*order, here)), over=True))
        await self.once(taking, here)
        self.begin(taking)

    async def once(self, taking: Taking, node: str) -> bool:
        """Whether the node acknowledged."""
        try:
            await self._tell(node, taking.claim)
        except EncapError as error:
            log.info("%s has not released %s yet: %s", node, taking.claim.instance, error.text)
            return False
        except Exception:
            log.exception("releasing %s on %s: an error of the program", taking.claim.instance, node)
            return False
        taking.state = taking.state.acknowledged(node)
        return True

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, node: str, claim: Claim) -> None:
        if node == self._node():
            await self._granting.release(claim.instance, claim.operation, claim.claimant)
            return
        body = {"instance": claim.instance, "operation": claim.operation}
        await self._peers.ask(node, "POST", "/v1/claims/release", timeout=RELEASE_TIMEOUT, body=body)

    async def _until_acknowledged(self, taking: Taking, node: str) -> None:
        pause = FIRST_PAUSE
        while not await self.once(taking, node):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _heard(state: Claiming, node: str, error: EncapError | None) -> Claiming:
    """The way round after an answer of `node`."""
    if error is None:
        return state.granted(node)
    if isinstance(error, Silent):
        return state.silent(node)
    denied = state.denied(node, error.text, _holder(state.ask.claim.instance, error))
    return denied.acknowledged(node) if isinstance(error, _CERTAINLY_NOT) else denied


def _holder(instance: str, error: EncapError) -> Claim | None:
    """The claim that stands in the way, as another node told it; None when it told none."""
    told = error.details.get("holder")
    if not isinstance(told, Mapping):
        return None
    words = [told.get(key) for key in ("operation", "node", "action", "to")]
    known = [word[:256] for word in words if isinstance(word, str)]
    return Claim(instance, *known) if len(known) == len(words) else None


def _check_same(held: Claim, asked: Claim) -> None:
    """HeldElsewhere when an operation that holds a claim wants another one on the same instance."""
    if replace(held, operation=asked.operation) != asked:
        words = f"{asked.action} {asked.to}".strip()
        raise HeldElsewhere(f"this operation holds the claim on {held.instance} already, not for {words}",
                            holder=shown(held), node=held.claimant, silent=False)


def _not_got(taking: Taking) -> EncapError:
    refusal, instance = taking.state.refusal, taking.claim.instance
    if refusal is None:
        return Refused(f"the operation ended while it claimed {instance}", code="cancelled")
    why = refusal.why if refusal.node in refusal.why else f"{refusal.node} says: {refusal.why}"
    hint = f"when it is certain that {refusal.node} is down: --assume-down {refusal.node}"
    return HeldElsewhere(
        f"no claim on {instance}: {why}", hint=hint if refusal.silent else taking.hint,
        holder=shown(refusal.holder) if refusal.holder else None, node=refusal.node, silent=refusal.silent)

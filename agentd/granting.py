"""The granter's side of claims: the table of this hypervisor, on disk before any answer.

What is answered is decided by `agentd.core.claims`; here it is asked for at the right moment.
The questions about one instance are answered one after the other, and a release waits for its
turn too: between the look at the containers and the grant nothing of that instance changes
hands, so a look is never older than the table that it is judged with. No other node is asked
while it is anybody's turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from agentd.audit import Audit
from agentd.core.claims import Ask, Claim, ClaimTable, Denied, decide, must_release, release
from agentd.core.errors import Forbidden, HeldElsewhere, Silent, StorageTrouble
from agentd.store import ClaimRows

T = TypeVar("T")
Look = Callable[[Claim], Awaitable[Mapping[str, str | None]]]

LOOK_TIMEOUT = 30.0
"""Seconds that a fresh look at the own containers may take; then their state is not known."""
INQUIRIES = 3
"""Holders that are asked, one after the other, before one question is refused."""


class Ledger:
    """The table in memory as it is on disk, and in the audit trail what changed it."""

    def __init__(self, node: Callable[[], str], rows: ClaimRows, audit: Audit) -> None:
        self._node, self._rows, self._audit = node, rows, audit
        self._table: ClaimTable | None = None
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """From the store. Until this has succeeded everything is refused."""
        self._table = ClaimTable({row["instance"]: Claim(**row) for row in await self._rows.load()})

    def table(self) -> ClaimTable:
        """What is granted. Raises HeldElsewhere while that has not been read yet."""
        if self._table is None:
            raise HeldElsewhere(f"{self._node()} has not read yet which claims it granted", code="not-ready",
                                hint="its daemon has just been started: ask again",
                                holder=None, node=self._node())
        return self._table

    def of(self, claimant: str) -> list[Claim]:
        """What is granted to a node."""
        return [claim for claim in self.table().held.values() if claim.claimant == claimant]

    async def grant(self, ask: Ask, states: Mapping[str, str | None], who: str) -> Denied | None:
        """Decide and, if it is granted, save; why not otherwise. StorageTrouble: it is as before."""
        async with self._writing:
            before, decided = self.table(), decide(self.table(), ask, states, self._node())
            if isinstance(decided, Denied):
                return decided
            await self._save(decided.table)
            claim, former = ask.claim, before.held.get(ask.claim.instance)
            ended = former if former is not None and former.claimant != claim.claimant else None
            try:
                await self._audit.append(
                    who, "claim", claim.instance, operation=claim.operation, claimant=claim.claimant,
                    purpose=claim.action, to=claim.to, assume_down=list(ask.assume_down),
                    ended=shown(ended) if ended else None)
            except StorageTrouble:
                await self._save(before)  # what is not in the audit trail is not granted either
                raise
        return None

    async def remove(self, claim: Claim, who: str, **detail: str) -> None:
        async with self._writing:
            await self._save(release(self.table(), claim.instance, claim.operation))
            await self._audit.append(who, "release", claim.instance, operation=claim.operation,
                                     claimant=claim.claimant, **detail)

    async def _save(self, table: ClaimTable) -> None:
        await self._rows.save([asdict(claim) for claim in table.held.values()])
        self._table = table


class Granting:
    """What the hypervisor `node` grants. `look`: probes the own containers of a claim now;
    `says`: what a claim's claimant says of its operation, ``silent`` when nothing is heard."""

    def __init__(self, node: Callable[[], str], ledger: Ledger, look: Look,
                 says: Callable[[Claim], Awaitable[str]]) -> None:
        self._node, self._ledger, self._look, self._says = node, ledger, look, says
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._begun: set[asyncio.Task[Any]] = set()

    async def answer(self, ask: Ask, who: str) -> dict[str, Any]:
        """Grant, on disk when the call returns. Raises HeldElsewhere (details ``holder``, ``node``),
        StorageTrouble (nothing was granted), and what the look at the containers raises."""
        return await self._whole(self._answer(ask, who))

    async def release(self, instance: str, operation: str, claimant: str, who: str = "") -> None:
        """End the claim, if that operation holds it. Forbidden for another than its claimant."""
        await self._whole(self._release(instance, operation, claimant, who or claimant))

    async def close(self) -> None:
        """Answers that have not been given yet are not given any more."""
        tasks = list(self._begun)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """To its end, even when the caller goes away: memory and disk must not come apart."""
        task = asyncio.get_running_loop().create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def _turn(self, instance: str) -> AsyncIterator[None]:
        lock = self._turns.get(instance)
        if lock is None:
            self._turns[instance] = lock = asyncio.Lock()
        async with lock:
            yield

    async def _answer(self, ask: Ask, who: str) -> dict[str, Any]:
        asked: list[Claim] = []
        while (denied := await self._decide(ask, who)) is not None:
            holder = denied.holder
            if holder is None or holder in asked or len(asked) == INQUIRIES:
                raise _refusal(ask, denied, self._node())
            asked.append(holder)
            answer = await self._says(holder)
            if not must_release(holder, answer):
                raise _refusal(ask, denied, self._node())
            await self._end(holder, f"{holder.claimant} says: {answer}")
        return {"granted": True}

    async def _decide(self, ask: Ask, who: str) -> Denied | None:
        """Why not; None when it was granted."""
        async with self._turn(ask.claim.instance):
            # What needs no look at the containers is refused without one.
            early = decide(self._ledger.table(), ask, {}, self._node())
            if isinstance(early, Denied):
                return early
            return await self._ledger.grant(ask, await self._fresh(ask.claim), who)

    async def _fresh(self, claim: Claim) -> Mapping[str, str | None]:
        """What the containers are now. Whatever hinders the look, this node answers: it must
        never be told as silence, which a user can vouch for."""
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                return await self._look(claim)
        except (Silent, TimeoutError) as error:
            why = error.text if isinstance(error, Silent) else f"no result within {LOOK_TIMEOUT:g} s"
            raise HeldElsewhere(f"{self._node()} cannot tell whether {claim.instance} runs there: {why}",
                                hint=f"see what hinders the probes on {self._node()}",
                                holder=None, node=self._node()) from error

    async def _release(self, instance: str, operation: str, claimant: str, who: str) -> None:
        async with self._turn(instance):
            held = self._ledger.table().held.get(instance)
            if held is None or held.operation != operation:
                return
            if held.claimant != claimant:
                raise Forbidden(f"the claim on {instance} is {held.claimant}'s, not {claimant}'s",
                                code="not-yours", hint="only who took a claim gives it back")
            await self._ledger.remove(held, who)

    async def _end(self, claim: Claim, why: str) -> None:
        """End just this claim: after it was asked about, another may have come to hold the instance."""
        async with self._turn(claim.instance):
            if self._ledger.table().held.get(claim.instance) == claim:
                await self._ledger.remove(claim, self._node(), why=why)


def _refusal(ask: Ask, denied: Denied, here: str) -> HeldElsewhere:
    holder, why = denied.holder, denied.why
    hint = f"{ask.claim.instance} has to be down on {here} before it is started elsewhere"
    if here in ask.assume_down:
        hint = f"leave out --assume-down {here}"
    elif holder is not None:
        why = why.replace(holder.operation, operation_of(holder.operation))
        hint = f"wait for its end (svc op wait {operation_of(holder.operation)} on {holder.claimant})"
    return HeldElsewhere(why, hint=hint, holder=shown(holder) if holder else None, node=here)


def operation_of(word: str) -> str:
    """The operation that a claim's `operation` stands for: it carries the number of the try after
    a full stop, from the second one on."""
    return word.partition(".")[0]


def shown(claim: Claim) -> dict[str, str]:
    """A claim as the holder that refuses another one."""
    return {"operation": operation_of(claim.operation), "node": claim.claimant, "action": claim.action,
            "to": claim.to}

"""Steps that another agent carries out: asked with a key of their own, followed to their end.

The other agent plans and runs its part as an operation of its own; its events are told under
the step. The key makes a second request, after a lost answer, the same operation. What a
guest says about itself is taken as its word and no more.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentd.core.errors import (
    ActionFailed,
    Busy,
    EncapError,
    InvalidRequest,
    NotFound,
    NotSupported,
    Refused,
    Silent,
)
from agentd.core.names import is_rid
from agentd.core.plan import Request, Step
from agentd.core.reply import clean
from agentd.executor import Done, LeftOver, SkippedStep, TakenBack, UnknownStep
from agentd.operation import Operation
from agentd.peers import Peers
from api.errors import error_from

log = logging.getLogger("encap.node")

Ending = Done | SkippedStep | UnknownStep
RETRY_PAUSE = 0.3
CALL_TIMEOUT = 10.0
"""For a call that is answered at once, on a node that may be busy."""


_BEGAN_NOTHING = (Refused, NotFound, InvalidRequest, NotSupported)
"""Answers to a request after which the other agent has begun nothing."""


@dataclass(slots=True)
class _Followed:
    """What was heard of another agent's operation. `started`: the rids that it started.
    `whole`: it was heard to its end."""

    number: str
    after: int = 0
    started: dict[str, None] = field(default_factory=dict)
    acted: bool = False
    whole: bool = False


class Delegate:
    """One delegated step of `operation`, told under the step `under`. `label` names it within
    the operation, and is its key. `working`, `silent`: how many seconds the other agent may
    tell nothing new while it works, and while it cannot be reached. `undoing`: it takes a step
    back, which no cancel keeps it from: that may be what it is for. `rival`: its own operation
    may wait for this one in turn; of the two the younger gives way."""

    def __init__(self, peers: Peers, operation: Operation, step: Step, *, label: str, working: float,
                 silent: float, under: int, undoing: bool = False, rival: bool = False) -> None:
        self._peers, self._operation, self._step = peers, operation, step
        self._working, self._silent, self._under, self._rival = working, silent, under, rival
        self._cancelling = asyncio.Event() if undoing else operation.cancelling
        self._key = f"{operation.id}.{label}"
        self._heard = self._contact = asyncio.get_running_loop().time()
        # When it last told something of its work, and when it last showed a sign of life.
        self._cancelled_at: float | None = None
        self._told_busy = ""

    async def carry_out(self, request: Request, who: str, more: Mapping[str, Any]) -> Ending:
        """`more`: further fields of the request's body. Raises what the other agent told, Silent
        when it is not heard, TakenBack when it failed and undid its part, or never began it."""
        body = {**request_body(request), **more, "local": True,
                "origin": {"who": who, "node": self._operation.node, "operation": self._operation.id}}
        try:
            begun = await self._begin(body)
        except _BEGAN_NOTHING as error:
            raise not_begun(error) from error
        if isinstance(begun, SkippedStep):
            return begun
        followed = _Followed(begun)
        cancelling = asyncio.create_task(self._pass_on_cancel(followed.number))
        try:
            document = await self._follow(followed)
        finally:
            cancelling.cancel()
        return _ending(document, followed, starts=self._step.action in ("start", "restart"))

    async def _begin(self, body: Mapping[str, Any]) -> str | SkippedStep:
        """Hand the request over; the id of the operation. One that is busy is waited for, or
        does the same by itself."""
        path = f"/v1/services/{self._operation.service}/actions"
        deadline = self._now() + self._working
        while True:
            try:
                headers = {"idempotency-key": self._key}
                return _id_of(await self._persistently("POST", path, body=body, headers=headers))
            except Busy as busy:
                running = busy.details.get("operation")
                if self._rival and isinstance(running, Mapping) and _is_older(running, self._operation.id):
                    if not _does_the_same(running, body):
                        raise
                    word = f"operation {clean(str(running.get('id')))[:40]}"
                    return SkippedStep(f"{self._step.where} carries out {self._step.action} itself: {word}")
                if self._now() > deadline or self._cancelling.is_set():
                    raise
                await self._wait_for(busy)

    async def _wait_for(self, busy: Busy) -> None:
        """The other operation of the busy agent: wait until it has ended."""
        running = busy.details.get("operation")
        number = running.get("id") if isinstance(running, Mapping) else None
        if isinstance(number, str) and number != self._told_busy:
            self._told_busy = number
            self._operation.relay(self._under, {
                "kind": "progress", "where": self._step.where, "what": self._step.what,
                "text": f"busy with another operation ({clean(number)[:40]}): waiting for its end"})
        await asyncio.sleep(RETRY_PAUSE)

    async def _persistently(self, method: str, path: str, **more: Any) -> Any:
        """A call that is repeated through short silences."""
        since = self._now()
        while True:
            try:
                return await self._peers.ask(self._step.where, method, path, timeout=CALL_TIMEOUT, **more)
            except Silent as error:
                if self._now() - since > self._silent:
                    raise Silent(f"{self._step.where} does not answer: {error.text}",
                                 code=error.code) from error
            await asyncio.sleep(RETRY_PAUSE)

    async def _follow(self, followed: _Followed) -> Mapping[str, Any]:
        """Relay the events until the operation has ended; its document."""
        path, over = f"/v1/operations/{followed.number}", None
        self._heard = self._contact = self._now()
        while True:
            trouble: Silent | None = None
            try:
                await self._listen(f"{path}/events", followed)
            except Silent as error:
                trouble = error
            try:
                # A stream can be dead while its agent lives, so that is asked for in any case.
                document = await self._peers.ask(self._step.where, "GET", path, timeout=CALL_TIMEOUT)
                if not isinstance(document, Mapping):
                    raise Silent(f"{self._step.where} sent no operation", code="invalid-reply")
                self._contact = self._now()
                if document.get("state") == "ended":
                    over = self._contact if over is None else over
                    if trouble is None or self._contact - over > self._silent:
                        return document
            except NotFound as error:
                raise Silent(f"{self._step.where} does not know the operation any more: {error.text}",
                             code="operation-lost") from error
            except Silent as error:
                trouble = error
            self._check_patience(trouble)
            await asyncio.sleep(RETRY_PAUSE)

    def _check_patience(self, trouble: Silent | None) -> None:
        """Raise Silent when there is nothing more to wait for."""
        node, action = self._step.where, self._step.action
        if trouble is not None and self._now() - self._contact > self._silent:
            raise Silent(f"{node} fell silent in the middle of {action}: {trouble.text}",
                         code=trouble.code) from trouble
        if self._too_late():
            why = f"nothing new of {action} for {self._working:g} s (phase 'resources')"
            if self._cancelled_at is not None:
                why = f"{action} goes on {self._working:g} s after the cancel"
            raise Silent(f"{node}: {why}", code="no-progress")

    def _too_late(self) -> bool:
        """It tells nothing new, or it was cancelled long ago, whatever it goes on telling."""
        since = self._heard if self._cancelled_at is None else min(self._heard, self._cancelled_at)
        return self._now() - since > self._working

    async def _listen(self, path: str, followed: _Followed) -> None:
        # Shorter than silence, so that there is time for another connection.
        patience = max(1.0, self._silent / 2)
        async with self._peers.events(self._step.where, path, last_id=str(followed.after or ""),
                                      silence=patience) as stream:
            async for event in stream:
                self._contact = self._now()
                if self._too_late():
                    return
                if event.kind == "comment" or not event.data:
                    continue
                self._heard = self._now()
                document = _event(event.data)
                followed.after = max(followed.after, _number(document.get("id")))
                self._learn(document, followed)
                if document.get("kind") == "end":
                    followed.whole = True
                    return
                self._operation.relay(self._under, document)

    def _learn(self, event: Mapping[str, Any], followed: _Followed) -> None:
        """Which of the resources that were asked for the agent has really started."""
        what = event.get("what")
        if event.get("kind") == "done" and isinstance(what, str):
            followed.acted = True
            if is_rid(what) and (not self._step.touches or what in self._step.touches):
                followed.started[what] = None

    async def _pass_on_cancel(self, number: str) -> None:
        await self._cancelling.wait()
        self._cancelled_at = self._now()
        try:
            await self._persistently("POST", f"/v1/operations/{number}/cancel")
        except EncapError as error:
            # It has ended, or is silent: whoever follows it learns that.
            log.info("cancel of %s at %s: %s", number, self._step.where, error.text)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def not_begun(error: EncapError) -> TakenBack:
    """A part that failed before the other agent was asked for it: there is nothing to undo in it."""
    return TakenBack(error.text, hint=error.hint, code=error.code)


def request_body(request: Request) -> dict[str, Any]:
    """The body of an action that stands for `request`; only what differs from the defaults."""
    body: dict[str, Any] = {"action": request.action}
    for name in ("nodes", "rids", "subsets", "slave"):
        if getattr(request, name):
            body[name] = list(getattr(request, name))
    if request.tags:
        body["tags"] = ",".join("+".join(each) for each in request.tags)
    for name in ("to", "master", "slaves", "force", "local"):
        if getattr(request, name):
            body[name] = getattr(request, name)
    return body


def _ending(document: Mapping[str, Any], followed: _Followed, *, starts: bool) -> Ending:
    """How the step ended, from how the other agent's operation did."""
    result, told = document.get("result"), document.get("problem")
    known = told if isinstance(told, Mapping) else {}
    text = clean(str(known.get("detail") or ""))[:1000]
    if result == "succeeded":
        if not followed.whole:
            return Done()  # what it started was not heard
        return Done(started=tuple(followed.started)) if followed.acted else SkippedStep("nothing to do")
    if result == "unknown":
        return UnknownStep(text or "the other agent does not know how it ended")
    error, undone = error_from({**known, "detail": text or f"{result}"}, 500), document.get("undone")
    # An agent that was killed in the middle of a start has taken nothing back.
    back = undone is True or (undone is None and not (starts and error.code == "interrupted"))
    raise (TakenBack if back else LeftOver)(error.text, hint=error.hint, code=error.code) from error


def _is_older(running: Mapping[str, Any], number: str) -> bool:
    """Whether the operation of a busy node is its own and came before `number`: its id says so."""
    origin = running.get("origin")
    own = isinstance(origin, Mapping) and not origin.get("operation")
    return own and str(running.get("id")) < number


def _does_the_same(running: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether it does there what `body` asks for: the same action on the same part of the service."""
    request = running.get("request")
    if not isinstance(request, Mapping) or running.get("action") != body["action"]:
        return False
    beside = ("nodes", "local", "origin", "reason", "until", "assume_down")
    return all(request.get(key) == body.get(key) for key in {*request, *body}.difference(beside))


def _id_of(answer: Any) -> str:
    number = answer.get("id") if isinstance(answer, Mapping) else None
    if not isinstance(number, str) or not number.isalnum() or not number.isascii() or len(number) > 40:
        raise ActionFailed("the other agent answered with no operation", code="invalid-reply")
    return number


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else 0


def _event(data: str) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Silent("an event that cannot be read", code="invalid-reply") from error
    if not isinstance(document, dict):
        raise Silent("an event that cannot be read", code="invalid-reply")
    return document

"""Another agent as peers reach it, and what an operation needs: for tests of what it is asked. In virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from agentd.core.errors import EncapError, NotFound, Silent
from agentd.operation import Operation
from api.client import ServerEvent

OURS = "01KAAAAAAAAAAAAAAAAAAAAAAA"
THEIRS = "01KBBBBBBBBBBBBBBBBBBBBBBB"


class LoopClock:
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


class Memory:
    """Keeps what an operation gives away to be saved."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []

    def changed(self, operation: Operation) -> None: ...

    def happened(self, operation: Operation, event: Mapping[str, Any]) -> None:
        self.told.append(event)

    async def recall(self, operation: Operation, after: int) -> list[dict[str, Any]]:
        return []


class Other:
    """Another agent, as peers reach it. `story`: what it tells of its operation, and when after
    it accepted it; `away`: from when until when nothing of it is heard; `mute`: the same for
    streams alone; `refusals`: the errors that it answers a request with, one after the other."""

    def __init__(self, *story: tuple[float, dict[str, Any]], result: str = "succeeded", **problem: Any) -> None:
        self.story = [(at, {"id": number, **event}) for number, (at, event) in enumerate(story, 1)]
        self.result, self.problem = result, problem
        self.away: list[tuple[float, float]] = []
        self.mute: list[tuple[float, float]] = []
        self.refusals: list[EncapError] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.lost_answers = 0
        self.begun: float | None = None
        self.cancelled: list[float] = []
        self.stubborn = True
        """A cancel changes nothing."""

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def over(self) -> bool:
        if self.cancelled and not self.stubborn:
            return True
        return self.begun is not None and self.now >= self.begun + max((at for at, _ in self.story), default=0)

    def _next_silence(self) -> tuple[float, float]:
        windows = sorted(each for each in (*self.away, *self.mute) if each[1] > self.now)
        return windows[0] if windows else (self.now + 1e9, self.now + 1e9)

    def _check(self) -> None:
        if any(since <= self.now < until for since, until in self.away):
            raise Silent("vm1 does not answer")

    async def ask(self, node: str, method: str, path: str, *, timeout: float = 3.0, **more: Any) -> Any:
        assert node == "vm1"
        self._check()
        if path == "/v1/services/web/actions":
            return self._accept(more["body"], more["headers"]["idempotency-key"])
        if path == f"/v1/operations/{THEIRS}/cancel":
            self.cancelled.append(self.now)
            return {}
        if self.begun is None or path != f"/v1/operations/{THEIRS}":
            raise NotFound("no such operation")
        return self.document()

    def _accept(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        self.requests.append((key, body))
        if self.refusals:
            raise self.refusals.pop(0)
        if self.begun is None:
            self.begun = self.now
        if self.lost_answers:
            self.lost_answers -= 1
            raise Silent("the answer was lost")
        return {"id": THEIRS}

    def document(self) -> dict[str, Any]:
        if not self.over:
            return {"id": THEIRS, "state": "running"}
        result = "cancelled" if self.cancelled and not self.stubborn else self.result
        return {"id": THEIRS, "state": "ended", "result": result, "undone": self.problem.get("undone"),
                "problem": None if result == "succeeded" else {"code": "action-failed", **self.problem}}

    @asynccontextmanager
    async def events(self, node: str, path: str, *, last_id: str = "",
                     silence: float = 15.0) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        assert path == f"/v1/operations/{THEIRS}/events"
        self._check()
        yield self._stream(int(last_id or 0), silence)

    async def _stream(self, after: int, silence: float) -> AsyncIterator[ServerEvent]:
        assert self.begun is not None
        while True:
            self._check()
            due = next(((at + self.begun, e) for at, e in self.story if e["id"] > after), None)
            if due is None or (self.cancelled and not self.stubborn):
                yield ServerEvent("message", json.dumps({"id": 1000, "kind": "end"}))
                return
            gone, back = self._next_silence()
            await asyncio.sleep(min(5.0, max(0.0, due[0] - self.now), max(0.0, gone - self.now)))
            if self.now >= gone:
                await asyncio.sleep(min(back - self.now, silence))
                if self.now < back:
                    raise Silent("no byte")
            if self.now >= due[0]:
                after = due[1]["id"]
                yield ServerEvent("message", json.dumps(due[1]), str(after))
            else:
                yield ServerEvent("comment")


def done(what: str) -> dict[str, Any]:
    return {"kind": "done", "where": "vm1", "what": what, "text": "", "step": 1}


def operation(memory: Memory) -> Operation:
    """One of ours, that runs."""
    return Operation({"id": OURS, "service": "web", "action": "start", "node": "hv1", "state": "running",
                      "started_at": "now"}, True, LoopClock(), memory)

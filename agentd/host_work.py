"""Calls of blocking libraries: in worker threads, bounded for each backend, with a deadline.

A thread cannot be ended. One whose call never comes back keeps its place, so that a backend
that hangs costs a fixed number of threads; when all its places are taken by such calls, who
asks next is told at once instead of after a wait. The threads of other backends, and the
event loop, notice nothing.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agentd.core.errors import ActionFailed, Silent

log = logging.getLogger("encap.host")

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Job:
    """One call. `answer` is done early when nobody waits for it any more."""

    call: Callable[[], Any]
    answer: asyncio.Future[Any]
    deadline: float
    began: float = field(default=0.0)


class Backend:
    """The places of one backend, and the calls that wait for one."""

    def __init__(self, key: str, limit: int) -> None:
        self._key, self._limit = key, limit
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._loop = asyncio.get_running_loop()

    @property
    def idle(self) -> bool:
        return not (self._waiting or self._running)

    async def do(self, call: Callable[[], T], timeout: float) -> T:
        self._refuse_if_stuck()
        answer: asyncio.Future[T] = self._loop.create_future()
        job = Job(call, answer, self._loop.time() + timeout)
        self._waiting.append(job)
        self._next()
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise Silent(f"{self._key}: no answer within {timeout:g} s") from None
        finally:
            if job in self._waiting:
                self._waiting.remove(job)
            self._turn_away()

    def _next(self) -> None:
        while self._waiting and len(self._running) < self._limit:
            job = self._waiting.popleft()
            if job.answer.done():
                continue
            job.began = self._loop.time()
            try:
                threading.Thread(target=self._run, args=(job,), name=f"work {self._key}", daemon=True).start()
            except RuntimeError as error:  # the machine has no room for another thread
                job.answer.set_exception(ActionFailed(f"{self._key}: cannot be asked: {error}"))
                continue
            self._running.add(job)

    def _run(self, job: Job) -> None:
        value, trouble = None, None
        try:
            value = job.call()
        except BaseException as error:  # noqa: BLE001 it belongs to who asked, whatever it is
            trouble = error
        try:
            self._loop.call_soon_threadsafe(self._back, job, value, trouble)
        except RuntimeError:
            return  # the loop has ended, and with it everybody who could want the answer

    def _back(self, job: Job, value: Any, trouble: BaseException | None) -> None:
        self._running.discard(job)
        if not job.answer.done():
            if trouble is None:
                job.answer.set_result(value)
            else:
                job.answer.set_exception(trouble)
        elif self._loop.time() >= job.deadline:
            after, said = self._loop.time() - job.began, f": {trouble}" if trouble else ""
            log.warning("%s: a call came back after %.0f s, too late%s", self._key, after, said)
        self._next()

    def _stuck_since(self) -> float | None:
        """When the oldest call began, if every place is taken by one past its deadline."""
        now = self._loop.time()
        if len(self._running) < self._limit or any(now < job.deadline for job in self._running):
            return None
        return min(job.began for job in self._running)

    def _refuse_if_stuck(self) -> None:
        since = self._stuck_since()
        if since is not None:
            raise Silent(f"{self._key}: no answer for {self._loop.time() - since:.0f} s")

    def _turn_away(self) -> None:
        """Whoever still waits for a place that will not be free is told so now."""
        since = self._stuck_since()
        if since is None:
            return
        while self._waiting:
            job = self._waiting.popleft()
            if not job.answer.done():
                age = self._loop.time() - since
                job.answer.set_exception(Silent(f"{self._key}: no answer for {age:.0f} s"))


class HostWork:
    """The part of a host that calls blocking libraries."""

    def __init__(self) -> None:
        self._backends: dict[str, Backend] = {}

    async def work(self, call: Callable[[], T], *, key: str, timeout: float = 30, limit: int = 4) -> T:
        backend = self._backends.setdefault(key, Backend(key, limit))
        try:
            return await backend.do(call, timeout)
        finally:
            if backend.idle:
                self._backends.pop(key, None)

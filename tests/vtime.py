"""A virtual-time event loop: when nothing is ready, time jumps to the next deadline.

Time stands still while work runs in a worker thread (`run_in_executor`, `to_thread`, the
store): the loop then really waits for that work, and jumps only when all of it came back.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

WORKER_PATIENCE = 30.0
"""Real seconds that a worker thread may take before the test is called stuck."""


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.outside:
            ready = super().select(WORKER_PATIENCE)
            if not ready:
                raise RuntimeError(f"{self.loop.outside} worker(s) did not come back")
            return ready
        if timeout is None:
            raise RuntimeError(f"deadlock at t={self.loop.now:g}: no timer and no work is pending")
        self.loop.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`now`: seconds since the loop was made. `outside`: pieces of work in worker threads."""

    def __init__(self) -> None:
        self.now = 0.0
        self.outside = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self.outside += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self.outside -= 1


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual-time loop of its own."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)

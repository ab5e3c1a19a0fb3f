"""One child process: started as a group of its own, read with a cap, ended for good.

Owns the plumbing of `agentd.host`: pipes and the exit of the child are watched by the
event loop (a pidfd is readable when the child has ended), so that no thread is needed.
The child is reaped last of all, which keeps its group id from being given to others
while the group is still being signalled.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import IO

OUTPUT_LIMIT = 64 << 10
"""Bytes kept of each output; the rest is read and thrown away."""

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""

LINGER = 0.2
"""Seconds that output may still come in after the child itself has ended."""


class Capture:
    """Reads a pipe to its end, keeps the first `OUTPUT_LIMIT` bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._kept, self._cut = descriptor, bytearray(), False
        self._loop = asyncio.get_running_loop()
        self.ended = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        room = OUTPUT_LIMIT - len(self._kept)
        self._kept += data[:room]
        self._cut |= len(data) > room
        if not data:
            self.close()

    def close(self) -> None:
        if not self.ended.done():
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self.ended.set_result(None)

    def text(self) -> str:
        mark = f"\n[cut at {OUTPUT_LIMIT} bytes]" if self._cut else ""
        return self._kept.decode(errors="replace") + mark


class Feed:
    """Writes bytes into a pipe and closes it."""

    def __init__(self, descriptor: int, data: bytes) -> None:
        self._descriptor, self._left = descriptor, memoryview(data)
        self._loop = asyncio.get_running_loop()
        self._open = True
        os.set_blocking(descriptor, False)
        self._loop.add_writer(descriptor, self._write)

    def _write(self) -> None:
        try:
            self._left = (
                self._left[os.write(self._descriptor, self._left[: 1 << 16]) :] if self._left else self._left
            )
        except BlockingIOError:
            return
        except OSError:  # the child reads no more: its affair
            self._left = self._left[:0]
        if not self._left:
            self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)


def exited(pid: int) -> asyncio.Future[None]:
    """Done when the child has ended; it is not reaped by this."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    descriptor = os.pidfd_open(pid)

    def close() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, close)
    return ended


class Child:
    """A running command: `communicate` waits for its end, `end` makes it end."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes | None) -> None:
        if process.stdout is None or process.stderr is None:
            raise ValueError("a Child is read, so it needs pipes")
        self._process = process
        self._exited = exited(process.pid)
        self._out = Capture(_detach(process.stdout))
        self._err = Capture(_detach(process.stderr))
        self._feed = Feed(_detach(process.stdin), stdin or b"") if process.stdin else None

    async def communicate(self) -> tuple[int, str, str]:
        """Exit code (negative: the signal), output, errors.

        Something that the child left in the background may hold the pipes open: its
        output is then read and thrown away for as long as it runs, since a closed pipe
        would kill it.
        """
        await asyncio.shield(self._exited)
        await asyncio.wait((self._out.ended, self._err.ended), timeout=LINGER)
        if self._feed:
            self._feed.close()
        return self._process.wait(), self._out.text(), self._err.text()

    async def end(self) -> None:
        """SIGTERM to the group, SIGKILL after `GRACE`; returns when the child is gone or unkillable."""
        self._signal(signal.SIGTERM)
        await asyncio.wait((self._exited,), timeout=GRACE)
        self._signal(signal.SIGKILL)
        await asyncio.wait((self._exited,), timeout=GRACE)
        for pipe in (self._out, self._err, self._feed):
            if pipe is not None:
                pipe.close()
        if self._exited.done():
            self._process.wait()
        else:  # uninterruptible: reaped whenever the kernel lets go of it
            self._exited.add_done_callback(lambda _: self._process.wait())

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # nobody left, or a program of another user
            pass


def _detach(stream: IO[bytes]) -> int:
    """The pipe's descriptor, taken from the file object that would close it."""
    number = os.dup(stream.fileno())
    stream.close()
    return number

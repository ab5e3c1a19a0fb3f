"""The files of this machine as drivers reach them: never a block of the daemon, never half a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from agentd import files
from agentd.core.errors import NotFound, Silent

FILE_DEADLINE = 10.0
"""Seconds that a file operation may take."""

WORKERS = 8

T = TypeVar("T")


class HostFiles:
    """The part of a host that has to do with files.

    Operations run in a few workers with a deadline, since a dead disk or server may hold
    any of them for ever. Small reads from memory, and from the disk that the daemon itself
    lives on, need no worker.
    """

    def __init__(self, root: Path) -> None:
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="host-files")
        base = str(root).rstrip("/")
        self._near = ("/proc/", "/sys/", f"{base}/run/encap/", f"{base}/var/lib/encap/")

    async def read(self, path: str, limit: int = 1 << 20) -> str:
        return await self._file(path, "read", partial(_read, path, limit))

    async def write(self, path: str, text: str, mode: int = 0o600) -> None:
        await self._file(
            path, "write", partial(files.write_atomically, Path(path), text.encode(), mode), far=True
        )

    async def remove(self, path: str) -> None:
        await self._file(path, "remove", partial(files.remove, Path(path)), far=True)

    async def exists(self, path: str) -> bool:
        return await self._file(path, "look at", partial(os.path.lexists, path))

    async def make_directory(self, path: str, mode: int = 0o755) -> None:
        await self._file(path, "make", partial(os.makedirs, path, mode, exist_ok=True))

    def close_files(self) -> None:
        """Let go of the workers; one that hangs in a dead disk is left behind."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def _file(self, path: str, verb: str, operation: Callable[[], T], far: bool = False) -> T:
        try:
            if not far and path.startswith(self._near):
                return operation()
            future = asyncio.get_running_loop().run_in_executor(self._workers, operation)
            return await asyncio.wait_for(future, FILE_DEADLINE)
        except TimeoutError:
            raise Silent(f"cannot {verb} {path}: no answer within {FILE_DEADLINE:g} s") from None
        except (FileNotFoundError, ProcessLookupError) as error:
            raise NotFound(f"{path} does not exist") from error
        except OSError as error:
            raise files.storage_trouble(f"cannot {verb} {path}", error) from error


def _read(path: str, limit: int) -> str:
    # Not blocking: a FIFO in the place of a file must not hold anybody.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        reader: IO[bytes] = file
        return (reader.read(limit) or b"").decode(errors="replace")

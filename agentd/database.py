"""The daemon's SQLite database: one thread, batched transactions, migrations.

All reads and writes run in one thread, one after the other, as small functions of the
connection. What piled up while one transaction was written goes into the next, together.
A transaction is synced to disk (synchronous FULL) as soon as one piece of work in it asks
for that. Idle, the thread sleeps.

Disk trouble is an answer, not an end: what was asked fails with StorageTrouble, `trouble`
says so for as long as it lasts, and the next piece of work tries again. A database that
could not be opened is replaced by one in memory, which refuses everything durable.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agentd.core.errors import StorageTrouble
from agentd.files import storage_trouble, sync_directory

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BACKLOG = 10_000
"""Pieces of work that may wait; a disk that is that far behind gets no more."""

_WORDS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; nothing that was saved is lost"),
    sqlite3.SQLITE_READONLY: ("the file system or file is read-only", "make it writable again"),
    sqlite3.SQLITE_IOERR: ("the disk reports an input/output error", "look at the kernel's log"),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "restore it from a copy, or move it away: claims and "
                             "the history are then lost, so first make sure that nothing runs twice"),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "the folder must exist and be writable"),
    sqlite3.SQLITE_BUSY: ("another process holds the database", "only one daemon may use a root folder"),
}
_WORDS[sqlite3.SQLITE_NOTADB] = _WORDS[sqlite3.SQLITE_CORRUPT]


@dataclass(slots=True)
class _Job:
    """A piece of work that waits, and who waits for it (None: nobody)."""

    work: Work[Any]
    durable: bool
    answer: asyncio.Future[Any] | None
    result: Any = None
    error: Exception | None = None
    wrote: bool = False
    """Its transaction changed something, and was committed."""


class Database:
    """`await Database.open(...)`; then `run`, `post`, `close`, all from the loop's thread."""

    def __init__(self, path: Path | None, migrations: Sequence[str]) -> None:
        self._path, self._migrations = path, migrations
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._waiting: list[_Job] = []
        self._drain: asyncio.Task[None] | None = None
        self._connection: sqlite3.Connection | None = None
        self.refusal: StorageTrouble | None = None
        """Set when this is a database in memory: why, and the answer to everything durable."""
        self.trouble: StorageTrouble | None = None
        """The last write failed with this; None when it succeeded."""
        self.lost = 0
        """Posted pieces of work that could not be saved."""

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[str]) -> Database:
        """Open, or make, the database at `path`. StorageTrouble when that cannot be done."""
        database = cls(path, migrations)
        try:
            await asyncio.get_running_loop().run_in_executor(database._thread, database._open)
        except StorageTrouble:
            database._thread.shutdown(wait=False)
            raise
        return database

    @classmethod
    async def in_memory(cls, migrations: Sequence[str], refusal: StorageTrouble) -> Database:
        """A stand-in for a database that cannot be opened: nothing durable, until a restart."""
        database = cls(None, migrations)
        await asyncio.get_running_loop().run_in_executor(database._thread, database._open)
        database.refusal = database.trouble = refusal
        return database

    async def run(self, work: Work[T], *, durable: bool = False) -> T:
        """Do `work` in a transaction; its result when committed. `work` may run twice.

        durable: committed means on disk, also after a power cut. Raises what `work` raises
        (its transaction is then rolled back), or StorageTrouble.
        """
        if durable and self.refusal is not None:
            raise self.refusal
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._enqueue(_Job(work, durable, answer)):
            raise StorageTrouble("the disk is too slow: too many writes are waiting")
        return await answer

    def post(self, work: Work[object]) -> bool:
        """Do `work` soon, with nobody waiting; False when there is no room for it."""
        if self._enqueue(_Job(work, False, None)):
            return True
        self.lost += 1
        return False

    async def close(self) -> None:
        """Write what waits, then close."""
        while self._drain is not None:
            await asyncio.wait([self._drain])
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._close)
        finally:
            self._thread.shutdown(wait=False)

    def _enqueue(self, job: _Job) -> bool:
        if len(self._waiting) >= BACKLOG:
            self.trouble = StorageTrouble("the disk is too slow: too many writes are waiting")
            return False
        self._waiting.append(job)
        if self._drain is None:
            self._drain = asyncio.get_running_loop().create_task(self._write_all())
        return True

    async def _write_all(self) -> None:
        """Hand what waits to the thread, batch by batch, until nothing does."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await loop.run_in_executor(self._thread, self._transact, batch)
                for job in batch:
                    self._answer(job)
        finally:
            self._drain = None

    def _answer(self, job: _Job) -> None:
        if isinstance(job.error, StorageTrouble):
            self.trouble = job.error
        elif job.wrote:
            self.trouble = self.refusal
        if job.answer is None:
            self.lost += job.error is not None
        elif not job.answer.done():
            if job.error is not None:
                job.answer.set_exception(job.error)
            else:
                job.answer.set_result(job.result)

    # --- in the thread ---------------------------------------------------------------------

    def _transact(self, batch: list[_Job]) -> None:
        """All of `batch` in one transaction; when that fails, each piece in one of its own."""
        if not self._together(batch) and len(batch) > 1:
            for job in batch:
                self._together([job])

    def _together(self, jobs: list[_Job]) -> bool:
        """One transaction; sets result or error on each job. False when it was rolled back."""
        connection = self._connection
        try:
            if connection is None:
                connection = self._open()
            # A PRAGMA cannot be set inside a transaction; FULL also syncs what came before.
            connection.execute(f"PRAGMA synchronous = {'FULL' if any(j.durable for j in jobs) else 'NORMAL'}")
            # Deferred: reads still work where nothing can be written.
            connection.execute("BEGIN")
            before = connection.total_changes
            for job in jobs:
                job.result, job.error = job.work(connection), None
            connection.execute("COMMIT")
            for job in jobs:
                job.wrote = connection.total_changes > before
        except Exception as error:  # noqa: BLE001 - told to whoever asked for the work
            self._roll_back()
            for job in jobs:
                job.error = _in_words(error, self._path) if isinstance(error, sqlite3.Error) else error
            return False
        return True

    def _roll_back(self) -> None:
        """Back to before the transaction; a connection that cannot do that is thrown away."""
        if self._connection is None or not self._connection.in_transaction:
            return
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        try:
            if self._path is not None:
                _make_private(self._path)
            connection = sqlite3.connect(self._path or ":memory:", isolation_level=None, timeout=2)
            try:
                for pragma in ("journal_mode = WAL", "foreign_keys = ON", "trusted_schema = OFF",
                               "journal_size_limit = 4194304", "cache_size = -1024"):
                    connection.execute(f"PRAGMA {pragma}")
                migrate(connection, self._migrations, self._path)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise _in_words(error, self._path) from error
        except OSError as error:
            raise storage_trouble(f"cannot open {self._path}", error) from error
        self._connection = connection
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def migrate(connection: sqlite3.Connection, migrations: Sequence[str], path: Path | None) -> None:
    """Bring the database from its version (`user_version`) to the newest, after a copy of it.

    Each migration is a script; all that are missing are applied in one transaction.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise StorageTrouble(f"{path} was written by a newer version of this program (schema {version})",
                             hint="install that version, or restore the copy that it made")
    if version == len(migrations):
        return
    if version and path is not None:
        copy(connection, path.with_name(f"{path.name}.{version}"))
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in migrations[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def copy(connection: sqlite3.Connection, target: Path) -> None:
    """A whole copy of the database at `target`, or none."""
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    _make_private(temporary)
    try:
        with closing(sqlite3.connect(temporary)) as other:
            connection.backup(other)
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(target)
        sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _statements(script: str) -> list[str]:
    """The statements of a script; a semicolon inside a trigger's body does not end one."""
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return found


def _make_private(path: Path) -> None:
    """Make the file readable by its owner only, before SQLite makes it with the umask's rights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _in_words(error: sqlite3.Error, path: Path | None) -> StorageTrouble:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    words, hint = _WORDS.get(code, (str(error), ""))
    return StorageTrouble(f"cannot use {path or 'the database in memory'}: {words}", hint=hint)

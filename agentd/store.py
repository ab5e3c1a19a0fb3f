"""What the daemon must remember: its tables, and the questions asked of them.

Owns ``encap.db``: operations with their events and idempotency keys, intents, claims,
revisions, audit, flags and facts about the node. Rows go in and out as plain documents.
Claims, intents, revisions and audit are on disk when the call returns (synchronous FULL);
the rest survives a killed daemon, but the last moments may be lost in a power cut.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentd.audit import SCHEMA as AUDIT_SCHEMA
from agentd.audit import Audit
from agentd.core.errors import StorageTrouble
from agentd.database import Database

log = logging.getLogger(__name__)

MIGRATIONS = (
    """
CREATE TABLE operations (
    id TEXT PRIMARY KEY, service TEXT NOT NULL, state TEXT NOT NULL, mutating INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT;
CREATE INDEX operations_of_a_service ON operations (service, id);
CREATE INDEX operations_not_ended ON operations (state) WHERE state <> 'ended';
CREATE TABLE events (
    operation TEXT NOT NULL REFERENCES operations (id) ON DELETE CASCADE, number INTEGER NOT NULL,
    document TEXT NOT NULL, PRIMARY KEY (operation, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE idempotency (
    identity TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,
    operation TEXT NOT NULL REFERENCES operations (id) ON DELETE CASCADE, PRIMARY KEY (identity, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_of_an_operation ON idempotency (operation);
CREATE TABLE intents (
    operation TEXT NOT NULL, service TEXT NOT NULL, rid TEXT NOT NULL, action TEXT NOT NULL,
    at TEXT NOT NULL, PRIMARY KEY (operation, rid, action)
) STRICT, WITHOUT ROWID;
CREATE TABLE claims (
    instance TEXT PRIMARY KEY, operation TEXT NOT NULL, claimant TEXT NOT NULL,
    action TEXT NOT NULL, "to" TEXT NOT NULL
) STRICT;
CREATE TABLE revisions (
    service TEXT NOT NULL, number INTEGER NOT NULL, hash TEXT NOT NULL, text TEXT NOT NULL,
    origin TEXT NOT NULL, author TEXT NOT NULL, at TEXT NOT NULL, base TEXT NOT NULL,
    PRIMARY KEY (service, number, hash)
) STRICT;
CREATE TABLE flags (
    service TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (service, key)
) STRICT, WITHOUT ROWID;
"""
    + AUDIT_SCHEMA,
)

OPERATIONS_KEPT = 1000
REVISIONS_KEPT = 100
"""Of each service."""


class Store:
    """The tables of one open database. `now`: the wall clock as RFC 3339 text."""

    def __init__(self, database: Database, now: Callable[[], str]) -> None:
        self.database = database
        self.operations = OperationRows(database)
        self.intents = IntentRows(database, now)
        self.claims = ClaimRows(database)
        self.revisions = RevisionRows(database, now)
        self.flags = FlagRows(database)
        self.audit = Audit(database, now)

    @classmethod
    async def open(cls, path: Path, now: Callable[[], str], *, stand_in: bool = False) -> Store:
        """Open or make the store at `path`; StorageTrouble when that cannot be done.

        With `stand_in` a store in memory takes its place then: it refuses whatever has to
        be durable, so reads, status and stops work and no container is started.
        """
        try:
            database = await Database.open(path, MIGRATIONS)
        except StorageTrouble as trouble:
            if not stand_in:
                raise
            log.error("%s; nothing is saved until the daemon is started again", trouble.text)
            database = await Database.in_memory(MIGRATIONS, trouble)
        return cls(database, now)

    @property
    def trouble(self) -> StorageTrouble | None:
        """Why things are not being saved at present; None when they are."""
        return self.database.trouble

    async def close(self) -> None:
        await self.database.close()


class KnownKey(NamedTuple):
    """An idempotency key that was used: the hash of the body, and the operation it made."""

    body: str
    operation: str


class Saved(NamedTuple):
    """An operation as it was saved."""

    document: dict[str, Any]
    mutating: bool


class OperationRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, saved: Saved, identity: str = "", key: str = "", body: str = "") -> None:
        """Save a new operation, its key with it, and forget the oldest ended ones."""
        saving = _saving(saved, ())

        def work(connection: sqlite3.Connection) -> None:
            saving(connection)
            if key:
                connection.execute("INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?)",
                                   (identity, key, body, saved.document["id"]))
            connection.execute(
                "DELETE FROM operations WHERE state = 'ended' AND id <= "
                "(SELECT id FROM operations ORDER BY id DESC LIMIT 1 OFFSET ?)", (OPERATIONS_KEPT,))

        await self._database.run(work, durable=True)

    def post(self, saved: Saved, events: Sequence[Mapping[str, Any]] = ()) -> None:
        """Save the newest state of an operation and events of it, with nobody waiting."""
        self._database.post(_saving(saved, events))

    def post_events(self, operation: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Save events only; they are lost when the operation itself was never saved."""
        rows = _event_rows(operation, events)
        self._database.post(lambda connection: connection.executemany(_SAVE_EVENT, rows))

    async def save(self, saved: Saved, events: Sequence[Mapping[str, Any]] = ()) -> None:
        """Like `post`, and wait until it is saved."""
        await self._database.run(_saving(saved, events))

    async def get(self, operation: str) -> Saved | None:
        row = await self._database.run(lambda connection: connection.execute(
            "SELECT document, mutating FROM operations WHERE id = ?", (operation,)).fetchone())
        return _saved(row) if row else None

    async def find(self, service: str = "", state: str = "", limit: int = 100) -> list[Saved]:
        """The newest first. `state`: queued, running, cancelling, ended; "" for any."""
        sql, values = "SELECT document, mutating FROM operations WHERE 1", []
        for column, value in (("service", service), ("state", state)):
            if value:
                sql += f" AND {column} = ?"
                values.append(value)
        rows = await self._database.run(lambda connection: connection.execute(
            f"{sql} ORDER BY id DESC LIMIT ?", (*values, limit)).fetchall())
        return [_saved(row) for row in rows]

    async def unended(self) -> list[Saved]:
        """Those that no daemon has ended, oldest first."""
        rows = await self._database.run(lambda connection: connection.execute(
            "SELECT document, mutating FROM operations WHERE state <> 'ended' ORDER BY id").fetchall())
        return [_saved(row) for row in rows]

    async def events(self, operation: str, after: int = 0, limit: int = 500) -> list[dict[str, Any]]:
        rows = await self._database.run(lambda connection: connection.execute(
            "SELECT document FROM events WHERE operation = ? AND number > ? ORDER BY number LIMIT ?",
            (operation, after, limit)).fetchall())
        return [json.loads(document) for (document,) in rows]

    async def last_event(self, operation: str) -> int:
        """The number of the newest event saved, 0 for none."""
        (number,) = await self._database.run(lambda connection: connection.execute(
            "SELECT coalesce(max(number), 0) FROM events WHERE operation = ?", (operation,)).fetchone())
        return int(number)

    async def of_key(self, identity: str, key: str) -> KnownKey | None:
        row = await self._database.run(lambda connection: connection.execute(
            "SELECT body, operation FROM idempotency WHERE identity = ? AND key = ?",
            (identity, key)).fetchone())
        return KnownKey(*row) if row else None

    def forget_key(self, identity: str, key: str) -> None:
        self._database.post(lambda connection: connection.execute(
            "DELETE FROM idempotency WHERE identity = ? AND key = ?", (identity, key)))


class IntentRows:
    """What is about to be done to a container: written before it is done, so that a daemon
    that was killed knows where to look. Rows ``{"operation", "service", "rid", "action", "at"}``."""

    def __init__(self, database: Database, now: Callable[[], str]) -> None:
        self._database, self._now = database, now

    async def declare(self, operation: str, service: str, rid: str, action: str) -> None:
        """On disk, or StorageTrouble: then do not do it."""
        row = (operation, service, rid, action, self._now())
        await self._database.run(lambda connection: connection.execute(
            "INSERT OR REPLACE INTO intents VALUES (?, ?, ?, ?, ?)", row), durable=True)

    async def of(self, operation: str = "") -> list[dict[str, str]]:
        """Those of one operation, "" for all."""
        rows = await self._database.run(lambda connection: connection.execute(
            "SELECT * FROM intents WHERE ? IN ('', operation) ORDER BY at", (operation,)).fetchall())
        return [dict(zip(("operation", "service", "rid", "action", "at"), row, strict=True)) for row in rows]

    async def forget(self, operation: str) -> None:
        """The operation has ended with a named result."""
        await self._database.run(lambda connection: connection.execute(
            "DELETE FROM intents WHERE operation = ?", (operation,)), durable=True)


_CLAIM = ("instance", "operation", "claimant", "action", "to")


class ClaimRows:
    """The claims this hypervisor has granted: ``{"instance", "operation", "claimant", "action", "to"}``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[dict[str, str]]:
        rows = await self._database.run(
            lambda connection: connection.execute("SELECT * FROM claims ORDER BY instance").fetchall())
        return [dict(zip(_CLAIM, row, strict=True)) for row in rows]

    async def save(self, claims: Iterable[Mapping[str, str]]) -> None:
        """Make these the claims held, on disk when the call returns; StorageTrouble otherwise,
        and the claims are as before: a grant that could not be saved must not be given."""
        rows = [tuple(claim[column] for column in _CLAIM) for claim in claims]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM claims")
            connection.executemany("INSERT INTO claims VALUES (?, ?, ?, ?, ?)", rows)

        await self._database.run(work, durable=True)


_REVISION = ("service", "number", "hash", "text", "origin", "author", "at", "base")


class RevisionRows:
    """Accepted texts of services. `base`: the hash that the text was made from."""

    def __init__(self, database: Database, now: Callable[[], str]) -> None:
        self._database, self._now = database, now

    async def append(self, service: str, hash_: str, text: str, *, origin: str, author: str,
                     base: str = "", number: int = 0) -> int:
        """Keep a text; its number. `number` 0: the next one, or that of the newest text when it
        is the same. Two texts may come to have one number (two children of one parent)."""
        at = self._now()

        def work(connection: sqlite3.Connection) -> int:
            newest, its_hash = connection.execute(
                "SELECT number, hash FROM revisions WHERE service = ? ORDER BY number DESC, at DESC LIMIT 1",
                (service,)).fetchone() or (0, "")
            if not number and its_hash == hash_:
                return int(newest)
            chosen = number or int(newest) + 1
            connection.execute("INSERT OR IGNORE INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                               (service, chosen, hash_, text, origin, author, at, base))
            connection.execute("DELETE FROM revisions WHERE service = ? AND number <= ?",
                               (service, max(int(newest), chosen) - REVISIONS_KEPT))
            return chosen

        return await self._database.run(work, durable=True)

    async def of(self, service: str, limit: int = REVISIONS_KEPT) -> list[dict[str, Any]]:
        """The newest first, whole rows."""
        rows = await self._database.run(lambda connection: connection.execute(
            "SELECT * FROM revisions WHERE service = ? ORDER BY number DESC, at DESC LIMIT ?",
            (service, limit)).fetchall())
        return [dict(zip(_REVISION, row, strict=True)) for row in rows]

    async def get(self, service: str, number: int, hash_: str) -> dict[str, Any] | None:
        """The row of one text."""
        row = await self._database.run(lambda connection: connection.execute(
            "SELECT * FROM revisions WHERE service = ? AND number = ? AND hash = ?",
            (service, number, hash_)).fetchone())
        return dict(zip(_REVISION, row, strict=True)) if row else None

    async def newest(self, service: str) -> dict[str, Any] | None:
        found = await self.of(service, 1)
        return found[0] if found else None

    async def numbers(self) -> dict[tuple[str, str], int]:
        """(service, hash) -> the highest number of that text, for all services."""
        rows = await self._database.run(lambda connection: connection.execute(
            "SELECT service, hash, max(number) FROM revisions GROUP BY service, hash").fetchall())
        return {(service, hash_): int(number) for service, hash_, number in rows}


class FlagRows:
    """Facts of a service (frozen, expected, ...) and, with service "", of the node: JSON values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, dict[str, Any]]:
        """Service -> key -> value."""
        found: dict[str, dict[str, Any]] = {}
        for service, key, value in await self._database.run(
                lambda connection: connection.execute("SELECT * FROM flags").fetchall()):
            found.setdefault(service, {})[key] = json.loads(value)
        return found

    async def set(self, service: str, key: str, value: Any, *, durable: bool = False) -> None:
        row = (service, key, _json(value))
        await self._database.run(lambda connection: connection.execute(
            "INSERT OR REPLACE INTO flags VALUES (?, ?, ?)", row), durable=durable)

    async def clear(self, service: str, key: str = "", *, durable: bool = False) -> None:
        """Forget one flag of a service, or all of them."""
        await self._database.run(lambda connection: connection.execute(
            "DELETE FROM flags WHERE service = ? AND ? IN ('', key)", (service, key)), durable=durable)


_SAVE_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?)"


def _saving(saved: Saved, events: Sequence[Mapping[str, Any]]) -> Callable[[sqlite3.Connection], None]:
    """The work that saves an operation; the documents are rendered now, as they are now."""
    document = saved.document
    row = (document["id"], document["service"], document["state"], int(saved.mutating), _json(document))
    rows = _event_rows(document["id"], events)

    def work(connection: sqlite3.Connection) -> None:
        # A first save may have met a full disk, so each one can be the first.
        connection.execute(
            "INSERT INTO operations VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET state = excluded.state, document = excluded.document", row)
        connection.executemany(_SAVE_EVENT, rows)

    return work


def _event_rows(operation: str, events: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, str]]:
    return [(operation, event["id"], _json(event)) for event in events]


def _saved(row: tuple[str, int]) -> Saved:
    return Saved(json.loads(row[0]), bool(row[1]))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))

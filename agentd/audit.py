"""The audit trail: who did what, append-only, each row chained to the one before by a hash.

The chain shows that rows were changed or removed in the middle, not that the end was cut
off by somebody who could write the file: whoever needs that copies the newest hash elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from agentd.database import Database

SCHEMA = """
CREATE TABLE audit (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, detail TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
"""

DETAIL_LIMIT = 4096
"""Characters of the detail of one row, as JSON."""

_COLUMNS = ("number", "at", "who", "action", "subject", "detail", "hash")


class Audit:
    """Rows ``{"number", "at", "who", "action", "subject", "detail": {...}, "hash"}``."""

    def __init__(self, database: Database, now: Callable[[], str]) -> None:
        self._database, self._now = database, now

    async def append(self, who: str, action: str, subject: str = "", **detail: Any) -> int:
        """Write a row to disk for good; its number. StorageTrouble when that cannot be done."""
        told = _canonical(detail)
        if len(told) > DETAIL_LIMIT:
            told = _canonical({"cut": told[: DETAIL_LIMIT // 2]})
        row = (self._now(), _plain(who), _plain(action), _plain(subject), told)

        def work(connection: sqlite3.Connection) -> int:
            number, previous = connection.execute(
                "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone() or (0, "")
            values = (number + 1, *row, _chained(previous, number + 1, *row))
            connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            return int(number) + 1

        return await self._database.run(work, durable=True)

    async def tail(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest rows, oldest first."""
        rows = await self._database.run(lambda connection: connection.execute(
            "SELECT * FROM audit ORDER BY number DESC LIMIT ?", (limit,)).fetchall())
        found = [dict(zip(_COLUMNS, row, strict=True)) for row in reversed(rows)]
        for row in found:
            row["detail"] = json.loads(row["detail"])
        return found

    async def broken(self) -> int | None:
        """The number of the first row that does not fit the chain; None when all do."""

        def work(connection: sqlite3.Connection) -> int | None:
            expected, previous = 1, ""
            for number, *row, found in connection.execute("SELECT * FROM audit ORDER BY number"):
                if number != expected or found != _chained(previous, number, *row):
                    return int(number)
                expected, previous = number + 1, found
            return None

        return await self._database.run(work)


def _plain(text: str) -> str:
    """At most 256 characters, all of which can be stored."""
    return text[:256].encode("utf-8", "replace").decode()


def _canonical(detail: Mapping[str, Any]) -> str:
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), default=str)


def _chained(previous: str, *row: Any) -> str:
    return hashlib.sha256(_canonical({"previous": previous, "row": row}).encode()).hexdigest()

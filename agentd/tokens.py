"""Join tokens: made here, spent once, kept hashed in ``var/lib/encap/tokens.json``.

A token is good for 15 minutes and for one name and role. Five wrong tries, counted over
all of them, withdraw every token that is open: a guesser closes the door behind himself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from agentd.core.errors import Forbidden, InvalidRequest
from agentd.files import write_atomically
from agentd.identity import is_name
from agentd.settings import parse_address, show_address

LIFE = 900.0
"""Seconds. Wall clock, because it has to hold over a restart; a clock that jumps costs a token."""
TRIES = 5
_TEXT_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Token:
    """What travels in the text of a token. `issuer`: the node whose join listeners `addresses`
    are; `ca_key_hash`: what the CA of the server must match before the secret is told."""

    cluster: str
    role: str
    name: str
    issuer: str
    addresses: tuple[str, ...]
    ca_key_hash: str
    secret: str

    def __str__(self) -> str:
        values = [self.cluster, self.role, self.name, self.issuer, list(self.addresses), self.ca_key_hash,
                  self.secret]
        raw = json.dumps(values, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def parse_token(text: str) -> Token:
    """InvalidRequest for anything that no node printed."""
    text = text.strip()
    try:
        if len(text) > _TEXT_LIMIT:
            raise ValueError("too long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cluster, role, name, issuer, addresses, ca_key_hash, secret = json.loads(raw)
        if not all(isinstance(v, str) for v in (cluster, role, name, issuer, ca_key_hash, secret)):
            raise ValueError("not text")
        if not all(map(is_name, (cluster, name, issuer))) or role not in ("hypervisor", "guest"):
            raise ValueError("names")
        where = tuple(show_address(parse_address(each)) for each in addresses)
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise InvalidRequest("this is not a join token", code="bad-token",
                             hint="copy the whole line that `svc node token` printed") from error
    return Token(cluster, role, name, issuer, where, ca_key_hash, secret)


@dataclass(frozen=True, slots=True)
class Open:
    """A token that may still be spent. `until`: epoch seconds."""

    digest: str
    role: str
    name: str
    until: float


class Tokens:
    """The open tokens of this node."""

    def __init__(self, path: Path, now: Callable[[], float] = lambda: datetime.now(UTC).timestamp()) -> None:
        self._path, self._now = path, now
        self._open, self._wrong = self._read()

    def create(self, role: str, name: str) -> tuple[str, float]:
        """A new secret and its end; an older token for the same name is withdrawn."""
        secret = secrets.token_urlsafe(24)
        entry = Open(_digest(secret), role, name, self._now() + LIFE)
        keep = tuple(t for t in self.unspent() if t.name != name)
        self._write((*keep, entry), self._wrong if keep else 0)
        return secret, entry.until

    def unspent(self) -> tuple[Open, ...]:
        """Tokens that can be spent now; the join listener is open while there are any."""
        now = self._now()
        return tuple(t for t in self._open if now < t.until <= now + LIFE)

    def check(self, secret: str) -> Open:
        """The token of a secret; Forbidden, and one try fewer for everybody, when there is none."""
        digest = _digest(secret)
        found = [t for t in self.unspent() if hmac.compare_digest(t.digest, digest)]
        if found:
            return found[0]
        self.count_wrong()
        raise Forbidden("the token is not known here, used, or too old", code="bad-token",
                        hint="make another with `svc node token`")

    def count_wrong(self) -> None:
        """One of the tries is used up; with the last one every open token is withdrawn."""
        wrong = self._wrong + 1
        self._write(() if wrong >= TRIES else self.unspent(), wrong)

    def spend(self, token: Open) -> None:
        """On disk before the certificate leaves: a crash in between costs the token."""
        self._write(tuple(t for t in self.unspent() if t != token), self._wrong)

    def withdraw(self, names: Collection[str]) -> None:
        """Nobody joins under these names with a token that was made before now."""
        kept = tuple(t for t in self.unspent() if t.name not in names)
        if len(kept) != len(self._open):
            self._write(kept, self._wrong)

    def _write(self, tokens: tuple[Open, ...], wrong: int) -> None:
        document = {"wrong": wrong, "open": [asdict(t) for t in tokens]}
        write_atomically(self._path, json.dumps(document).encode(), 0o600)
        self._open, self._wrong = tokens, wrong

    def _read(self) -> tuple[tuple[Open, ...], int]:
        try:
            document = json.loads(self._path.read_bytes())
            return tuple(Open(**each) for each in document["open"]), int(document["wrong"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return (), 0  # tokens are short-lived: an unreadable file means that none is open


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()

"""The join listener: the one door without a client certificate, open only while a token is.

Two routes: ``GET /v1/ca`` gives the public CA certificate, ``POST /v1/join`` takes a token
and a signing request. Nothing else of the product can be reached through it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from agentd import membership, pki
from agentd.core.errors import EncapError, InvalidRequest, NotFound, Refused
from agentd.edge import Edge, Receive, Scope, Send
from agentd.membership import Cluster, Member
from agentd.protocol import PeerProtocol
from agentd.server import http_config, open_tls
from agentd.settings import Settings, show_address
from agentd.tokens import Token, Tokens

BODY_LIMIT = 32 << 10
log = logging.getLogger("encap.join")

Admit = Callable[[Member], Awaitable[Cluster]]
"""Take a member into the list and tell the others; what the list is then."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token for a person to carry. `expires_at`: UTC, for people."""

    token: str
    expires_at: str


class JoinListener:
    """Makes tokens and answers those who bring one. `settings` may change between calls."""

    def __init__(self, settings: Callable[[], Settings], tokens: Tokens, admit: Admit) -> None:
        self._settings, self._tokens, self._admit = settings, tokens, admit
        self._config: Config = http_config(Edge(self._serve, BODY_LIMIT))
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._expiry: asyncio.TimerHandle | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def listening(self) -> tuple[str, ...]:
        """``host:port`` of the open listeners; empty while the door is shut."""
        return tuple(show_address(s.getsockname()[:2]) for server in self._servers for s in server.sockets)

    async def token(self, name: str, role: str) -> Issued:
        """A token for a node that is to join, and the door open for it.

        Refused when the name is taken by the other role, or when the CA key is not here.
        """
        settings = self._settings()
        if role not in ("hypervisor", "guest"):
            raise InvalidRequest(f"a node joins as hypervisor or guest, not as {role}")
        pki.check_can_issue(settings.paths, name)
        cluster = membership.load(settings.paths)
        if cluster is None:
            raise Refused("this node belongs to no cluster", code="not-enrolled",
                          hint="svc ca init --cluster NAME")
        cluster.check_name(name, role)
        secret, until = self._tokens.create(role, name)
        await self.refresh()
        where = self._reachable(cluster)
        if not where:
            raise Refused("no address is known at which the new node could find this one", code="no-address",
                          hint="svc node init --listen ADDRESS")
        ca_key_hash = pki.hash_of(settings.paths.ca_certificate.read_bytes())
        text = Token(cluster.name, role, name, settings.node, where, ca_key_hash, secret)
        return Issued(str(text), datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds"))

    async def withdraw(self, names: Collection[str]) -> None:
        """The tokens for these nodes are good no more: they were removed from the cluster."""
        self._tokens.withdraw(names)
        await self.refresh()

    async def refresh(self) -> None:
        """Open the door while a token is unspent, and shut it after. Also at the daemon's start."""
        unspent = self._tokens.unspent()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if not unspent:
            self._shut()
            return
        if not self._servers:
            settings = self._settings()
            context = pki.join_context(settings.paths)
            for address in settings.join_listen:
                self._servers += await open_tls(address, self._protocol, context)
            log.info("join listener open on %s", ", ".join(self.listening))
        left = max(t.until for t in unspent) - datetime.now(UTC).timestamp()
        self._expiry = asyncio.get_running_loop().call_later(max(left, 0) + 1, self._expired)

    async def stop(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._shut()
        for connection in list(self._state.connections):
            if isinstance(connection, PeerProtocol):
                connection.abort()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=5)

    def _expired(self) -> None:
        if not self._tokens.unspent():
            self._shut()

    def _shut(self) -> None:
        if self._servers:
            log.info("join listener shut")
        for server in self._servers:
            server.close()
        self._servers = []

    def _protocol(self) -> PeerProtocol:
        return PeerProtocol(self._config, self._state, "", lambda peer: "", anonymous=True)

    def _reachable(self, cluster: Cluster) -> tuple[str, ...]:
        """Where the new node can find the join listener: for a wildcard, this node's known address."""
        own = cluster.member(self._settings().node)
        known = own.address.rpartition(":")[0] if own is not None else ""
        found = []
        for where in self.listening:
            host, _, port = where.rpartition(":")
            if host not in ("0.0.0.0", "[::]"):
                found.append(where)
            elif known:
                found.append(f"{known}:{port}")
        return tuple(dict.fromkeys(found))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, document = 200, await self._answer(scope, receive)
        except EncapError as error:
            status = 404 if isinstance(error, NotFound) else 400 if isinstance(error, InvalidRequest) else 403
            document = {"type": f"urn:encap:problem:{error.code}", "title": error.code.replace("-", " "),
                        "status": status, "detail": error.text, "code": error.code, "hint": error.hint}
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        kind = b"application/json" if status == 200 else b"application/problem+json"
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(raw)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": raw})

    async def _answer(self, scope: Scope, receive: Receive) -> bytes | dict[str, Any]:
        route = (scope["method"], scope["path"])
        if route == ("GET", "/v1/ca"):
            return self._settings().paths.ca_certificate.read_bytes()
        if route != ("POST", "/v1/join"):
            raise NotFound("there is nothing here but joining", code="no-route")
        message = await receive()
        client = scope.get("client") or ("", 0)
        async with self._one_at_a_time:
            try:
                return await self._join(message["body"], str(client[0]))
            finally:
                await self.refresh()

    async def _join(self, raw: bytes, client: str) -> dict[str, Any]:
        secret, csr, address = _read(raw, self._tokens)
        token = self._tokens.check(secret)
        settings = self._settings()
        try:
            issued = pki.sign_request(settings.paths, csr, token.role, token.name)
        except InvalidRequest:
            self._tokens.count_wrong()
            raise
        where = ""
        if token.role == "hypervisor":
            where = membership.check_address(address or (f"[{client}]" if ":" in client else client))
        self._tokens.spend(token)
        cluster = await self._admit(Member(token.name, token.role, where, pki.hash_of(issued)))
        log.info("%s %s joined from %s", token.role, token.name, client)
        answer = {"certificate": issued.decode(), "ca": settings.paths.ca_certificate.read_text("ascii")}
        return {**answer, "members": cluster.document()} if token.role == "hypervisor" else answer


def _read(raw: bytes, tokens: Tokens) -> tuple[str, bytes, str]:
    """(secret, signing request, address); a body that is none of ours uses up a try."""
    try:
        body = json.loads(raw)
        values = tuple(body.pop(key) for key in ("token", "csr")), body.pop("address", "")
        (secret, csr), address = values
        if body or not all(isinstance(v, str) for v in (secret, csr, address)):
            raise ValueError("unknown or ill-typed fields")
        return secret, csr.encode("ascii"), address
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        tokens.count_wrong()
        raise InvalidRequest('the body is {"token", "csr", "address"}', code="bad-body") from error

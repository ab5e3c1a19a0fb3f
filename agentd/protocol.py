"""One HTTP connection: who is at its other end, and how long it may take to say something.

uvicorn does not hand the client's certificate to the application; this subclass of its
protocol does, as ``scope["state"]["peer"]``. A connection whose peer cannot be named is
closed before a byte of it reaches any route.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from agentd import certificate
from agentd.core.errors import EncapError, Forbidden
from agentd.identity import LocalUser, Peer, identity_of

HEAD_TIMEOUT = 15.0
"""Seconds from the first byte (or from the connection) to the end of a request's headers."""
BODY_TIMEOUT = 30.0
"""Seconds from the end of the headers to the end of the body."""
_PEER_GROUPS = 59  # SO_PEERGROUPS of Linux, which the socket module does not name

log = logging.getLogger("encap.server")

Judge = Callable[[Peer], str]
"""Why this peer is refused now, "" when it is not: revoked, foreign, expired."""


class PeerProtocol(H11Protocol):
    """HTTP/1.1 for a peer that is known. `anonymous`: the join listener, where nobody is yet."""

    def __init__(self, config: Config, state: ServerState, cluster: str, judge: Judge,
                 *, anonymous: bool = False) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._cluster, self._judge, self._anonymous = cluster, judge, anonymous
        self._deadline: asyncio.TimerHandle | None = None
        self._waiting_for = ""
        self.peer: Peer | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            self.peer = None if self._anonymous else peer_of(transport, self._cluster)
            why = self._judge(self.peer) if self.peer is not None else ""
        except EncapError as error:
            why = error.text
        if why:
            log.warning("connection from %s refused: %s", self.client or "this machine", why)
            transport.abort()
            return
        self.app_state = {"peer": self.peer}
        self._wait_for("head")

    def data_received(self, data: bytes) -> None:
        if self.refused():  # since the connection was made: removed, or its certificate ran out
            self.abort()
            return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_for("")
        super().connection_lost(exc)

    def refused(self) -> str:
        """Why the peer of this connection is refused by now."""
        return self._judge(self.peer) if self.peer is not None else ""

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _watch(self) -> None:
        """What the other side still owes: a deadline runs from when it began to, whatever trickles in."""
        state = self.conn.their_state
        if self.transport.is_closing():
            self._wait_for("")
        elif state is h11.IDLE and self.conn.trailing_data[0]:
            self._wait_for("head")
        elif state is h11.SEND_BODY:
            self._wait_for("body")
        elif state is not h11.IDLE or self.cycle is not None:
            self._wait_for("")

    def _wait_for(self, part: str) -> None:
        if part == self._waiting_for:
            return
        self._waiting_for = part
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if part:
            seconds = HEAD_TIMEOUT if part == "head" else BODY_TIMEOUT
            self._deadline = self.loop.call_later(seconds, self._too_slow, part)

    def _too_slow(self, part: str) -> None:
        who = self.client or "this machine"
        log.warning("connection from %s closed: its request's %s took too long", who, part)
        self._deadline = None
        self.transport.abort()


def peer_of(transport: asyncio.BaseTransport, cluster: str) -> Peer:
    """Who is at the other end; Forbidden when that cannot be said."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is not None:
        der = tls.getpeercert(binary_form=True)
        if der is None:
            raise Forbidden("no client certificate was shown", code="no-certificate")
        return identity_of(tls.getpeercert(), cluster, certificate.key_hash(der))
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family != socket.AF_UNIX:
        raise Forbidden("a connection without TLS", code="no-certificate")
    return _local_user(peer)


def _local_user(peer: Any) -> LocalUser:
    """From the kernel, as of the moment of connecting: no process can claim another's."""
    try:
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError as error:
        raise Forbidden("the kernel does not say who connects", code="no-credentials") from error
    try:
        groups = peer.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, 1024)
    except OSError:
        groups = b""  # more than 256 groups: the first one alone counts, which gives fewer rights
    _pid, uid, gid = struct.unpack("3i", credentials)
    return LocalUser(uid, frozenset({gid, *(number for (number,) in struct.iter_unpack("I", groups))}))

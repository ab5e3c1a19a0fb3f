"""Serving the application: TLS listeners for other daemons and users, a Unix socket for this machine.

uvicorn's protocol runs on listeners of our own: its server polls ten times a second, takes
the signals, and sends two headers that nobody needs. Without a certificate only the Unix
socket is served; `refresh` opens the rest as soon as there is one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from agentd import pki
from agentd.core.errors import EncapError
from agentd.edge import HEAD_LIMIT, Application, Edge
from agentd.files import remove, write_atomically
from agentd.identity import Identity, Peer
from agentd.listening import LocalSocket, listen_tcp
from agentd.protocol import Judge, PeerProtocol
from agentd.settings import Address, Settings, show_address

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept."""
HANDSHAKE_TIMEOUT = 10.0
SWEEP = 30.0
"""Seconds between two looks at whether the peers of open connections are still welcome."""
CONNECTION_LIMIT = 1000
_IGNORE_DATES = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: for the self-check only

log = logging.getLogger("encap.server")


class Server:
    """Serves `app` from `start` to `stop`. `refuses`: why a peer is refused, "" when it is not."""

    def __init__(self, app: Application, settings: Settings, refuses: Judge = lambda peer: "") -> None:
        self._settings, self._refuses = settings, refuses
        self._edge = Edge(app)
        self._config, self._state = http_config(self._edge), ServerState()
        self._local: LocalSocket | None = None
        self._local_server: asyncio.Server | None = None
        self._context: ssl.SSLContext | None = None
        self._stamp: tuple[int, ...] = ()
        self._cluster = ""
        self._listeners: dict[Address, list[asyncio.Server]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def listening(self) -> tuple[str, ...]:
        """``host:port`` of each TCP listener, with the port that the kernel gave for port 0."""
        return tuple(show_address(s.getsockname()[:2]) for servers in self._listeners.values()
                     for server in servers for s in server.sockets)

    @property
    def certified(self) -> bool:
        """Whether there is a certificate to serve with."""
        return self._context is not None

    @property
    def stopping(self) -> asyncio.Event:
        """Set when `stop` begins."""
        return self._edge.stopping

    async def start(self) -> None:
        """Open the Unix socket, and TLS when there is a certificate. On an error nothing stays open."""
        loop = asyncio.get_running_loop()
        self._local = LocalSocket(self._settings.paths.socket, self._settings.socket_group)
        try:
            self._local_server = await loop.create_server(self._protocol, sock=self._local.socket)
            await self.refresh()
        except BaseException:
            await self.stop(0)
            raise
        self._sweep = loop.call_later(SWEEP, self._swept)

    async def refresh(self, settings: Settings | None = None) -> bool:
        """Follow new settings, a first certificate or a renewed one; whether anything changed.

        Cheap enough for once a second. Connections that are open stay as they are.
        """
        self._settings = settings or self._settings
        paths = self._settings.paths
        try:
            stamp = tuple(p.stat().st_mtime_ns for p in (paths.certificate, paths.key, paths.ca_certificate))
        except FileNotFoundError:
            return False  # not enrolled yet
        if self._context is None:
            await self._check_identity()
            self._context = pki.server_context(paths)
        elif stamp != self._stamp:
            pki.reload_certificate(self._context, paths)
        if stamp != self._stamp:
            self._cluster = pki.own_identity(paths)[0]
        changed, self._stamp = stamp != self._stamp, stamp
        return await self._relisten(self._context) or changed

    def drop_refused(self) -> int:
        """Cut every open connection whose peer is refused by now; how many there were."""
        found = [c for c in self._connections() if c.refused()]
        for connection in found:
            log.warning("connection of %s cut: %s", connection.peer, connection.refused())
            connection.abort()
        return len(found)

    async def stop(self, grace: float = 5.0) -> None:
        """Accept nothing more, end streams, let requests finish for `grace` seconds, then cut."""
        self.stopping.set()
        if self._sweep is not None:
            self._sweep.cancel()
        servers = [s for group in self._listeners.values() for s in group]
        for server in (*servers, *((self._local_server,) if self._local_server else ())):
            server.close()
        self._listeners.clear()
        for connection in self._connections():
            connection.shutdown()
        await self._finish(grace)
        if self._local is not None:
            self._local.close()
            self._local = None
            remove(self._settings.paths.listen_file)

    async def _finish(self, grace: float) -> None:
        if self._state.tasks and grace:
            await asyncio.wait(self._state.tasks, timeout=grace)
        for connection in self._connections():
            connection.abort()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=1)
        for task in list(self._state.tasks):
            task.cancel("the daemon stops")
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=1)
        await asyncio.sleep(0)  # transports tell their connections that they are closed

    def _connections(self) -> list[PeerProtocol]:
        return [c for c in self._state.connections if isinstance(c, PeerProtocol)]

    def _protocol(self) -> PeerProtocol:
        return PeerProtocol(self._config, self._state, self._cluster, self._judge)

    def _judge(self, peer: Peer) -> str:
        if isinstance(peer, Identity) and peer.expires < datetime.now(UTC).timestamp():
            return f"the certificate of {peer.name} has expired"
        return self._refuses(peer)

    def _swept(self) -> None:
        self.drop_refused()
        self._sweep = asyncio.get_running_loop().call_later(SWEEP, self._swept)

    async def _relisten(self, context: ssl.SSLContext) -> bool:
        wanted = self._settings.listen
        gone = [address for address in self._listeners if address not in wanted]
        new = [address for address in wanted if address not in self._listeners]
        for address in gone:
            for server in self._listeners.pop(address):
                server.close()
        for address in new:
            self._listeners[address] = await open_tls(address, self._protocol, context)
        if gone or new:
            text = "".join(f"{where}\n" for where in self.listening)
            write_atomically(self._settings.paths.listen_file, text.encode(), 0o644)
            log.info("listening on %s", ", ".join(self.listening))
        return bool(gone or new)

    async def _check_identity(self) -> None:
        """One request to ourselves over a socket pair: is the certificate's identity what a
        route would see? A later uvicorn may work differently; then nothing is served."""
        paths, seen = self._settings.paths, asyncio.get_running_loop().create_future()

        async def probe(scope: Any, _receive: Any, send: Any) -> None:
            if not seen.done():
                seen.set_result(peer_state_of(scope))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        cluster, role, name = pki.own_identity(paths)
        config, state = http_config(Edge(probe)), ServerState()
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                await _ask_oneself(lambda: PeerProtocol(config, state, cluster, lambda peer: ""),
                                   pki.server_context(paths), pki.client_context(paths), name)
                peer = await seen
        except (OSError, TimeoutError) as error:
            raise EncapError(f"the certificate of this node cannot serve: {str(error) or 'no answer'}",
                             code="identity-check") from error
        if not isinstance(peer, Identity) or (peer.cluster, peer.role, peer.name) != (cluster, role, name):
            raise EncapError(f"the identity of a client does not reach the routes (they see {peer})",
                             code="identity-check", hint="is this version of uvicorn supported?")


def http_config(app: Edge) -> Config:
    """How uvicorn reads HTTP for us: no limits of ours left at their defaults."""
    config = Config(
        app, http=PeerProtocol, ws="none", lifespan="off", interface="asgi3", log_config=None,
        access_log=False, proxy_headers=False, server_header=False, date_header=False,
        timeout_keep_alive=KEEP_ALIVE, h11_max_incomplete_event_size=HEAD_LIMIT,
        limit_concurrency=CONNECTION_LIMIT,
    )
    config.load()
    return config


def peer_state_of(scope: Any) -> Any:
    """What a route finds as its peer."""
    return scope.get("state", {}).get("peer")


async def open_tls(address: Address, protocol: Callable[[], PeerProtocol],
                   context: ssl.SSLContext) -> list[asyncio.Server]:
    """Serve `protocol` on an address; plain HTTP and slow handshakes are cut by the handshake."""
    loop = asyncio.get_running_loop()
    servers = []
    for each in listen_tcp(address):
        server = await loop.create_server(protocol, sock=each, ssl=context, ssl_shutdown_timeout=2,
                                          ssl_handshake_timeout=HANDSHAKE_TIMEOUT)
        servers.append(server)
    return servers


async def _ask_oneself(protocol: Callable[[], PeerProtocol], server: ssl.SSLContext, client: ssl.SSLContext,
                       name: str) -> None:
    """Send one request through a fresh connection. Dates are not looked at: a guest whose
    certificate has expired still has to serve, so that its hypervisor can renew it."""
    server.verify_flags |= ssl.VerifyFlags(_IGNORE_DATES)
    client.verify_flags |= ssl.VerifyFlags(_IGNORE_DATES)
    loop, (near, far) = asyncio.get_running_loop(), socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    accepting = asyncio.ensure_future(loop.connect_accepted_socket(protocol, near, ssl=server))
    try:
        reader, writer = await asyncio.open_connection(sock=far, ssl=client, server_hostname=name)
        writer.write(b"GET / HTTP/1.1\r\nhost: self\r\nconnection: close\r\n\r\n")
        await reader.read(64)
        writer.close()
    finally:
        near_end = (await asyncio.gather(accepting, return_exceptions=True))[0]
        if isinstance(near_end, tuple):
            near_end[0].close()
        else:
            near.close()

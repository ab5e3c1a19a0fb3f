"""The other daemons: who they are, how to reach them, and a fan-out that never raises for one.

A read that fans out answers ``{node: Answer | Silence}``: a silent or slow peer costs its
own deadline and nobody else's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentd.core.errors import EncapError, Silent

if TYPE_CHECKING:
    import ssl

    from api.client import Client, ServerEvent


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered: a value, or a problem that it told itself."""

    node: str
    value: Any = None
    error: EncapError | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """A node that was not heard. `since`: monotonic time of its last answer, None for never."""

    node: str
    why: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a node is and which roles its certificate may carry."""

    address: str
    roles: tuple[str, ...]


class Peers:
    """Clients of the other daemons, one a node, made on first use and kept warm.

    `find` tells where a node is now, None when nobody knows; an address that changed
    gives a new client. `context` makes the shared TLS context when it is first needed.
    """

    def __init__(self, find: Callable[[str], Peer | None], context: Callable[[], ssl.SSLContext],
                 cluster: Callable[[], str], timeout: float) -> None:
        self._find, self._make_context, self._cluster, self.timeout = find, context, cluster, timeout
        self._context: ssl.SSLContext | None = None
        self._clients: dict[str, Client] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self.heard: dict[str, float] = {}

    def client(self, node: str) -> Client:
        """The client of `node`; Silent when its address is not known."""
        peer = self._find(node)
        if peer is None:
            raise Silent(f"the address of {node} is not known", node=node, code="no-address",
                         hint="svc node ls shows the members; a guest needs `address` or a running container")
        client = self._clients.get(node)
        if client is not None and client.address == peer.address:
            return client
        if client is not None:
            self._retire(client)
        from api.client import Client  # httpx stays out of a guest that calls nobody

        if self._context is None:
            self._context = self._make_context()
        self._clients[node] = Client(node, peer.address, self._context, cluster=self._cluster(),
                                     roles=peer.roles, timeout=self.timeout)
        return self._clients[node]

    async def ask(
        self, node: str, method: str, path: str, *, timeout: float | None = None, **more: Any,
    ) -> Any:
        """One call; raises the peer's own error, or Silent."""
        limit = timeout if timeout is not None else self.timeout
        try:
            async with asyncio.timeout(limit):
                # httpx's own deadline comes first: it closes a connection that is stuck in its
                # handshake, which the outer one, a cancellation, would leave open.
                value, _headers = await self.client(node).request(method, path, timeout=0.8 * limit, **more)
        except TimeoutError as error:
            raise Silent(f"{node} did not answer within {limit:g} s", node=node) from error
        except EncapError as error:
            if not isinstance(error, Silent):
                self.heard[node] = time.monotonic()
            raise
        self.heard[node] = time.monotonic()
        return value

    async def fan_out(
        self, nodes: Iterable[str], method: str, path: str, **more: Any,
    ) -> dict[str, Answer | Silence]:
        """The same call to many at once; every node has an entry, in the order given."""
        names = list(dict.fromkeys(nodes))
        answers = await asyncio.gather(*(self._one(node, method, path, **more) for node in names))
        return dict(zip(names, answers, strict=True))

    async def _one(self, node: str, method: str, path: str, **more: Any) -> Answer | Silence:
        try:
            return Answer(node, await self.ask(node, method, path, **more))
        except Silent as error:
            return Silence(node, error.text, self.heard.get(node))
        except EncapError as error:
            return Answer(node, error=error)

    def events(self, node: str, path: str, *, last_id: str = "",
               silence: float = 15.0) -> AbstractAsyncContextManager[AsyncIterator[ServerEvent]]:
        """The event stream of a node, see `api.client.Client.events`."""
        return self.client(node).events(path, last_id=last_id, silence=silence)

    def renew_context(self) -> None:
        """Our own certificate changed: new connections use the new one."""
        self._context = None
        for client in self._clients.values():
            self._retire(client)
        self._clients.clear()

    def _retire(self, client: Client) -> None:
        task = asyncio.get_running_loop().create_task(client.close())
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    async def close(self) -> None:
        await asyncio.gather(*(c.close() for c in self._clients.values()), *self._retired)
        self._clients.clear()

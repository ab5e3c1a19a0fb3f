"""The outermost layer of the application: bodies of a bounded size, streams that end on a stop.

Plain ASGI. A body is read whole before the application is called, so a route never holds
half of one, and one that is too long is answered with 413 whatever it claims about itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

BODY_LIMIT = (2 << 20) + (64 << 10)
"""Bytes: a configuration of 1 MiB as JSON, where each line end or quote takes two."""
DRAINED = 8
"""A body up to so many times the limit is read and dropped before it is refused: a connection
that is closed on unread data is reset, and its client would never see the answer."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Edge:
    """Wraps `app`. Set `stopping` and every open event stream ends cleanly."""

    def __init__(self, app: Application, limit: int = BODY_LIMIT) -> None:
        self._app, self._limit = app, limit
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._body(scope, receive)
        except _ClientGone:
            return
        if body is None:
            await _too_large(send, self._limit)
            return
        sent = _Sent(send)
        await self._app(scope, _Body(body, receive, self.stopping), sent)
        if sent.open and self.stopping.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None when it is too long."""
        headers = dict(scope["headers"])
        announced = int(headers.get(b"content-length", b"0"))
        if announced > DRAINED * self._limit or (announced > self._limit and b"expect" in headers):
            return None
        parts, size = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _ClientGone
            body = message.get("body", b"")
            size += len(body)
            if size <= self._limit:
                parts += body
            if size > DRAINED * self._limit:
                return None
            if not message.get("more_body"):
                return bytes(parts) if size <= self._limit else None


class _ClientGone(Exception):
    """In the middle of its own request: nobody is left to answer."""


class _Body:
    """`receive` for the application: the body once, then the disconnect, or our own stop."""

    def __init__(self, body: bytes, receive: Receive, stopping: asyncio.Event) -> None:
        self._body: bytes | None = body
        self._receive, self._stopping = receive, stopping

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        waits = {asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._stopping.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return {"type": "http.disconnect"}


class _Sent:
    """`send` that remembers whether an answer was begun and not ended."""

    def __init__(self, send: Send) -> None:
        self._send, self.open = send, False

    async def __call__(self, message: Message) -> None:
        self.open = message["type"] == "http.response.start" or bool(message.get("more_body"))
        await self._send(message)


async def _too_large(send: Send, limit: int) -> None:
    document = {
        "type": "urn:encap:problem:too-large", "title": "too large", "status": 413, "code": "too-large",
        "detail": f"the body of a request is at most {limit} bytes", "hint": "", "retryable": False,
    }
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})

"""The outermost layer of the application: requests of a bounded size and of one meaning only,
streams that end on a stop.

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
HEAD_LIMIT = 32 << 10
"""Bytes of the first line and the headers of a request."""
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
        fault = _fault(scope)
        if fault is not None:
            await _refuse(send, *fault)
            return
        try:
            body = await self._body(scope, receive)
        except _ClientGone:
            return
        if body is None:
            await _refuse(send, 413, "too-large", f"the body of a request is at most {self._limit} bytes")
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


def _fault(scope: Scope) -> tuple[int, str, str] | None:
    """Status, code and words for a head that is too large, or that two readers may take differently."""
    headers, version = scope["headers"], scope["http_version"]
    names = {name for name, _ in headers}
    line = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"])
    if line + sum(len(name) + len(value) + 4 for name, value in headers) > HEAD_LIMIT:
        return 431, "too-large", f"the first line and headers of a request are at most {HEAD_LIMIT} bytes"
    if version not in ("1.0", "1.1"):
        return 505, "bad-request", f"HTTP/{version} is not spoken here"
    if not scope["raw_path"].startswith(b"/"):
        return 400, "bad-request", "the target of a request is a path"
    if b"transfer-encoding" in names and (b"content-length" in names or version == "1.0"):
        return 400, "bad-request", "the length of the body is said in two ways"
    return None


async def _refuse(send: Send, status: int, code: str, text: str) -> None:
    """A problem document, and the end of the connection: what follows on it is not read."""
    document = {
        "type": f"urn:encap:problem:{code}", "title": code.replace("-", " "), "status": status, "code": code,
        "detail": text, "hint": "", "retryable": False,
    }
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})

"""Calls to other daemons: the only module that imports httpx.

One AsyncClient a peer with one shared SSL context: a pool shared by many peers costs
quadratic time. The server must hold a certificate of our cluster for the very node that
we mean: its name is checked in the handshake, before anything is sent, its role after.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from agentd.core.errors import EncapError, Silent
from api.errors import error_from

ANSWER_LIMIT = 4 << 20
"""Bytes; a longer answer is cut off and counts as silence."""


EVENT_LIMIT = 2 << 20
"""Bytes of one event."""
OPENING = 5.0
"""Seconds to connect for a stream."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event. A comment arrives with `kind` "comment" and no data."""

    kind: str
    data: str = ""
    id: str = ""


class Client:
    """One peer. `address` is ``host:port``, `roles` those that its certificate may carry."""

    def __init__(
        self, node: str, address: str, context: ssl.SSLContext, *,
        cluster: str, roles: tuple[str, ...], timeout: float = 3.0,
    ) -> None:
        self.node, self.address = node, address
        self._uris = {f"encap://{cluster}/{role}/{node}" for role in roles}
        self._http = httpx.AsyncClient(
            base_url=f"https://{address}", verify=context, follow_redirects=False, trust_env=False,
            timeout=timeout, limits=httpx.Limits(max_connections=16, max_keepalive_connections=4),
            headers={"accept-encoding": "identity"},
        )

    async def request(
        self, method: str, path: str, *, body: Any = None, text: str | None = None,
        query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> tuple[Any, httpx.Headers]:
        """The decoded JSON (or the text) of a 2xx answer and its headers.

        Raises the error of a problem document, and Silent when nothing usable came in time.
        """
        content = text.encode() if text is not None else None
        limit = timeout if timeout is not None else httpx.USE_CLIENT_DEFAULT
        try:
            async with self._http.stream(
                method, path, json=body, content=content, params=query, headers=headers,
                timeout=limit, extensions=self._extensions(),
            ) as response:
                self._check(response)
                raw = await self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise Silent(f"{self.node} does not answer: {_words(error)}", node=self.node) from error
        return self._decode(response, raw), response.headers

    @asynccontextmanager
    async def events(
        self, path: str, *, last_id: str = "", silence: float = 15.0,
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        """Follow an event stream; Silent when it cannot be opened or brings no line for `silence` s."""
        headers = {"accept": "text/event-stream", **({"last-event-id": last_id} if last_id else {})}
        timeout = httpx.Timeout(OPENING, read=silence)
        try:
            async with AsyncExitStack() as stack:
                # Bytes that trickle in are no answer: httpx's own deadline is for each of them.
                async with asyncio.timeout(OPENING + silence):
                    response = await stack.enter_async_context(self._http.stream(
                        "GET", path, headers=headers, timeout=timeout, extensions=self._extensions()))
                    self._check(response)
                    if response.status_code != 200:
                        self._decode(response, await self._read(response))
                yield _events(response, silence)
        except TimeoutError as error:
            raise Silent(f"{self.node} fell silent: no answer in time", node=self.node) from error
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise Silent(f"{self.node} fell silent: {_words(error)}", node=self.node) from error

    async def close(self) -> None:
        await self._http.aclose()

    def _extensions(self) -> dict[str, Any]:
        return {"sni_hostname": self.node}

    def _check(self, response: httpx.Response) -> None:
        stream = response.extensions.get("network_stream")
        tls = stream.get_extra_info("ssl_object") if stream is not None else None
        names = (tls.getpeercert() or {}).get("subjectAltName", ()) if tls is not None else ()
        if not self._uris & {value for kind, value in names if kind == "URI"}:
            raise Silent(f"{self.address} is not {self.node}: its certificate is another's", node=self.node,
                         hint="is the address in the configuration right?", code="wrong-peer")

    async def _read(self, response: httpx.Response) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_raw():
            size += len(part)
            if size > ANSWER_LIMIT:
                raise Silent(f"{self.node} sent more than {ANSWER_LIMIT} bytes", node=self.node,
                             code="too-large-answer")
            parts.append(part)
        return b"".join(parts)

    def _decode(self, response: httpx.Response, raw: bytes) -> Any:
        kind = response.headers.get("content-type", "")
        if kind.startswith("text/plain") and response.is_success:
            return raw.decode(errors="replace")
        try:
            document = json.loads(raw) if raw else None
        except (ValueError, RecursionError) as error:
            raise Silent(f"{self.node} sent an answer that cannot be read", node=self.node,
                         code="invalid-reply") from error
        if response.is_success:
            return document
        known = document if isinstance(document, dict) else {}
        raise error_from(known, response.status_code)


async def _lines(response: httpx.Response, patience: float) -> AsyncIterator[str]:
    """Lines of a stream. One that never ends is cut off: it would fill our memory, or take for ever."""
    parts, rest, loop = response.aiter_raw(), b"", asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                part = await anext(parts, None)
        except TimeoutError:
            raise Silent(f"no line within {patience:g} s") from None
        if part is None:
            return
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")
        if whole:
            deadline = loop.time() + patience  # the time that a reader takes is not the sender's
        if len(rest) > EVENT_LIMIT:
            raise Silent(f"an event of more than {EVENT_LIMIT} bytes", code="too-large-answer")


async def _events(response: httpx.Response, patience: float) -> AsyncIterator[ServerEvent]:
    kind, data, ident = "message", "", ""
    async for line in _lines(response, patience):
        if line.startswith(":"):
            yield ServerEvent("comment")
        elif not line:
            if data:
                yield ServerEvent(kind, data, ident)
            kind, data = "message", ""
        else:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data = f"{data}\n{value}" if data else value
                if len(data) > EVENT_LIMIT:
                    raise Silent(f"an event of more than {EVENT_LIMIT} bytes", code="too-large-answer")
            elif name == "id":
                ident = value


def _words(error: BaseException) -> str:
    """What happened, for people: many transport errors carry no text of their own."""
    return str(error) or type(error).__name__


__all__ = ["ANSWER_LIMIT", "Client", "EncapError", "ServerEvent"]

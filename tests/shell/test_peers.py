"""The client against the product's own server: who is believed, and what silence costs."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd import pki
from agentd.core.errors import EncapError, Frozen, Silent
from agentd.peers import Answer, Peer, Peers, Silence
from agentd.server import Server
from agentd.settings import Paths, Settings

pytestmark = pytest.mark.socket
ROLES = ("hypervisor",)


class App:
    """Plain ASGI: /problem refuses, /garbage is no JSON, /drip sends a byte now and then and never a
    line, `lies` are answered with 422, all else tells the path."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.lies: dict[str, Any] = {}

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        if scope["path"] == "/drip":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(60):
                await send({"type": "http.response.body", "body": b"d", "more_body": True})
                await asyncio.sleep(0.05)
        status, body = 200, json.dumps({"path": scope["path"]})
        if scope["path"] in self.lies:
            status, body = 422, json.dumps(self.lies[scope["path"]])
        if scope["path"] == "/problem":
            status, body = 409, json.dumps({"code": "frozen", "detail": "web is frozen", "hint": "thaw it"})
        if scope["path"] == "/garbage":
            body = "<html>"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[App, Peers, dict[str, Peer]]]:
    paths = Paths(tmp_path)
    pki.init_ca(paths, "test", "hv1")
    app = App()
    server = Server(app, Settings(tmp_path, "hv1", "test", listen=(("127.0.0.1", 0),)))
    await server.start()
    where = {"hv1": Peer(server.listening[0], ROLES)}
    peers = Peers(where.get, lambda: pki.client_context(paths), lambda: "test", 1.0)
    yield app, peers, where
    await peers.close()
    await server.stop()


Served = tuple[App, Peers, dict[str, Peer]]


async def test_an_answer_and_a_problem_keep_their_meaning(served: Served) -> None:
    _app, peers, _where = served
    assert await peers.ask("hv1", "GET", "/x") == {"path": "/x"}
    with pytest.raises(Frozen, match="web is frozen") as told:
        await peers.ask("hv1", "GET", "/problem")
    assert told.value.hint == "thaw it"


async def test_another_node_at_the_address_is_silence_and_hears_nothing(served: Served) -> None:
    app, peers, where = served
    where["hv2"] = where["hv1"]
    with pytest.raises(Silent):
        await peers.ask("hv2", "POST", "/secret", body={"token": 1})
    assert app.paths == []


async def test_another_role_is_silence(served: Served) -> None:
    _app, peers, where = served
    where["hv1"] = Peer(where["hv1"].address, ("guest",))
    with pytest.raises(Silent, match="another's"):
        await peers.ask("hv1", "GET", "/x")


async def test_an_answer_that_cannot_be_read_is_silence(served: Served) -> None:
    _app, peers, _where = served
    with pytest.raises(Silent, match="cannot be read"):
        await peers.ask("hv1", "GET", "/garbage")


async def test_a_silent_peer_costs_its_own_deadline_and_never_fails_the_rest(served: Served) -> None:
    _app, peers, where = served
    with socket.create_server(("127.0.0.1", 0)) as mute:
        where["mute"] = Peer(f"127.0.0.1:{mute.getsockname()[1]}", ROLES)

        found = await peers.fan_out(["mute", "nowhere", "hv1"], "GET", "/x")
    assert isinstance(found["mute"], Silence)
    assert isinstance(found["nowhere"], Silence)
    assert found["hv1"] == Answer("hv1", {"path": "/x"})
    assert list(found) == ["mute", "nowhere", "hv1"]



@pytest.mark.parametrize("lie", [
    {"code": "invalid-config", "problems": 1}, {"code": "invalid-config", "problems": [1, {"text": 2}]},
    {"code": {"a": 1}, "detail": ["x"], "hint": 7}, {"code": "x" * 100_000, "detail": "y" * 100_000},
    {"detail": "\x1b[2J\x00", "code": "frozen\n"}, {"self": 1, "text": 2, "findings": 3, "kind": 4}, [], 7,
])
async def test_whatever_a_node_says_for_a_problem_is_an_error_of_ours(served: Served, lie: Any) -> None:
    app, peers, _where = served
    app.lies["/lie"] = lie
    found = await peers.fan_out(["hv1"], "GET", "/lie")
    answer = found["hv1"]
    assert isinstance(answer, Answer)
    assert isinstance(answer.error, EncapError)
    assert len(answer.error.text) <= 4096
    assert answer.error.text.isprintable()
    assert len(answer.error.code) <= 64
    assert answer.error.code.isprintable()


async def test_a_stream_that_drips_and_never_ends_a_line_is_silent(served: Served) -> None:
    _app, peers, _where = served
    began = time.monotonic()
    with pytest.raises(Silent):
        async with peers.events("hv1", "/drip", silence=0.5) as stream:
            async for _event in stream:
                raise AssertionError("there was no event")
    assert time.monotonic() - began < 2


async def test_a_head_that_drips_is_silent(served: Served, tmp_path: Path) -> None:
    _app, peers, where = served

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        try:
            while not reader.at_eof():
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.05)
        except OSError:
            pass  # the client has enough of it
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0, ssl=pki.server_context(Paths(tmp_path)))
    host, port = server.sockets[0].getsockname()[:2]
    where["hv1"] = Peer(f"{host}:{port}", ROLES)
    began = time.monotonic()
    with pytest.raises(Silent):
        async with peers.events("hv1", "/x", silence=0.5):
            raise AssertionError("there was no answer")
    assert time.monotonic() - began < 8
    server.close()

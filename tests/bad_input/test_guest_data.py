"""What a hostile guest sends, through the real client to where it would do harm."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentd import pki
from agentd.core.errors import EncapError, Silent
from agentd.core.model import Guest, Level, Resource, Service
from agentd.peers import Peer, Peers
from agentd.server import Server
from agentd.settings import Paths, Settings
from agentd.subscription import SERVICES_LIMIT, Subscriptions
from api.client import ANSWER_LIMIT, ServerEvent
from api.errors import TEXT_LIMIT, error_from
from cli.render import any_tree

GUEST = Guest("container#0", "vm1", (Resource("fs#1", "flag", encap=True),))
SERVICE = Service("web", "hv1", Level.HOST, ("hv1",), encapnodes=("vm1",),
                  resources=(Resource("container#0", "lxc"),), guests=(GUEST,))


def document(status: str = "up", **more: Any) -> dict[str, Any]:
    row = {"rid": "fs#1", "status": status, "label": "flag", "log": [], "age": 0.1}
    return {"schema": "encap.status/1", "service": "web", "node": "vm1", "level": "encap", "revision": 3,
            "hash": "sha256:x", "avail": status, "overall": status, "resources": [row], **more}


# Over the wire: the product's own server stands for the agent of vm1.

class Agent:
    """Plain ASGI: answers what it is told to, piece by piece."""

    def __init__(self) -> None:
        self.status, self.headers, self.pieces = 200, [(b"content-type", b"application/json")], [b"{}"]
        self.pause, self.paths = 0.0, list[str]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if self.pause:
                await asyncio.sleep(self.pause)
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[tuple[Agent, Peers]]:
    host, inside = Paths(tmp_path / "hv1"), Paths(tmp_path / "vm1")
    pki.init_ca(host, "test", "hv1")
    issued = pki.sign_request(host, pki.make_key_and_request(inside, "vm1"), "guest", "vm1")
    pki.install(inside, issued, host.ca_certificate.read_bytes(), "test", "guest", "vm1")
    app = Agent()
    server = Server(app, Settings(inside.root, "vm1", "test", listen=(("127.0.0.1", 0),)))
    await server.start()
    where = Peer(server.listening[0], ("guest",))
    peers = Peers(lambda node: where, lambda: pki.client_context(host), lambda: "test", 1.0)
    yield app, peers
    await peers.close()
    await server.stop(0)


Talk = tuple[Agent, Peers]


@pytest.mark.socket
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(agent: Talk, status: int) -> None:
    app, peers = agent
    app.status, app.headers = status, [(b"location", b"/v1/services/web/actions")]
    with pytest.raises(EncapError):
        await peers.ask("vm1", "GET", "/v1/services/web/status")
    assert app.paths == ["/v1/services/web/status"]


@pytest.mark.socket
async def test_an_answer_without_end_is_cut_off(agent: Talk) -> None:
    app, peers = agent
    app.pieces = [b"x" * (1 << 20)] * ((ANSWER_LIMIT >> 20) + 2)
    with pytest.raises(Silent, match=f"more than {ANSWER_LIMIT} bytes"):
        await peers.ask("vm1", "GET", "/x", timeout=10)


@pytest.mark.socket
async def test_what_is_packed_is_not_unpacked(agent: Talk) -> None:
    app, peers = agent
    app.headers = [*app.headers, (b"content-encoding", b"gzip")]
    app.pieces = [gzip.compress(b"\0" * 50_000_000)]
    with pytest.raises(Silent, match="cannot be read"):
        await peers.ask("vm1", "GET", "/x", timeout=10)


@pytest.mark.socket
@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff", b"{} {}"],
                         ids=["deep", "number", "no UTF-8", "two"])
async def test_json_that_cannot_be_read_is_silence(agent: Talk, body: bytes) -> None:
    app, peers = agent
    app.pieces = [body]
    with pytest.raises(Silent, match="cannot be read"):
        await peers.ask("vm1", "GET", "/x", timeout=10)


@pytest.mark.socket
async def test_a_body_that_trickles_in_meets_the_deadline(agent: Talk) -> None:
    app, peers = agent
    app.pieces, app.pause = [b"1"] * 1000, 0.05
    began = time.monotonic()
    with pytest.raises(Silent, match=r"within 0\.5 s"):
        await peers.ask("vm1", "GET", "/x", timeout=0.5)
    assert time.monotonic() - began < 2


@pytest.mark.socket
async def test_an_event_without_end_is_cut_off(agent: Talk) -> None:
    app, peers = agent
    app.headers, app.pieces = [(b"content-type", b"text/event-stream")], [b"data: " + b"x" * (1 << 20)] * 4
    with pytest.raises(Silent, match="an event of more than"):
        async with peers.events("vm1", "/v1/events") as stream:
            async for _event in stream:
                pass


# What was read.

class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


class Streams:
    """Stands for the peers: gives `events` at the first opening, nothing at the next ones."""

    def __init__(self, events: list[ServerEvent]) -> None:
        self.given, self.opened, self.ended = [events], list[str](), asyncio.Event()

    @asynccontextmanager
    async def events(self, node: str, path: str, *, last_id: str = "",
                     silence: float = 15.0) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        self.opened.append(last_id)
        yield self._each(self.given.pop() if self.given else [])

    async def _each(self, events: list[ServerEvent]) -> AsyncIterator[ServerEvent]:
        for event in events:
            yield event
        if len(self.opened) > 1:
            self.ended.set()
            await asyncio.Event().wait()


async def heard(*events: ServerEvent, known: Callable[[str], bool] = lambda service: service == "web",
                ) -> tuple[Subscriptions, Streams, list[str]]:
    """After everything was heard, and the stream opened again."""
    streams, changed = Streams(list(events)), list[str]()

    async def here(_node: str) -> bool:
        return True

    async def introduced(_node: str, _boot: str) -> None:
        """Nobody asks for it here."""

    made = Subscriptions(streams, Clock(), lambda: 15.0,  # type: ignore[arg-type]
                         lambda service, node: (SERVICE, GUEST) if known(service) else None,
                         here, changed.append, introduced)
    made.follow(["vm1"])
    await asyncio.wait_for(streams.ended.wait(), 5)
    return made, streams, changed


def event(kind: str, what: Any, ident: str = "r.1") -> ServerEvent:
    return ServerEvent(kind, what if isinstance(what, str) else json.dumps(what), ident)


async def test_what_was_told_before_a_reboot_is_over() -> None:
    made, _, changed = await heard(event("node", {"boot_id": "b1", "services": ["web"]}), event("status", document()),
                                   event("node", {"boot_id": "b2", "services": ["web"]}))
    assert made.report("web", GUEST).document is None
    assert changed == ["web", "web"]
    await made.close()


@pytest.mark.parametrize("who", [
    {}, {"boot_id": 7, "services": ["web"]}, {"boot_id": "x" * 65, "services": ["web"]},
    {"boot_id": "", "services": ["web"]}, {"boot_id": "b1", "services": [["web"], None, "web"]},
], ids=["nothing", "number", "long", "empty", "odd list"])
async def test_an_odd_introduction_harms_nothing(who: dict[str, Any]) -> None:
    made, _, _ = await heard(event("node", {"boot_id": "b1", "services": ["web"]}), event("status", document()),
                             event("node", who))
    assert (made.report("web", GUEST).document is None) is (who == {})
    assert made.agent("vm1") == "answering"
    await made.close()


@pytest.mark.parametrize("ident", ["é", "a\rb", "a\x00", "x" * 81, "\u202e"], ids=ascii)
async def test_an_event_id_that_fits_no_header_is_not_sent_back(ident: str) -> None:
    made, streams, _ = await heard(event("status", document(), ident))
    assert streams.opened == ["", ""]
    await made.close()


@pytest.mark.parametrize("data", ["{", "[]", "null", "[" * 100_000, '{"service": "../etc"}', '{"service": ["web"]}',
                                  '{"service": "\x1b[2J"}', "9" * 5000], ids=range(8))
async def test_an_event_of_no_service_ends_the_stream_and_nothing_else(data: str) -> None:
    made, streams, changed = await heard(event("status", data), event("status", document()))
    assert changed == []
    assert len(streams.opened) == 2
    assert made.sight("vm1").why.startswith("an event ")
    await made.close()


async def test_more_services_than_are_kept() -> None:
    told = [event("status", {"service": f"s{i}"}) for i in range(SERVICES_LIMIT + 100)]
    made, _, _ = await heard(*told, known=lambda service: True)
    assert len(made.sight("vm1").told) == SERVICES_LIMIT
    await made.close()


def test_the_words_of_an_error_are_cut_and_made_visible() -> None:
    told = error_from({"code": "x\n" * 100, "detail": "\x1b[2J" + "y" * 100_000, "hint": "a\rb" + "z" * 100_000,
                       "self": 1, "text": 2}, 409)
    assert told.text.startswith("\\x1b[2J")
    assert told.hint.startswith("a\\x0db")
    assert max(len(told.text), len(told.hint)) <= TEXT_LIMIT
    assert 0 < len(told.code) <= 64
    assert told.code.isprintable()


def test_html_of_a_guest_is_text_on_a_terminal() -> None:
    told = document(topology="failover", groups={}, frozen=None)
    told["resources"][0]["label"] = "<script>alert(1)</script>\x1b[31m"
    drawn = any_tree({**told, "resources": [{"group": "fs", **told["resources"][0]}]})
    assert "<script>alert(1)</script>\\x1b[31m" in drawn
    assert "\x1b" not in drawn

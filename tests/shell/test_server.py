"""The server against real sockets: who gets in, who does not, and how connections end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import stat
import struct
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from agentd import pki, protocol, server
from agentd.core.errors import ActionFailed, EncapError, Refused
from agentd.identity import Identity, LocalUser
from agentd.server import Server
from agentd.settings import Paths, Settings

pytestmark = pytest.mark.socket


class App:
    """Plain ASGI: tells the peer; /stream is an event stream; /echo gives back the body's length."""

    def __init__(self) -> None:
        self.peers: list[Any] = []
        self.streams_ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.peers.append(scope["state"]["peer"])
        message = await receive()
        if scope["path"] == "/stream":
            await self._stream(receive, send)
            return
        if scope["path"] == "/slow":
            await asyncio.sleep(0.3)
        text = str(len(message["body"])) if scope["path"] == "/echo" else repr(self.peers[-1])
        headers = [(b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    async def _stream(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        self.streams_ended += 1


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hv1 with its CA, hv2 and vm1 of the same cluster, alice, and a foreign cluster of the same name."""
    root = tmp_path_factory.mktemp("keys")
    hv1 = Paths(root / "hv1")
    pki.init_ca(hv1, "prod", "hv1")
    for name, role in (("hv2", "hypervisor"), ("vm1", "guest")):
        paths = Paths(root / name)
        issued = pki.sign_request(hv1, pki.make_key_and_request(paths, name), role, name)
        pki.install(paths, issued, hv1.ca_certificate.read_bytes(), "prod", role, name)
    pki.init_ca(Paths(root / "foreign"), "prod", "hv2")
    return root


@pytest.fixture
def root(keys: Path, tmp_path: Path) -> Path:
    shutil.copytree(keys / "hv1", tmp_path / "hv1")
    return tmp_path / "hv1"


def settings(root: Path, **more: Any) -> Settings:
    return Settings(root, "hv1", "prod", **{"listen": (("127.0.0.1", 0),), **more})


@contextlib.asynccontextmanager
async def serving(root: Path, app: Any = None, refuses: Callable[[Any], str] = lambda peer: "",
                  **more: Any) -> AsyncIterator[Server]:
    made = Server(app or App(), settings(root, **more), refuses)
    await made.start()
    try:
        yield made
    finally:
        await made.stop(2)


async def talk(made: Server, context: ssl.SSLContext | None, request: bytes, name: str = "hv1") -> bytes:
    """Everything that the server says to `request`, until it closes."""
    host, port = made.listening[0].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context,
                                                   server_hostname=name if context else None)
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


GET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def local(root: Path, request: bytes) -> bytes:
    directory = os.open(Paths(root).run_dir, os.O_RDONLY)
    try:
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{directory}/agentd.sock")
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer
    finally:
        os.close(directory)


async def test_a_certificate_of_the_cluster_reaches_the_application_as_an_identity(keys: Path, root: Path) -> None:
    app = App()
    async with serving(root, app) as made:
        answer = await talk(made, pki.client_context(Paths(keys / "hv2")), GET)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\ndate:" not in answer.lower()
    assert b"\r\nserver:" not in answer.lower()
    (peer,) = app.peers
    assert (peer.cluster, peer.role, peer.name) == ("prod", "hypervisor", "hv2")
    assert peer.key_hash == pki.hash_of(Paths(keys / "hv2").certificate.read_bytes())
    assert peer.expires > datetime.now(UTC).timestamp()


def anonymous(keys: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(Paths(keys / "hv1").ca_certificate)
    return context


def foreign(keys: Path) -> ssl.SSLContext:
    context = anonymous(keys)
    context.load_cert_chain(Paths(keys / "foreign").certificate, Paths(keys / "foreign").key)
    return context


def signed(keys: Path, *, names: bool, days: int) -> ssl.SSLContext:
    """A client of the real CA, with or without our URI, good until `days` from now."""
    hv1, vm1 = Paths(keys / "hv1"), Paths(keys / "vm1")
    authority = x509.load_pem_x509_certificate(hv1.ca_certificate.read_bytes())
    key = load_pem_private_key(vm1.key.read_bytes(), None)
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hv2")])
    builder = x509.CertificateBuilder(authority.subject, subject, key.public_key(), 7, now - timedelta(hours=40),
                                      now + timedelta(days=days) - timedelta(hours=1))
    if names:
        uri = x509.UniformResourceIdentifier("encap://prod/hypervisor/hv2")
        builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    made = builder.sign(load_pem_private_key(hv1.ca_key.read_bytes(), None), hashes.SHA256())
    file = keys / f"signed-{names}-{days}.crt"
    file.write_bytes(pki.issuing.pem_of(made))
    context = anonymous(keys)
    context.load_cert_chain(file, vm1.key)
    return context


def old_tls(keys: Path) -> ssl.SSLContext:
    context = pki.client_context(Paths(keys / "hv2"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("client", [
    anonymous, foreign, old_tls, lambda keys: signed(keys, names=False, days=1),
    lambda keys: signed(keys, names=True, days=0), lambda keys: None,
], ids=["no certificate", "foreign CA", "TLS 1.2", "common name only", "expired", "plain HTTP"])
async def test_everybody_else_is_refused_before_any_route(
        keys: Path, root: Path, client: Callable[[Path], ssl.SSLContext | None]) -> None:
    app = App()
    async with serving(root, app) as made:
        try:
            answer = await talk(made, client(keys), GET)
        except OSError:
            answer = b""
        assert answer == b""
        assert app.peers == []
        assert (await talk(made, pki.client_context(Paths(keys / "hv2")), GET)).startswith(b"HTTP/1.1 200")


async def test_the_server_is_known_by_its_name(keys: Path, root: Path) -> None:
    async with serving(root) as made:
        with pytest.raises(ssl.SSLCertVerificationError):
            await talk(made, pki.client_context(Paths(keys / "hv2")), GET, name="hv3")


async def test_a_removed_peer_is_refused_on_its_open_connection_and_its_stream_is_cut(
        keys: Path, root: Path) -> None:
    removed: set[str] = set()

    def refuses(peer: Any) -> str:
        return "was removed" if isinstance(peer, Identity) and peer.name in removed else ""

    app = App()
    async with serving(root, app, refuses) as made:
        host, port = made.listening[0].rsplit(":", 1)
        context = pki.client_context(Paths(keys / "hv2"))
        idle = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="hv1")
        idle[1].write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await idle[0].readuntil(b")")
        stream = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="hv1")
        stream[1].write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        await stream[0].readuntil(b"hello")
        removed.add("hv2")
        seen = len(app.peers)
        idle[1].write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await closed(idle[0])
        assert made.drop_refused() == 1
        assert await closed(stream[0])
        with contextlib.suppress(OSError):
            assert await talk(made, context, GET) == b""
        assert len(app.peers) == seen
        for _reader, writer in (idle, stream):
            writer.close()


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends without another byte of an answer."""
    try:
        return b"HTTP/1.1" not in await asyncio.wait_for(reader.read(), 5)
    except OSError:
        return True


async def test_the_unix_socket_tells_who_connects(root: Path) -> None:
    app = App()
    async with serving(root, app):
        assert (await local(root, GET)).startswith(b"HTTP/1.1 200")
        mode = stat.S_IMODE(Paths(root).socket.stat().st_mode)
        assert mode in (0o600, 0o660)
    (peer,) = app.peers
    assert isinstance(peer, LocalUser)
    assert (peer.uid, os.getegid() in peer.gids) == (os.geteuid(), True)
    assert not Paths(root).socket.exists()


async def test_a_root_longer_than_a_unix_path(tmp_path: Path, root: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    shutil.copytree(root, deep)
    async with serving(deep) as made:
        assert made.listening
        assert (await local(deep, GET)).startswith(b"HTTP/1.1 200")


async def test_two_daemons_do_not_share_a_root_and_a_killed_ones_socket_is_no_obstacle(root: Path) -> None:
    Paths(root).run_dir.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(Paths(root).socket))
    async with serving(root):
        with pytest.raises(Refused, match="another agentd"):
            await Server(App(), settings(root)).start()
        assert (await local(root, GET)).startswith(b"HTTP/1.1 200")


async def test_without_a_certificate_only_this_machine_is_served_until_there_is_one(
        keys: Path, root: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    async with serving(fresh) as made:
        assert made.listening == ()
        assert (await local(fresh, GET)).startswith(b"HTTP/1.1 200")
        assert not await made.refresh()
        shutil.copytree(Paths(root).pki_dir, Paths(fresh).pki_dir)
        assert await made.refresh()
        assert Paths(fresh).listen_file.read_text() == f"{made.listening[0]}\n"
        assert (await talk(made, pki.client_context(Paths(keys / "hv2")), GET)).startswith(b"HTTP/1.1 200")
        assert not await made.refresh()


async def test_a_renewed_certificate_is_shown_to_new_connections(keys: Path, root: Path) -> None:
    async with serving(root) as made:
        context = pki.client_context(Paths(keys / "hv2"))

        async def shown() -> bytes:
            host, port = made.listening[0].rsplit(":", 1)
            _reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="hv1")
            der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            return der

        before = await shown()
        pki.renew_own(Paths(root))
        assert await made.refresh()
        assert await shown() != before


async def test_new_addresses_are_opened_and_old_ones_closed(keys: Path, root: Path) -> None:
    async with serving(root) as made:
        old = int(made.listening[0].rsplit(":", 1)[1])
        assert await made.refresh(settings(root, listen=(("127.0.0.2", 0),)))
        assert [where.split(":")[0] for where in made.listening] == ["127.0.0.2"]
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", old)


async def test_an_address_in_use_is_told_and_nothing_stays_open(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        made = Server(App(), settings(root, listen=(("127.0.0.1", taken.getsockname()[1]),)))
        with pytest.raises(ActionFailed, match=r"cannot listen on 127\.0\.0\.1"):
            await made.start()
    assert not Paths(root).socket.exists()


@pytest.mark.parametrize("head", [
    b"content-length: 2400000\r\n", b"transfer-encoding: chunked\r\n"], ids=["announced", "chunked"])
async def test_a_body_that_is_too_long_is_413(root: Path, head: bytes) -> None:
    body = b"x" * 2_400_000
    if head.startswith(b"transfer"):
        body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    async with serving(root):
        answer = await local(root, b"POST /echo HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"too-large" in answer


@pytest.mark.parametrize("head", [
    b"content-length: 900000000\r\n", b"content-length: 2400000\r\nexpect: 100-continue\r\n"])
async def test_a_body_that_is_hopeless_is_refused_before_it_is_sent(root: Path, head: bytes) -> None:
    async with serving(root):
        answer = await local(root, b"POST /echo HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_body_of_the_allowed_size_arrives_whole(root: Path) -> None:
    body = b"x" * (2 << 20)
    async with serving(root):
        answer = await local(root, b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                                   b"content-length: %d\r\n\r\n" % len(body) + body)
    assert answer.endswith(str(len(body)).encode())


@pytest.mark.parametrize("request_", [
    b"\x16\x03\x01nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\nhost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
])
async def test_requests_that_are_no_http_are_answered_400_and_closed(root: Path, request_: bytes) -> None:
    app = App()
    async with serving(root, app):
        assert (await local(root, request_)).startswith(b"HTTP/1.1 4")
    assert app.peers == []


async def test_headers_without_end_reach_no_route(root: Path) -> None:
    app = App()
    async with serving(root, app):
        try:
            answer = await local(root, b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: bbbbbbbbbb\r\n" * 200_000)
        except OSError:
            answer = b""
    assert b" 200 " not in answer
    assert app.peers == []


@pytest.mark.parametrize("start", [
    b"", b"GET / HTTP/1.1\r\nx: ", b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"],
    ids=["nothing", "headers", "body"])
async def test_a_slow_loris_is_cut_whatever_trickles_in(
        root: Path, start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 0.4)
    monkeypatch.setattr(protocol, "BODY_TIMEOUT", 0.4)
    async with serving(root):
        reader, writer = await asyncio.open_unix_connection(str(Paths(root).socket))
        writer.write(start)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with contextlib.suppress(OSError):
            while loop.time() - began < 5 and not reader.at_eof():
                if start:
                    writer.write(b"a")
                await asyncio.sleep(0.05)
                if reader.at_eof() or writer.is_closing():
                    break
        assert loop.time() - began < 3
        writer.close()


async def test_an_idle_connection_that_was_used_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 0.2)
    async with serving(root):
        reader, writer = await asyncio.open_unix_connection(str(Paths(root).socket))
        for pause in (0.5, 0):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"LocalUser" in await reader.readuntil(b"))")
            await asyncio.sleep(pause)
        writer.close()


async def test_a_stop_ends_streams_cleanly_lets_requests_finish_and_is_bounded(root: Path) -> None:
    app = App()
    made = Server(app, settings(root))
    await made.start()
    path = str(Paths(root).socket)
    stream, slow = await asyncio.open_unix_connection(path), await asyncio.open_unix_connection(path)
    stream[1].write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
    await stream[0].readuntil(b"hello")
    slow[1].write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await made.stop(5)
    assert loop.time() - began < 2
    assert (await stream[0].read()).endswith(b"0\r\n\r\n")
    assert b"LocalUser" in await slow[0].read()
    assert app.streams_ended == 1
    stream[1].close()
    slow[1].close()


async def test_a_stop_does_not_wait_for_ever(root: Path) -> None:
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    made = Server(stubborn, settings(root))
    await made.start()
    reader, writer = await asyncio.open_unix_connection(str(Paths(root).socket))
    writer.write(GET)
    await asyncio.sleep(0.05)
    await asyncio.wait_for(made.stop(0.2), 4)
    assert await reader.read() == b""
    writer.close()


async def test_nothing_is_served_when_the_identity_does_not_reach_the_routes(
        root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "peer_state_of", lambda scope: None)
    with pytest.raises(EncapError, match="does not reach the routes"):
        await Server(App(), settings(root)).start()


async def test_an_idle_server_does_not_wake_up(root: Path) -> None:
    async with serving(root):
        loop = asyncio.get_running_loop()
        due = [t for t in loop._scheduled if not t.cancelled()]  # type: ignore[attr-defined]
        assert len(due) <= 1
        assert all(t.when() - loop.time() > 20 for t in due)


async def test_small_answers_are_not_held_back(keys: Path, root: Path) -> None:
    async with serving(root) as made:
        host, port = made.listening[0].rsplit(":", 1)
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=pki.client_context(Paths(keys / "hv2")), server_hostname="hv1")
        loop, times = asyncio.get_running_loop(), []
        for _ in range(10):
            began = loop.time()
            writer.write(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n0")
            times.append(loop.time() - began)
        writer.close()
        assert sorted(times)[5] < 0.03
        accepted = next(iter(made._state.connections)).transport.get_extra_info("socket")
        assert struct.pack("i", accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) != b"\0\0\0\0"

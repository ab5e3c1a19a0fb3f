"""Trust from nothing: tokens, the join listener, and the pipe of a driver."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentd import joining, membership, pki
from agentd.core.errors import EncapError, Forbidden, InvalidRequest, Refused, Silent
from agentd.joinlistener import JoinListener
from agentd.membership import Cluster, Member
from agentd.server import Server
from agentd.settings import Paths, Settings, load
from agentd.tokens import LIFE, Tokens, parse_token

ANYWHERE = (("127.0.0.1", 0),)


@pytest.fixture
def hv1(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "hv1")
    pki.init_ca(paths, "prod", "hv1", "127.0.0.1:1216")
    return paths


@asynccontextmanager
async def door(hv1: Paths) -> AsyncIterator[JoinListener]:
    async def admit(member: Member) -> Cluster:
        cluster = membership.load(hv1)
        assert cluster is not None
        cluster = cluster.admit(member)
        membership.save(hv1, cluster)
        return cluster

    settings = Settings(hv1.root, "hv1", "prod", listen=ANYWHERE, join_listen=ANYWHERE)
    made = JoinListener(lambda: settings, Tokens(hv1.tokens_file), admit)
    await made.refresh()
    try:
        yield made
    finally:
        await made.stop()


async def join(token: str, paths: Paths, listen: tuple[str, ...] = ()) -> joining.Joined:
    return await asyncio.to_thread(joining.join, token, paths, listen)


@pytest.mark.socket
async def test_a_second_hypervisor_joins_and_gets_the_ca_key_over_the_main_listener(
        hv1: Paths, tmp_path: Path) -> None:
    asked: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        asked.append((scope["path"], scope["state"]["peer"].name))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": hv1.ca_key.read_bytes()})

    hv2 = Paths(tmp_path / "hv2")
    async with door(hv1) as made:
        main = Server(app, Settings(hv1.root, "hv1", "prod", listen=ANYWHERE))
        await main.start()
        pki.set_address(hv1, "hv1", main.listening[0])
        issued = await made.token("hv2", "hypervisor")
        joined = await join(issued.token, hv2, ("10.0.0.2",))
        assert made.listening == ()
        await main.stop()
    assert joined == joining.Joined("prod", "hv2", "hypervisor", ca_key=True)
    assert asked == [("/v1/cluster/ca-key", "hv2")]
    assert hv2.ca_key.read_bytes() == hv1.ca_key.read_bytes()
    assert membership.load(hv2) == membership.load(hv1)
    cluster = membership.load(hv1)
    assert cluster is not None
    member = cluster.member("hv2")
    assert member is not None
    assert (member.role, member.address) == ("hypervisor", "10.0.0.2:1216")
    assert member.key_hash == pki.hash_of(hv2.certificate.read_bytes())
    settings = load(hv2.root)
    assert (settings.node, settings.cluster, settings.listen) == ("hv2", "prod", (("10.0.0.2", 1216),))


@pytest.mark.socket
async def test_a_hypervisor_that_cannot_fetch_the_ca_key_says_so(hv1: Paths, tmp_path: Path) -> None:
    pki.set_address(hv1, "hv1", "127.0.0.1:9")
    async with door(hv1) as made:
        joined = await join((await made.token("hv2", "hypervisor")).token, Paths(tmp_path / "hv2"))
    assert not joined.ca_key
    assert "guests cannot be signed here" in joined.note


@pytest.mark.socket
async def test_a_guest_joins_by_token_and_gets_no_list_of_members(hv1: Paths, tmp_path: Path) -> None:
    vm1 = Paths(tmp_path / "vm1")
    async with door(hv1) as made:
        joined = await join((await made.token("vm1", "guest")).token, vm1, ("0.0.0.0:1216",))
    assert joined.role == "guest"
    assert pki.own_identity(vm1) == ("prod", "guest", "vm1")
    assert not vm1.cluster_file.exists()
    cluster = membership.load(hv1)
    assert cluster is not None
    assert cluster.member("vm1") == Member("vm1", "guest", "", pki.hash_of(vm1.certificate.read_bytes()),
                                           revision=2)


@pytest.mark.socket
async def test_a_token_is_good_once_and_the_door_shuts_behind_it(hv1: Paths, tmp_path: Path) -> None:
    async with door(hv1) as made:
        assert made.listening == ()
        first, second = await made.token("vm1", "guest"), await made.token("vm2", "guest")
        assert len(made.listening) == 1
        await join(first.token, Paths(tmp_path / "vm1"))
        with pytest.raises(Refused, match="used"):
            await join(first.token, Paths(tmp_path / "thief"))
        assert len(made.listening) == 1
        await join(second.token, Paths(tmp_path / "vm2"))
        assert made.listening == ()
        with pytest.raises(Silent):
            await join(second.token, Paths(tmp_path / "late"))


@pytest.mark.socket
async def test_five_wrong_tries_withdraw_every_token(hv1: Paths, tmp_path: Path) -> None:
    async with door(hv1) as made:
        good = (await made.token("vm1", "guest")).token
        wrong = str(replace(parse_token(good), secret="guess"))
        for _ in range(5):
            with pytest.raises(Refused, match="not known"):
                await join(wrong, Paths(tmp_path / "thief"))
        assert made.listening == ()
        with pytest.raises(Silent):
            await join(good, Paths(tmp_path / "vm1"))
        assert Tokens(hv1.tokens_file).unspent() == ()


@pytest.mark.socket
async def test_a_token_survives_a_restart(hv1: Paths, tmp_path: Path) -> None:
    async with door(hv1) as made:
        token = (await made.token("vm1", "guest")).token
    assert parse_token(token).secret not in hv1.tokens_file.read_text()
    async with door(hv1) as made:
        assert len(made.listening) == 1
        port = made.listening[0]
        moved = str(replace(parse_token(token), addresses=(port,)))
        assert (await join(moved, Paths(tmp_path / "vm1"))).node == "vm1"


@pytest.mark.socket
async def test_a_foreign_server_is_told_nothing(hv1: Paths, tmp_path: Path) -> None:
    other = Paths(tmp_path / "other")
    pki.init_ca(other, "prod", "hv1", "127.0.0.1:1216")
    async with door(hv1) as ours, door(other) as theirs:
        token = parse_token((await ours.token("vm1", "guest")).token)
        await theirs.token("vm1", "guest")
        with pytest.raises(Refused, match="not of the cluster"):
            await join(str(replace(token, addresses=theirs.listening)), Paths(tmp_path / "vm1"))
        assert json.loads(other.tokens_file.read_text())["wrong"] == 0


@pytest.mark.socket
async def test_a_server_that_shows_our_ca_but_is_not_of_it_never_sees_the_secret(
        hv1: Paths, tmp_path: Path) -> None:
    """In the middle: it passes on the public CA certificate, and answers with a key of its own."""
    other = Paths(tmp_path / "other")
    pki.init_ca(other, "prod", "hv1")
    heard: list[bytes] = []

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        body = hv1.ca_certificate.read_bytes()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_server(lie, "127.0.0.1", 0, ssl=pki.join_context(other))
    where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with door(hv1) as made:
        token = parse_token((await made.token("vm1", "guest")).token)
        with pytest.raises(Refused, match="not of the cluster"):
            await join(str(replace(token, addresses=(where,))), Paths(tmp_path / "vm1"))
    server.close()
    assert not any(token.secret.encode() in each for each in heard)
    assert len(heard) == 1


async def ask(made: JoinListener, request: bytes) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = made.listening[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


@pytest.mark.socket
@pytest.mark.parametrize("line", [b"GET /v1/node", b"GET /v1/services", b"PUT /v1/join", b"GET /v1/ca/../node"])
async def test_nothing_else_is_behind_the_door(hv1: Paths, line: bytes) -> None:
    async with door(hv1) as made:
        await made.token("vm1", "guest")
        assert (await ask(made, line + b" HTTP/1.1\r\nhost: x\r\n\r\n")).startswith(b"HTTP/1.1 404")


@pytest.mark.socket
@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"token": 1, "csr": ""}', b"[" * 20_000,
                                  b'{"token": "a", "csr": "b", "role": "hypervisor"}',
                                  b'{"token": "\\ud800", "csr": "b"}'])
async def test_a_body_that_is_none_uses_up_a_try(hv1: Paths, body: bytes) -> None:
    async with door(hv1) as made:
        await made.token("vm1", "guest")
        answer = await ask(made, b"POST /v1/join HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))
        assert json.loads(hv1.tokens_file.read_text())["wrong"] == 1


@pytest.mark.socket
async def test_a_bad_signing_request_leaves_the_token_unspent_but_counts(hv1: Paths, tmp_path: Path) -> None:
    async with door(hv1) as made:
        token = (await made.token("vm1", "guest")).token
        body = json.dumps({"token": parse_token(token).secret, "csr": "nonsense"}).encode()
        answer = await ask(made, b"POST /v1/join HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert answer.startswith(b"HTTP/1.1 400")
        assert json.loads(hv1.tokens_file.read_text())["wrong"] == 1
        assert (await join(token, Paths(tmp_path / "vm1"))).node == "vm1"


@pytest.mark.socket
async def test_what_gets_no_token(hv1: Paths) -> None:
    async with door(hv1) as made:
        for name, role, kind in (("hv1", "guest", Refused), ("*", "guest", InvalidRequest),
                                 ("alice", "user", InvalidRequest)):
            with pytest.raises(kind):
                await made.token(name, role)
        hv1.ca_key.unlink()
        with pytest.raises(Refused, match="CA key"):
            await made.token("vm1", "guest")
        assert made.listening == ()


def test_tokens_end_after_15_minutes_and_with_a_clock_that_jumps_back(tmp_path: Path) -> None:
    now = [1_000_000.0]
    tokens = Tokens(tmp_path / "tokens.json", lambda: now[0])
    secret, until = tokens.create("guest", "vm1")
    assert until == now[0] + LIFE
    assert tokens.check(secret).name == "vm1"
    now[0] += LIFE
    with pytest.raises(Forbidden):
        tokens.check(secret)
    now[0] -= 10 * LIFE
    assert tokens.unspent() == ()


def test_a_newer_token_replaces_the_older_of_the_same_name(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    old, _ = tokens.create("guest", "vm1")
    new, _ = tokens.create("guest", "vm1")
    assert tokens.check(new).name == "vm1"
    with pytest.raises(Forbidden):
        tokens.check(old)


@pytest.mark.parametrize("text", ["", "x", "ä" * 10, "W10", "e30", "bnVsbA", "A" * 5000, "WzEsMiwzLDQsNSw2LDdd"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(InvalidRequest, match="not a join token"):
        parse_token(text)


def test_a_joined_node_does_not_change_its_cluster(hv1: Paths, tmp_path: Path) -> None:
    from agentd.tokens import Token

    token = str(Token("other", "hypervisor", "hv1", "hv9", ("127.0.0.1:1",), "sha256:x", "s"))
    with pytest.raises(Refused, match="already"):
        joining.join(token, hv1)


# The pipe


def test_a_guest_is_enrolled_over_a_pipe_in_two_calls_and_again(hv1: Paths, tmp_path: Path) -> None:
    vm1 = Paths(tmp_path / "vm1")
    for _ in range(2):
        out = io.BytesIO()
        joining.pipe_request(vm1, "vm1", out)
        bundle = joining.guest_bundle(hv1, out.getvalue(), "vm1", ["0.0.0.0:1216", "[::]:1216"])
        assert bundle.count(b"\n") == 1
        joined = joining.pipe_install(vm1, io.BytesIO(bundle))
    assert joined == joining.Joined("prod", "vm1", "guest")
    assert joining.guest_member(out.getvalue(), "vm1").key_hash == pki.hash_of(vm1.certificate.read_bytes())
    settings = load(vm1.root)
    assert (settings.node, settings.cluster) == ("vm1", "prod")
    assert settings.listen == (("0.0.0.0", 1216), ("::", 1216))
    assert vm1.settings_file.read_text().count("listen") == 1


def test_the_host_names_the_guest_whatever_it_calls_itself(hv1: Paths, tmp_path: Path) -> None:
    vm1, out = Paths(tmp_path / "vm1"), io.BytesIO()
    joining.pipe_request(vm1, "hv1", out)
    joining.pipe_install(vm1, io.BytesIO(joining.guest_bundle(hv1, out.getvalue(), "vm1", [])))
    assert pki.own_identity(vm1) == ("prod", "guest", "vm1")
    with pytest.raises(Refused, match="hv1 is a hypervisor"):
        joining.guest_bundle(hv1, out.getvalue(), "hv1", [])


@pytest.mark.parametrize("change", [
    {"schema": "x"}, {"cluster": "../x"}, {"node": ""}, {"listen": "0.0.0.0"}, {"listen": [1]}, {"certificate": 5},
    {"certificate": "nonsense"}, {"node": "vm2"}, {"cluster": "test"}, {"ca": ""},
])
def test_a_bundle_that_does_not_fit_installs_no_certificate(
        hv1: Paths, tmp_path: Path, change: dict[str, Any]) -> None:
    vm1, out = Paths(tmp_path / "vm1"), io.BytesIO()
    joining.pipe_request(vm1, "vm1", out)
    bundle = {**json.loads(joining.guest_bundle(hv1, out.getvalue(), "vm1", [])), **change}
    with pytest.raises(EncapError):
        joining.pipe_install(vm1, io.BytesIO(json.dumps(bundle).encode()))
    assert not vm1.certificate.exists()


@pytest.mark.real
def test_the_program_over_real_pipes(hv1: Paths, tmp_path: Path) -> None:
    root = str(tmp_path / "vm1")
    program = [sys.executable, "-m", "agentd", "join", "--pipe", "--root", root, "--name", "vm1"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guest:
        assert guest.stdout is not None
        assert guest.stdin is not None
        csr = b"".join(iter(guest.stdout.readline, b"-----END CERTIFICATE REQUEST-----\n"))
        csr += b"-----END CERTIFICATE REQUEST-----\n"
        guest.stdin.write(joining.guest_bundle(hv1, csr, "vm1", ["127.0.0.1:0"]))
        guest.stdin.flush()
        assert guest.wait(30) == 0
        assert guest.stdout.read() == b""
    assert pki.own_identity(Paths(Path(root))) == ("prod", "guest", "vm1")

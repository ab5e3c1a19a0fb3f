"""Bad HTTP: first what the server itself must withstand, then a whole daemon."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd import protocol
from agentd.edge import HEAD_LIMIT
from agentd.server import Server
from agentd.settings import Paths, Settings
from api.routes.services import LONGEST_WAIT, seconds
from api.strict import read

from ..cluster.conftest import Machine, machines  # noqa: TID252 - a whole daemon is made there

pytestmark = pytest.mark.socket


class App:
    """Plain ASGI: remembers what reached it; /stream goes on until its listener is gone."""

    def __init__(self) -> None:
        self.reached: list[tuple[str, str, bytes]] = []
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        self.reached.append((scope["method"], scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
            assert (await receive())["type"] == "http.disconnect"
            self.left.set()
            return
        await send({"type": "http.response.body", "body": b"fine"})


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[App, Path]]:
    app = App()
    server = Server(app, Settings(tmp_path, "hv1", "prod", listen=()))
    await server.start()
    yield app, Paths(tmp_path).socket
    await server.stop(0)


Served = tuple[App, Path]


async def talk(path: Path, request: bytes) -> bytes:
    """Everything that is said to `request`, until the connection is closed."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    answer = bytearray()
    try:
        writer.write(request)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await writer.drain()
            async with asyncio.timeout(10):
                while piece := await reader.read(65536):
                    answer += piece
    finally:
        writer.close()
    return bytes(answer)


POST = b"POST /a HTTP/1.1\r\nhost: x\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize("request_", [
    POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    POST + b"transfer-encoding: chunked\r\ncontent-length: 44\r\n\r\n0\r\n\r\n" + NEXT,
    POST + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n" + NEXT,
    POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + NEXT,
    POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + NEXT,
    POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    POST + b"content-length: +4\r\n\r\nabcd" + NEXT, POST + b"content-length: " + b"9" * 5000 + b"\r\n\r\n" + NEXT,
    POST + b"a: b\0c\r\n\r\n" + NEXT, POST + b"a: b\rc\r\n\r\n" + NEXT, POST + b"host: y\r\n\r\n" + NEXT,
    POST + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n" + NEXT, POST + b"transfer-encoding: chunked\r\n\r\n-5\r\nabc\r\n" + NEXT,
], ids=range(14))
async def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_after_it_is_read(served: Served, request_: bytes) -> None:
    app, path = served
    answer = await talk(path, request_)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    assert app.reached == []


@pytest.mark.parametrize("request_", [
    b"GET /a HTTP/1.1\r\nhost: x\r\na: " + b"x" * HEAD_LIMIT + b"\r\n\r\n", b"GET /a HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
    b"GET /" + b"x" * HEAD_LIMIT + b" HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /?" + b"x" * HEAD_LIMIT + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"X" * HEAD_LIMIT + b" / HTTP/1.1\r\nhost: x\r\n\r\n"], ids=["one header", "many headers", "path", "query", "method"])
async def test_a_head_that_is_too_large_reaches_no_route(served: Served, request_: bytes) -> None:
    app, path = served
    answer = await talk(path, request_)
    # 431 where it was there at once; 400 where it came in pieces, and its end was not waited for.
    assert answer[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400")
    assert app.reached == []


@pytest.mark.parametrize(("line", "status"), [
    (b"GET http://evil.example/a HTTP/1.1", 400), (b"CONNECT evil.example:443 HTTP/1.1", 400), (b"OPTIONS * HTTP/1.1", 400),
    (b"PRI * HTTP/2.0", 505), (b"GET /a HTTP/2.0", 505), (b"GET /a HTTP/9", 400), (b"G(T /a HTTP/1.1", 400), (b"GET /\xff HTTP/1.1", 400),
    (b"GET /a\0b HTTP/1.1", 400), (b"GET  /a HTTP/1.1", 400), (b"SSH-2.0-OpenSSH", 400)], ids=range(11))
async def test_first_lines_that_are_not_ours(served: Served, line: bytes, status: int) -> None:
    app, path = served
    answer = await talk(path, line + b"\r\nhost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert app.reached == []


@pytest.mark.parametrize("head", [b"GET /a HTTP/1.0\r\n", b"GET /a HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n",
                                  b"GET /a HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n"],
                         ids=["HTTP/1.0", "host", "upgrade"])
async def test_what_is_odd_and_harmless_is_answered(served: Served, head: bytes) -> None:
    app, path = served
    assert (await talk(path, head + b"\r\n")).startswith(b"HTTP/1.1 200")
    assert app.reached == [("GET", "/a", b"")]


async def test_a_packed_body_is_not_unpacked(served: Served) -> None:
    app, path = served
    bomb = gzip.compress(b"\0" * 50_000_000)
    await talk(path, POST + b"connection: close\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb) + bomb)
    assert app.reached == [("POST", "/a", bomb)]


@pytest.mark.parametrize("body", [b"5\r\nhello\r\n", b"f" * 20 + b"\r\nhello", b"5\r\nhel"], ids=["no last chunk", "huge chunk", "short"])
async def test_a_chunked_body_without_end_is_cut(served: Served, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "BODY_TIMEOUT", 0.2)
    app, path = served
    answer = await talk(path, POST + b"transfer-encoding: chunked\r\n\r\n" + body)
    assert b" 200 " not in answer
    assert app.reached == []


async def test_who_leaves_in_the_middle_of_a_stream_or_of_a_body_leaves_nothing_behind(served: Served) -> None:
    app, path = served
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"hello")
    writer.close()
    await asyncio.wait_for(app.left.wait(), 5)
    _, writer = await asyncio.open_unix_connection(str(path))
    writer.write(POST + b"content-length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()
    assert (await talk(path, NEXT)).startswith(b"HTTP/1.1 200")
    assert [where for _, where, _ in app.reached] == ["/stream", "/smuggled"]


@pytest.mark.parametrize(("raw", "part"), [
    (b'{"a": 1, "a": 2}', "'a' is there twice"), (b'{"x": {"a": 1, "a": 1}}', "is there twice"), (b'{"a": NaN}', "NaN"),
    (b'{"a": -Infinity}', "Infinity"), (b'{"a": 1e1000000}', "too large"), (b"[" * 100_000, "too deeply"),
    (b'{"a": ' + b"9" * 5000 + b"}", "4300"), (b"{} x", "Extra data"), (b"\xff", "utf-8"), (b"\xef\xbb\xbf{}", "BOM"),
    ('{"a": 1}'.encode("utf-16"), "utf-8"), (b"", "Expecting value"), (b'{"a": "\n"}', "control character"),
], ids=range(13))
def test_json_of_two_meanings_is_refused(raw: bytes, part: str) -> None:
    with pytest.raises(Exception, match="cannot be read as JSON") as told:
        read(raw)
    assert getattr(told.value, "status_code", 0) == 400
    assert part in str(getattr(told.value, "detail", ""))


# A whole daemon.

TEXT = "[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\n"
JSON = b"content-type: application/json\r\n"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with machines("hv1") as (made,):
        made.create(TEXT)
        yield made
        assert made.alive
        assert "Traceback" not in made.log
        # What is refused on a look at the whole service is kept as an operation that did nothing.
        assert {(o["result"], o["plan"], o["started_at"]) for o in made.json("op", "ls")["operations"]} <= {("failed", None, None)}
        assert (made.status()["avail"], made.status()["frozen"]) == ("down", None)


def ask(machine: Machine, line: bytes, head: bytes = b"", body: bytes = b"") -> tuple[int, bytes, Any]:
    """Status, head and document of the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(machine.root / "run/encap/agentd.sock"))
        connection.sendall(line + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body) + head + b"\r\n" + body)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    top, _, rest = answer.partition(b"\r\n\r\n")
    document = json.loads(rest) if b"json" in top else rest
    return int(top.split()[1]), top, document


def refused(machine: Machine, status: int, line: bytes, head: bytes = b"", body: bytes = b"") -> dict[str, Any]:
    """The problem document, whose form is always the same."""
    found, top, document = ask(machine, line, head, body)
    assert (found, document.get("status")) == (status, status), document
    assert b"application/problem+json" in top
    assert document["detail"]
    return dict(document)


@pytest.mark.parametrize("path", [
    b"/v1/services/%2e%2e/status", b"/v1/services/%2e%2e%2f%2e%2e/status", b"/v1/services/a%00b/status", b"/v1/services/%252e%252e/status",
    b"/v1/services/web/status/", b"/v1/services/%EF%BD%97eb/status", b"/v1/services/" + b"x" * 4096 + b"/status", b"/v1/services/%ff/status",
    b"/v1/services/web%0a/config", b"/v1/services/WEB/status", b"/v1/services/../node", b"//v1/node", b"/v1/operations/%00",
    b"/v1/operations/..", b"/v1/operations/" + b"x" * 5000 + b"/events", b"/v1/services/%zz/status", b"/V1/node", b"/v1/services/web%20/config"],
    ids=range(18))
def test_paths_that_lead_nowhere(machine: Machine, path: bytes) -> None:
    refused(machine, 404, b"GET " + path)


@pytest.mark.parametrize("name", [b"%2e%2e", b"a%00b", b"x" * 64, b"WEB", b"a%0ab", b"-rf", b".x", b"%c3%a9", b"a..b"])
def test_names_that_are_none_make_no_file(machine: Machine, name: bytes) -> None:
    before = sorted(p.name for p in machine.root.rglob("*.conf*"))
    refused(machine, 400, b"PUT /v1/services/" + name + b"/config", b"if-none-match: *\r\n", TEXT.encode())
    assert sorted(p.name for p in machine.root.rglob("*.conf*")) == before


@pytest.mark.parametrize("query", [
    b"limit=-1", b"limit=0", b"limit=1000000000", b"limit=x", b"limit=", b"limit=%D9%A3", b"limit=1&limit=2", b"lim=1", b"state=bogus", b"limit=" + b"9" * 5000])
def test_queries_that_are_wrong_are_not_ignored(machine: Machine, query: bytes) -> None:
    refused(machine, 400, b"GET /v1/operations?" + query)


def test_cursors_that_are_none(machine: Machine) -> None:
    for value in (b"-1", b"x", b"1.5", b"9" * 25):
        refused(machine, 400, b"GET /v1/operations/x/events", b"last-event-id: " + value + b"\r\n")
    refused(machine, 404, b"GET /v1/operations/x/events", b"last-event-id: 7\r\n")
    refused(machine, 400, b"GET /v1/events", b"last-event-id: " + b"x" * 81 + b"\r\n")
    refused(machine, 400, b"GET /v1/events?topics=status,nope")


@pytest.mark.parametrize(("tag", "status"), [
    (b"", 428), (b"if-match: x\r\n", 400), (b'if-match: W/"x"\r\n', 400), (b'if-match: "\r\n', 400), (b'if-match: ""\r\n', 400),
    (b'if-match: "sha256:0"\r\n', 412), (b'if-match: "a", "b"\r\n', 412), (b'if-match: "' + b"a" * 200 + b'"\r\n', 400)], ids=range(8))
def test_a_change_without_the_right_tag_changes_nothing(machine: Machine, tag: bytes, status: int) -> None:
    refused(machine, status, b"PUT /v1/services/web/config", tag, TEXT.replace("flag", "flag\ncomment = x").encode())
    edit = b'{"set": [{"section": "fs#1", "option": "comment", "value": "x"}]}'
    refused(machine, status, b"PATCH /v1/services/web/config", JSON + tag, edit)
    assert ask(machine, b"GET /v1/services/web/config")[2] == TEXT.encode()


@pytest.mark.parametrize(("text", "status"), [
    (b"", 422), (b"\xff", 400), (b"x", 422), (b"#" * ((1 << 20) + 1), 413), (b"[DEFAULT]\na = \0", 422), (gzip.compress(b"x"), 400)], ids=range(6))
def test_a_text_that_is_none_replaces_nothing(machine: Machine, text: bytes, status: int) -> None:
    refused(machine, status, b"PUT /v1/services/web/config", b"if-match: *\r\n", text)
    assert ask(machine, b"GET /v1/services/web/config")[2] == TEXT.encode()


@pytest.mark.parametrize("edit", [
    {"section": "fs#1]\n[x", "option": "a", "value": "b"}, {"section": "fs#1", "option": "comment", "value": "a\n[app#1]\nstart = x"},
    {"section": "fs#1", "option": "comment", "value": "a\0"}, {"section": "fs#1", "option": "comment", "value": "a\u200eb"},
    {"section": "fs#1", "option": "comment", "value": "a ; b"}, {"section": "fs#1", "option": "a b", "value": "x"},
    {"section": "..", "option": "a", "value": "x"}, {"section": "fs#1", "option": "comment", "value": "x", "line": 3}], ids=range(8))
def test_edits_that_would_be_something_else(machine: Machine, edit: dict[str, Any]) -> None:
    refused(machine, 400, b"PATCH /v1/services/web/config", JSON + b"if-match: *\r\n", json.dumps({"set": [edit]}).encode())
    assert ask(machine, b"GET /v1/services/web/config")[2] == TEXT.encode()


def test_more_edits_than_one_request_may_hold(machine: Machine) -> None:
    edit = {"section": "fs#1", "option": "comment", "value": "x"}
    refused(machine, 400, b"PATCH /v1/services/web/config", JSON + b"if-match: *\r\n", json.dumps({"set": [edit] * 65}).encode())


ACT = b"POST /v1/services/web/actions"


@pytest.mark.parametrize(("body", "status"), [
    (b'{"action": "stop", "action": "start"}', 400), (b'{"action": "start"} x', 400), (b'[{"action": "start"}]', 400),
    (b"null", 400), (b"", 400), (b'{"action": "\\ud800"}', 400), (b'{"action": "start", "fource": true}', 400),
    (b'{"action": "st\\u0000art"}', 400), (b'{"action": ""}', 400), (b'{"action": "' + b"a" * 300 + b'"}', 400),
    (b'{"action": "stop", "rids": [""]}', 404), (b'{"action": "stop", "rids": ["fs#9"]}', 404), (b'{"action": "stop", "tags": " "}', 400),
    (b'{"action": "stop", "subsets": [""]}', 404), (b'{"action": "stop", "to": " "}', 404), (b'{"action": "stop", "nodes": [""]}', 400),
    (b'{"action": "stop", "nodes": ["../x"]}', 400), (b'{"action": "start", "assume_down": ["../x"]}', 400),
    (b'{"action": "freeze", "until": "tomorrow"}', 400), (b'{"action": "freeze", "until": "2999-01-01T00:00:00"}', 400),
    (b'{"action": "freeze", "until": "1970-01-01T00:00:00Z"}', 400), (b'{"action": "start", "local": true}', 403),
    (b'{"action": "stop", "rids": ' + json.dumps(["x"] * 1001).encode() + b"}", 400),
], ids=range(23))
def test_actions_that_are_none_do_nothing(machine: Machine, body: bytes, status: int) -> None:
    refused(machine, status, ACT, JSON, body)
    refused(machine, status, ACT, JSON + b"prefer: wait=5\r\n", body)


@pytest.mark.parametrize("kind", [b"text/plain", b"application/xml", b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded", b""])
def test_a_body_of_another_type_is_not_read_as_json(machine: Machine, kind: bytes) -> None:
    refused(machine, 400, ACT, b"content-type: " + kind + b"\r\n", b'{"action": "start"}')


@pytest.mark.parametrize("head", [
    b"prefer: wait=-1", b"prefer: wait=x", b"prefer: wait=1e9", b"prefer: respond-async", b"prefer: wait=\xb2", b"prefer: wait=" + b"9" * 60,
    b"idempotency-key: " + b"k" * 256, b"idempotency-key: a\xffb", b"content-encoding: gzip"], ids=range(9))
def test_a_bad_header_is_refused_before_anything_is_done(machine: Machine, head: bytes) -> None:
    body = b'{"action": "start"}'
    refused(machine, 400, ACT, JSON + head + b"\r\n", gzip.compress(body) if b"gzip" in head else body)


def test_a_wait_is_bounded() -> None:
    assert seconds("wait=999999") == LONGEST_WAIT


@pytest.mark.parametrize(("line", "allowed"), [
    (b"PUT /v1/node", b"GET"), (b"HEAD /v1/node", b"GET"), (b"OPTIONS /v1/node", b"GET"), (b"get /v1/node", b"GET"),
    (b"DELETE /v1/services/web/config", b"GET, PATCH, PUT"), (b"TRACE /v1/services/web/actions", b"POST")], ids=range(6))
def test_another_method_is_405_and_says_which_there_are(machine: Machine, line: bytes, allowed: bytes) -> None:
    status, head, _ = ask(machine, line) if not line.startswith(b"HEAD") else (*ask_head(machine, line), None)
    assert status == 405
    assert b"\r\nallow: " + allowed + b"\r\n" in head


def ask_head(machine: Machine, line: bytes) -> tuple[int, bytes]:
    """An answer to HEAD has no body, whatever its headers say of one."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(machine.root / "run/encap/agentd.sock"))
        connection.sendall(line + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b""
    return int(head.split()[1]), head

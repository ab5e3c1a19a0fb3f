"""The small HTTP reader, against a daemon that answers well, badly and not at all."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from cli.exits import NOT_FOUND, REFUSED, UNREACHABLE, USAGE, Trouble
from cli.remote import check, parse
from cli.transport import Daemon, local, quoted

pytestmark = pytest.mark.socket


def client(root: Path) -> Daemon:
    return local(str(root))


def test_length_and_json(daemon: Any) -> None:
    daemon.answers["GET /v1/node"] = daemon.answer({"node": "hv1"})
    assert client(daemon.root).get("/v1/node") == {"node": "hv1"}
    assert daemon.asked[0].headers["connection"] == "close"


def test_body_and_headers_are_sent(daemon: Any) -> None:
    daemon.answers["POST /v1/x"] = daemon.answer({}, 202, Location="/v1/operations/1")
    reply = client(daemon.root).request("POST", "/v1/x", b"text", headers={"If-Match": '"a"'})
    assert (reply.status, reply.headers["location"]) == (202, "/v1/operations/1")
    assert (daemon.asked[0].body, daemon.asked[0].headers["if-match"]) == (b"text", '"a"')


def test_chunked(daemon: Any) -> None:
    daemon.answers["GET /v1/x"] = daemon.chunked(b'{"a":', b" 1}", kind="application/json")
    assert client(daemon.root).get("/v1/x") == {"a": 1}


def test_until_the_end(daemon: Any) -> None:
    daemon.answers["GET /v1/x"] = b'HTTP/1.0 200 OK\r\n\r\n{"a": 2}'
    assert client(daemon.root).get("/v1/x") == {"a": 2}


def test_a_problem_document_becomes_trouble(daemon: Any) -> None:
    daemon.answers["GET /v1/x"] = daemon.problem(409, "busy", "01OP runs here", "wait for it")
    with pytest.raises(Trouble) as told:
        client(daemon.root).get("/v1/x")
    assert (told.value.exit_code, told.value.text, told.value.hint) == (
        REFUSED,
        "01OP runs here",
        "wait for it",
    )


@pytest.mark.parametrize(("status", "code"), [(404, NOT_FOUND), (409, REFUSED), (400, USAGE), (500, 1)])
def test_an_error_without_a_document_goes_by_its_status(daemon: Any, status: int, code: int) -> None:
    daemon.answers["GET /v1/x"] = daemon.plain(b"<html>", status)
    with pytest.raises(Trouble) as told:
        client(daemon.root).get("/v1/x")
    assert told.value.exit_code == code


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nab",
        b"HTTP/1.1 200 OK\r\n\r\n{not json",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
    ],
)
def test_a_broken_server_is_a_daemon_out_of_reach(daemon: Any, answer: bytes) -> None:
    daemon.answers["GET /v1/x"] = answer
    with pytest.raises(Trouble) as told:
        client(daemon.root).get("/v1/x")
    assert told.value.exit_code == UNREACHABLE


def test_a_silent_server_meets_the_deadline(daemon: Any) -> None:
    daemon.answers["GET /v1/x"] = lambda connection: time.sleep(0.5)
    began = time.monotonic()
    with pytest.raises(Trouble, match=r"within 0\.1 s"):
        client(daemon.root).get("/v1/x", timeout=0.1)
    assert time.monotonic() - began < 0.4


def test_no_daemon(root: Path) -> None:
    with pytest.raises(Trouble) as told:
        client(root).get("/v1/node")
    assert told.value.exit_code == UNREACHABLE
    assert f"agentd run --root {root}" in told.value.hint


def test_a_socket_that_nobody_listens_on(root: Path) -> None:
    (root / "run/encap").mkdir(parents=True)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(root / "run/encap/agentd.sock"))
    left.close()
    with pytest.raises(Trouble, match="nobody listens"):
        client(root).get("/v1/node")


def test_a_root_that_is_longer_than_a_socket_address(daemon: Any, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.symlink_to(daemon.root)
    daemon.answers["GET /v1/node"] = daemon.answer({"node": "hv1"})
    assert client(long).get("/v1/node") == {"node": "hv1"}


def test_events_comments_and_pieces(daemon: Any) -> None:
    daemon.answers["GET /v1/e"] = daemon.chunked(
        b": hello\n\n",
        b"id: 1\nda",
        b'ta: {"a"',
        b": 1}\n\n",
        b"event: x\nid: 2\r\ndata: two\r\ndata: lines\r\n\r\n",
    )
    assert list(client(daemon.root).events("/v1/e")) == [("1", '{"a": 1}'), ("2", "two\nlines")]


def test_events_say_where_to_go_on(daemon: Any) -> None:
    daemon.answers["GET /v1/e"] = daemon.chunked(b"data: x\n\n")
    assert list(client(daemon.root).events("/v1/e", "7")) == [("7", "x")]
    assert daemon.asked[0].headers["last-event-id"] == "7"


def test_events_tick_while_nothing_happens(daemon: Any) -> None:
    def slowly(connection: socket.socket) -> None:
        whole: bytes = daemon.chunked(b"id: 1\ndata: x\n\n")
        connection.sendall(whole[:-20])
        time.sleep(0.15)
        connection.sendall(whole[-20:])

    daemon.answers["GET /v1/e"] = slowly
    found = list(client(daemon.root).events("/v1/e", tick=0.02))
    assert found[0] is None
    assert found[-1] == ("1", "x")


def test_a_stream_cut_in_the_middle_is_no_end(daemon: Any) -> None:
    daemon.answers["GET /v1/e"] = daemon.chunked(b"data: x\n\n", end=False)
    stream = client(daemon.root).events("/v1/e")
    assert next(stream) == ("", "x")
    with pytest.raises(Trouble, match="in the middle"):
        next(stream)


def test_quoted() -> None:
    assert quoted("a/b c#é") == "a%2Fb%20c%23%C3%A9"
    assert quoted("..") == "%2E%2E"
    assert quoted("deb1.opensvc.com") == "deb1.opensvc.com"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://hv1", ("hv1", 1216)),
        ("hv1:99", ("hv1", 99)),
        ("https://[::1]:7/", ("::1", 7)),
    ],
)
def test_endpoints(url: str, endpoint: tuple[str, int]) -> None:
    assert parse(url) == endpoint


@pytest.mark.parametrize(
    "url", ["http://hv1", "https://", "https://hv1:x", "https://hv1/v1", "https://a@hv1", "["]
)
def test_no_endpoints(url: str) -> None:
    with pytest.raises(Trouble) as told:
        parse(url)
    assert told.value.exit_code == USAGE


def test_only_daemons_are_talked_to() -> None:
    check({"subjectAltName": (("DNS", "x"), ("URI", "encap://prod/guest/vm1"))}, "hv1:1216")
    for names in (
        (),
        (("URI", "encap://prod/user/alice"),),
        (("DNS", "encap://prod/guest/vm1"),),
        (("URI", "https://prod/guest/vm1"),),
        (("URI", "encap://prod/guest/"),),
    ):
        with pytest.raises(Trouble) as told:
            check({"subjectAltName": names}, "hv1:1216")
        assert told.value.exit_code == REFUSED

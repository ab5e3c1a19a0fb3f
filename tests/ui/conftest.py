"""A daemon in the tests' own hands: answers on a Unix socket what each test tells it to."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Asked(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def plain(body: bytes, status: int = 200, kind: str = "text/plain", **headers: str) -> bytes:
    fields = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
    head = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in fields.items())
    return f"HTTP/1.1 {status} Some Words\r\n{head}\r\n".encode() + body


def answer(document: Any, status: int = 200, **headers: str) -> bytes:
    return plain(json.dumps(document).encode(), status, "application/json", **headers)


def problem(status: int, code: str, detail: str, hint: str = "", **more: Any) -> bytes:
    document = {"status": status, "code": code, "detail": detail, "hint": hint, **more}
    return plain(json.dumps(document).encode(), status, "application/problem+json")


def chunked(*pieces: bytes, kind: str = "text/event-stream", end: bool = True) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + (b"0\r\n\r\n" if end else b"")


def event(number: int, kind: str, **fields: Any) -> bytes:
    document = {
        "id": number,
        "kind": kind,
        "at": "2026-11-23T16:00:00.000Z",
        "operation": "01OP",
        "step": None,
        "where": "",
        "what": "",
        "text": "",
        "under": None,
        **fields,
    }
    return f"id: {number}\ndata: {json.dumps(document)}\n\n".encode()


def status(name: str = "deb1", overall: str = "up") -> dict[str, Any]:
    """A small status document of the host level."""
    return {
        "schema": "encap.status/1",
        "service": name,
        "node": "hv1",
        "level": "host",
        "revision": 1,
        "hash": "",
        "topology": "failover",
        "orchestrate": "no",
        "frozen": None,
        "operation": None,
        "provisioned": "true",
        "avail": "up",
        "overall": overall,
        "optional": "n/a",
        "groups": {"sync": "n/a", "hb": "n/a"},
        "observed_at": "2026-11-23T16:00:00.000Z",
        "log": [],
        "resources": [
            {
                "rid": "fs#1",
                "group": "fs",
                "type": "flag",
                "label": "/srv",
                "status": "up",
                "monitor": False,
                "disable": False,
                "optional": False,
                "encap": False,
                "standby": False,
                "last_status": None,
                "provisioned": "true",
                "restart": {"left": 0, "of": 0},
                "log": [],
                "age": 0.4,
                "observed_at": "2026-11-23T16:00:00.000Z",
                "source": "probe",
                "stale": False,
            }
        ],
    }


def operation(**fields: Any) -> dict[str, Any]:
    return {
        "schema": "encap.operation/1",
        "id": "01OP",
        "service": "deb1",
        "action": "start",
        "node": "hv1",
        "origin": {"who": "root", "node": "hv1", "operation": None},
        "state": "running",
        "result": None,
        "undone": None,
        "phase": "",
        "plan": None,
        "created_at": "2026-11-23T16:00:00.000Z",
        "started_at": None,
        "ended_at": None,
        "problem": None,
        **fields,
    }


class Scripted:
    """Listens under `root`; `answers` maps ``METHOD path`` to bytes or to a function that makes
    them. A list is used up one answer a request, its last one stays."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked = root, list[Asked]()
        self.answers: dict[str, Any] = {}
        path = root / "run/encap"
        path.mkdir(parents=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path / "agentd.sock"))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    # What tests need to write documents and bytes of a daemon.
    plain, answer, problem, chunked = map(staticmethod, (plain, answer, problem, chunked))
    event, status, operation = map(staticmethod, (event, status, operation))

    def close(self) -> None:
        """Stop answering; the socket's file stays, as after a crash."""
        if self.listener.fileno() < 0:
            return
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    self._answer(connection)
                except OSError:
                    continue

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            line = stream.readline().decode()
            if not line:
                return
            method, path, _ = line.split()
            headers = {}
            while field := stream.readline().decode().strip():
                name, _, value = field.partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", 0)))
            self.asked.append(Asked(method, path, headers, body))
        answer = self.answers.get(f"{method} {path}", problem(404, "not-found", f"nothing at {path}"))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer(connection)
        else:
            connection.sendall(answer)


@pytest.fixture
def root() -> Iterator[Path]:
    """A short folder: the path of a Unix socket has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="encap-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def daemon(root: Path) -> Iterator[Scripted]:
    scripted = Scripted(root)
    yield scripted
    scripted.close()


@pytest.fixture
def svc(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `svc WORDS --root ROOT`; exit code, standard output, standard error."""
    from cli.main import main

    def run(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--root", str(root)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run

"""HTTP/1.1 to a daemon: over its Unix socket, or over TLS to another machine.

A small reader of our own: http.client and ssl would cost the command line half of its
time. One request a connection; bodies with Content-Length, chunked, or until the end.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping

from cli.exits import UNREACHABLE, Trouble, of_code
from cli.reader import Reader, broken, reason, server_sent, stream
from cli.reader import body as body_of
from cli.reader import head as head_of

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from typing import Any

SOCKET = "run/encap/agentd.sock"
SUN_PATH = 107
CONNECT_TIMEOUT = 5.0

Connect = Callable[[], socket.socket]


class Answer:
    """A whole answer. `headers` have lower-case names."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise broken("its answer is not JSON") from None


class Daemon:
    """The daemon that answers this command. `where` names it in messages."""

    def __init__(self, connect: Connect, where: str) -> None:
        self.connect, self.where = connect, where

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        """One request; any status is an answer. Raises Trouble when there is none."""
        with self.connect() as connection:
            reader = _send(connection, method, path, body, headers or {}, timeout)
            status, fields = head_of(reader)
            return Answer(status, fields, b"".join(body_of(reader, fields)) if status != 204 else b"")

    def get(self, path: str, timeout: float = 30) -> Any:
        """The JSON of a GET that has to succeed."""
        return good(self.request("GET", path, timeout=timeout)).json()

    def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Any:
        """Send a JSON document, get the JSON of an answer that has to succeed."""
        body = None if document is None else json.dumps(document).encode()
        fields = {"Content-Type": "application/json", **(headers or {})}
        answer = good(self.request(method, path, body, headers=fields, timeout=timeout))
        return answer.json() if answer.body else {}

    def events(
        self,
        path: str,
        after: str = "",
        *,
        silence: float = 30,
        tick: float | None = None,
    ) -> Iterator[tuple[str, str] | None]:
        """(id, data) of each server-sent event until the stream ends; None at each tick."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        with self.connect() as connection:
            reader = _send(connection, "GET", path, None, headers, silence)
            status, fields = head_of(reader)
            if not 200 <= status < 300:
                good(Answer(status, fields, b"".join(body_of(reader, fields))))
            reader.tick = tick
            yield from server_sent(stream(reader, fields), after)


def good(answer: Answer) -> Answer:
    """The answer, or the Trouble that its problem document tells."""
    if 200 <= answer.status < 300:
        return answer
    try:
        problem = json.loads(answer.body)
    except (ValueError, RecursionError):
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    code = str(problem.get("code") or "")
    text = str(problem.get("detail") or problem.get("title") or f"the daemon answered {answer.status}")
    found = problem.get("problems")
    found = [f for f in found if isinstance(f, dict)] if isinstance(found, list) else []
    raise Trouble(
        text,
        of_code(code, answer.status),
        hint=str(problem.get("hint") or ""),
        code=code or "error",
        problems=found,
    )


def quoted(text: str) -> str:
    """One segment of a path, or one value of a query; urllib would cost three milliseconds."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
    encoded = "".join(chr(b) if b in plain else f"%{b:02X}" for b in text.encode("utf-8", "surrogateescape"))
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")


def local(root: str) -> Daemon:
    """The daemon whose paths hang under `root`."""
    return Daemon(lambda: _connect(root), f"{root.rstrip('/')}/{SOCKET}")


def _connect(root: str) -> socket.socket:
    path = os.path.join(root, SOCKET)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_TIMEOUT)
    try:
        if len(os.fsencode(path)) <= SUN_PATH:
            connection.connect(path)
        else:
            # A longer path does not fit the kernel's address, so it is reached from its directory.
            directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                connection.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
            finally:
                os.close(directory)
        _trusted(connection, root)
    except OSError as error:
        connection.close()
        raise _unreachable(error, path, root) from None
    except Trouble:
        connection.close()
        raise
    return connection


def _trusted(connection: socket.socket, root: str) -> None:
    """Talk to root's daemon or one's own; under another root, also to that of its owner."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(credentials[4:8], sys.byteorder)
    if uid not in (0, os.geteuid()) and (root == "/" or os.stat(root).st_uid != uid):
        raise Trouble(
            f"the socket under {root} belongs to a process of user {uid}",
            UNREACHABLE,
            hint="Only the daemon of root, or your own, is talked to.",
            code="unreachable",
        )


def _unreachable(error: OSError, path: str, root: str) -> Trouble:
    option = "" if root == "/" else f" --root {root}"
    hint = (
        f"Is it running? Start it with: {'systemctl start agentd' if root == '/' else f'agentd run{option}'}"
    )
    why = reason(error)
    if isinstance(error, PermissionError):
        why, hint = f"no permission for {path}", "Be root or a member of the group encap."
    elif isinstance(error, FileNotFoundError):
        why = f"there is no {path}"
    elif isinstance(error, ConnectionRefusedError):
        why = f"nobody listens at {path}"
    return Trouble(f"the daemon is not reachable: {why}", UNREACHABLE, hint=hint, code="unreachable")


def _send(
    connection: socket.socket,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: float,
) -> Reader:
    fields = {"Host": "encap", "Connection": "close", "User-Agent": "svc", **headers}
    if body is not None or method != "GET":
        fields["Content-Length"] = str(len(body or b""))
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
    connection.settimeout(timeout)
    try:
        connection.sendall(head.encode("latin-1") + (body or b""))
    except BrokenPipeError:
        pass  # it may have answered before it closed: a body that is too long is refused so
    except OSError as error:
        raise broken(reason(error)) from None
    return Reader(connection, timeout)

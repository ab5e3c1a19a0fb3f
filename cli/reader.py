"""HTTP/1.1 answers and server-sent events, read from a socket with deadlines and limits."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping

from cli.exits import UNREACHABLE, Trouble

HEAD_LIMIT, BODY_LIMIT, LINE_LIMIT = 64 << 10, 64 << 20, 4 << 20


def broken(why: str) -> Trouble:
    return Trouble(f"the daemon is not reachable: {why}", UNREACHABLE, code="unreachable")


def reason(error: OSError) -> str:
    return error.strerror or str(error)


class Reader:
    """Bytes of one connection, with a deadline. `tick`: seconds after which a wait that
    brought nothing raises TimeoutError, so that a caller can redraw; None never does."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self.connection, self.buffer = connection, b""
        self.tick: float | None = None
        self.timeout, self.deadline = timeout, time.monotonic() + timeout

    def extend(self) -> None:
        """Something was heard: the deadline counts from now."""
        self.deadline = time.monotonic() + self.timeout

    def more(self) -> bool:
        """Read what there is; False at the end of the stream."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise broken(f"no answer within {self.timeout:g} s")
        self.connection.settimeout(left if self.tick is None else min(left, self.tick))
        try:
            data = self.connection.recv(65536)
        except TimeoutError:
            if self.tick is None:
                raise broken(f"no answer within {self.timeout:g} s") from None
            raise
        except OSError as error:
            raise broken(reason(error)) from None
        self.buffer += data
        return bool(data)

    def line(self, limit: int = HEAD_LIMIT) -> bytes:
        """One line without its end."""
        while (end := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > limit:
                raise broken("a line of its answer is too long")
            if not self.more():
                raise broken("it ended the connection in the middle of an answer")
        line, self.buffer = self.buffer[:end], self.buffer[end + 1 :]
        return line.rstrip(b"\r")

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self.more():
                raise broken("it ended the connection in the middle of an answer")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def rest(self) -> bytes:
        while self.more():
            if len(self.buffer) > BODY_LIMIT:
                raise broken("its answer is too long")
        return self.buffer


def head(reader: Reader) -> tuple[int, dict[str, str]]:
    words = reader.line().split(b" ", 2)
    number = words[1] if len(words) > 1 and words[0].startswith(b"HTTP/1.") else b""
    if len(number) != 3 or not number.isdigit():
        raise broken("what listens there does not speak HTTP")
    fields: dict[str, str] = {}
    size = 0
    while line := reader.line():
        size += len(line)
        if size > HEAD_LIMIT:
            raise broken("the head of its answer is too long")
        name, colon, value = line.partition(b":")
        if colon:
            fields[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()
    return int(number), fields


def body(reader: Reader, fields: Mapping[str, str]) -> Iterator[bytes]:
    if fields.get("transfer-encoding", "").lower() == "chunked":
        size = 0
        for chunk in _chunks(reader):
            size += len(chunk)
            if size > BODY_LIMIT:
                raise broken("its answer is too long")
            yield chunk
    elif "content-length" in fields:
        length = fields["content-length"]
        if not length.isascii() or not length.isdigit() or len(length) > 12 or int(length) > BODY_LIMIT:
            raise broken("its answer has no usable length")
        yield reader.exactly(int(length))
    else:
        yield reader.rest()


def _chunks(reader: Reader) -> Iterator[bytes]:
    while True:
        try:
            size = int(reader.line().partition(b";")[0], 16)
        except ValueError:
            raise broken("its answer is badly chunked") from None
        if not 0 <= size <= BODY_LIMIT:
            raise broken("its answer is badly chunked")
        if size == 0:
            return
        data = reader.exactly(size + 2)
        yield data[:-2]


def stream(reader: Reader, fields: Mapping[str, str]) -> Iterator[bytes | None]:
    """Pieces of a body as they arrive; None when a tick went by without one.

    A tick may fall into the middle of a chunk, so nothing is taken from the buffer before
    the whole chunk is there.
    """
    chunked = fields.get("transfer-encoding", "").lower() == "chunked"
    while True:
        piece = _take_chunk(reader) if chunked else _take_all(reader)
        if piece is not None:
            if chunked and not piece:
                return
            reader.extend()
            yield piece
            continue
        try:
            alive = reader.more()
        except TimeoutError:
            yield None
            continue
        if not alive:
            if chunked:
                raise broken("it ended the stream in the middle")
            return


def _take_all(reader: Reader) -> bytes | None:
    piece, reader.buffer = reader.buffer, b""
    return piece or None


def _take_chunk(reader: Reader) -> bytes | None:
    """A whole chunk of the buffer, b"" for the last, None when it is not there yet."""
    head, end, rest = reader.buffer.partition(b"\n")
    if not end:
        return None
    try:
        size = int(head.partition(b";")[0], 16)
    except ValueError:
        raise broken("its answer is badly chunked") from None
    if not 0 <= size <= LINE_LIMIT:
        raise broken("its answer is badly chunked")
    if size == 0:
        return b""
    if len(rest) < size + 2:
        return None
    reader.buffer = rest[size + 2 :]
    return rest[:size]


def server_sent(pieces: Iterator[bytes | None], after: str) -> Iterator[tuple[str, str] | None]:
    """Events of a text/event-stream; comments and unknown fields are passed over."""
    text, identity = b"", after
    data: list[str] = []
    for piece in pieces:
        if piece is None:
            yield None
            continue
        text += piece
        if len(text) > LINE_LIMIT:
            raise broken("an event of it is too long")
        *lines, text = text.split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r").decode("utf-8", "replace")
            name, _, value = line.partition(":")
            if name == "id" and line:
                identity = value.strip()
            elif name == "data" and line:
                data.append(value.removeprefix(" "))
            elif not line and data:
                yield identity, "\n".join(data)
                data = []

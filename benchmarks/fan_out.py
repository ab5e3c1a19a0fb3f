"""How long it takes to ask fifty TLS servers at once, and what a bare client takes for the same.

The servers are the product's own (`agentd.server.Server`), all in one other process, each
with a certificate and a name of its own, on loopback; all connections are open already. Our
side is `Peers.fan_out`. The peer is a bare asyncio and ssl client: one kept connection a
server, the same request, the same certificates, answers read by their Content-Length and as
JSON. Medians in turns; ratios without unit, times in milliseconds. Both wait for the same
servers, which flatters the first ratio; the last one is of the clients' own work.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _measuring import Figure, folder, median, quick, show

from agentd import pki
from agentd.peers import Answer, Peer, Peers
from agentd.server import Server
from agentd.settings import Paths, Settings, parse_address

PATH = "/v1/services/web/status"
BODY = json.dumps({"service": "web", "resources": [
    {"rid": f"fs#{n}", "status": "up", "label": "flag", "log": [], "age": 0.1} for n in range(10)]}).encode()


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    """The application of every server: a small status document."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def certificates(root: Path, count: int) -> list[Path]:
    """A cluster, and the folders of its guests; the caller's own is hv1."""
    own = Paths(root / "hv1")
    pki.init_ca(own, "bench", "hv1")
    authorities = own.ca_certificate.read_bytes()
    for number in range(count):
        paths, name = Paths(root / f"vm{number}"), f"vm{number}"
        issued = pki.sign_request(own, pki.make_key_and_request(paths, name), "guest", name)
        pki.install(paths, issued, authorities, "bench", "guest", name)
    return [root / f"vm{number}" for number in range(count)]


async def serve(root: Path, count: int) -> None:
    """The other process: tells its addresses in a line, and ends with its standard input."""
    servers = [Server(answer, Settings(root / f"vm{n}", f"vm{n}", "bench", listen=(("127.0.0.1", 0),)))
               for n in range(count)]
    for each in servers:
        await each.start()
    print(" ".join(each.listening[0] for each in servers), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for each in servers:
        await each.stop(0)


class Bare:
    """One kept connection: as little as a client can do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        self._reader, self._writer = reader, writer
        self._request = f"GET {PATH} HTTP/1.1\r\nhost: {name}\r\naccept: application/json\r\n\r\n".encode()

    @classmethod
    async def open(cls, address: str, name: str, context: Any) -> Bare:
        host, port = parse_address(address)
        return cls(*await asyncio.open_connection(host, port, ssl=context, server_hostname=name), name)

    async def ask(self) -> Any:
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                      if line.lower().startswith(b"content-length:"))
        return json.loads(await self._reader.readexactly(length))

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def timed(act: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Seconds, and those of them on our own processor."""
    began, worked = time.perf_counter(), time.process_time()
    await act()
    return time.perf_counter() - began, time.process_time() - worked


async def compare(root: Path, addresses: list[str], rounds: int) -> list[float]:
    """Of `Peers.fan_out`: seconds, and seconds on a processor; the same two of the bare client."""
    paths = Paths(root / "hv1")
    where = {f"vm{number}": Peer(address, ("guest",)) for number, address in enumerate(addresses)}
    peers = Peers(where.get, lambda: pki.client_context(paths), lambda: "bench", 10.0)
    context = pki.client_context(paths)
    bare = [await Bare.open(peer.address, name, context) for name, peer in where.items()]

    async def ours() -> None:
        answers = await peers.fan_out(where, "GET", PATH)
        assert all(isinstance(each, Answer) and each.error is None for each in answers.values()), answers

    async def theirs() -> None:
        await asyncio.gather(*(each.ask() for each in bare))

    try:
        for act in (ours, theirs, ours, theirs):  # warm
            await act()
        found = [(*await timed(ours), *await timed(theirs)) for _ in range(rounds)]
    finally:
        await peers.close()
        for each in bare:
            await each.close()
    return [median(values) for values in zip(*found, strict=True)]


def main() -> None:
    servers, rounds = (4, 3) if quick(__doc__) else (50, 60)
    with folder() as root:
        certificates(root, servers)
        with subprocess.Popen([sys.executable, "-P", __file__, "--serve", str(root), str(servers)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                addresses = process.stdout.readline().split()
                assert len(addresses) == servers
                ours, our_work, bare, bare_work = asyncio.run(compare(root, addresses, rounds))
            finally:
                process.stdin.close()
    show([Figure(f"fan-out to {servers}, warm", 1000 * ours, 70, "ms"),
          Figure("fan-out / bare asyncio and ssl client", ours / bare, 12, "x"),
          Figure("bare client", 1000 * bare, None, "ms"),
          Figure("time on a processor, of the client alone", our_work / bare_work, None, "x")])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        main()

"""A world behind real commands: programs with the names of the tools, that ask it over a socket.

What the tests in memory cannot show is shown with it: that words, input, exit codes and
both outputs go through a process unchanged, and that one that hangs is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from agentd.host import LocalHost

from ..worlds.base import ToolWorld  # noqa: TID252 of the same tests

PROGRAM = """#!{python} -IS
import json, socket, sys
asker = socket.socket(socket.AF_UNIX)
asker.connect({socket!r})
stdin = "" if sys.stdin is None else sys.stdin.read()
asker.sendall(json.dumps([{tool!r}, sys.argv[1:], stdin]).encode() + b"\\n")
code, out, err = json.loads(asker.makefile().read())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


class Machine(LocalHost):
    """This machine's commands with the files of a world."""

    def __init__(self, root: Path, world: ToolWorld) -> None:
        super().__init__(root)
        self.world = world
        self.read, self.write, self.remove = world.read, world.write, world.remove  # type: ignore[method-assign]
        self.exists, self.make_directory = world.exists, world.make_directory  # type: ignore[method-assign]


class Simulator:
    """The tools of a world in a folder. `hanging` ones never answer."""

    def __init__(self, folder: Path, world: ToolWorld) -> None:
        self.folder, self.world = folder, world
        self.hanging: set[str] = set()
        self._server: asyncio.Server | None = None

    async def start(self, *tools: str) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.folder / "socket")
        for tool in tools:
            path = self.folder / tool
            socket = str(self.folder / "socket")
            path.write_text(PROGRAM.format(python=sys.executable, socket=socket, tool=tool))
            path.chmod(0o755)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tool, words, stdin = json.loads(await reader.readline())
        if tool in self.hanging:
            await reader.read()  # until its process is ended
        else:
            self.world.clock = time.monotonic()
            result = await self.world.answer(tool, tuple(words), stdin.encode())
            writer.write(json.dumps([result.code, result.out, result.err]).encode())
        writer.close()

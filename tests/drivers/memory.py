"""A machine in memory: files, a clock that jumps, and tools that a test supplies."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from agentd.core.build import build
from agentd.core.config import parse
from agentd.core.errors import NotFound, Silent
from agentd.core.model import Resource
from drivers import catalogue
from drivers.base import CommandFailed, Driver, Host, Result, Setting

T = TypeVar("T")
SETTING = Setting("shop", "hv1", "/var/lib/encap/services/shop", "/run/encap/services/shop")


def resource(rid: str, type: str, **options: object) -> Resource:
    """A resource as the core builds it from a configuration with these keywords."""
    lines = "\n".join(f"{key} = {value}" for key, value in options.items())
    document, findings = parse(f"[DEFAULT]\nnodes = hv1\n\n[{rid}]\ntype = {type}\n{lines}\n")
    service, problems = build(document, SETTING.service, SETTING.node, catalogue())
    assert [f.text for f in (*findings, *problems) if f.severity == "error"] == []
    found = service.resource(rid)
    assert found is not None
    return found


def make(rid: str, type: str, host: Host, **options: object) -> Driver:
    """The driver of a type over a host."""
    driver = catalogue().driver(rid.partition("#")[0], type)
    assert driver is not None, f"{rid}: no driver for {type}"
    return driver(resource(rid, type, **options), host, SETTING)


class MemoryHost:
    """A host whose tools are methods: a subclass answers `tool`."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.directories: set[str] = set()
        self.calls: list[str] = []
        self.clock = 0.0
        self.missing = False
        self.hanging = False

    async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        raise AssertionError(f"not expected: {shlex.join(argv)}")

    async def probe(
        self,
        *argv: str,
        timeout: float = 30,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        umask: int | None = None,
    ) -> Result:
        self.calls.append(shlex.join(argv))
        if self.missing:
            raise NotFound(f"tool missing: {argv[0]}", code="tool-missing")
        if self.hanging:
            self.clock += timeout
            raise Silent(f"{shlex.join(argv)}: no answer within {timeout:g} s")
        return await self.tool(argv, stdin)

    async def run(
        self,
        *argv: str,
        timeout: float = 60,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        umask: int | None = None,
    ) -> Result:
        result = await self.probe(*argv, timeout=timeout, stdin=stdin)
        if result.code:
            raise CommandFailed(f"{argv[0]}: exit {result.code}: {result.err.strip()}", exit=result.code)
        return result

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        log: str,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        umask: int | None = None,
    ) -> int:
        raise AssertionError(f"not expected: spawn {shlex.join(argv)}")

    async def kill(self, pid: int, signal: int, *, group: bool = True) -> bool:
        raise AssertionError(f"not expected: kill {pid}")

    async def work(self, call: Callable[[], T], *, key: str, timeout: float = 30, limit: int = 4) -> T:
        """Runs it here and now: a library under test does not block."""
        self.calls.append(f"work {key}")
        if self.hanging:
            self.clock += timeout
            raise Silent(f"{key}: no answer within {timeout:g} s")
        return call()

    async def read(self, path: str, limit: int = 1 << 20) -> str:
        if path not in self.files:
            raise NotFound(f"{path} does not exist")
        return self.files[path][:limit]

    async def write(self, path: str, text: str, mode: int = 0o600) -> None:
        self.files[path] = text

    async def remove(self, path: str) -> None:
        self.files.pop(path, None)

    async def exists(self, path: str) -> bool:
        return path in self.files or path in self.directories

    async def make_directory(self, path: str, mode: int = 0o755) -> None:
        self.directories.add(path)

    async def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def now(self) -> float:
        return self.clock

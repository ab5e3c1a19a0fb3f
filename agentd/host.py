"""This machine: the one door through which drivers reach commands, processes and files.

Implements `drivers.base.Host`. Commands are argument vectors with a small fixed
environment, their own process group, a deadline and a cap on their output.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentd import files
from agentd.child import Child, exited
from agentd.core.errors import ActionFailed, NotFound, Silent
from agentd.host_files import HostFiles
from agentd.host_work import HostWork
from drivers.base import CommandFailed, Result

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LocalHost(HostFiles, HostWork):
    """The machine that the daemon runs on.

    `root` is the daemon's own: commands find it as ``ENCAP_ROOT``. At most `limit` probes
    and as many changes run at a time; they wait apart, so that hanging probes hold up no
    stop.
    """

    def __init__(self, root: Path, limit: int = 16) -> None:
        HostFiles.__init__(self, root)
        HostWork.__init__(self)
        self._environment = {"PATH": SEARCH_PATH, "LC_ALL": "C", "LANG": "C", "ENCAP_ROOT": str(root)}
        self._probes, self._changes = asyncio.Semaphore(limit), asyncio.Semaphore(limit)
        self._ending: set[asyncio.Task[None]] = set()

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
        async with self._probes:
            return await self._command(argv, timeout, stdin, env, cwd=cwd, user=user, umask=umask)

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
        async with self._changes:
            result = await self._command(argv, timeout, stdin, env, cwd=cwd, user=user, umask=umask)
        if result.code:
            raise CommandFailed(
                f"{shlex.join(argv)}: {_ending(result.code)}{_last_words(result)}", exit=result.code
            )
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
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(log, flags, 0o600)
        except OSError as error:
            raise files.storage_trouble(f"cannot write {log}", error) from error
        try:
            process = self._start(
                argv,
                env,
                cwd,
                user,
                umask,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        # It outlives this daemon, but for as long as it is our child it is ours to bury.
        pid, process.returncode = process.pid, 0  # so that Popen does not wait for it, nor complain
        exited(pid).add_done_callback(lambda _: os.waitpid(pid, 0))
        return pid

    async def kill(self, pid: int, signal: int, *, group: bool = True) -> bool:
        if pid <= 1:
            raise ActionFailed(f"process {pid} is none of ours")
        try:
            (os.killpg if group else os.kill)(pid, signal)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise ActionFailed(f"not allowed to signal process {pid}") from error
        return True

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def now(self) -> float:
        return time.monotonic()

    async def close(self) -> None:
        """Wait for commands that are being ended; a worker that hangs in a dead disk is left behind."""
        await asyncio.gather(*self._ending)
        self.close_files()

    async def _command(
        self,
        argv: Sequence[str],
        timeout: float,
        stdin: bytes | None,
        env: Mapping[str, str] | None,
        *,
        cwd: str,
        user: str,
        umask: int | None,
    ) -> Result:
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        process = self._start(
            argv,
            env,
            cwd,
            user,
            umask,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        child = Child(process, stdin)
        try:
            async with asyncio.timeout(timeout):
                return Result(*await child.communicate())
        except TimeoutError:
            await asyncio.shield(self._end(child))
            raise Silent(f"{shlex.join(argv)}: no answer within {timeout:g} s") from None
        except asyncio.CancelledError:
            self._end(child)
            raise

    def _end(self, child: Child) -> asyncio.Task[None]:
        """End a child in a task that a cancellation of its caller does not reach."""
        task = asyncio.create_task(child.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    def _start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: str,
        user: str,
        umask: int | None,
        **how: Any,
    ) -> subprocess.Popen[bytes]:
        try:
            identity, home = _identity(user)
            return subprocess.Popen(
                argv,
                env={**self._environment, **home, **(env or {})},
                cwd=cwd,
                umask=-1 if umask is None else umask,
                **identity,
                **how,
            )
        except FileNotFoundError as error:
            if error.filename == cwd:
                raise NotFound(f"{argv[0]}: its working directory {cwd} does not exist") from error
            raise NotFound(
                f"tool missing: {argv[0]}",
                code="tool-missing",
                hint=f"install the program {argv[0]}, or correct the path to it",
            ) from error
        except (OSError, ValueError) as error:  # not executable, no memory, NUL in a word
            raise ActionFailed(f"cannot start {argv[0]}: {error}") from error


def _identity(user: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Popen's arguments and the environment for ``name`` or ``name:group``."""
    if not user:
        return {}, {}
    name, _, group = user.partition(":")
    try:
        found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        number = found.pw_gid if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise NotFound(f"no such user or group: {user}") from None
    home = {"HOME": found.pw_dir, "USER": found.pw_name, "LOGNAME": found.pw_name}
    if (found.pw_uid, number) == (os.geteuid(), os.getegid()):
        return {}, home
    return {
        "user": found.pw_uid,
        "group": number,
        "extra_groups": os.getgrouplist(found.pw_name, number),
    }, home


def _ending(code: int) -> str:
    return f"exit {code}" if code > 0 else f"killed by signal {-code}"


def _last_words(result: Result) -> str:
    """The end of what it said, for the error's sentence."""
    lines = [line.strip() for line in (result.err.strip() or result.out.strip()).splitlines()]
    return f": {'; '.join(lines[-3:])[-500:]}" if lines else ""

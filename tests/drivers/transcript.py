r"""Plays the transcripts in ``cases/``: what a driver asks of its host, and what it is told.

A case is a text::

    What this case shows, in a sentence.

    driver container.lxc
    name = c1

    do stop
    probe lxc-info -n c1 -s -c lxc.start.auto => 0 << lxc-info/5.0.2-running.txt
    run lxc-stop -n c1 --nokill -t 3 => 1 ! timed out
    gives done

Calls must come exactly as written; a sleep is not written, it moves the clock. Answers:

- ``0 text``, ``0 << file`` (a file below ``outputs/``), ``1 ! text of stderr``; ``\n`` is a new line
- ``silent``, ``missing``: the call raises Silent, NotFound
- ``yes``, ``no`` for ``exists`` and ``kill``; a process id for ``spawn``; ``ok`` for what answers nothing

``gives`` is what comes out: ``done``, a status with its lines (``warn c1 is paused``), ``error text``,
or the value of another verb. Several pairs of ``do`` and ``gives`` may follow one another.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agentd.core.errors import EncapError, NotFound, Silent
from agentd.core.status import Probe
from drivers.base import CommandFailed, Result

from .memory import make

HERE = Path(__file__).parent


@dataclass
class Case:
    """One transcript."""

    title: str
    group: str = ""
    type: str = ""
    options: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def read(path: Path) -> Case:
    title, head, *rest = path.read_text(encoding="utf-8").split("\n\n", 2)
    case = Case(title.strip())
    for line in head.splitlines():
        if line.startswith("driver "):
            case.group, _, case.type = line.removeprefix("driver ").partition(".")
        else:
            key, _, value = line.partition("=")
            case.options[key.strip()] = value.strip()
    case.lines = [line.strip() for line in "\n".join(rest).splitlines()]
    case.lines = [line for line in case.lines if line and not line.startswith("#")]
    return case


class Player:
    """A host that plays the lines of a transcript and takes no other call."""

    def __init__(self, lines: list[str]) -> None:
        self.lines, self.clock = lines, 0.0

    def answer(self, call: str) -> str:
        assert self.lines, f"the transcript is over, and the driver asks: {call}"
        expected, arrow, answer = self.lines.pop(0).partition(" => ")
        assert arrow, f"the driver asks: {call}\nthe transcript says: {expected}"
        assert call == expected.strip()
        if answer == "silent":
            raise Silent(f"{call}: no answer")
        if answer == "missing":
            raise NotFound(f"missing: {call}")
        return answer

    def result(self, verb: str, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        into = f" <<< {stdin.decode()}" if stdin is not None else ""
        code, _, text = self.answer(f"{verb} {shlex.join(argv)}{into}").partition(" ")
        if text.startswith("<< "):
            return Result(int(code), recorded(text.removeprefix("<< ")))
        out, _, err = text.partition("! ")
        return Result(int(code), out.replace("\\n", "\n"), err.replace("\\n", "\n"))

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
        return self.result("probe", argv, stdin)

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
        result = self.result("run", argv, stdin)
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
        return int(self.answer(f"spawn {shlex.join(argv)}"))

    async def kill(self, pid: int, signal: int, *, group: bool = True) -> bool:
        return self.answer(f"kill {pid} {int(signal)}{' group' if group else ''}") == "yes"

    async def work(
        self, call: Callable[[], object], *, key: str, timeout: float = 30, limit: int = 4
    ) -> object:
        raise AssertionError(f"a transcript has no libraries, and the driver works on {key}")

    async def read(self, path: str, limit: int = 1 << 20) -> str:
        text = self.answer(f"read {path}")
        return recorded(text.removeprefix("<< ")) if text.startswith("<< ") else text.replace("\\n", "\n")

    async def write(self, path: str, text: str, mode: int = 0o600) -> None:
        self.answer(f"write {path}")

    async def remove(self, path: str) -> None:
        self.answer(f"remove {path}")

    async def exists(self, path: str) -> bool:
        return self.answer(f"exists {path}") == "yes"

    async def make_directory(self, path: str, mode: int = 0o755) -> None:
        self.answer(f"make {path}")

    async def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def now(self) -> float:
        return self.clock


def recorded(name: str) -> str:
    """An output without its first line, which says where it is from."""
    return (HERE / "outputs" / name).read_text(encoding="utf-8").partition("\n")[2]


def told(value: object) -> str:
    """What came out of a verb, as ``gives`` writes it."""
    if isinstance(value, Probe):
        return " ".join((value.status.value, *(line.text for line in value.log)))
    return "done" if value is None else str(value)


async def play(case: Case) -> None:
    player = Player(list(case.lines))
    rid = case.options.pop("rid", f"{case.group}#1")
    driver = make(rid, case.type, player, **case.options)
    while player.lines:
        verb, *words = shlex.split(player.lines.pop(0).removeprefix("do "))
        try:
            given = told(await getattr(driver, verb)(*words))
        except EncapError as error:
            given = f"error {error.text}"
        assert player.lines, f"no 'gives' after 'do {verb}'; it gives {given}"
        assert f"gives {given}" == player.lines.pop(0)

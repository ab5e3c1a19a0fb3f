"""Launchers: the keywords of all applications, and what their values mean.

``start``, ``stop``, ``check`` and ``info`` are each false (nothing), true (``script`` with
that word), a number (the same, and the place in the order of starts) or a command.
"""

from __future__ import annotations

import re
import shlex
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from agentd.core.converters import absolute_path, boolean, command, duration
from agentd.core.errors import InvalidRequest
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine, Probe, Status
from drivers.base import Driver, Result

Launcher = bool | int | tuple[str, ...]

_TRUE, _FALSE = ("true", "yes", "y", "t"), ("false", "no", "n", "f", "none", "")
_WORDS = {"start": "start", "stop": "stop", "check": "status", "info": "info"}
STATUS_LOG_LINES = 10


def launcher(text: str) -> Launcher:
    """True, False, a sequence number, or an argument vector (no shell)."""
    bare = text.strip()
    if bare.lower() in _TRUE:
        return True
    if bare.lower() in _FALSE:
        return False
    if bare.isascii() and bare.isdigit():
        return int(bare[:9])
    return command(text)


def return_codes(text: str) -> Mapping[int, Status]:
    """``0:up 1:down``."""
    found = {}
    for word in text.split():
        code, _, state = word.partition(":")
        if not (code.isascii() and code.isdigit()) or state not in ("up", "down", "warn", "n/a", "undef"):
            raise ValueError(f"{word!r} is not like 0:up; the states are up, down, warn, n/a and undef")
        found[int(code)] = Status(state)
    return found


def environment(text: str) -> Mapping[str, str]:
    """``A=1 B="two words"``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text!r} has an open quote or a trailing backslash") from error
    for word in words:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*=.*", word, re.DOTALL):
            raise ValueError(f"{word!r} is not like NAME=value")
    return dict(word.split("=", 1) for word in words)


def account(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", text):
        raise ValueError(f"{text!r} is not the name or the number of an account")
    return text


def octal(text: str) -> int:
    if not re.fullmatch(r"0?o?[0-7]{1,3}", text):
        raise ValueError(f"{text!r} is not a umask such as 022")
    return int(text.replace("o", ""), 8)


KEYWORDS = (
    Keyword(
        "script",
        "The program that true and a number call with start, stop, status or info.",
        command,
        (),
        example="/etc/init.d/shop",
    ),
    Keyword(
        "start",
        "false, true, a sequence number, or a command. No shell.",
        launcher,
        False,
        example="/srv/shop/bin/up --quiet",
    ),
    Keyword("stop", "The same for the stop.", launcher, False),
    Keyword("check", "The same for the check; its exit code tells the state.", launcher, False),
    Keyword("info", "The same for a listing of facts.", launcher, False),
    Keyword("timeout", "For each of them, when not said apart.", duration, None),
    Keyword("start_timeout", "How long a start may take.", duration, None),
    Keyword("stop_timeout", "How long a stop may take.", duration, None),
    Keyword("check_timeout", "How long a check may take.", duration, None),
    Keyword("info_timeout", "How long the listing may take.", duration, None),
    Keyword("status_log", "Show the output of the check under the resource.", boolean, False),
    Keyword("user", "Who runs them.", account, "", example="shop"),
    Keyword("group", "Their group, when not the user's own.", account, ""),
    Keyword("cwd", "Their working directory.", absolute_path, ""),
    Keyword("umask", "Their umask.", octal, None, example="022"),
    Keyword(
        "environment",
        "What is added to their environment.",
        environment,
        {},
        example='LANG=C.UTF-8 MODE="a b"',
    ),
    Keyword(
        "retcodes",
        "What the exit codes of the check mean; any other is warn.",
        return_codes,
        {0: Status.UP, 1: Status.DOWN},
        example="0:up 1:down 3:n/a",
    ),
)

_DEADLINES = {"start": 120.0, "stop": 120.0, "check": 30.0, "info": 30.0}


class App(Driver):
    """An application with launchers."""

    KEYWORDS: ClassVar[tuple[Keyword, ...]] = KEYWORDS

    @abstractmethod
    async def probe(self) -> Probe: ...

    def argv(self, verb: str) -> tuple[str, ...]:
        """The command of a verb; () when there is none."""
        value: Launcher = self.options[verb]
        if value is False:
            return ()
        if isinstance(value, tuple):
            return value
        if not self.options["script"]:
            raise InvalidRequest(
                f"{self.resource.rid}: {verb} needs the keyword script", hint="or give it a command"
            )
        return (*self.options["script"], _WORDS[verb])

    def deadline(self, verb: str) -> float:
        """Seconds."""
        given = self.options[f"{verb}_timeout"]
        shared = self.options["timeout"]
        return float(
            _DEADLINES[verb] if given is None and shared is None else shared if given is None else given
        )

    @property
    def surroundings(self) -> dict[str, Any]:
        """The keyword arguments of the host's verbs."""
        user, group = str(self.options["user"]), str(self.options["group"])
        return {
            "cwd": self.options["cwd"] or "/",
            "user": f"{user or 'root'}:{group}" if group else user,
            "umask": self.options["umask"],
            "env": {
                "ENCAP_SERVICE": self.setting.service,
                "ENCAP_RID": self.resource.rid,
                "ENCAP_NODE": self.setting.node,
                **self.options["environment"],
            },
        }

    async def checked(self) -> Probe | None:
        """What the check says; None when there is none."""
        argv = self.argv("check")
        if not argv:
            return None
        result = await self.host.probe(*argv, timeout=self.deadline("check"), **self.surroundings)
        status = self.options["retcodes"].get(result.code)
        lines = self._shown(result)
        if status is None:
            status, lines = Status.WARN, (LogLine("warn", f"check: exit {result.code}"), *lines)
        return Probe(status, lines)

    def _shown(self, result: Result) -> tuple[LogLine, ...]:
        if not self.options["status_log"]:
            return ()
        said = [line for line in (result.out + result.err).splitlines() if line.strip()]
        return tuple(LogLine("info", line[:200]) for line in said[:STATUS_LOG_LINES])

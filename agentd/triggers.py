"""The commands that a configuration runs before and after an action, and what has to be so before it.

``pre_start`` and ``post_start`` are told when they fail, and no more; ``blocking_pre_start`` and
``blocking_post_start`` fail what they belong to. In DEFAULT they stand for the action on the
whole service, in a section for its resource. A shutdown goes by the words for stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agentd.core.errors import ActionFailed, EncapError
from agentd.core.events import Happening, Kind
from agentd.core.status import Status
from drivers.base import CommandFailed, Host

Emit = Callable[[Happening], None]
TIMEOUT = 300.0
"""Seconds for one command."""


class Triggers:
    """Those of one section. `options`: its keywords; `about`: what the commands find in their
    environment, beside a fixed PATH: ``ENCAP_SERVICE``, ``ENCAP_NODE``, ``ENCAP_RID``."""

    def __init__(self, host: Host, options: Mapping[str, Any], about: Mapping[str, str], emit: Emit) -> None:
        self._host, self._options, self._about, self._emit = host, options, about, emit

    async def before(self, verb: str) -> None:
        """Raises ActionFailed when the blocking one fails."""
        await self._told(f"pre_{verb}", verb)
        await self._run(f"blocking_pre_{verb}", verb)

    async def after(self, verb: str) -> None:
        """Raises ActionFailed when the blocking one fails."""
        await self._told(f"post_{verb}", verb)
        await self._run(f"blocking_post_{verb}", verb)

    async def _told(self, keyword: str, verb: str) -> None:
        try:
            await self._run(keyword, verb)
        except EncapError as error:
            self._emit(Happening(Kind.LOG, f"{error.text}; going on"))

    async def _run(self, keyword: str, verb: str) -> None:
        argv = self._options.get(keyword)
        if not argv:
            return
        self._emit(Happening(Kind.PROGRESS, f"{keyword}: {argv[0]}"))
        try:
            await self._host.run(*argv, timeout=TIMEOUT, env={**self._about, "ENCAP_ACTION": verb})
        except CommandFailed as error:
            raise ActionFailed(f"{keyword}: {error.text}", hint=error.hint, code="trigger-failed") from error


def require(rid: str, verb: str, options: Mapping[str, Any], status: Mapping[str, Status]) -> None:
    """Raises ActionFailed unless every resource that ``<verb>_requires`` names is in a state it accepts."""
    for other, states in options.get(f"{verb}_requires") or ():
        found = status.get(other, Status.UNDEF)
        if str(found) not in states:
            raise ActionFailed(f"{rid} requires {other} to be {' or '.join(states)}, and it is {found}",
                               code="requirement", hint=f"{verb}_requires in the section of {rid}")

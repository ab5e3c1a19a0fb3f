"""Units of systemd, over D-Bus as its own client busctl speaks it."""

from __future__ import annotations

import json
import re
from typing import Any

from agentd.core.converters import duration
from agentd.core.errors import ActionFailed, NotFound
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine, Probe, Status
from drivers.base import CommandFailed, Driver, StateUnknown, warning

_NAME = "org.freedesktop.systemd1"
_OBJECT = "/org/freedesktop/systemd1"
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Job")
_UP, _DOWN = ("active", "reloading", "refreshing"), ("inactive", "failed")
_SUFFIXES = (".service", ".target", ".socket", ".mount", ".timer", ".path", ".scope", ".slice")


def unit_name(text: str) -> str:
    bare = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9:_.\\@-]{0,250}", bare):
        raise ValueError(f"{text!r} is not the name of a unit")
    return bare if bare.endswith(_SUFFIXES) else f"{bare}.service"


def object_path(unit: str) -> str:
    """Where systemd puts a unit on the bus: all but letters and digits as _xx."""
    words = "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in unit)
    return f"{_OBJECT}/unit/{words if not words[:1].isdigit() else f'_{ord(words[0]):02x}{words[1:]}'}"


class Systemd(Driver):
    """A unit of systemd. It should not be enabled: it would start by itself."""

    KEYWORDS = (
        Keyword(
            "unit",
            "Name of the unit; .service is added when it has no suffix.",
            unit_name,
            required=True,
            example="nginx",
        ),
        Keyword("start_timeout", "How long it may take to become active.", duration, 120.0),
        Keyword("stop_timeout", "How long it may take to become inactive.", duration, 120.0),
    )
    LABEL = "{unit}"

    async def probe(self) -> Probe:
        found = await self._properties()
        active = found["ActiveState"]
        if active in _UP:
            return Probe(Status.UP)
        if found["LoadState"] not in ("loaded", "merged"):
            return warning(f"{self._unit}: {found['LoadState']}", Status.DOWN)
        if active == "failed":
            return Probe(Status.DOWN, (LogLine("warn", f"{self._unit} has failed: {found['SubState']}"),))
        if active in _DOWN:
            return Probe(Status.DOWN)
        return warning(f"{self._unit} is {active} ({found['SubState']})")

    async def start(self) -> None:
        if (await self._properties())["LoadState"] == "not-found":
            raise NotFound(f"there is no unit {self._unit}", hint="a new file needs: systemctl daemon-reload")
        await self._call("StartUnit")
        await self._wait(_UP, float(self.options["start_timeout"]))

    async def stop(self) -> None:
        await self._call("StopUnit")
        await self._wait(_DOWN, float(self.options["stop_timeout"]))

    @property
    def _unit(self) -> str:
        return str(self.options["unit"])

    async def _call(self, method: str) -> None:
        try:
            await self.host.run(
                "busctl",
                "--system",
                "--json=short",
                "call",
                _NAME,
                _OBJECT,
                f"{_NAME}.Manager",
                method,
                "ss",
                self._unit,
                "replace",
                timeout=30,
            )
        except CommandFailed as error:
            raise ActionFailed(f"{method} {self._unit}: {error.text.rpartition(': ')[2]}") from error

    async def _wait(self, wanted: tuple[str, ...], seconds: float) -> None:
        """Until the unit is as `wanted`; a job that ended otherwise has failed."""
        deadline, pause = self.host.now() + seconds, 0.02
        while True:
            found = await self._properties()
            if found["ActiveState"] in wanted:
                return
            if not found["Job"]:
                raise ActionFailed(
                    f"{self._unit} is {found['ActiveState']} ({found['SubState']})",
                    hint=f"see: journalctl -u {self._unit}",
                )
            if self.host.now() >= deadline:
                raise ActionFailed(f"{self._unit} is still {found['ActiveState']} after {seconds:g} s")
            await self.host.sleep(pause)
            pause = min(0.5, pause * 2)

    async def _properties(self) -> dict[str, Any]:
        """The unit's properties; Job is its number, 0 for none. Raises StateUnknown."""
        answer = await self.host.probe(
            "busctl",
            "--system",
            "--json=short",
            "get-property",
            _NAME,
            object_path(self._unit),
            f"{_NAME}.Unit",
            *_PROPERTIES,
            timeout=10,
        )
        if answer.code:
            raise StateUnknown(
                f"systemd does not answer: {answer.err.strip()[:200] or f'exit {answer.code}'}",
                hint="a unit needs a machine that was booted with systemd",
            )
        try:
            values = [json.loads(line)["data"] for line in answer.out.splitlines() if line.strip()]
            found = dict(zip(_PROPERTIES, values, strict=True))
            found["Job"] = found["Job"][0]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise StateUnknown(f"busctl: its output cannot be read: {answer.out[:60]!r}") from error
        return found

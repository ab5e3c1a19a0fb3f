"""An operation while it runs: finished steps as lines, on a terminal a live line below."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cli.render import event_line, safe
from cli.terminal import Terminal

QUIET = ("started", "progress")
"""Kinds that only the live line shows on a terminal."""


class Live:
    """What is on the screen of one followed operation."""

    def __init__(self, terminal: Terminal, operation: Mapping[str, Any]) -> None:
        self.terminal, self.started, self.drawn = terminal, time.monotonic(), False
        self.doing: dict[tuple[object, ...], tuple[str, float]] = {}
        self.title = f"{operation.get('service', '')} {operation.get('action', '')}".strip()

    def event(self, event: Mapping[str, Any]) -> None:
        if self.terminal.json:
            return
        kind = event["kind"]
        now = time.monotonic()
        key = (event.get("under"), event.get("where"), event.get("step"))
        since = self.doing.pop(key, ("", now))[1]
        if kind in ("started", "phase", "progress", "undo"):
            place = " ".join(safe(event[k]) for k in ("where", "what") if event.get(k))
            self.doing[key] = (
                f"{place} {safe(event.get('text') or kind)}".strip(),
                now if kind in ("started", "phase", "undo") else since,
            )
        if kind == "end" or (self.terminal.live and kind in QUIET):
            self.tick()
            return
        self.clear()
        took = f" [{now - since:.1f} s]" if kind in ("done", "failed") and now - since >= 0.1 else ""
        shown = {**event, "at": ""} if self.terminal.live else event
        self.terminal.say(event_line(shown, color=self.terminal.color) + took)
        self.tick()

    def tick(self) -> None:
        """Redraw the live line: what takes longest, and how long it has."""
        if not self.terminal.live:
            return
        what, since = min(self.doing.values(), key=lambda d: d[1], default=(self.title, self.started))
        more = f" (+{len(self.doing) - 1})" if len(self.doing) > 1 else ""
        clock = f"{time.monotonic() - since:5.1f} s "
        line = (clock + what + more)[: self.terminal.width - 1]
        self.terminal.out.write(f"\r{line}\x1b[K")
        self.terminal.out.flush()
        self.drawn = True

    def clear(self) -> None:
        if self.drawn:
            self.terminal.out.write("\r\x1b[K")
            self.drawn = False

    def close(self) -> None:
        self.clear()
        self.terminal.out.flush()

    def end(self, operation: Mapping[str, Any]) -> None:
        """The last line: the result, in words that cannot be taken for another one."""
        self.close()
        if self.terminal.json:
            return
        result = str(operation.get("result") or "unknown")
        undone = {True: ", undone", False: ", AND THE UNDO FAILED"}.get(operation.get("undone"), "")  # type: ignore[arg-type]
        color = "32" if result == "succeeded" else "31"
        word = f"\x1b[{color}m{safe(result)}\x1b[0m" if self.terminal.color else safe(result)
        self.terminal.say(f"{safe(self.title)}: {word}{undone} [{time.monotonic() - self.started:.1f} s]")
        problem = operation.get("problem")
        if isinstance(problem, Mapping):
            self.terminal.note(f"  {problem.get('detail') or problem.get('text') or problem.get('code')}")
            if problem.get("hint"):
                self.terminal.note(f"  {problem['hint']}")

"""Where a command speaks: standard output and error, colours, width, JSON."""

from __future__ import annotations

import json
import os
import sys

from cli.exits import FAILED, Trouble
from cli.render import safe

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from typing import Any, TextIO


def complete_streams() -> None:
    """A stream that the caller closed leads nowhere from now on: no command ends on it, and no
    socket that is opened later takes its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - a standard stream stays open


def discard(stream: TextIO) -> None:
    """Nothing more reaches the reader of a stream that failed, not even what is left at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Terminal:
    """`json`: the caller wants documents only. `color`: on a terminal, unless told not to."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        no_color: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.out, self.err = out or sys.stdout, err or sys.stderr
        self.json = as_json
        self.live = not as_json and self.out.isatty()
        self.color = (
            self.live and not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )
        for stream in (self.out, self.err):
            # LANG=C must not end a command on a sign that its character set lacks.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    @property
    def width(self) -> int:
        """Columns, at least 20."""
        try:
            return max(20, os.get_terminal_size(self.out.fileno()).columns)
        except (OSError, ValueError):
            return 80

    def say(self, text: str) -> None:
        """A text that is already safe for a terminal. Raises Trouble where it cannot be written."""
        try:
            self.out.write(text if text.endswith("\n") else text + "\n")
            self.out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, most often
            discard(self.out)
            raise Trouble(
                f"the answer cannot be written: {error.strerror or error}", FAILED, code="storage"
            ) from None

    def document(self, document: Any) -> None:
        self.say(json.dumps(document, indent=2))

    def note(self, text: str) -> None:
        """Beside the answer: for people, never for the reader of the output."""
        self.err.write(safe(text) + "\n")
        self.err.flush()

    def trouble(self, trouble: Trouble) -> None:
        if self.json:
            self.document(trouble.document())
        self.err.write(f"svc: {safe(trouble.text)}\n")
        self.findings(trouble.problems)
        if trouble.hint:
            self.note(f"  {trouble.hint}")

    def findings(self, findings: Any, word: str = "error") -> None:
        """Problems of a configuration, one a line, on standard error."""
        for finding in findings:
            self.note(finding_line(finding, word))


def finding_line(finding: Any, word: str = "error") -> str:
    """``line 12: [fs#1] mnt: text (hint)``"""
    if not isinstance(finding, dict):
        return f"{word}: {finding}"
    where = f"line {finding['line']}: " if finding.get("line") else ""
    section = f"[{finding['section']}] " if finding.get("section") else ""
    option = f"{finding['option']}: " if finding.get("option") else ""
    hint = f" ({finding['hint']})" if finding.get("hint") else ""
    return f"{word}: {where}{section}{option}{finding.get('text', '')}{hint}"

"""A real terminal: narrow, coloured, and left clean."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from typing import Any

import pytest

from cli.progress import Live
from cli.terminal import Terminal, finding_line

pytestmark = [pytest.mark.socket, pytest.mark.real]


def on_terminal(daemon: Any, *words: str, columns: int = 20, **environment: str) -> tuple[int, str]:
    """Exit code and everything that a terminal of so many columns got to see."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words, "--root", str(daemon.root)],
        env={
            **{k: v for k, v in os.environ.items() if k != "NO_COLOR"},
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "TERM": "xterm",
            **environment,
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end was closed
            break
        if not data:
            break
        seen += data
    os.close(ours)
    return process.wait(10), seen.decode()


@pytest.fixture
def slow(daemon: Any) -> Any:
    """A start whose only phase lasts half a second."""
    daemon.answers["POST /v1/services/deb1/actions"] = daemon.answer(daemon.operation(), 202)
    ended = daemon.operation(state="ended", result="succeeded")
    daemon.answers["GET /v1/operations/01OP"] = daemon.answer(ended)

    def events(connection: Any) -> None:
        phase = daemon.event(1, "phase", where="hv1", what="container#0", step=1, text="waiting for it")
        connection.sendall(daemon.chunked(phase, end=False))
        threading.Event().wait(0.5)
        done = daemon.event(2, "done", where="hv1", what="container#0", step=1, text="up")
        last = daemon.chunked(done, daemon.event(3, "end", result="succeeded"))
        connection.sendall(last.partition(b"\r\n\r\n")[2])

    daemon.answers["GET /v1/operations/01OP/events"] = events
    return daemon


def test_a_live_line_fits_and_goes(slow: Any) -> None:
    code, seen = on_terminal(slow, "start", "deb1")
    assert code == 0
    drawn = re.findall(r"\r([^\r\n\x1b]+)\x1b\[K", seen)
    assert len(drawn) >= 3
    assert all(len(line) <= 19 for line in drawn)
    assert drawn[0].startswith("  0.0 s hv1 contain")
    assert re.search(r"\r\x1b\[Khv1 container#0 \x1b\[32mdone\x1b\[0m: up \[0\.\d s\]", seen)
    assert re.search(r"\x1b\[Kdeb1 start: \x1b\[32msucceeded\x1b\[0m \[\d\.\d s\]\r\n$", seen)


def test_no_color(slow: Any) -> None:
    _, seen = on_terminal(slow, "start", "deb1", NO_COLOR="1")
    assert "\x1b[3" not in seen
    assert "done: up" in seen
    slow.answers["GET /v1/services/deb1/status"] = slow.answer(slow.status())
    assert "\x1b" not in on_terminal(slow, "status", "deb1", "--no-color")[1]
    assert "\x1b[32mup" in on_terminal(slow, "status", "deb1")[1]


def test_a_tree_on_a_narrow_terminal(slow: Any) -> None:
    slow.answers["GET /v1/services/deb1/status"] = slow.answer(slow.status())
    code, seen = on_terminal(slow, "status", "deb1")
    assert code == 0
    assert "fs#1" in seen


def test_the_failure_of_an_undo_is_loud(capsys: pytest.CaptureFixture[str]) -> None:
    live = Live(Terminal(), {"service": "deb1", "action": "start"})
    live.end({"result": "failed", "undone": False, "problem": {"detail": "disk\x1b[2J", "hint": "look"}})
    captured = capsys.readouterr()
    assert captured.out.startswith("deb1 start: failed, AND THE UNDO FAILED")
    assert captured.err == "  disk\\x1b[2J\n  look\n"


def test_findings_are_read_as_sentences() -> None:
    finding = {"section": "fs#1", "option": "mnt", "line": 3, "text": "missing", "hint": "write it"}
    assert finding_line(finding) == "error: line 3: [fs#1] mnt: missing (write it)"
    assert finding_line({"text": "empty"}, "warning") == "warning: empty"
    assert finding_line("odd") == "error: odd"

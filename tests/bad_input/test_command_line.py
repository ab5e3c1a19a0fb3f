"""What people and scripts get wrong on the command line: a sentence and an exit code, never a traceback."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.exits import UNREACHABLE, USAGE, Trouble
from cli.main import main
from cli.transport import _trusted, _unreachable

from ..ui.conftest import Scripted  # noqa: TID252 - the same daemon in the tests' own hands

CONFIG = "[DEFAULT]\nnodes = hv1\nencapnodes = vm1\n[container#0]\ntype = process\nhostname = vm1\n[fs#1]\ntype = flag\n[fs#2]\ntype = flag\ntags = encap\n"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def daemon() -> Iterator[Scripted]:
    with tempfile.TemporaryDirectory(prefix="encap-") as folder:
        scripted = Scripted(Path(folder))
        yield scripted
        scripted.close()


@pytest.fixture
def svc(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        code = main([*words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "web.conf"
    path.write_text(CONFIG)
    return path


@pytest.mark.socket
@pytest.mark.parametrize("words", [
    ("stop", "web", "--rid", ""), ("stop", "web", "--rid", ","), ("stop", "web", "--rid", " "), ("stop", "web", "--tags", ""),
    ("stop", "web", "--tags", " "), ("stop", "web", "--subsets", ""), ("stop", "web", "--slave", ""),
    ("stop", "web", "--node", ""), ("stop", "web", "--downto", ""), ("start", "web", "--to", ""), ("stop", ""),
    ("stop", "web", ""), ("stop", " "), ("logs", ""), ("op", "cancel", ""), ("node", "remove", ""), ("stop", "web", "--server", ""),
], ids=" ".join)
def test_an_empty_word_is_refused_and_never_means_everything(daemon: Scripted, svc: Run, words: tuple[str, ...]) -> None:
    code, out, err = svc(*words, "--root", str(daemon.root))
    assert (code, out) == (USAGE, "")
    assert "it is empty" in err
    assert daemon.asked == []


def test_an_empty_root_is_not_this_machine(svc: Run) -> None:
    assert svc("stop", "web", "--root", "")[0] == USAGE


@pytest.mark.parametrize("text", ["", ".", "1.2.3", "-1", "inf", "nan", "1e9", "٣", "1x", "h", "5 m"])
def test_what_is_no_duration(svc: Run, text: str) -> None:
    code, _, err = svc("start", "web", f"--time={text}")
    assert code == USAGE
    assert "is not a duration: 90, 90s, 2m, 1h30m" in err


@pytest.mark.socket
@pytest.mark.parametrize(("name", "path"), [
    ("..", "%2E%2E"), ("a/b", "a%2Fb"), ("a&b=1#c", "a%26b%3D1%23c"), ("a\r\nX: y", "a%0D%0AX%3A%20y"), ("ａ", "%EF%BD%81"),
    ("\udcff", "%FF"), ("x" * 4096, "x" * 4096), ("\x1b(2J", "%1B%282J"),
], ids=range(8))
def test_an_odd_name_is_one_piece_of_the_path_and_not_found(daemon: Scripted, svc: Run, name: str, path: str) -> None:
    code, out, err = svc("start", name, "--root", str(daemon.root))
    assert (code, out) == (7, "")
    assert err.replace("\n", "").isprintable()
    assert daemon.asked[0].path == f"/v1/services/{path}/actions"


@pytest.mark.socket
@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n{}", b"HTTP/1.1 -1 OK\r\n\r\n{}", b"HTTP/1.1\r\n\r\n", b"HTTP/2 200\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{}"], ids=range(5))
def test_numbers_of_a_broken_daemon(daemon: Scripted, svc: Run, answer: bytes) -> None:
    daemon.answers["GET /v1/services/web/status"] = answer
    assert svc("status", "web", "--root", str(daemon.root))[:2] == (UNREACHABLE, "")


class Connection:
    """A socket whose other end is of some user."""

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def getsockopt(self, _level: int, _option: int, _size: int) -> bytes:
        return struct.pack("3i", 1, self._uid, 1)


def test_a_socket_of_somebody_else_is_not_talked_to(tmp_path: Path) -> None:
    stranger: Any = Connection(os.geteuid() + 4242)
    for root in ("/", str(tmp_path)):
        with pytest.raises(Trouble, match="belongs to a process of user") as told:
            _trusted(stranger, root)
        assert told.value.exit_code == UNREACHABLE
    for mine in (0, os.geteuid()):
        _trusted(Connection(mine), "/")  # type: ignore[arg-type]


def test_a_socket_that_may_not_be_opened_says_who_may() -> None:
    told = _unreachable(PermissionError(13, "Permission denied"), "/run/encap/agentd.sock", "/")
    assert (told.exit_code, told.hint) == (UNREACHABLE, "Be root or a member of the group encap.")


@pytest.mark.parametrize("content", [
    b"", b"{", b"\xff", b"[]", b"null", b"[1]", b'{"schema": "encap.status/1"}', b"[" * 200_000, b"[" + b"9" * 10_000 + b"]",
    b'{"schema": "encap.status/1", "overall": NaN}'], ids=range(10))
def test_what_is_no_status_document(svc: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(content)
    code, out, err = svc("tree", str(path))
    assert (code, out) == (USAGE, "")
    assert err.startswith("svc: ")


@pytest.mark.parametrize("command", [("config", "validate"), ("tree",), ("config", "eval", "--node", "hv1")], ids=" ".join)
def test_files_that_cannot_be_read(svc: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    for place in (tmp_path, tmp_path / "nope", tmp_path / "a" / "b", Path("/" + "x" * 300)):
        code, _, err = svc(*command, str(place))
        assert code == USAGE, place
        assert err.startswith("svc: ")


@pytest.mark.parametrize("words", [
    ("--rid", "fs#9"), ("--rid", "fs#1\x1b[2J"), ("--to", "x"), ("--subsets", "x"), ("--tags", "a,"), ("--slave", "../x")])
def test_a_selection_of_nothing_is_no_success(svc: Run, file: Path, words: tuple[str, ...]) -> None:
    code, out, err = svc("plan", str(file), "stop", "--node", "hv1", *words)
    assert code in (USAGE, 7)
    assert out == ""
    assert err.replace("\n", "").isprintable()


@pytest.mark.parametrize("words", [
    ("ca", "init", "--cluster", "a b"), ("ca", "init", "--cluster", "../x"), ("ca", "init", "--cluster", "x" * 300),
    ("ca", "init", "--cluster", "x", "--node", "../y"), ("ca", "user", "../x", "--out", "o"), ("node", "init", "--listen", "a b:99999"),
    ("node", "join", "abc"), ("ca", "user", "x", "--out", "o", "--days", "-1")], ids=" ".join)
def test_bad_names_and_numbers_make_no_keys(svc: Run, tmp_path: Path, words: tuple[str, ...],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert svc(*words, "--root", str(tmp_path / "root"))[0] == USAGE
    assert not (tmp_path / "root/var").exists()
    assert not (tmp_path / "o").exists()


def test_an_odd_root_in_the_environment(svc: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCAP_ROOT", "/nowhere/\udcff\x1b[2J")
    code, out, err = svc("status", "web")
    assert (code, out) == (UNREACHABLE, "")
    assert err.replace("\n", "").isprintable()


# Standard streams that are closed or full, as a process meets them.

def shell(script: str, *words: str) -> tuple[int, bytes]:
    """Exit code of ``svc WORDS`` with the redirections of `script`, and what standard error got."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(["/bin/sh", "-c", f'exec "$@" {script}', "sh", sys.executable, "-m", "cli.main", *words],
                           env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           timeout=30)
    return ended.returncode, ended.stderr


@pytest.mark.real
@pytest.mark.parametrize(("script", "code"), [(">&-", 0), ("<&-", 0), ("<&- >&- 2>&-", 0), ("2>&-", 0)])
def test_closed_streams_change_no_exit_code(file: Path, script: str, code: int) -> None:
    assert shell(script, "config", "validate", str(file)) == (code, b"")


@pytest.mark.real
def test_a_closed_standard_input_is_an_empty_text() -> None:
    code, err = shell("<&-", "config", "validate", "-")
    assert code == 1
    assert b"the text has no section" in err
    assert b"Traceback" not in err


@pytest.mark.real
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_disk_behind_the_output_is_a_failure(file: Path, more: tuple[str, ...]) -> None:
    code, err = shell(">/dev/full", "config", "eval", str(file), "--node", "hv1", *more)
    assert (code, err) == (1, b"svc: the answer cannot be written: No space left on device\n")

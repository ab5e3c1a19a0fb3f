"""The parts of the tour that need no daemon; tests/lab and `make demo` run all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import demo
from cli.main import main


def test_lxc_says_that_it_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--lxc"]) == 2
    assert "not available" in capsys.readouterr().err


def test_folded() -> None:
    def resource(status: str, group: str = "ip") -> dict[str, str]:
        return {"status": status, "group": group}

    def document(avail: str, *inner: dict[str, str]) -> dict[str, object]:
        return {"avail": avail, "resources": [{"guest": None}, {"guest": {"resources": list(inner)}}]}

    up = resource("up")
    assert demo._folded(document("up", up, up, resource("up", "app"), resource("down", "sync")), "up")
    assert not demo._folded(document("up", up, up), "up")
    assert not demo._folded(document("up", up, up, resource("undef")), "up")
    assert not demo._folded(document("warn", up, up, up), "up")
    down = resource("down")
    assert demo._folded(document("down", down, down, resource("n/a", "app")), "down")
    assert not demo._folded(document("down", down, down, up), "down")


@pytest.mark.socket
def test_ports_are_different() -> None:
    assert len(set(demo.free_ports(5))) == 5


@pytest.mark.real
def test_only_processes_of_the_tour_are_ended(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import signal; signal.pause()"]
    marked = subprocess.Popen(sleep, env={**os.environ, "ENCAP_DEMO": str(tmp_path)})
    named = subprocess.Popen([*sleep, str(tmp_path / "hv1")])
    reader = subprocess.Popen(["sleep", "60"], cwd=tmp_path, env={**os.environ, "LOG": str(tmp_path)})
    try:
        assert set(demo.processes(tmp_path)) == {marked.pid, named.pid}
    finally:
        for process in (marked, named, reader):
            process.kill()
            process.wait()


@pytest.mark.real
def test_a_tour_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "tour"
    root.mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(root))

    def prepare(tour: demo.Tour) -> None:
        tour.daemons["hv1"] = subprocess.Popen(
            [sys.executable, "-c", "import signal; signal.pause()"], env={"ENCAP_DEMO": str(root)}
        )
        (root / "hv1.log").write_text("a word from the daemon\x1b[2J\n")
        raise demo.Failed("the tree says down")

    monkeypatch.setattr(demo, "_prepare", prepare)
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert "the tree says down" in captured.err
    assert "a word from the daemon\\x1b[2J" in captured.err
    assert not root.exists()
    assert demo.processes(root) == []


def test_the_service_of_the_tour_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "deb1.conf"
    file.write_text(demo.CONFIG.format(python=sys.executable, script=tmp_path / "application.py"))
    assert main(["config", "validate", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"errors": [], "warnings": []}

"""The parts of the tour that need no daemon; tests/lab and `make demo` run all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import demo, demo_guest, demo_lxc
from cli.main import main
from cli.terminal import Terminal


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdtemp(**_: object) -> str:
        raise AssertionError("something was touched")

    monkeypatch.setattr("tempfile.mkdtemp", mkdtemp)


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """What `svc demo --lxc` says where it cannot run."""
    assert main(["demo", "--lxc"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.usefixtures("no_folder")
def test_lxc_needs_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert refused(capsys) == (
        "svc: svc demo --lxc needs root\n  sudo svc demo --lxc; svc demo needs no root.\n"
    )


@pytest.mark.usefixtures("no_folder")
def test_lxc_names_the_tools_that_are_missing_and_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(tmp_path, set(demo_lxc.TOOLS) - {"lxc-start", "lxc-info", "arping"})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(demo_lxc, "SEARCH_PATH", str(tmp_path))
    said = refused(capsys)
    assert "needs lxc-start, lxc-info, arping\n" in said
    assert "apt-get install iputils-arping lxc;" in said


@pytest.mark.real
@pytest.mark.usefixtures("no_folder")
def test_lxc_says_that_root_may_make_no_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(tmp_path, set(demo_lxc.TOOLS), "echo unshare failed: Operation not permitted >&2; exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(demo_lxc, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said = refused(capsys)
    assert "needs namespaces: unshare failed: Operation not permitted\n" in said
    assert "privileged" in said


def programs(folder: Path, names: set[str], text: str = "exit 0") -> None:
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def test_the_guest_is_shown_each_folder_through_which_its_python_is_found(tmp_path: Path) -> None:
    for folder in ("pythons/3.12.7/bin", "env/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pythons/3.12.7/bin/python3.12").touch()
    (tmp_path / "pythons/3.12").symlink_to("3.12.7")
    (tmp_path / "env/bin/python3").symlink_to("../../pythons/3.12/bin/python3.12")
    (tmp_path / "env/bin/python").symlink_to("python3")
    found = demo_guest.python_folders(tmp_path / "env/bin/python")
    ours = {str(path.relative_to(tmp_path)) for path in found if path.is_relative_to(tmp_path)}
    assert ours == {"env", "pythons/3.12", "pythons/3.12.7"}


def test_the_guests_files_are_places_for_what_is_shown_and_nothing_of_this_machine(tmp_path: Path) -> None:
    rootfs = demo_guest.make(tmp_path / "with space")
    text = demo_guest.container("vm1", rootfs)
    assert "lxc.rootfs.path = dir:" in text
    shown = demo_guest.shown()
    assert all((rootfs / place.relative_to("/")).is_dir() for _, place in shown)
    assert not {Path(name) for name in ("/", "/etc", "/usr", "/usr/local", "/var")} & {p for _, p in shown}
    entries = [line.split()[2:] for line in text.splitlines() if line.startswith("lxc.mount.entry")]
    assert len(entries) == len(shown)
    assert all(entry[2:] == ["none", "bind,ro", "0", "0"] for entry in entries)
    files = {str(path.relative_to(rootfs)) for path in rootfs.rglob("*") if path.is_file()}
    assert files <= {*(f"etc/{name}" for name in ("passwd", "group", "hosts", "nsswitch.conf", "ld.so.cache",
                                                  "ld.so.conf")),
                     *(f"usr/local/sbin/{name}" for name in ("agentd", "svc", "first", "first.py"))}


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


def test_a_folder_with_a_space_is_one_word_for_lxc() -> None:
    assert demo_guest._escaped(Path("/srv/a b\\c#d")) == "/srv/a\\040b\\134c#d"


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
    for tour in (demo.Tour, demo_lxc.LxcTour):
        root = tmp_path / tour.__name__
        root.mkdir()
        file.write_text(tour(Terminal(), root).configuration())
        assert main(["config", "validate", str(file), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"errors": [], "warnings": []}

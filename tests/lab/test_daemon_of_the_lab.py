"""Daemons of the lab are started, killed and stopped as tests rely on; with a stand-in for agentd."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .daemon import Daemon
from .machines import Lab


@pytest.fixture
def daemon(lab: Lab, tmp_path: Path) -> Daemon:
    program = tmp_path / "agentd"
    shutil.copy(Path(__file__).parent / "stand_in.py", program)
    program.chmod(0o755)
    return lab.hypervisor("hv1").daemon(PATH=f"{tmp_path}:/usr/bin:/bin")


def test_it_is_started_when_it_says_ready(daemon: Daemon) -> None:
    assert not daemon.alive
    with daemon:
        assert daemon.alive
        assert daemon.log == "up on hv1\n"
        assert "agentd" in Path(f"/proc/{daemon.pid}/cmdline").read_text()
    assert not daemon.alive


def test_it_is_killed_and_started_again(daemon: Daemon) -> None:
    first = daemon.start().pid
    daemon.kill()
    assert not daemon.alive
    assert not Path(f"/proc/{first}").exists()
    assert daemon.start().pid != first
    assert daemon.stop() == 0


def test_a_daemon_that_fails_shows_its_log(daemon: Daemon) -> None:
    (daemon.root / "fail").touch()
    with pytest.raises(AssertionError, match="told to fail"):
        daemon.start()


def test_it_ends_with_the_power(lab: Lab, daemon: Daemon) -> None:
    daemon.start()
    hypervisor = lab.hypervisor("hv1")
    hypervisor.power_off()
    assert not daemon.alive
    hypervisor.power_on()
    again = hypervisor.daemon(PATH=daemon.environment["PATH"])
    with again:
        assert again.log.count("up on hv1") == 2

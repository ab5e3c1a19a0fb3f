"""The program `agentd` itself, without a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentd.__main__ import check_packages, main
from agentd.core.errors import Refused


def test_packages_of_two_folders_are_refused() -> None:
    check_packages()
    with pytest.raises(Refused, match="do not belong together"):
        check_packages({"agentd": Path("/opt/encap"), "api": Path("/opt/encap"), "drivers": Path("/home/x"),
                        "cli": Path("/opt/encap")})


def test_settings_are_shown_with_their_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc/encap").mkdir(parents=True)
    (tmp_path / "etc/encap/agentd.toml").write_text('node = "hv1"\n')
    assert main(["settings", "--root", str(tmp_path)]) == 0
    assert f'node = "hv1"    # {tmp_path}/etc/encap/agentd.toml:1' in capsys.readouterr().out
    assert main(["settings", "--json", "--root", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["status_interval"] == {"value": 10.0, "from": "default"}


def test_bad_settings_are_told_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc/encap").mkdir(parents=True)
    (tmp_path / "etc/encap/agentd.toml").write_text('lissen = []\nworkers = 0\n')
    assert main(["settings", "--root", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "agentd.toml:1: lissen: unknown setting" in told
    assert "did you mean listen?" in told
    assert "line 2: workers" in told


def test_exit_codes_of_joining(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(tmp_path)]
    assert main(["join", *root]) == 2
    assert main(["join", "nonsense", *root]) == 2
    assert "svc node token" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("agentd ")

"""Every benchmark runs to its end with tiny numbers. What it measures is judged by no test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("[a-z]*.py"))


def test_there_are_benchmarks() -> None:
    assert SCRIPTS


@pytest.mark.real
@pytest.mark.socket
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_ends_well_and_tells_a_figure(script: Path) -> None:
    found = subprocess.run([sys.executable, "-P", "-W", "error", str(script), "--quick"], capture_output=True,
                           text=True, timeout=100)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    head, *rows = found.stdout.splitlines()
    assert head.split() == ["result", "limit"]
    assert any(row.endswith(("OK", "MISSED")) for row in rows)

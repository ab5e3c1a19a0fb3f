from __future__ import annotations

import re
from pathlib import Path

import pytest

from drivers import BUILTIN

from .transcript import HERE, play, read

CASES = sorted((HERE / "cases").rglob("*.txt"))
OUTPUTS = sorted(path for path in (HERE / "outputs").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "path", CASES, ids=lambda path: str(path.relative_to(HERE / "cases").with_suffix(""))
)
async def test_case(path: Path) -> None:
    case = read(path)
    assert case.title.endswith("."), "a case begins with a sentence that says what it shows"
    assert f"{case.group}.{case.type}" in BUILTIN
    await play(case)


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: str(path.relative_to(HERE / "outputs")))
def test_an_output_says_where_it_is_from(path: Path) -> None:
    assert re.match(r"(captured|documented): .+\n", path.read_text(encoding="utf-8"))

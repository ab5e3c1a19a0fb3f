"""docs/bad-input.md names the test of each of its rows; each of them exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/bad-input.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| input |", "| condition |"))]
REFERENCE = re.compile(r"`([^`\s]+\.py)::(\w+)(?:\[([^\]]+)\])?`")


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"\W+", "-", row.split(" | ")[0])[:60])
def test_each_row_names_a_test_that_exists(row: str) -> None:
    found = REFERENCE.fullmatch(row.removesuffix(" |").rpartition(" | ")[2])
    assert found, "the last column is `path::name`"
    path, name, case = found.groups()
    assert name.startswith("test_")
    assert name in functions(path)
    if case is not None:  # a case of the drivers is a file
        assert (ROOT / Path(path).parent / "cases" / f"{case}.txt").is_file()


def test_the_page_is_read_as_a_whole() -> None:
    """A row that this file does not see would not be looked at."""
    assert len(ROWS) == PAGE.count("::test_") == len(REFERENCE.findall(PAGE))
    assert len(ROWS) > 120
    assert {re.split(r" (?<!\\)\| ", row.strip("| ")).__len__() for row in ROWS} == {3}


def test_each_test_of_this_folder_is_named() -> None:
    """A test that nobody can find from the page is no promise."""
    named = {(path, name) for path, name, _ in REFERENCE.findall(PAGE)}
    mine = sorted(path.relative_to(ROOT).as_posix() for path in Path(__file__).parent.glob("test_*.py")
                  if path.name != Path(__file__).name)
    missing = [(path, name) for path in mine for name in sorted(functions(path))
               if name.startswith("test_") and (path, name) not in named]
    assert missing == []

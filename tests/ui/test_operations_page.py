"""What the page for the night says that a status or a refusal reads like is what the program says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cli.exits import DRAFT, MEANING

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
EXAMPLE = re.compile(r"\b(?:hv[12]|vm1|web|NAME|alice|start|disk of type|lvm|container#0|\d+)\b|\.\.\.|\(.*\)|: | by\b")
"""What stands in the place of something else; nothing of it has to be found."""


def rows(heading: str) -> list[list[str]]:
    part = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def sayings() -> list[str]:
    return [row[0].strip("| `") for heading in ("What a status says", "Refused") for row in rows(heading)]


def program() -> str:
    """Every text in the sources, those of f-strings in their pieces."""
    found: list[str] = []
    for folder in ("agentd", "api", "cli", "drivers"):
        for path in (ROOT / folder).rglob("*.py"):
            found += [node.value for node in ast.walk(ast.parse(path.read_text("utf-8")))
                      if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "\n".join(found)


TEXTS = program()


@pytest.mark.parametrize("saying", sayings())
def test_the_program_says_so(saying: str) -> None:
    pieces = [piece.strip() for piece in EXAMPLE.split(saying)]
    assert any(pieces)
    assert [piece for piece in pieces if piece not in TEXTS] == []


def test_a_saying_that_nobody_says_is_found() -> None:
    assert "has not been seen since the flood" not in TEXTS


def test_every_exit_code_has_a_row() -> None:
    codes = [int(row[0].strip("| ")) for row in rows("Exit codes")]
    assert codes == sorted(set(MEANING) - {DRAFT}), "no command ends with a draft in this version"

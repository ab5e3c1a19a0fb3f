"""The sizes that keep the code readable; see the architecture's budgets."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("agentd", "api", "drivers", "cli")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

FUNCTION_LINES = 50
FUNCTION_LINES_P90 = 30
CLASS_METHODS = 15
MODULE_LINES = 400

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines of a function without its decorators and docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_there_is_something_to_measure() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_within_budget(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    problems = []
    if len(text.splitlines()) > MODULE_LINES:
        problems.append(f"{len(text.splitlines())} lines, at most {MODULE_LINES}")
    if text.strip() and not ast.get_docstring(tree):
        problems.append("no docstring that says what the module owns")
    for function in functions(tree):
        if length(function) > FUNCTION_LINES:
            problems.append(f"{function.name}: {length(function)} lines, at most {FUNCTION_LINES}")
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(item, Function) for item in node.body)
            if methods > CLASS_METHODS:
                problems.append(f"{node.name}: {methods} methods, at most {CLASS_METHODS}")
    assert problems == []


def test_most_functions_are_short() -> None:
    lengths = sorted(length(f) for path in MODULES for f in functions(ast.parse(path.read_text("utf-8"))))
    assert lengths[len(lengths) * 9 // 10] <= FUNCTION_LINES_P90

"""The commands of the tutorial and of the page on the API are run, and say what the page shows."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"
COMMANDS = {"tutorial.md": 7, "api.md": 15}
"""Pages with commands, and how many there are at least."""
END = "\x1e"
"""Printed after each command, so that their outputs can be told apart."""


@dataclass(frozen=True)
class Shown:
    """A command of the page and what the page says that it prints; ``...`` stands for anything."""

    command: str
    output: str

    @property
    def pattern(self) -> str:
        parts = re.split(r"^\.\.\.\n|\.\.\.", self.output, flags=re.MULTILINE)
        return ".*".join(re.escape(part) for part in parts)


def shown(page: str) -> list[Shown]:
    """Every command of the ``console`` blocks: ``$ `` begins one, ``> `` continues it."""
    found: list[Shown] = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        for each in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = each.splitlines()
            rest = 1
            while rest < len(lines) and re.match(r">( |$)", lines[rest]):
                rest += 1
            command = [lines[0], *(line[2:] for line in lines[1:rest])]
            found.append(Shown("\n".join(command), "".join(f"{line}\n" for line in lines[rest:])))
    return found


def session(commands: list[str], folder: Path) -> list[str]:
    """Run the commands one after the other in one shell, as a reader does; what each printed."""
    programs = Path(sys.executable).parent
    script = ["exec 2>&1", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    script += [f"{command}\nprintf '\\036'" for command in commands]
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # the order of output and errors as on a terminal
    }
    result = subprocess.run(
        ["bash"], input="\n".join(script), stdout=subprocess.PIPE, text=True,
        cwd=folder, env=environment, timeout=90,
    )  # fmt: skip
    return result.stdout.split(END)


def test_a_line_of_dots_stands_for_anything() -> None:
    one = shown("```console\n$ cat <<X\n> a\n>\n> X\nfirst\n...\nlast\n$ true\n```\n")
    assert [each.command for each in one] == ["cat <<X\na\n\nX", "true"]
    assert re.fullmatch(one[0].pattern, "first\nsecond\nthird\nlast\n", re.DOTALL)
    assert not re.fullmatch(one[0].pattern, "first\nsecond\n", re.DOTALL)


@pytest.mark.real
@pytest.mark.parametrize("page", COMMANDS)
def test_the_page_tells_the_truth(page: str, tmp_path: Path) -> None:
    if not (Path(sys.executable).parent / "svc").exists():
        pytest.skip("the product is not installed in this environment: make install")
    steps = shown((DOCS / page).read_text("utf-8"))
    assert len(steps) >= COMMANDS[page]
    outputs = session([step.command for step in steps], tmp_path)
    for step, output in zip(steps, outputs, strict=False):
        if not re.fullmatch(step.pattern, output, re.DOTALL):
            assert (step.command, output) == (step.command, step.output)
    assert len(outputs) == len(steps) + 1

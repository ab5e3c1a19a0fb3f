"""What the command line says about itself, and how little it loads to say it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import exits
from cli.arguments import ROWS, parser, seconds, split
from cli.commands import COMMANDS, FAMILIES
from cli.main import find, load, main
from cli.reference import reference

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "cli.md"
MAIN = (
    "status",
    "ls",
    "start",
    "stop",
    "startfs",
    "freeze",
    "plan",
    "logs",
    "op wait",
    "create",
    "edit",
    "set",
    "config validate",
    "config eval",
    "tree",
    "explain",
    "ca init",
    "node join",
    "demo",
)


def golden(name: str, text: str) -> None:
    """Compare with a file of this folder; ENCAP_GOLDEN=write renews it, for a reader to review."""
    path = GOLDEN / name
    if os.environ.get("ENCAP_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", MAIN)
def test_help_of_main_commands(name: str) -> None:
    golden(f"{name.replace(' ', '-')}.txt", parser(name).format_help())


def test_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    golden("overview.txt", capsys.readouterr().out)
    assert main([]) == 2
    assert main(["op"]) == 2
    assert main(["op", "--help"]) == 0
    assert "svc op wait" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_whole(name: str) -> None:
    """Its function exists, its options are known and described, it has an example that parses."""
    command = COMMANDS[name]
    assert callable(load(command.run))
    assert set(command.arguments.split()) <= set(ROWS)
    assert command.summary.endswith(".")
    assert "not supported" in command.summary or command.examples
    import shlex

    for example in command.examples:
        words = shlex.split(example.partition(" | ")[0].partition(" < ")[0])[1:]
        before, found, rest = find(words)
        assert found == name
        assert parser(name).parse_args(before + rest)


def test_families_have_members() -> None:
    assert {name.partition(" ")[0] for name in COMMANDS if " " in name} == FAMILIES


def test_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["stauts", "deb1"],
        ["status"],
        ["start", "deb1", "--nope"],
        ["op", "nope"],
        ["start", "a", "--time", "x"],
        ["config", "eval", "f", "--root"],
    ):
        assert main(words) == 2, words
        captured = capsys.readouterr()
        assert captured.err.startswith("svc: ")
        assert captured.out == ""
    main(["stauts"])
    assert "Did you mean status" in capsys.readouterr().err


def test_options_stand_before_or_after_the_command() -> None:
    assert find(["--root", "/x", "--json", "status", "deb1"]) == (
        ["--root", "/x", "--json"],
        "status",
        ["deb1"],
    )
    assert find(["op", "show", "X", "--json"]) == ([], "op show", ["X", "--json"])


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("1h30m", 5400), ("1.5m", 90), ("1d", 86400)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


def test_lists_take_commas() -> None:
    assert split(["a,b", " c ", ",", ""]) == ["a", "b", "c"]


def test_the_table_of_exit_codes() -> None:
    """The codes that are promised, and every code of an error of the core has one."""
    from agentd.core import errors

    assert (
        [
            exits.DONE,
            exits.FAILED,
            exits.USAGE,
            exits.UNDO_FAILED,
            exits.UNKNOWN,
            exits.UNREACHABLE,
            exits.REFUSED,
            exits.NOT_FOUND,
            exits.DRAFT,
        ]
        == list(range(9))
        == list(exits.MEANING)
    )
    tree = [errors.EncapError]
    for kind in tree:
        tree += kind.__subclasses__()
    product = {kind.code for kind in tree if kind.__module__ == errors.__name__}
    assert product <= set(exits.OF_CODE)
    assert exits.of_code("busy") == exits.of_code("held-elsewhere") == exits.of_code("frozen") == 6


def test_the_reference_of_the_documentation_is_this_one() -> None:
    text = reference()
    for name in COMMANDS:
        assert f"## svc {name}\n" in text
    assert text == DOCUMENT.read_text(), "renew it: python -m cli.reference > docs/cli.md"


HEAVY = (
    "fastapi",
    "uvicorn",
    "pydantic",
    "httpx",
    "agentd",
    "drivers",
    "api",
    "asyncio",
    "ssl",
    "http",
    "dataclasses",
    "typing_extensions",
    "urllib",
    "pathlib",
    "subprocess",
    "tempfile",
    "difflib",
    "email",
)


@pytest.mark.real
@pytest.mark.socket
def test_status_loads_little(daemon: Any) -> None:
    daemon.answers["GET /v1/services/deb1/status"] = daemon.answer(daemon.status())
    words = [
        sys.executable,
        "-I",
        "-X",
        "importtime",
        "-c",
        f"import sys; sys.path[:0] = {sys.path!r}; from cli.main import main; sys.exit(main())",
        "status",
        "deb1",
        "--root",
        str(daemon.root),
    ]
    bare = subprocess.run([*words[:4], "-c", "pass"], capture_output=True, text=True, timeout=30, check=True)
    ended = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    assert "fs#1" in ended.stdout

    def modules(text: str) -> set[str]:
        return {
            line.rpartition("|")[2].strip() for line in text.splitlines() if line.startswith("import time:")
        }

    loaded = modules(ended.stderr) - modules(bare.stderr)
    assert {"cli.main", "cli.transport", "cli.render", "json"} <= loaded
    assert {m for m in loaded if m.partition(".")[0] in HEAVY} == set()

"""`svc`: find the command, parse its arguments, import its module, end with its exit code."""

from __future__ import annotations

import sys

from cli.commands import COMMANDS, FAMILIES
from cli.endpoint import near
from cli.exits import BROKEN_PIPE, DONE, INTERRUPTED, USAGE, Trouble
from cli.terminal import Terminal, complete_streams, discard

TYPE_CHECKING = False  # typing alone would take a tenth of the time of a whole command
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VALUED = ("--root", "--server", "--cert")


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code, see `cli.exits`."""
    words = sys.argv[1:] if argv is None else argv
    return guarded(lambda terminal: run(words, terminal), words)


def guarded(command: Callable[[Terminal], int], words: list[str]) -> int:
    """Run `command`; whatever ends it early becomes a message and an exit code."""
    complete_streams()
    terminal = Terminal(as_json="--json" in words, no_color="--no-color" in words)
    try:
        return command(terminal)
    except Trouble as trouble:
        terminal.trouble(trouble)
        return trouble.exit_code
    except BrokenPipeError:
        # The reader has gone; nothing more may be written, not even at exit.
        discard(sys.stdout)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED


def run(words: list[str], terminal: Terminal) -> int:
    """The command of `words`; raises Trouble."""
    before, name, rest = find(words)
    if not name or name in FAMILIES:
        return _overview(before + rest, name, terminal)
    from cli.arguments import parser

    try:
        arguments = parser(name).parse_args(before + rest)
    except SystemExit as ended:  # --help
        return int(ended.code or 0)
    arguments.command = name
    return load(COMMANDS[name].run)(arguments, terminal)


def find(words: list[str]) -> tuple[list[str], str, list[str]]:
    """Options before the command, its name, everything after it."""
    place = 0
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] in VALUED else 1
    before, rest = words[:place], words[place:]
    if not rest:
        return before, "", []
    name, rest = rest[0], rest[1:]
    if name in FAMILIES and rest and not rest[0].startswith("-"):
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in COMMANDS and name not in FAMILIES:
        raise Trouble(
            f"there is no command {name!r}",
            USAGE,
            hint=near(name, COMMANDS) or "svc --help lists them.",
            code="invalid-request",
        )
    return before, name, rest


def load(place: str) -> Callable[[Any, Terminal], int]:
    """The function of ``module:function``."""
    from importlib import import_module

    module, _, function = place.partition(":")
    found: Callable[[Any, Terminal], int] = getattr(import_module(module), function)
    return found


def _overview(words: list[str], family: str, terminal: Terminal) -> int:
    """What there is: asked for, it is the answer; else the command was not complete."""
    if "--version" in words and not family:
        from importlib.metadata import PackageNotFoundError, version

        try:
            terminal.say(f"svc {version('encap')}")
        except PackageNotFoundError:
            terminal.say("svc, not installed")
        return DONE
    if {"-h", "--help"} & set(words):
        terminal.say(overview(family))
        return DONE
    terminal.err.write(overview(family))
    return USAGE


def overview(family: str = "") -> str:
    """One line a command."""
    hidden = "(not supported by this version)"
    rows = [
        (n, c.summary)
        for n, c in COMMANDS.items()
        if (not family or n.startswith(family + " ")) and hidden not in c.summary
    ]
    lines = [f"  svc {name:<16} {summary}" for name, summary in rows]
    head = (
        "usage: svc COMMAND [OPTIONS]\n\nServices across hypervisors and their guests.\n\n"
        if not family
        else ""
    )
    tail = (
        "\n\nsvc COMMAND --help shows options and examples. Options for every command: --json, --no-color,\n"
        "--root DIR, --server URL, --cert DIR.\n"
        if not family
        else "\n"
    )
    return head + "\n".join(lines) + tail


if __name__ == "__main__":
    sys.exit(main())

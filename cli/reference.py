"""The reference of the command line, written from the same rows as its parsers.

``python -m cli.reference`` prints it; docs/cli.md is its output.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from cli.arguments import GLOBAL, ROWS, parser
from cli.commands import COMMANDS
from cli.exits import MEANING

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from cli.arguments import Row

HEAD = """# Commands

<!-- Written by `python -m cli.reference`; changes belong into cli/commands.py and cli/arguments.py. -->

`svc COMMAND [OPTIONS]` talks to the daemon of this machine over its Unix socket; `--root` picks another
one of this machine, `--server` one of another machine. `svc COMMAND --help` shows what stands here.
"""
SEED = """## The spelling of the seed

`svcmgr -s NAME ACTION [OPTIONS]` runs `svc ACTION NAME [OPTIONS]`. `svcmgr -s NAME print status` prints the
tree, `svcmgr -s NAME json status` the status as one JSON object in the shape of OpenSVC 1.5; both exit with
the code of the overall status: up 0, down 1, warn 2, n/a 3, undef 5, stdby up 6, stdby down 7.
"""


def reference() -> str:
    """The whole page."""
    parts = [HEAD, "## Options of every command\n", _options(GLOBAL.values()), "\n## Exit codes\n", _exits()]
    parts.append(
        "\nWhile a command waits, Ctrl-C ends the waiting only: the operation goes on, its id is printed.\n"
    )
    for name in COMMANDS:
        parts.append(_command(name))
    return "\n".join([*parts, SEED]).replace("\n\n\n", "\n\n")


def _command(name: str) -> str:
    command = COMMANDS[name]
    usage = " ".join(parser(name).format_usage().removeprefix("usage: ").split())
    head, _, tail = usage.replace(" [-h]", "").partition(" [--json]")
    usage = head + tail.rpartition("[--cert DIR]")[2]
    own = [ROWS[argument] for argument in command.arguments.split()]
    lines = [f"## svc {name}\n", command.summary, f"\n    {usage}\n"]
    if command.details:
        lines.append(command.details + "\n")
    if own:
        lines.append(_options(own))
    if command.examples:
        lines += ["\nExamples:\n", *(f"    {example}" for example in command.examples)]
    return "\n".join(lines) + "\n"


def _options(rows: Iterable[Row]) -> str:
    lines = ["| option | meaning |", "|---|---|"]
    for names, keywords in rows:
        value = "" if keywords.get("action") == "store_true" else str(keywords.get("metavar", ""))
        word = value if not names[0].startswith("-") else f"{', '.join(names)} {value}".strip()
        help_ = str(keywords["help"]).replace("%%", "%").replace("|", "\\|").replace("*", "\\*")
        lines.append(f"| `{word.replace('|', ' or ')}` | {help_} |")
    return "\n".join(lines)


def _exits() -> str:
    return "\n".join(
        ["| code | meaning |", "|---|---|", *(f"| {code} | {text} |" for code, text in MEANING.items())]
    )


if __name__ == "__main__":
    sys.stdout.write(reference())

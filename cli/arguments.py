"""Options and operands by name, and the parser of one command.

Only the parser of the command in hand is built; the reference of the documentation and
the help texts come from the same rows.
"""

from __future__ import annotations

import argparse
import os
import sys

from cli.commands import COMMANDS, Command
from cli.exits import USAGE, Trouble

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Row = tuple[tuple[str, ...], dict[str, Any]]


class Given(argparse.Action):
    """Keeps what was given, in a list where the default is one. An empty value is refused:
    ``--rid "$NOTHING"`` must never mean everything."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        many = isinstance(self.default, list)
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str) and not (split([value]) if many else value.strip()):
                raise argparse.ArgumentError(self, "it is empty")
        kept = [*getattr(namespace, self.dest), values] if many else values
        setattr(namespace, self.dest, kept)


def _flag(*names: str, help: str) -> Row:
    return names, {"action": "store_true", "help": help}


def _list(*names: str, metavar: str, help: str) -> Row:
    return names, {
        "action": Given,
        "default": [],
        "metavar": metavar,
        "help": f"{help}; repeatable, or with commas",
    }


def _value(*names: str, metavar: str, help: str, **more: Any) -> Row:
    return names, {"action": Given, "default": "", "metavar": metavar, "help": help, **more}


def _operand(name: str, help: str, **more: Any) -> Row:
    return (name,), {"action": Given, "metavar": name.upper(), "help": help, **more}


def seconds(text: str) -> float:
    """A number of seconds, or ``1h30m``-like text."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    total, number = 0.0, ""
    for letter in text if text[-1:] in units else text + "s":
        if letter in units and number.strip(".") and number.count(".") < 2:
            total, number = total + float(number) * units[letter], ""
        elif letter.isascii() and (letter.isdigit() or letter == "."):
            number += letter
        else:
            raise argparse.ArgumentTypeError(f"{text!r} is not a duration: 90, 90s, 2m, 1h30m")
    return total


GLOBAL: dict[str, Row] = {
    "--json": _flag("--json", help="print documents instead of text"),
    "--no-color": _flag("--no-color", help="no colours (NO_COLOR does the same)"),
    "--root": _value(
        "--root",
        metavar="DIR",
        default=None,
        help="the local daemon whose files hang under DIR (else $ENCAP_ROOT, else /)",
    ),
    "--server": _value(
        "--server", metavar="URL", help="talk to the daemon of another machine: https://host:1216"
    ),
    "--cert": _value(
        "--cert", metavar="DIR", help="user.crt, user.key and ca.crt for --server (default ~/.config/encap)"
    ),
}

ROWS: dict[str, Row] = {
    "name": _operand("name", "a service"),
    "names?": _operand("name", "services; patterns such as 'web*' are allowed", nargs="*"),
    "names": _operand("name", "services; patterns such as 'web*' are allowed", nargs="+"),
    "name-or-file": _operand("name", "a service, or a file (with / or .conf in its name)"),
    "action": _operand("action", "what would be done: start, stop, ..."),
    "file": _operand("file", "a configuration file, or - for standard input"),
    "json-file": _operand("file", "a status document in JSON, or - for standard input"),
    "keys": _operand(
        "key", "section.keyword or section.keyword@scope; a bare keyword is of DEFAULT", nargs="+"
    ),
    "key": _operand("key", "section.keyword or section.keyword@scope; a bare keyword is of DEFAULT"),
    "settings": _operand("setting", "section.keyword=value, for example fs#1.mnt=/srv", nargs="+"),
    "topic": _operand("topic", "fs.mnt, fs.ext4, fs, DEFAULT.nodes"),
    "operation": _operand("operation", "the id of an operation"),
    "node-name": _operand("node", "the name of a node"),
    "user-name": _operand("name", "the name of a person"),
    "token": _operand("token", "what svc node token printed"),
    "--cluster": _flag("--cluster", help="every instance, on all hypervisors"),
    "--refresh": _flag("--refresh", help="probe now instead of reading the daemon's memory"),
    "--wide": _flag("--wide", help="more columns: provisioned, restart budget, age, source"),
    "--master": _flag("--master", help="act at the hypervisor level"),
    "--slave": _list(
        "--slave", metavar="GUEST", help="act in this guest (container rid, container name or host name)"
    ),
    "--slaves": _flag("--slaves", help="act in all guests"),
    "--rid": _list("--rid", metavar="RID", help="only these resources"),
    "--tags": _value(
        "--tags", metavar="TAGS", help="only resources with these tags: a,b is a or b, a+b is both"
    ),
    "--subsets": _list("--subsets", metavar="SUBSET", help="only these subsets"),
    "--to": _value("--to", metavar="RID|GROUP", help="start up to and including this one"),
    "--downto": _value("--downto", metavar="RID|GROUP", help="stop down to and including this one"),
    "--force": _flag("--force", help="go on where a resource fails or is disabled"),
    "--dry-run": _flag("--dry-run", help="print the plan and do nothing"),
    "--node": _list("--node", metavar="NODE", help="only on this hypervisor"),
    "--assume-down": _list(
        "--assume-down",
        metavar="NODE",
        help="this silent hypervisor is known to be down; audited. Wrong, it gives two instances",
    ),
    "--stop-container": _list(
        "--stop-container", metavar="GUEST", help="stop the container of this silent guest first"
    ),
    "--reason": _value("--reason", metavar="TEXT", help="why, for the others"),
    "--until": _value("--until", metavar="TIME", help="thaw by itself then (RFC 3339)"),
    "--detach": _flag("--detach", help="do not wait: print the id of the operation"),
    "--wait": _flag("--wait", help="wait for the end (the default)"),
    "--time": _value(
        "--time",
        metavar="DURATION",
        type=seconds,
        default=None,
        help="stop waiting after this long; the operation goes on",
    ),
    "--point": _value("--node", metavar="NODE", help="from the point of view of this node"),
    "--config": _value(
        "--config", metavar="FILE", required=True, help="the configuration, - for standard input"
    ),
    "--limit": _value("--limit", metavar="N", type=int, default=20, help="at most N (default 20)"),
    "--last": _value("--limit", metavar="N", type=int, default=3, help="the last N operations (default 3)"),
    "--service": _value("--service", metavar="NAME", help="only of this service"),
    "--state": _value(
        "--state",
        metavar="STATE",
        choices=("queued", "running", "cancelling", "ended"),
        help="only in this state: queued, running, cancelling, ended",
    ),
    "--guest": _flag("--guest", help="the token is for a guest"),
    "--cluster-name": _value("--cluster", metavar="NAME", required=True, help="the name of the new cluster"),
    "--own-node": _value(
        "--node", metavar="NODE", help="the name of this node (else the setting, else the host name)"
    ),
    "--listen": _list("--listen", metavar="ADDRESS", help="listen on this address[:port] too"),
    "--days": _value("--days", metavar="N", type=int, default=365, help="valid for N days (default 365)"),
    "--out": _value(
        "--out", metavar="DIR", required=True, help="where user.crt, user.key and ca.crt are written"
    ),
    "--keep": _flag("--keep", help="leave it running, and print how to talk to it"),
    "--lxc": _flag("--lxc", help="a real LXC container and real addresses (root)"),
    "--verbose": _flag("--verbose", help="show the logs of the daemons when something fails"),
}


class Help(argparse.RawDescriptionHelpFormatter):
    """Finds the width as argparse does, but without shutil: one is made for each option of a parser."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80 if sys.__stdout__ else 80
    except (OSError, ValueError):
        return 80


class Parser(argparse.ArgumentParser):
    """argparse whose complaint is a Trouble, so that it looks like every other one."""

    def error(self, message: str) -> NoReturn:
        raise Trouble(message, USAGE, hint=f"{self.prog} --help shows its options.", code="invalid-request")


def parser(name: str, program: str = "svc") -> Parser:
    """The parser of the command `name` (``status``, ``op show``)."""
    command = COMMANDS[name]
    made = Parser(
        prog=f"{program} {name}",
        description=description(command),
        epilog=epilog(command),
        formatter_class=Help,
        allow_abbrev=False,
    )
    for argument in command.arguments.split():
        names, keywords = ROWS[argument]
        made.add_argument(*names, **keywords)
    for names, keywords in GLOBAL.values():
        made.add_argument(*names, **keywords)
    return made


def description(command: Command) -> str:
    return command.summary + ("\n\n" + command.details if command.details else "")


def epilog(command: Command) -> str:
    return "examples:\n" + "\n".join(f"  {line}" for line in command.examples) if command.examples else ""


def split(values: list[str]) -> list[str]:
    """Repeatable options also take commas."""
    return [word.strip() for value in values for word in value.split(",") if word.strip()]

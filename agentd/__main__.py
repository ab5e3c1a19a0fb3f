"""The program `agentd`: run the daemon, join a cluster, show the settings."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentd.core.errors import EncapError, InvalidRequest, Refused, Silent

PACKAGES = ("agentd", "api", "drivers", "cli")
USAGE, REFUSED, SILENT, FAILED = 2, 6, 5, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 failed, 2 usage or settings, 5 nobody answers, 6 refused."""
    chosen = _parser().parse_args(arguments)
    try:
        check_packages()
        code: int = chosen.command(chosen, Path(chosen.root))
        return code
    except EncapError as error:
        print(f"agentd: {error.text}", file=sys.stderr)
        for each in list(error.details.get("problems", ()))[1:]:
            print(f"agentd: line {each['line']}: {each['option']}: {each['text']}", file=sys.stderr)
        if error.hint:
            print(f"agentd: {error.hint}", file=sys.stderr)
        return _exit_code(error)
    except KeyboardInterrupt:
        return FAILED


def check_packages(locations: dict[str, Path] | None = None) -> None:
    """Refused unless the four packages come from one folder: their names are so general that
    another distribution's, or those of the folder we were started in, could be ours by accident."""
    found = locations if locations is not None else {name: _location(name) for name in PACKAGES}
    if len(set(found.values())) != 1:
        where = ", ".join(f"{name} in {path}" for name, path in found.items())
        raise Refused(f"the packages do not belong together: {where}", code="mixed-packages",
                      hint="install Encap into its own environment, and start it with python -I -m agentd")


def _location(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return Path("nowhere")
    return Path(spec.origin).resolve().parent.parent


def _exit_code(error: EncapError) -> int:
    for kind, code in ((InvalidRequest, USAGE), (Refused, REFUSED), (Silent, SILENT)):
        if isinstance(error, kind):
            return code
    return FAILED


def _run(_arguments: Any, root: Path) -> int:
    from agentd.daemon import serve

    return asyncio.run(serve(root))


def _join(arguments: Any, root: Path) -> int:
    from agentd import joining
    from agentd.settings import load

    settings = load(root)
    node = arguments.name or settings.node
    if not arguments.pipe:
        if not arguments.token:
            raise InvalidRequest("a token is missing", hint="`svc node token NAME` prints one")
        joined = joining.join(arguments.token, settings.paths, arguments.listen)
    elif arguments.request:
        joining.pipe_request(settings.paths, node, sys.stdout.buffer)
        return 0
    elif arguments.install:
        joined = joining.pipe_install(settings.paths, sys.stdin.buffer)
    else:
        joined = joining.pipe(settings.paths, node, sys.stdin.buffer, sys.stdout.buffer)
    print(f"agentd: {joined.node} is a {joined.role} of cluster {joined.cluster}", file=sys.stderr)
    if joined.note:
        print(f"agentd: {joined.note}", file=sys.stderr)
    return FAILED if joined.note else 0


def _settings(arguments: Any, root: Path) -> int:
    from agentd.settings import load

    rows = load(root).explain()
    if arguments.json:
        print(json.dumps({key: {"value": value, "from": origin} for key, value, origin in rows}, indent=1))
        return 0
    for key, value, origin in rows:
        print(f"{key} = {json.dumps(value)}    # {origin}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("agentd", description="The daemon of Encap.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"agentd {own_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="serve until SIGTERM; SIGHUP reads the settings again")
    run.set_defaults(command=_run)
    join = commands.add_parser("join", help="join a cluster, by a token or over a driver's pipe")
    join.add_argument("token", nargs="?", default="", metavar="TOKEN")
    join.add_argument("--listen", action="append", default=[], metavar="ADDRESS",
                      help="where this node listens")
    join.add_argument("--pipe", action="store_true",
                      help="the request on standard output, the answer on input")
    half = join.add_mutually_exclusive_group()
    half.add_argument("--request", action="store_true", help="with --pipe: only the request")
    half.add_argument("--install", action="store_true", help="with --pipe: only the answer")
    join.add_argument("--name", default="", metavar="NODE", help="the name to ask for; else the settings'")
    join.set_defaults(command=_join)
    settings = commands.add_parser("settings", help="what is in force, and from where")
    settings.add_argument("--json", action="store_true")
    settings.set_defaults(command=_settings)
    for each in (run, join, settings):
        each.add_argument("--root", default=os.environ.get("ENCAP_ROOT", "/"), metavar="DIR",
                          help="where etc, var and run hang; default: ENCAP_ROOT, else /")
    return parser


def own_version() -> str:
    """The version of the installed distribution; "unknown" when run from a source tree."""
    try:
        return version("encap")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())

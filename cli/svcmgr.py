"""`svcmgr -s NAME ACTION`: the spelling of the seed, on the same commands as `svc`."""

from __future__ import annotations

import sys
from typing import Any

from cli.compat import CODES, status_code
from cli.exits import DONE, USAGE
from cli.terminal import complete_streams

USAGE_TEXT = (
    """usage: svcmgr -s NAME ACTION [OPTIONS]

Actions are those of svc. Two more are spelled as OpenSVC 1.5 had them:
  svcmgr -s NAME print status   the status tree
  svcmgr -s NAME json status    the status as one JSON object
Both exit with the code of the overall status:
  """
    + ", ".join(f"{word} {code}" for word, code in CODES.items())
    + """

examples:
  svcmgr -s deb1 start
  svcmgr -s deb1 startfs --slave vm1
  svcmgr -s deb1 json status
"""
)
SPELLINGS = {
    "print status": "print status",
    "print_status": "print status",
    "json status": "json status",
    "json_status": "json status",
    "edit config": "edit",
    "edit_config": "edit",
    "validate config": "validate",
    "validate_config": "validate",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is svc's, but for a status the one of the overall status."""
    from cli import main as svc

    complete_streams()
    words = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(words) and not _service(words)[0]:
        sys.stdout.write(USAGE_TEXT)
        return DONE
    name, rest = _service(words)
    action, rest = _action(rest)
    if not name or not action:
        sys.stderr.write(USAGE_TEXT)
        return USAGE
    if action not in ("print status", "json status"):
        return svc.main([action, name, *rest])
    return svc.guarded(lambda terminal: _status(name, action, rest, terminal), rest)


def _service(words: list[str]) -> tuple[str, list[str]]:
    """The name given with -s, and the other words."""
    for place, word in enumerate(words):
        if word in ("-s", "--service") and place + 1 < len(words):
            return words[place + 1], words[:place] + words[place + 2 :]
        if word.startswith("--service="):
            return word.partition("=")[2], words[:place] + words[place + 1 :]
    return "", words


def _action(words: list[str]) -> tuple[str, list[str]]:
    """The first word that is no option (two of them where 1.5 spelled it so), and the rest."""
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), None)
    if place is None:
        return "", words
    two = " ".join(words[place : place + 2])
    length = 2 if two in SPELLINGS else 1
    action = SPELLINGS.get(two if length == 2 else words[place], words[place])
    return action, words[:place] + words[place + length :]


def _status(name: str, action: str, words: list[str], terminal: Any) -> int:
    from cli.arguments import parser
    from cli.endpoint import daemon_of
    from cli.reading import show, status_of
    from cli.render import json15

    try:
        arguments = parser("status").parse_args([name, *words])
    except SystemExit as ended:
        return int(ended.code or 0)
    document = status_of(daemon_of(arguments), name, refresh=arguments.refresh)
    if action == "json status":
        terminal.document(json15(document))
    else:
        show([document], arguments, terminal)
    return status_code(document["overall"])


if __name__ == "__main__":
    sys.exit(main())

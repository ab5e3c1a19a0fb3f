"""Commands that change the text of a configuration through the daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from cli.endpoint import daemon_of, unknown_service
from cli.exits import DONE, DRAFT, FAILED, NOT_FOUND, USAGE, Trouble
from cli.reading import read_input
from cli.render import safe
from cli.terminal import Terminal
from cli.transport import Answer, Daemon, good, quoted

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
TRIES = 3


def create(arguments: Any, terminal: Terminal) -> int:
    content = read_input(arguments.config)
    answer = _put(daemon_of(arguments), arguments.name, content, {"If-None-Match": "*"}, arguments.dry_run)
    return _accepted(arguments.name, "created", answer.json(), terminal, arguments.dry_run)


def _config(daemon: Daemon, name: str) -> Answer:
    """The text of a service, with its ETag."""
    answer = daemon.request("GET", f"/v1/services/{quoted(name)}/config")
    try:
        return good(answer)
    except Trouble as trouble:
        raise unknown_service(daemon, name) if trouble.code == "not-found" else trouble from None


def _put(daemon: Daemon, name: str, content: bytes, condition: dict[str, str], dry: bool) -> Answer:
    path = f"/v1/services/{quoted(name)}/config" + ("?dry_run=true" if dry else "")
    try:
        return good(daemon.request("PUT", path, content, headers={**TEXT, **condition}, timeout=60))
    except Trouble as trouble:
        if trouble.code in ("edit-conflict", "precondition-failed") and "If-None-Match" in condition:
            trouble.hint = f"The service exists: svc edit {name}"
        raise


def _accepted(name: str, word: str, answer: dict[str, Any], terminal: Terminal, dry: bool = False) -> int:
    """Tell what became of a text; 8 when it is kept as a draft only."""
    draft = bool(answer.get("draft"))
    terminal.findings(answer.get("warnings") or (), "warning")
    late = {n: why for n, why in (answer.get("in_step") or {}).items() if why is not True}
    for node, why in late.items():
        terminal.note(f"{node} does not have it yet{': ' + why if isinstance(why, str) and why else ''}")
    if terminal.json:
        terminal.document(answer)
        return DRAFT if draft else DONE
    if answer.get("diff"):
        terminal.say("\n".join(safe(line) for line in str(answer["diff"]).splitlines()))
    if dry:
        terminal.say(f"{safe(name)}: would be {word}; nothing was changed")
    elif draft:
        terminal.say(f"{safe(name)}: kept as a draft only")
    else:
        terminal.say(f"{safe(name)}: {word}, revision {safe(answer.get('revision', '?'))}")
    return DRAFT if draft else DONE


def edit(arguments: Any, terminal: Terminal) -> int:
    daemon = daemon_of(arguments)
    answer = _config(daemon, arguments.name)
    path = _copy(arguments.name, answer.body)
    while True:
        try:
            _editor(path)
            content = read_input(path)
            if content == answer.body:
                os.unlink(path)
                terminal.note(f"{arguments.name}: not changed")
                return DONE
            reply = _put(daemon, arguments.name, content, {"If-Match": answer.headers.get("etag", "")}, False)
        except (Trouble, KeyboardInterrupt) as stopped:
            if isinstance(stopped, Trouble) and stopped.problems and _again(terminal, stopped):
                continue
            terminal.note(f"What you typed is kept in {path}")
            raise
        os.unlink(path)
        return _accepted(arguments.name, "changed", reply.json(), terminal)


def _copy(name: str, content: bytes) -> str:
    import tempfile

    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    handle, path = tempfile.mkstemp(prefix=f"svc-{plain}-", suffix=".conf")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return path


def _editor(path: str) -> None:
    import shlex
    import subprocess

    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(command), path], check=False).returncode
    except (OSError, ValueError) as error:
        raise Trouble(
            f"the editor {command!r} cannot be started: {error}", FAILED, hint="Set VISUAL or EDITOR."
        ) from None
    if code != 0:
        raise Trouble(f"the editor {command!r} ended with code {code}, so nothing was sent", FAILED)


def _again(terminal: Terminal, trouble: Trouble) -> bool:
    """Show every problem; on a terminal, ask whether to go back to the editor."""
    if not (sys.stdin.isatty() and terminal.live):
        return False
    terminal.trouble(trouble)
    terminal.out.write("Edit again? [Y/n] ")
    terminal.out.flush()
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


def get(arguments: Any, terminal: Terminal) -> int:
    """Raw values; 7 when a keyword is not written."""
    from cli.offline import raw_values

    content = _config(daemon_of(arguments), arguments.name).body
    values = raw_values(content, [key_of(key) for key in arguments.key])
    found = dict(zip(arguments.key, values, strict=True))
    if terminal.json:
        terminal.document(found)
    missing = [key for key, value in found.items() if value is None]
    for key, value in found.items():
        if value is not None and not terminal.json:
            terminal.say(safe(value) if len(found) == 1 else f"{safe(key)} = {safe(value)}")
    if missing:
        raise Trouble(
            f"not written in {arguments.name}: {', '.join(missing)}",
            NOT_FOUND,
            code="not-found",
            hint="svc config eval shows what a node sees; svc explain, the defaults.",
        )
    return DONE


def key_of(text: str) -> tuple[str, str]:
    """``fs#1.mnt@vm1`` -> (section, option). The section ends at the first dot after its name.

    A rid may hold dots, so for a section with ``#`` the last dot before any ``@`` counts.
    """
    head, at, scope = text.partition("@")
    section, dot, option = head.rpartition(".")
    if not dot:
        section, option = "DEFAULT", head
    if not section or not option or (at and not scope):
        raise Trouble(
            f"{text!r} is not a keyword",
            USAGE,
            code="invalid-request",
            hint="section.keyword or section.keyword@scope, for example fs#1.mnt@vm1",
        )
    return section, option + at + scope


def set_(arguments: Any, terminal: Terminal) -> int:
    changes = []
    for setting in arguments.setting:
        key, equals, value = setting.partition("=")
        if not equals:
            raise Trouble(
                f"{setting!r} has no value",
                USAGE,
                code="invalid-request",
                hint="section.keyword=value, for example fs#1.mnt=/srv",
            )
        section, option = key_of(key.strip())
        changes.append({"section": section, "option": option, "value": value.strip()})
    return _patch(arguments, {"set": changes, "unset": []}, terminal)


def unset(arguments: Any, terminal: Terminal) -> int:
    keys = [key_of(key) for key in arguments.key]
    return _patch(arguments, {"set": [], "unset": [{"section": s, "option": o} for s, o in keys]}, terminal)


def _patch(arguments: Any, body: dict[str, Any], terminal: Terminal) -> int:
    daemon = daemon_of(arguments)
    path = f"/v1/services/{quoted(arguments.name)}/config" + ("?dry_run=true" if arguments.dry_run else "")

    def change() -> dict[str, Any]:
        etag = _config(daemon, arguments.name).headers.get("etag", "")
        answer: dict[str, Any] = daemon.call("PATCH", path, body, headers={"If-Match": etag}, timeout=60)
        return answer

    return _accepted(arguments.name, "changed", _retried(change), terminal, arguments.dry_run)


def _retried(change: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A change of single keywords does not depend on what else changed, so it is tried again."""
    for _ in range(TRIES - 1):
        try:
            return change()
        except Trouble as trouble:
            if trouble.code != "edit-conflict":
                raise
    return change()


def validate(arguments: Any, terminal: Terminal) -> int:
    daemon = daemon_of(arguments)
    content = _config(daemon, arguments.name).body
    findings = good(daemon.request("POST", "/v1/config/validate", content, headers=TEXT)).json()
    return told(findings, arguments.name, terminal)


def told(findings: dict[str, Any], name: str, terminal: Terminal) -> int:
    """Print the findings of a validation: 0 no error, 1 errors."""
    if terminal.json:
        terminal.document(findings)
    else:
        terminal.findings(findings["errors"])
        terminal.findings(findings["warnings"], "warning")
        words = ", ".join(
            f"{len(findings[k])} {k if len(findings[k]) != 1 else k[:-1]}" for k in ("errors", "warnings")
        )
        terminal.say(f"{safe(name)}: {words}")
    return FAILED if findings["errors"] else DONE

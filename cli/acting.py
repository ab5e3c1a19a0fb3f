"""Commands that change a service: one request each, followed to its end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cli.arguments import split
from cli.endpoint import daemon_of, unknown_service
from cli.exits import DONE, NOT_FOUND, UNREACHABLE, Trouble
from cli.following import follow
from cli.reading import names_of
from cli.render import plan_text
from cli.terminal import Terminal
from cli.transport import Daemon, good, quoted

LISTS = {
    "node": "nodes",
    "rid": "rids",
    "subsets": "subsets",
    "slave": "slave",
    "assume_down": "assume_down",
    "stop_container": "stop_containers",
}
FLAGS = ("master", "slaves", "force")


def act(arguments: Any, terminal: Terminal) -> int:
    """Any verb, on one service or on several, one after the other."""
    daemon = daemon_of(arguments)
    body = body_of(arguments, arguments.command)
    codes = []
    for name in names_of(daemon, arguments.name):
        if getattr(arguments, "dry_run", False):
            document = planned(daemon, name, body)
            terminal.document(document) if terminal.json else terminal.say(plan_text(document))
            codes.append(DONE)
        else:
            codes.append(_run(daemon, name, body, arguments, terminal))
    return worst(codes)


def worst(codes: list[int]) -> int:
    """One exit code for several services: the first that is not 0."""
    return next((code for code in codes if code), DONE)


def body_of(arguments: Any, action: str) -> dict[str, Any]:
    """The request that the options of a command ask for; only what was given is sent."""
    body: dict[str, Any] = {"action": action}
    for option, field in LISTS.items():
        given = getattr(arguments, option, None)
        if values := split([given] if isinstance(given, str) else given or []):
            body[field] = values
    for option in FLAGS:
        if getattr(arguments, option, False):
            body[option] = True
    for option in ("tags", "reason", "until"):
        if value := getattr(arguments, option, ""):
            body[option] = value
    if to := getattr(arguments, "to", "") or getattr(arguments, "downto", ""):
        body["to"] = to
    return body


def planned(daemon: Daemon, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The plan document that the daemon would carry out."""
    try:
        plan: dict[str, Any] = daemon.call("POST", f"/v1/services/{quoted(name)}/plan", body)
    except Trouble as trouble:
        raise _better(daemon, name, trouble) from None
    return plan


def _run(daemon: Daemon, name: str, body: Mapping[str, Any], arguments: Any, terminal: Terminal) -> int:
    try:
        operation = _submit(daemon, name, body)
    except Trouble as trouble:
        raise _better(daemon, name, trouble) from None
    if arguments.detach:
        terminal.document(operation) if terminal.json else terminal.say(str(operation.get("id", "")))
        return DONE
    return follow(daemon, operation, terminal, arguments.time)


def _submit(daemon: Daemon, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Hand the action over. Its key makes a second try, after a lost answer, the same operation."""
    import json

    headers = {"Content-Type": "application/json", "Idempotency-Key": os.urandom(16).hex()}
    path, content = f"/v1/services/{quoted(name)}/actions", json.dumps(body).encode()
    try:
        answer = daemon.request("POST", path, content, headers=headers)
    except Trouble as trouble:
        if trouble.exit_code != UNREACHABLE:
            raise
        daemon.connect().close()  # raises when nobody is there: then nothing was handed over either
        answer = daemon.request("POST", path, content, headers=headers)
    operation: dict[str, Any] = good(answer).json()
    return operation


def _better(daemon: Daemon, name: str, trouble: Trouble) -> Trouble:
    """A service that is not found comes with the near names."""
    if trouble.exit_code == NOT_FOUND and trouble.code == "not-found" and not trouble.hint:
        return unknown_service(daemon, name)
    return trouble

"""Commands that only read: ls, status, plan, tree."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from cli.endpoint import daemon_of, root_of, unknown_service
from cli.exits import DONE, NOT_FOUND, UNREACHABLE, USAGE, Trouble
from cli.render import UnreadableDocument, any_tree, plan_text, safe, table
from cli.terminal import Terminal
from cli.transport import Daemon, quoted

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from typing import Any

SNAPSHOT = "run/encap/status.json"
READ_LIMIT = 64 << 20


def ls(arguments: Any, terminal: Terminal) -> int:
    answer = daemon_of(arguments).get("/v1/services?cluster=true")
    rows = [s for s in answer["services"] if selected(str(s["name"]), arguments.name)]
    silent = answer.get("silent", [])
    if terminal.json:
        terminal.document({"services": rows, "silent": silent})
    elif rows:
        terminal.say(table(map(_row, rows), ("SERVICE", "AVAIL", "OVERALL", "TOPOLOGY", "INSTANCES", "")))
    for one in silent:
        terminal.note(f"{one['node']} has not answered: {one.get('why') or 'silent'}")
    if not rows and arguments.name:
        raise Trouble(
            f"no service matches {' '.join(arguments.name)}",
            NOT_FOUND,
            code="not-found",
            hint="svc ls lists them all.",
        )
    if not rows and not terminal.json:
        terminal.note("There is no service here. svc create NAME --config FILE makes one.")
    return DONE


def selected(name: str, patterns: list[str]) -> bool:
    """Named by one of the patterns; none means all."""
    from fnmatch import fnmatchcase

    return not patterns or any(fnmatchcase(name, p) for p in patterns)


def _row(service: Mapping[str, Any]) -> tuple[str, ...]:
    where = " ".join(f"{node}:{avail}" for node, avail in (service.get("instances") or {}).items())
    notices = ["frozen"] if service.get("frozen") else []
    if operation := service.get("operation"):
        notices.append(f"{operation.get('action', 'operation')} in progress")
    return (
        service["name"],
        service["avail"],
        service["overall"],
        service.get("topology", ""),
        where,
        ", ".join(notices),
    )


def names_of(daemon: Daemon, words: list[str]) -> list[str]:
    """Plain names as they are; patterns become the names of this daemon that they match."""
    if not any(c in word for word in words for c in "*?["):
        return [*dict.fromkeys(words)]
    known = [str(s["name"]) for s in daemon.get("/v1/services")["services"]]
    found: list[str] = []
    for word in words:
        matches = [n for n in known if selected(n, [word])] if any(c in word for c in "*?[") else [word]
        if not matches:
            raise Trouble(
                f"no service matches {word}", NOT_FOUND, code="not-found", hint="svc ls lists them all."
            )
        found += matches
    return [*dict.fromkeys(found)]


def status_of(daemon: Daemon, name: str, *, cluster: bool = False, refresh: bool = False) -> dict[str, Any]:
    """The status document of one service."""
    path = f"/v1/services/{quoted(name)}/status" + ("/cluster" if cluster else "")
    try:
        document: dict[str, Any] = daemon.get(
            path + ("?refresh=true" if refresh else ""), 120 if refresh else 30
        )
    except Trouble as trouble:
        if trouble.code == "not-found":
            raise unknown_service(daemon, name) from None
        raise
    return document


def status(arguments: Any, terminal: Terminal) -> int:
    daemon = daemon_of(arguments)
    try:
        names = names_of(daemon, arguments.name)
        documents = [
            status_of(daemon, n, cluster=arguments.cluster, refresh=arguments.refresh) for n in names
        ]
    except Trouble as trouble:
        if trouble.exit_code != UNREACHABLE or arguments.server:
            raise
        return _stale(arguments, terminal, trouble)
    show(documents, arguments, terminal)
    return DONE


def show(documents: list[dict[str, Any]], arguments: Any, terminal: Terminal) -> None:
    if terminal.json:
        terminal.document(documents[0] if len(documents) == 1 else documents)
        return
    try:
        trees = [any_tree(d, arguments.wide, terminal.color, max(terminal.width - 2, 40)) for d in documents]
    except UnreadableDocument as error:
        raise Trouble(
            f"this is no whole status document: {error}",
            USAGE,
            code="invalid-request",
            hint="svc status NAME --json prints one.",
        ) from None
    terminal.say("\n".join(trees))


def _stale(arguments: Any, terminal: Terminal, trouble: Trouble) -> int:
    """The last snapshot instead of an answer: shown as what it is, and no success."""
    snapshot, at = _snapshot(root_of(arguments))
    documents = [d for n, d in snapshot.items() if selected(n, arguments.name)]
    if not documents:
        raise trouble
    if terminal.json:
        stale = [{**d, "stale": True} for d in documents]
        terminal.document(stale[0] if len(stale) == 1 else stale)
    else:
        terminal.say(
            f"STALE: the last snapshot{', of ' + safe(at) if at else ''}; the daemon does not answer\n"
        )
        show(documents, arguments, terminal)
    terminal.note(f"svc: {trouble.text}")
    terminal.note(f"  {trouble.hint}")
    return UNREACHABLE


def _snapshot(root: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Status documents by service name, and when they were written."""
    try:
        with open(os.path.join(root, SNAPSHOT), encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}, ""
    if not isinstance(content, dict):
        return {}, ""
    services = content.get("services", content)
    documents = services if isinstance(services, list) else list(services.values())
    found = {str(d["service"]): d for d in documents if isinstance(d, dict) and "service" in d}
    at = content.get("at") or content.get("written_at") or content.get("observed_at")
    return found, str(at or next((d.get("observed_at", "") for d in found.values()), ""))


def plan(arguments: Any, terminal: Terminal) -> int:
    word = arguments.name
    if word == "-" or "/" in word or word.endswith(".conf"):
        from cli.offline import plan_file

        document = plan_file(arguments)
    else:
        from cli.acting import body_of, planned

        document = planned(daemon_of(arguments), word, body_of(arguments, arguments.action))
    terminal.document(document) if terminal.json else terminal.say(plan_text(document))
    return DONE


def tree_(arguments: Any, terminal: Terminal) -> int:
    try:
        value = json.loads(read_input(arguments.file))
    except (ValueError, RecursionError) as error:
        raise Trouble(f"{arguments.file} is not JSON: {error}", USAGE, code="invalid-request") from None
    show(value if isinstance(value, list) and value else [value], arguments, terminal)
    return DONE


def read_input(path: str) -> bytes:
    """A file, or standard input for ``-``; at most 64 MiB."""
    try:
        if path == "-":
            return sys.stdin.buffer.read(READ_LIMIT)
        with open(path, "rb") as file:
            return file.read(READ_LIMIT)
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}", USAGE, code="invalid-request") from None

"""Operations: follow one to its end, show, list, cancel; the log of a service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from cli.endpoint import daemon_of
from cli.exits import DONE, REFUSED, UNKNOWN, UNREACHABLE, Trouble, of_operation
from cli.progress import Live
from cli.render import event_line, safe, table
from cli.terminal import Terminal
from cli.transport import Daemon, quoted

TICK = 0.2
RECONNECT_FOR = 60.0
RECONNECT_EVERY = 1.0


def follow(daemon: Daemon, operation: dict[str, Any], terminal: Terminal, limit: float | None = None) -> int:
    """Show an operation while it runs; its exit code. Ctrl-C and `limit` only stop the showing."""
    identity = str(operation["id"])
    live = Live(terminal, operation)
    deadline = None if limit is None else time.monotonic() + limit
    try:
        if operation.get("state") != "ended" or not terminal.json:
            for event in events(daemon, identity, tick=TICK, deadline=deadline):
                if event is None:
                    live.tick()
                else:
                    live.event(event)
        operation = _end(daemon, identity)
    except KeyboardInterrupt:
        live.close()
        return _detached(identity, terminal, "Detached")
    except TimeoutError:
        live.close()
        return _detached(identity, terminal, "Not waiting any longer")
    except Trouble as trouble:
        live.close()
        if trouble.exit_code != UNREACHABLE:
            raise
        terminal.note(f"svc: {trouble.text}")
        return _detached(identity, terminal, "Lost sight of it")
    live.end(operation)
    if terminal.json:
        terminal.document(operation)
    return of_operation(operation)


def _end(daemon: Daemon, identity: str) -> dict[str, Any]:
    """The document of an operation whose stream ended: the record is written just after."""
    for pause in (0, 0.05, 0.2, 0.5, 1):
        time.sleep(pause)
        operation: dict[str, Any] = daemon.get(_path(identity))
        if operation.get("state") == "ended":
            break
    return operation


def _detached(identity: str, terminal: Terminal, word: str) -> int:
    terminal.note(
        f"{word}: operation {identity} goes on. svc op wait {identity} follows it, "
        f"svc op cancel {identity} stops it."
    )
    if terminal.json:
        terminal.document({"id": identity, "state": "unknown", "exit": UNKNOWN})
    return UNKNOWN


def events(
    daemon: Daemon,
    identity: str,
    *,
    tick: float | None = None,
    deadline: float | None = None,
) -> Iterator[dict[str, Any] | None]:
    """Events until the end, across lost connections; None at each tick.

    Raises TimeoutError past `deadline` (monotonic), Trouble when the daemon stays away.
    """
    after, lost = "", None
    while True:
        try:
            for item in daemon.events(_path(identity) + "/events", after, tick=tick):
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError
                lost = None  # a tick, too, means that the daemon took us in
                if item is None:
                    yield None
                    continue
                after = item[0]
                event = _event(item[1])
                yield event
                if event["kind"] == "end":
                    return
            if daemon.get(_path(identity)).get("state") == "ended":
                return
        except Trouble as trouble:
            if trouble.exit_code != UNREACHABLE:
                raise
            lost = lost or time.monotonic()
            if time.monotonic() - lost > RECONNECT_FOR:
                raise
        yield None
        time.sleep(RECONNECT_EVERY)
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError


def _event(data: str) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
        raise Trouble("the daemon told an event that cannot be read", UNREACHABLE, code="unreachable")
    return event


def _path(identity: str) -> str:
    return f"/v1/operations/{quoted(identity)}"


def told(daemon: Daemon, operation: dict[str, Any]) -> list[dict[str, Any]]:
    """What an operation told so far, without waiting for more."""
    found = []
    for item in daemon.events(_path(str(operation["id"])) + "/events", tick=TICK):
        if item is None:
            break  # it still runs: everything there is has been sent
        found.append(_event(item[1]))
    return found


def logs(arguments: Any, terminal: Terminal) -> int:
    daemon = daemon_of(arguments)
    name = quoted(arguments.name)
    if not (found := _operations(daemon, f"service={name}&limit={arguments.limit}")):
        daemon.get(f"/v1/services/{name}")  # not found is another answer than nothing told
        terminal.document([]) if terminal.json else terminal.note(f"{arguments.name}: nothing was done yet.")
        return DONE
    stories = [{"operation": o, "events": told(daemon, o)} for o in reversed(found)]
    if terminal.json:
        terminal.document(stories)
        return DONE
    for story in stories:
        _print(story["operation"], story["events"], terminal)
    return DONE


def _operations(daemon: Daemon, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.get(f"/v1/operations?{query}")["operations"]
    return found


def op_ls(arguments: Any, terminal: Terminal) -> int:
    query = [f"limit={arguments.limit}"]
    for field in ("service", "state"):
        if value := getattr(arguments, field):
            query.append(f"{field}={quoted(value)}")
    found = _operations(daemon_of(arguments), "&".join(query))
    if terminal.json:
        terminal.document({"operations": found})
    elif found:
        rows = [
            (
                o["id"],
                o["service"],
                o["action"],
                o.get("result") or o["state"],
                o.get("created_at") or "",
                (o.get("origin") or {}).get("who") or "",
            )
            for o in found
        ]
        terminal.say(table(rows, ("OPERATION", "SERVICE", "ACTION", "STATE", "CREATED", "BY")))
    else:
        terminal.note("There is no such operation.")
    return DONE


def op_show(arguments: Any, terminal: Terminal) -> int:
    daemon = daemon_of(arguments)
    operation = daemon.get(_path(arguments.operation))
    if terminal.json:
        terminal.document(operation)
    else:
        _print(operation, told(daemon, operation), terminal)
    return DONE


def _print(operation: dict[str, Any], story: list[dict[str, Any]], terminal: Terminal) -> None:
    who = (operation.get("origin") or {}).get("who") or ""
    state = operation.get("result") or operation.get("state")
    head = f"{operation['id']} {operation['action']} {operation['service']}: {state}"
    terminal.say(safe(f"{head}, {operation.get('created_at') or ''}{' by ' + who if who else ''}"))
    for event in story:
        terminal.say(f"  {event_line(event, color=terminal.color)}")
    if isinstance(problem := operation.get("problem"), dict):
        terminal.say(f"  {safe(problem.get('detail') or problem.get('text') or problem.get('code') or '')}")


def op_wait(arguments: Any, terminal: Terminal) -> int:
    daemon = daemon_of(arguments)
    return follow(daemon, daemon.get(_path(arguments.operation)), terminal, arguments.time)


def op_cancel(arguments: Any, terminal: Terminal) -> int:
    """0: cancelled (and undone); 6: it had ended before."""
    daemon = daemon_of(arguments)
    operation = daemon.call("POST", _path(arguments.operation) + "/cancel")
    if not arguments.detach:
        follow(daemon, operation, terminal, arguments.time)
        operation = daemon.get(_path(arguments.operation))
    elif terminal.json:
        terminal.document(operation)
    if operation.get("state") != "ended":
        return DONE if arguments.detach else UNKNOWN
    return DONE if operation.get("result") == "cancelled" else REFUSED

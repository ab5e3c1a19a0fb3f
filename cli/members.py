"""Commands about nodes and about the daemon that answers."""

from __future__ import annotations

from typing import Any

from cli.endpoint import daemon_of
from cli.exits import DONE, UNKNOWN
from cli.render import safe, table
from cli.terminal import Terminal
from cli.transport import quoted


def ls(arguments: Any, terminal: Terminal) -> int:
    answer = daemon_of(arguments).get("/v1/nodes")
    if terminal.json:
        terminal.document(answer)
        return DONE
    rows = [
        (
            n["name"],
            n["role"],
            n.get("address") or "",
            "revoked" if n.get("revoked") else n.get("state", ""),
            n.get("version") or "",
        )
        for n in answer["nodes"]
    ]
    terminal.say(table(rows, ("NODE", "ROLE", "ADDRESS", "STATE", "VERSION")))
    return DONE


def token(arguments: Any, terminal: Terminal) -> int:
    role = "guest" if arguments.guest else "hypervisor"
    answer = daemon_of(arguments).call("POST", "/v1/nodes/tokens", {"name": arguments.node, "role": role})
    if terminal.json:
        terminal.document(answer)
        return DONE
    terminal.say(safe(answer["token"]))
    terminal.note(f"Good once, until {answer.get('expires_at')}. On {arguments.node}: svc node join TOKEN")
    return DONE


def remove(arguments: Any, terminal: Terminal) -> int:
    """Revokes. 4 when a hypervisor could not be told: it still trusts the node until it returns."""
    answer = daemon_of(arguments).call("DELETE", f"/v1/nodes/{quoted(arguments.node)}")
    not_told = answer.get("not_told") or []
    if terminal.json:
        terminal.document(answer)
    else:
        terminal.say(
            f"{safe(arguments.node)} is revoked; told: {safe(', '.join(answer.get('told') or ['this node']))}"
        )
    if not_told:
        terminal.note(f"Not told yet: {', '.join(map(str, not_told))}. They learn it when they return.")
    return UNKNOWN if not_told else DONE


def daemon(arguments: Any, terminal: Terminal) -> int:
    answer = daemon_of(arguments).get("/v1/node")
    if terminal.json:
        terminal.document(answer)
        return DONE
    for key in ("node", "cluster", "version", "started_at", "services", "listen", "capabilities", "boot_id"):
        if key in answer:
            value = answer[key]
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            terminal.say(f"{key:<12} {safe(shown)}")
    return DONE

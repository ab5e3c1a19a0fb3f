"""Which daemon a command talks to, and what to say when it does not know a name."""

from __future__ import annotations

import os

from cli.exits import NOT_FOUND, Trouble

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cli.transport import Daemon


def near(word: str, known: Iterable[str]) -> str:
    """A sentence that suggests what may have been meant, or ""."""
    from difflib import get_close_matches

    found = get_close_matches(word, [*known], n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(found)}?" if found else ""


def daemon_of(arguments: Any) -> Daemon:
    """The daemon that `--server`, `--root` or the environment names."""
    if arguments.server:
        from cli.remote import remote

        return remote(arguments.server, arguments.cert)
    from cli.transport import local

    return local(root_of(arguments))


def root_of(arguments: Any) -> str:
    """The folder under which the local daemon's files hang."""
    return os.path.abspath(arguments.root or os.environ.get("ENCAP_ROOT") or "/")


def unknown_service(daemon: Daemon, name: str) -> Trouble:
    """Not found, with the near names."""
    try:
        known = [str(s["name"]) for s in daemon.get("/v1/services")["services"]]
    except (Trouble, KeyError, TypeError):
        known = []
    return Trouble(
        f"there is no service {name!r}",
        NOT_FOUND,
        code="not-found",
        hint=near(name, known) or "svc ls lists the services.",
    )

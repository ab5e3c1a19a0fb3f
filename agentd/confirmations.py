"""Who holds which text: what other nodes were last heard to hold, and why they were not."""

from __future__ import annotations

from dataclasses import dataclass

from agentd.core.errors import EncapError, Silent
from agentd.core.replicas import Version
from agentd.core.reply import clean
from agentd.core.status import LogLine

WORDS_LIMIT = 300
"""Characters of another node's reason: it may be a guest's."""


@dataclass(slots=True)
class Told:
    """`version`: what the node was last heard to hold. `why`: what came of the last attempt
    to reach it, "" when it answered. `deleted`: the revision at which it deleted the service."""

    version: Version | None = None
    why: str = ""
    deleted: int = 0


class Confirmations:
    """(service, node) -> Told, from memory: a new daemon asks again."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], Told] = {}

    def holds(self, name: str, node: str, version: Version | None) -> None:
        """The node said which text it holds, None for no text."""
        self._told[name, node] = Told(version, "" if version else "it does not have it")

    def failed(self, name: str, node: str, error: EncapError, doing: str = "") -> None:
        """What it held before, it still does as far as is known."""
        told = self._told.setdefault((name, node), Told())
        silent = isinstance(error, Silent)
        told.why = "it does not answer" if silent else doing + clean(error.text[:WORDS_LIMIT])

    def deleted(self, name: str, node: str, revision: int) -> None:
        self._told[name, node] = Told(None, "it was deleted there", revision)

    def hash(self, name: str, node: str) -> str:
        """Of the text that the node was last heard to hold."""
        told = self._told.get((name, node))
        return told.version.hash if told and told.version else ""

    def doubt(self, name: str, node: str, revision: int, hash_: str,
              unasked: str = "it was not asked yet") -> LogLine | None:
        """What keeps `node` from being in step with this text; None when it holds it."""
        told = self._told.get((name, node), Told(why=unasked))
        if told.version is not None and told.version.hash == hash_:
            return None
        if told.why or told.version is None:
            return LogLine("warn", f"{node} has not confirmed revision {revision} yet: {told.why}")
        return LogLine("warn", f"{node} holds another text, its revision {told.version.revision}")

    def without(self, name: str) -> list[str]:
        """The nodes that deleted the service."""
        return [node for (service, node), told in self._told.items() if service == name and told.deleted]

    def drop(self, name: str) -> None:
        """The service is not here any more."""
        for key in [key for key in self._told if key[0] == name]:
            del self._told[key]

"""What an operation tells while it runs, as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Kind(enum.StrEnum):
    STARTED = "started"
    PHASE = "phase"
    PROGRESS = "progress"
    LOG = "log"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNDO = "undo"
    UNDONE = "undone"
    END = "end"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened in an operation; the registry adds id, time and operation.

    `step` is the step's id in the plan, `under` the id of the delegated step whose agent
    told it, `result` is set on END only: succeeded, failed, cancelled, unknown.
    """

    kind: Kind
    text: str = ""
    step: int | None = None
    where: str = ""
    what: str = ""
    under: int | None = None
    result: str = ""

    def document(self) -> dict[str, Any]:
        """The fields of the event document but id, at and operation."""
        document: dict[str, Any] = {
            "kind": self.kind.value, "step": self.step, "where": self.where,
            "what": self.what, "text": self.text, "under": self.under,
        }
        if self.result:
            document["result"] = self.result
        return document

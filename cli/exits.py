"""One table of exit codes, and the exception that ends a command with one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from typing import Any

DONE, FAILED, USAGE, UNDO_FAILED, UNKNOWN, UNREACHABLE, REFUSED, NOT_FOUND, DRAFT = range(9)
BROKEN_PIPE, INTERRUPTED = 141, 130  # what a shell reports for SIGPIPE and SIGINT

MEANING = {
    DONE: "done",
    FAILED: "failed or cancelled, and undone where there was something to undo",
    USAGE: "usage, or a configuration with errors",
    UNDO_FAILED: "failed, and the undo failed too",
    UNKNOWN: "the result is not known, or the command stopped waiting for it",
    UNREACHABLE: "the daemon cannot be reached",
    REFUSED: "refused: busy, frozen, could be two, not allowed",
    NOT_FOUND: "not found",
    DRAFT: "accepted as a draft only",
}

OF_CODE = {
    "not-found": NOT_FOUND,
    "invalid-request": USAGE,
    "invalid-config": USAGE,
    "not-supported": USAGE,
    "precondition-required": USAGE,
    "idempotency-mismatch": USAGE,
    "too-large": USAGE,
    "refused": REFUSED,
    "busy": REFUSED,
    "held-elsewhere": REFUSED,
    "frozen": REFUSED,
    "forbidden": REFUSED,
    "edit-conflict": REFUSED,
    "silent": UNKNOWN,
    "storage": FAILED,
    "action-failed": FAILED,
    "error": FAILED,
}
"""Code of a problem document -> exit code."""

class Trouble(Exception):
    """What ends a command: a sentence, a hint, the exit code.

    `code` is the stable word for programs; `problems`: findings of a configuration.
    """

    def __init__(
        self,
        text: str,
        exit_code: int,
        *,
        hint: str = "",
        code: str = "error",
        problems: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(text)
        self.text, self.exit_code, self.hint, self.code = text, exit_code, hint, code
        self.problems = tuple(problems)

    def document(self) -> dict[str, Any]:
        """The same as a problem document, for ``--json``."""
        document: dict[str, Any] = {
            "code": self.code,
            "detail": self.text,
            "hint": self.hint,
            "exit": self.exit_code,
        }
        if self.problems:
            document["problems"] = list(self.problems)
        return document


def of_code(code: str, status: int = 500) -> int:
    """The exit code of a problem; one with an unknown code goes by its HTTP status."""
    by_status = {
        400: USAGE,
        401: REFUSED,
        403: REFUSED,
        404: NOT_FOUND,
        405: USAGE,
        409: REFUSED,
        412: REFUSED,
        422: USAGE,
        428: USAGE,
        504: UNKNOWN,
    }
    return OF_CODE.get(code, by_status.get(status, FAILED))


def of_operation(operation: Mapping[str, Any]) -> int:
    """The exit code of an ended operation; what is not ended is not known."""
    result = operation.get("result")
    if result == "succeeded":
        return DONE
    if result in ("failed", "cancelled"):
        if operation.get("undone") is False:
            return UNDO_FAILED
        problem = operation.get("problem")
        code = str(problem.get("code", "")) if isinstance(problem, Mapping) else ""
        refused = operation.get("undone") is None and OF_CODE.get(code) == REFUSED
        return REFUSED if refused else FAILED
    return UNKNOWN

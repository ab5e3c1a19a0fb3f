"""Every error that the product tells a user, as one tree.

EncapError
├── NotFound            no such service, operation, node, resource
├── InvalidRequest      the request itself is wrong (usage)
│   └── InvalidConfig   a configuration text with errors; carries every finding
├── Refused             understood, and not done: would endanger something, or not now
│   ├── Busy            another operation runs on this service here
│   ├── HeldElsewhere   a claim is held by another operation, or silence refuses it
│   ├── Frozen          orchestration is blocked by a freeze
│   └── Forbidden       the caller's role does not allow it
├── EditConflict        the text changed under the editor (If-Match)
├── NotSupported        a verb or ability that this version or this type does not have
├── Silent              another daemon, a tool or a device did not answer in time
├── StorageTrouble      own disk: full, read-only, failing
└── ActionFailed        a step was tried and did not succeed

`code` is stable and machine-readable; `hint` is one sentence that helps the reader go on.
The HTTP status of each class stands in one table, `api.errors`; the exit code of each
code in another, `cli.exits`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class EncapError(Exception):
    """An error with a sentence for people, a code for programs and a hint for both."""

    code = "error"
    retryable = False

    def __init__(self, text: str, *, hint: str = "", code: str = "", **details: Any) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.code = code or type(self).code
        self.details: Mapping[str, Any] = details


class NotFound(EncapError):
    code = "not-found"


class InvalidRequest(EncapError):
    code = "invalid-request"


class InvalidConfig(InvalidRequest):
    """A configuration text with errors. `findings`: dicts section, option, line, text, hint."""

    code = "invalid-config"

    def __init__(self, text: str, findings: Sequence[Mapping[str, Any]], *, hint: str = "") -> None:
        super().__init__(text, hint=hint, problems=list(findings))
        self.findings = tuple(findings)


class Refused(EncapError):
    code = "refused"


class Busy(Refused):
    code = "busy"
    retryable = True


class HeldElsewhere(Refused):
    code = "held-elsewhere"
    retryable = True


class Frozen(Refused):
    code = "frozen"


class Forbidden(Refused):
    code = "forbidden"


class EditConflict(EncapError):
    code = "edit-conflict"


class NotSupported(EncapError):
    code = "not-supported"


class Silent(EncapError):
    """Nothing was heard: whatever it would have told is not known, and never "down"."""

    code = "silent"
    retryable = True


class StorageTrouble(EncapError):
    code = "storage"
    retryable = True


class ActionFailed(EncapError):
    code = "action-failed"

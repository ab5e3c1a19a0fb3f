"""One table: exception of the core -> HTTP status; and problem documents (RFC 9457).

The table is read both ways: `problem` makes the document that goes out, `error_from` the
exception from one that came in, so an error crosses daemons without losing its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentd.core import errors
from agentd.core.reply import clean

TEXT_LIMIT = 4096
"""Characters of a sentence from another daemon."""

STATUS: dict[type[errors.EncapError], int] = {
    errors.NotFound: 404,
    errors.InvalidConfig: 422,
    errors.InvalidRequest: 400,
    errors.Busy: 409,
    errors.HeldElsewhere: 409,
    errors.Frozen: 409,
    errors.Forbidden: 403,
    errors.Refused: 409,
    errors.EditConflict: 412,
    errors.NotSupported: 501,
    errors.Silent: 504,
    errors.StorageTrouble: 507,
    errors.ActionFailed: 500,
    errors.EncapError: 500,
}

BY_CODE: dict[str, int] = {"precondition-required": 428, "idempotency-mismatch": 422, "too-large": 413}
"""Codes whose status is finer than their class's."""


def status_of(error: errors.EncapError) -> int:
    """The HTTP status of an error: by its code, else by the nearest class of the table."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(error: errors.EncapError, node: str) -> dict[str, Any]:
    """The problem document of an error, told by `node`."""
    return {
        "type": f"urn:encap:problem:{error.code}",
        "title": error.code.replace("-", " "),
        "status": status_of(error),
        "detail": error.text,
        "code": error.code,
        "hint": error.hint,
        "retryable": error.retryable,
        "node": node,
        **error.details,
    }


_BY_NAME = {kind.code: kind for kind in STATUS if kind is not errors.InvalidConfig}
_STANDARD = frozenset({"type", "title", "status", "detail", "code", "hint", "retryable", "node"})


def error_from(document: Mapping[str, Any], status: int) -> errors.EncapError:
    """The exception that another daemon's problem document stands for. A guest may send anything
    for one: texts are cut to size and shown without control characters."""
    code = _text(document, "code")[:64].partition("\n")[0] or "error"
    text = _text(document, "detail") or f"answered {status}"
    hint = _text(document, "hint")
    if code == errors.InvalidConfig.code:
        told = document.get("problems")
        listed = told if isinstance(told, list) else []
        return errors.InvalidConfig(text, [dict(e) for e in listed if isinstance(e, Mapping)], hint=hint)
    details = {k: v for k, v in document.items() if k not in _STANDARD and k not in ("text", "self")}
    kind = _BY_NAME.get(code) or next((k for k, s in STATUS.items() if s == status), errors.EncapError)
    if kind is errors.InvalidConfig:
        kind = errors.InvalidRequest
    return kind(text, hint=hint, code=code, **details)


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        return ""
    return "\n".join(clean(line) for line in value[:TEXT_LIMIT].split("\n"))[:TEXT_LIMIT]

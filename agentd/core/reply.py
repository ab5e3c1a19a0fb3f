"""Reading what a guest's agent answers, as text of a stranger.

A guest is root of its own machine and may answer anything. What comes out of here has
known states, bounded sizes, names of the accepted form and text without control
characters, and holds only the fields that the hypervisor uses; the rest is dropped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from agentd.core.errors import EncapError
from agentd.core.model import Guest, Service
from agentd.core.names import is_rid
from agentd.core.status import Status

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_RESOURCES = 500
MAX_TEXT = 4096
MAX_LOG_LINES = 50
MAX_NUMBER = 1 << 53
SCHEMA = "encap.status/1"

_STATES = frozenset(str(s) for s in Status)
_LEVELS = frozenset({"info", "warn", "error"})
_PROVISIONED = frozenset({"true", "false", "mixed", "n/a"})


class InvalidReply(EncapError):
    """A guest answered something that is not a status document of this service."""

    code = "invalid-reply"


def read_guest_status(raw: bytes | str | Mapping[str, Any], service: Service, guest: Guest) -> dict[str, Any]:
    """The guest's status document, checked and reduced. Raises InvalidReply.

    A Mapping has been parsed by somebody else: the limits on size and on duplicate keys are
    then that caller's.
    """
    document = raw if isinstance(raw, Mapping) else parse_strictly(raw)
    _check_shape(document)
    expected = {"schema": SCHEMA, "service": service.name, "node": guest.node, "level": "encap"}
    for key, value in expected.items():
        if document.get(key) != value:
            _refuse(f"{key} is {_short(document.get(key))}, expected {value!r}")
    return {
        **expected,
        "revision": _count(document, "revision"), "hash": _text(document, "hash"),
        "frozen": _words(document, "frozen", ("by", "reason", "since", "until")),
        "operation": _words(document, "operation", ("id", "action", "phase")),
        "avail": _state(document, "avail"), "overall": _state(document, "overall"),
        "observed_at": _text(document, "observed_at"), "log": _log(document),
        "resources": list(_resources(document)),
    }


def parse_strictly(raw: bytes | str) -> Mapping[str, Any]:
    """One JSON object: UTF-8, at most 1 MiB, no duplicate key, no NaN, no huge number."""
    if len(raw) > MAX_BYTES:
        _refuse(f"{len(raw)} bytes, at most {MAX_BYTES}")
    try:
        text = raw.decode() if isinstance(raw, bytes) else raw
        document = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except RecursionError:
        _refuse(f"nested deeper than {MAX_DEPTH}")
    except ValueError as error:
        _refuse(f"not JSON: {clean(str(error))[:200]}")
    if not isinstance(document, dict):
        _refuse("not a JSON object")
    return document


def clean(text: str) -> str:
    """Control characters, direction marks and the like as visible escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _refuse(why: str) -> NoReturn:
    raise InvalidReply(f"invalid reply: {why}", hint="the agent in the guest is broken, too old, or lies")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is there twice")
    return made


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _check_shape(document: Mapping[str, Any]) -> None:
    """Depth, text sizes and numbers of everything in it, also of what is dropped later."""
    pending: list[tuple[Any, int]] = [(document, 1)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            _refuse(f"nested deeper than {MAX_DEPTH}")
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, Mapping):
            pending += [(k, depth) for k in value]
            pending += [(v, depth + 1) for v in value.values()]
        elif isinstance(value, list):
            pending += [(v, depth + 1) for v in value]
        elif isinstance(value, int | float):
            if abs(value) > MAX_NUMBER or not math.isfinite(value):
                _refuse("a number is too large")
        elif value is not None:
            _refuse(f"a {type(value).__name__} has no place in JSON")


def _check_text(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        _refuse("a text is not Unicode")
    if size > MAX_TEXT:
        _refuse(f"a text of {size} bytes, at most {MAX_TEXT}")


def _resources(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    told = document.get("resources")
    if not isinstance(told, list):
        _refuse("resources is not a list")
    if len(told) > MAX_RESOURCES:
        _refuse(f"{len(told)} resources, at most {MAX_RESOURCES}")
    seen: set[str] = set()
    for one in told:
        if not isinstance(one, Mapping):
            _refuse("a resource is not an object")
        rid = one.get("rid")
        if not isinstance(rid, str) or not is_rid(rid):
            _refuse(f"{_short(rid)} is no name of a resource")
        if rid in seen:
            _refuse(f"{rid} is there twice")
        seen.add(rid)
        yield _resource(rid, one)


def _resource(rid: str, told: Mapping[str, Any]) -> dict[str, Any]:
    status = _state(told, "status")
    last = _state(told, "last_status") if told.get("last_status") is not None else None
    provisioned = told.get("provisioned")
    return {
        "rid": rid, "status": status, "last_status": last if status == Status.UNDEF else None,
        "label": _text(told, "label") or rid, "log": _log(told), "age": _age(told),
        "observed_at": _text(told, "observed_at") or None,
        "disable": _flag(told, "disable"), "optional": _flag(told, "optional"),
        "provisioned": provisioned if isinstance(provisioned, str) and provisioned in _PROVISIONED else "n/a",
        "restart": _restart(told),
    }


def _state(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    if not isinstance(value, str) or value not in _STATES:
        _refuse(f"{key} is {_short(value)}, which is no state")
    return value


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    if value is not None and not isinstance(value, str):
        _refuse(f"{key} is {_short(value)}, not text")
    return clean(value or "")


def _flag(told: Mapping[str, Any], key: str) -> bool:
    value = told.get(key, False)
    if not isinstance(value, bool):
        _refuse(f"{key} is {_short(value)}, not true or false")
    return value


def _count(told: Mapping[str, Any], key: str) -> int:
    value = told.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        _refuse(f"{key} is {_short(value)}, not a count")
    return value


def _age(told: Mapping[str, Any]) -> float | None:
    value = told.get("age")
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        _refuse(f"age is {_short(value)}, not a number of seconds")
    return float(value)


def _restart(told: Mapping[str, Any]) -> dict[str, int]:
    value = told.get("restart", {})
    if not isinstance(value, Mapping):
        _refuse(f"restart is {_short(value)}, not an object")
    return {"left": _count(value, "left"), "of": _count(value, "of")}


def _words(told: Mapping[str, Any], key: str, fields: tuple[str, ...]) -> dict[str, str | None] | None:
    value = told.get(key)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        _refuse(f"{key} is {_short(value)}, not an object")
    return {field: _text(value, field) or None for field in fields}


def _log(told: Mapping[str, Any]) -> list[dict[str, str]]:
    lines = told.get("log", [])
    if not isinstance(lines, list) or len(lines) > MAX_LOG_LINES:
        _refuse(f"log is not a list of at most {MAX_LOG_LINES} lines")
    for one in lines:
        level = one.get("level") if isinstance(one, Mapping) else None
        if not isinstance(level, str) or level not in _LEVELS:
            _refuse(f"{_short(one)} is no line of a log")
    return [{"level": str(one["level"]), "text": _text(one, "text")} for one in lines]


def _short(value: object) -> str:
    """What was found instead, in a few characters."""
    text = clean(repr(value)) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."

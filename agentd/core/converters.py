"""Texts of a configuration -> values. Every converter raises ValueError with a sentence.

Sizes are base 1024 whatever the spelling of the unit; durations are seconds.
"""

from __future__ import annotations

import re
import shlex

_TRUE = frozenset({"yes", "y", "true", "t", "1"})
_FALSE = frozenset({"no", "n", "false", "f", "0"})
_SIZE = re.compile(r"(\d{1,19}(?:[.,]\d{1,9})?)\s*([kmgtpe]?)(i?)(b?)", re.IGNORECASE | re.ASCII)
_SHARE = re.compile(r"\d+%[A-Z]*", re.ASCII)
_DURATION = re.compile(
    r"(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,12})s)?", re.IGNORECASE | re.ASCII
)
_DIGITS = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_LONGEST = 100 * 365 * 86400
_UNITS = "kmgtpe"
_SECONDS = (604800, 86400, 3600, 60, 1)


def boolean(text: str) -> bool:
    folded = text.strip().lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def integer(text: str) -> int:
    if not _DIGITS.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def natural(text: str) -> int:
    """A whole number that is not negative."""
    value = integer(text)
    if value < 0:
        raise ValueError(f"{text!r} is negative")
    return value


def size(text: str) -> int | str:
    """Bytes; a share such as ``50%FREE`` is kept as text."""
    bare = text.strip()
    if _SHARE.fullmatch(bare):
        return bare
    found = _SIZE.fullmatch(bare)
    if not found:
        raise ValueError(f"{text!r} is not a size: a number, then k, m, g, t, p or e")
    number, unit = found[1].replace(",", "."), found[2].lower()
    factor: int = 1 << 10 * (_UNITS.index(unit) + 1 if unit else 0)
    whole, _, fraction = number.partition(".")
    # Whole numbers, so that no byte is lost in a float.
    value = int(whole) * factor + int(fraction or 0) * factor // int("1".ljust(len(fraction) + 1, "0"))
    if value >= 1 << 63:
        raise ValueError(f"{text!r} is larger than any device")
    return value


def duration(text: str) -> float:
    """Seconds; ``1w2d3h4m5s``, a bare number is seconds."""
    return _seconds(text, 1)


def duration_minutes(text: str) -> float:
    """Like `duration`, but a bare number is minutes."""
    return _seconds(text, 60)


def _seconds(text: str, bare_unit: int) -> float:
    stripped = text.strip()
    found = _DURATION.fullmatch(stripped)
    if _DIGITS.fullmatch(stripped):
        value = int(stripped) * bare_unit
    elif stripped and found:
        value = sum(int(n) * s for n, s in zip(found.groups(), _SECONDS, strict=True) if n)
    else:
        raise ValueError(f"{text!r} is not a duration: seconds, or like 1h30m")
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"{text!r} is " + ("negative" if value < 0 else "longer than a hundred years"))
    return float(value)


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def names(text: str) -> tuple[str, ...]:
    """Node names: lower-cased, without repetition; blanks or commas between them."""
    return tuple(dict.fromkeys(text.lower().replace(",", " ").split()))


_RID = re.compile(r"[a-z]+#[A-Za-z0-9_.\-]{1,32}|app")
_REQUIREMENT = re.compile(r"([^\s()]+)(?:\(([^()]*)\))?(?:\s+|$)")


def rid(text: str) -> str:
    """The name of a section that is a resource."""
    if not _RID.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a resource id such as container#1")
    return text.strip()


def requirements(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """``ip#0 fs#1(up,stdby up)`` -> pairs of rid and accepted states (up and stdby up when none)."""
    stripped, at, found = text.strip(), 0, []
    while at < len(stripped):
        part = _REQUIREMENT.match(stripped, at)
        if part is None:
            raise ValueError(f"{text!r} is not a list of rid or rid(state,state)")
        states = tuple(s.strip() for s in part[2].split(",")) if part[2] else ("up", "stdby up")
        found.append((part[1], states))
        at = part.end()
    return tuple(found)


def command(text: str) -> tuple[str, ...]:
    """An argument vector. No shell: ``;``, ``|`` and ``$`` are plain characters."""
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{text!r} has an open quote or a trailing backslash") from error
    if argv and (not argv[0] or argv[0].startswith("-")):
        raise ValueError(f"{text!r}: a command cannot begin with a dash or with nothing")
    return argv


def name(text: str) -> str:
    """A lower-cased single word."""
    if len(text.split()) > 1:
        raise ValueError(f"{text!r} must be one word")
    return text.strip().lower()


def absolute_path(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/") or "\n" in text:
        raise ValueError(f"{text!r} is not an absolute path without ..")
    return text

"""Texts of a configuration -> values. Every converter raises ValueError with a sentence.

Sizes are base 1024 whatever the spelling of the unit; durations are seconds.
"""

from __future__ import annotations

import re
import shlex

_TRUE = frozenset({"yes", "y", "true", "t", "1"})
_FALSE = frozenset({"no", "n", "false", "f", "0"})
_SIZE = re.compile(r"(\d+(?:[.,]\d+)?)\s*([kmgtpe]?)(i?)(b?)", re.IGNORECASE | re.ASCII)
_SHARE = re.compile(r"\d+%[A-Z]*", re.ASCII)
_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.IGNORECASE | re.ASCII)
_DIGITS = re.compile(r"[+-]?\d{1,18}", re.ASCII)
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
    return int(float(number) * 1024 ** (_UNITS.index(unit) + 1 if unit else 0))


def duration(text: str) -> float:
    """Seconds; ``1w2d3h4m5s``, a bare number is seconds."""
    return _seconds(text, 1)


def duration_minutes(text: str) -> float:
    """Like `duration`, but a bare number is minutes."""
    return _seconds(text, 60)


def _seconds(text: str, bare_unit: int) -> float:
    stripped = text.strip()
    if _DIGITS.fullmatch(stripped):
        value = int(stripped) * bare_unit
        if value < 0:
            raise ValueError(f"{text!r} is negative")
        return float(value)
    found = _DURATION.fullmatch(stripped)
    if not stripped or not found:
        raise ValueError(f"{text!r} is not a duration: seconds, or like 1h30m")
    return float(sum(int(n) * s for n, s in zip(found.groups(), _SECONDS, strict=True) if n))


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def names(text: str) -> tuple[str, ...]:
    """Node names: lower-cased, without repetition; blanks or commas between them."""
    return tuple(dict.fromkeys(text.lower().replace(",", " ").split()))


def command(text: str) -> tuple[str, ...]:
    """An argument vector. No shell: ``;``, ``|`` and ``$`` are plain characters."""
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{text!r} has an open quote or a trailing backslash") from error
    if argv and argv[0].startswith("-"):
        raise ValueError(f"{text!r}: a command cannot begin with a dash")
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

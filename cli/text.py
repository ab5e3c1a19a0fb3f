"""Text on a terminal: what is safe to print, colours, wrapping, columns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

_COLORS = {"up": "32", "down": "31", "warn": "33", "undef": "35", "stdby up": "32", "stdby down": "31"}


def safe(text: object) -> str:
    """Control characters, direction marks and the like as visible escapes: text of a guest
    or of a file cannot move the cursor, change a title or reorder a line."""
    plain = str(text)
    return plain if plain.isprintable() else "".join(c if c.isprintable() else _escape(ord(c)) for c in plain)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def short(text: object, room: int) -> str:
    """Safe, and at most `room` characters."""
    plain = safe(text)
    return plain if len(plain) <= room else plain[: max(room - 3, 0)] + "..."


def painted(status: str, on: bool, width: int = 0) -> str:
    """A state in its colour, padded to `width` visible characters."""
    text = safe(status)
    blanks = " " * (width - len(text))
    return f"\x1b[{_COLORS[status]}m{text}\x1b[0m{blanks}" if on and status in _COLORS else text + blanks


def wrapped(text: object, room: int) -> Iterator[str]:
    """Lines of at most `room` characters, broken at blanks where there are any."""
    line = ""
    for word in safe(text).split(" "):
        if line and len(line) + 1 + len(word) > room:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
        while len(line) > room:
            yield line[:room]
            line = line[room:]
    if line:
        yield line


def table(rows: Iterable[Sequence[object]], headers: Sequence[str] = ()) -> str:
    """Columns as wide as needed, two blanks between them, no blank at a line's end."""
    cells = [[*headers]] if headers else []
    cells += [[safe("" if c is None else c) for c in row] for row in rows]
    if not cells:
        return ""
    count = max(len(row) for row in cells)
    widths = [max((len(row[i]) for row in cells if i < len(row)), default=0) for i in range(count)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)).rstrip() for row in cells)
    return "\n".join(lines) + "\n"

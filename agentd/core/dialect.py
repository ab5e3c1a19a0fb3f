"""The dialect of configuration texts: lines -> sections and entries, with all problems at once.

INI: ``[section]``, ``key@scope = value``, continuation lines, comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

TEXT_LIMIT = 1 << 20
"""Bytes of a text."""
VALUE_LIMIT = 16 << 10
"""Characters of a value."""

BLANK = " \t\r"
FINDINGS_KEPT = 5000
"""Problems that are kept while reading, so that a large text of nonsense costs little."""

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_SECTION = re.compile(r"[A-Za-z_]+(?:#[A-Za-z0-9_.:\-]{1,64})?")
_HEADER = re.compile(rf"\[[ \t]*{_SECTION.pattern}[ \t]*\]")
INLINE = re.compile(r"[ \t];.*")
_LIKE_AN_OPTION = re.compile(r"[a-z_]+(?:@[A-Za-z0-9_.\-]+)?[ \t]+=[ \t].*")
# What a reader of the text does not see, or what another program takes for a line end: C0 but
# for tab and line end, DEL, C1, soft hyphen, characters without width, marks and overrides of
# direction, line and paragraph separators, invisible operators and tags.
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\U000e0000-\U000e007f]|\r(?!\n|$)"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a text. `severity`: error, warning, note. `line` 0: the whole text."""

    severity: str
    section: str
    option: str
    line: int
    text: str
    hint: str = ""

    def document(self) -> dict[str, Any]:
        return {
            "section": self.section,
            "option": self.option,
            "line": self.line,
            "text": self.text,
            "hint": self.hint,
        }


class Entry(NamedTuple):
    """``key@scope = value`` of a section. `line` is where it starts, `last` where it ends (from 1).

    `value`: blanks around it, comments and line ends are gone; continuation lines are
    joined by one blank, so that no value ever holds a line end.
    """

    section: str
    key: str
    scope: str
    value: str
    line: int
    last: int

    @property
    def option(self) -> str:
        return f"{self.key}@{self.scope}" if self.scope else self.key


def decode(text: str | bytes, findings: list[Finding]) -> str | None:
    def error(said: str, hint: str = "", line: int = 0) -> None:
        findings.append(Finding("error", "", "", line, said, hint))

    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > TEXT_LIMIT:
        error(f"the text has {len(raw)} bytes; at most 1 MiB is accepted")
        return None
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError as trouble:
        line = raw.count(b"\n", 0, trouble.start) + 1
        column = trouble.start - raw.rfind(b"\n", 0, trouble.start)
        error(f"not UTF-8 at column {column}", "save the file as UTF-8", line)
        return None
    if decoded.startswith("\ufeff"):
        findings.append(Finding("warning", "", "", 1, "byte order mark removed"))
        decoded = decoded[1:]
    return decoded


def hidden(lines: list[str], findings: list[Finding]) -> frozenset[int]:
    """Report what cannot be seen; the numbers of the lines that hold it, which are not read."""
    bad = set()
    for number, line in enumerate(lines, 1):
        found = HIDDEN.search(line)
        if found:
            bad.add(number)
        if found and len(findings) < FINDINGS_KEPT:
            findings.append(
                Finding(
                    "error",
                    "",
                    "",
                    number,
                    f"control character U+{ord(found[0]):04X} at column {found.start() + 1}",
                    "remove it; of what cannot be seen only tab and line end are accepted",
                )
            )
    return frozenset(bad)


class Reader:
    """One pass over the lines.

    `parts` are those of the entry being read, while it is `open`. An entry whose first
    line was refused stays open with an empty `key`, so that its continuation lines are not
    reported a second time.
    """

    def __init__(self, findings: list[Finding], skipped: frozenset[int]) -> None:
        self.findings, self.skipped = findings, skipped
        self.entries: list[Entry] = []
        self.heads: list[tuple[str, int]] = []
        self.known: set[str] = set()
        self.section: str | None = None
        self.headed = False  # a header was met, good or bad
        self.parts: list[str] = []
        self.open = False
        self.key = self.scope = ""
        self.line = self.last = self.indent = 0
        self.backslash = False

    def read(self, lines: list[str]) -> None:
        for number, line in enumerate(lines, 1):
            bare = line.strip(BLANK)
            if not bare or number in self.skipped:
                self._close()
            elif bare[0] in "#;":
                continue
            elif bare[0] == "[" and (line[0] == "[" or self._is_header(bare)):
                self._head(bare, number, indented=line[0] != "[")
            elif self.open and (self.backslash or self._indent(line) > self.indent):
                self._continue(bare, number)
            else:
                self._entry(line, bare, number)
        self._close()

    def _indent(self, line: str) -> int:
        return len(line) - len(line.lstrip(BLANK))

    def _is_header(self, bare: str) -> bool:
        return _HEADER.fullmatch(INLINE.sub("", bare)) is not None

    def _head(self, bare: str, number: int, indented: bool) -> None:
        hidden = self.backslash
        self._close()
        self.section, self.headed = None, True
        header = INLINE.sub("", bare)
        name = header[1:-1] if header.endswith("]") else ""
        if hidden:
            self._error(
                number,
                f"the line before ends with a backslash and would swallow {header[:80]}",
                "remove the backslash",
            )
        elif indented:
            self._error(
                number, f"the section header {header[:80]} is indented", "write it at the start of the line"
            )
        elif not _SECTION.fullmatch(name):
            self._error(
                number,
                f"{header[:80]} is not a section header",
                "[DEFAULT], [env], [subset#name] or [group#id], without blanks",
            )
        else:
            self._open_section(name, number)

    def _open_section(self, name: str, number: int) -> None:
        if name != "DEFAULT" and name.lower() == "default":
            self._say("note", "DEFAULT", "", number, f"[{name}] is read as [DEFAULT]", "write [DEFAULT]")
            name = "DEFAULT"
        if name in self.known:
            self._say(
                "warning",
                name,
                "",
                number,
                f"[{name}] is written twice; both are read",
                "put its keywords together",
            )
        self.known.add(name)
        self.section = name
        self.heads.append((name, number))

    def _entry(self, line: str, bare: str, number: int) -> None:
        self._close()
        option, equals, value = bare.partition("=")
        option = option.rstrip(BLANK)
        key, at, scope = option.partition("@")
        self.open, self.parts, self.key, self.scope = True, [], "", scope
        self.line = self.last = number
        self.indent = self._indent(line)
        if not equals:
            self._error(
                number,
                f"{bare[:80]!r} is not `key = value`",
                "the sign between key and value is =, not :"
                if ":" in bare
                else "a comment starts with # or ;",
            )
        elif self.section is None:
            if not self.headed:
                self._error(number, f"{option[:80]} stands before the first section", "begin with [DEFAULT]")
        elif not _KEY.fullmatch(key) or (at and not _SCOPE.fullmatch(scope)):
            self._error(
                number,
                f"{option[:80]!r} is not a keyword",
                "the sign between key and value is =, not :"
                if ":" in option
                else "key or key@scope, without blanks",
            )
        else:
            self.key = key
        self._append(value)

    def _continue(self, bare: str, number: int) -> None:
        if self.key and not self.backslash and _LIKE_AN_OPTION.fullmatch(bare):
            self._say(
                "warning",
                self.section or "",
                self.key,
                number,
                f"an indented line goes on with the value of {self.key}: {bare[:80]}",
                "begin a keyword at the same column as the one before",
            )
        self.last = number
        self._append(bare)

    def _append(self, text: str) -> None:
        if ";" in text:
            text = INLINE.sub("", text)
        text = text.strip(BLANK)
        self.backslash = text.endswith("\\")
        if self.backslash:
            text = text[:-1].rstrip(BLANK)
        if text:
            self.parts.append(text)

    def _close(self) -> None:
        """End the entry that is open."""
        if self.open and self.key:
            value = self.parts[0] if len(self.parts) == 1 else " ".join(self.parts)
            if len(value) > VALUE_LIMIT:
                self._say(
                    "error",
                    self.section or "",
                    self.key,
                    self.line,
                    f"the value of {self.key} has {len(value)} characters; at most 16 KiB is accepted",
                )
                value = ""
            self.entries.append(Entry(self.section or "", self.key, self.scope, value, self.line, self.last))
        self.open = self.backslash = False

    def _error(self, line: int, text: str, hint: str) -> None:
        self._say("error", self.section or "", "", line, text, hint)

    def _say(self, severity: str, section: str, option: str, line: int, text: str, hint: str = "") -> None:
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(Finding(severity, section, option, line, text, hint))

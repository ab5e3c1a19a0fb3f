"""The configuration text of a service: a strict parser that keeps every line.

Owns the dialect (see docs/bad-input.md): sections, ``key@scope = value``, continuation
lines, comments. Reports all problems at once with their lines and never raises for a bad
text. `Document` is edited by value: comments, order and untouched lines survive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

TEXT_LIMIT = 1 << 20
VALUE_LIMIT = 16 << 10

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_SECTION = re.compile(r"(?:DEFAULT|env|[A-Za-z_]+(?:#[A-Za-z0-9_.:\-]{1,64})?)")
_INLINE = re.compile(r"\s;.*$")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BREAKS = re.compile("[\x85\u2028\u2029]")


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
        return {"section": self.section, "option": self.option, "line": self.line,
                "text": self.text, "hint": self.hint}


@dataclass(frozen=True, slots=True)
class Entry:
    """``key@scope = value`` of a section. `line` is where it starts, `last` where it ends (from 1)."""

    section: str
    key: str
    scope: str
    value: str
    line: int
    last: int

    @property
    def option(self) -> str:
        return f"{self.key}@{self.scope}" if self.scope else self.key


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text. `lines` are as written, without line ends; `heads`: (section, line)."""

    lines: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    heads: tuple[tuple[str, int], ...] = ()
    ending: str = "\n"

    def __str__(self) -> str:
        return self.ending.join(self.lines)

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self.heads))

    def options(self, section: str) -> tuple[Entry, ...]:
        """The entries of a section in the order of the file."""
        return tuple(e for e in self.entries if e.section == section)

    def get(self, section: str, option: str) -> str | None:
        """The raw text of ``key`` or ``key@scope``; the last one written counts."""
        found = [e.value for e in self.entries if e.section == section and e.option == option]
        return found[-1] if found else None

    def set(self, section: str, option: str, value: str) -> Document:
        """The document with one option changed or added; all other lines stay."""
        written = [f"{option} = {value}".rstrip()] if "\n" not in value else _continued(option, value)
        old = [e for e in self.entries if e.section == section and e.option == option]
        if old:
            return self._spliced(old[-1].line - 1, old[-1].last, written)
        end = self._end_of(section)
        if end is None:
            gap = [""] if self.lines and self.lines[-1].strip() else []
            tail = len(self.lines) - (1 if self.lines and self.lines[-1] == "" else 0)
            return self._spliced(tail, tail, [*gap, f"[{section}]", *written])
        return self._spliced(end, end, written)

    def unset(self, section: str, option: str) -> Document:
        """The document without an option (all its occurrences); unchanged when it has none."""
        document = self
        for entry in reversed([e for e in self.entries if e.section == section and e.option == option]):
            document = document._spliced(entry.line - 1, entry.last, [])
        return document

    def without(self, section: str) -> Document:
        """The document without a whole section."""
        lines, name = list[str](), ""
        heads = {line: head for head, line in self.heads}
        for number, line in enumerate(self.lines, 1):
            name = heads.get(number, name)
            if name != section:
                lines.append(line)
        return parse(self.ending.join(lines))[0]

    def _end_of(self, section: str) -> int | None:
        """The line after which an option of `section` can be added."""
        ends = [line for name, line in self.heads if name == section]
        ends += [e.last for e in self.entries if e.section == section]
        return max(ends) if ends else None

    def _spliced(self, start: int, stop: int, new: Iterable[str]) -> Document:
        lines = [*self.lines[:start], *new, *self.lines[stop:]]
        if start >= len(self.lines) and lines and lines[-1] != "":
            lines.append("")
        return parse(self.ending.join(lines))[0]


def parse(text: str | bytes) -> tuple[Document, tuple[Finding, ...]]:
    """A Document and everything that is wrong with the text. Never raises."""
    findings: list[Finding] = []
    decoded = _decode(text, findings)
    if decoded is None:
        return Document(), tuple(findings)
    ending = "\r\n" if "\r\n" in decoded else "\n"
    reader = _Reader(decoded.split(ending), findings)
    reader.read()
    document = Document(tuple(reader.lines), tuple(reader.entries), tuple(reader.heads), ending)
    _duplicates(document, findings)
    if not document.heads and not any(f.severity == "error" for f in findings):
        findings.append(Finding("error", "", "", 0, "the text has no section",
                                "a service configuration begins with [DEFAULT]"))
    return document, tuple(sorted(findings, key=lambda f: f.line))


def _decode(text: str | bytes, findings: list[Finding]) -> str | None:
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
        column = trouble.start - (raw.rfind(b"\n", 0, trouble.start) + 1) + 1
        error(f"not UTF-8 at column {column}", "save the file as UTF-8", line)
        return None
    if decoded.startswith("\ufeff"):
        findings.append(Finding("warning", "", "", 1, "byte order mark removed"))
        decoded = decoded[1:]
    return decoded


class _Reader:
    """One pass over the lines."""

    def __init__(self, lines: list[str], findings: list[Finding]) -> None:
        self.lines, self.findings = lines, findings
        self.entries: list[Entry] = []
        self.heads: list[tuple[str, int]] = []
        self.section: str | None = None
        self.continues = False  # the last line was an entry, so an indented one goes on with it
        self.backslash = False

    def read(self) -> None:
        for number, line in enumerate(self.lines, 1):
            if _CONTROL.search(line) or _BREAKS.search(line):
                self._control(line, number)
            else:
                self._line(line, number)

    def _line(self, line: str, number: int) -> None:
        bare = line.strip()
        if self.backslash:
            self._append(bare, number)
        elif not bare:
            self.continues = False
        elif bare[0] in "#;":
            return
        elif line[0] in " \t":
            self._indented(bare, number)
        elif line[0] == "[":
            self._head(bare, number)
        else:
            self._entry(bare, number)

    def _control(self, line: str, number: int) -> None:
        found = _CONTROL.search(line) or _BREAKS.search(line)
        assert found is not None
        self._error(number, f"control character U+{ord(found[0]):04X} at column {found.start() + 1}",
                    "remove it; only tab and line end are accepted")
        self.continues = self.backslash = False

    def _indented(self, bare: str, number: int) -> None:
        if bare[0] == "[" and _SECTION.fullmatch(bare.strip("[] ")) and bare.endswith("]"):
            self._error(number, f"the section header {bare} is indented", "write it at the start of the line")
            self.section, self.continues = None, False
        elif self.continues:
            self._append(bare, number)
        else:
            self._entry(bare, number)

    def _head(self, bare: str, number: int) -> None:
        self.continues = False
        name = _INLINE.sub("", bare)
        name = name[1:-1] if name.endswith("]") else ""
        if not _SECTION.fullmatch(name) and name != "default":
            self._error(number, f"{bare[:80]} is not a section header",
                        "[DEFAULT], [env], [subset#name] or [group#id], without blanks")
            self.section = None
            return
        if name == "default":
            self.findings.append(Finding("note", "DEFAULT", "", number, "[default] is read as [DEFAULT]"))
            name = "DEFAULT"
        if name in dict(self.heads):
            self.findings.append(Finding("warning", name, "", number, f"[{name}] is written twice; both are read"))
        self.section = name
        self.heads.append((name, number))

    def _entry(self, bare: str, number: int) -> None:
        self.continues = False
        option, equals, value = bare.partition("=")
        option = option.rstrip()
        if not equals:
            self._error(number, f"{bare[:80]!r} is not `key = value`",
                        "use = and not :" if ":" in bare else "a comment starts with # or ;")
            return
        if self.section is None:
            if not self.heads:
                self._error(number, f"{option} stands before the first section", "begin with [DEFAULT]")
            return
        key, at, scope = option.partition("@")
        if not _KEY.fullmatch(key) or (at and not _SCOPE.fullmatch(scope)):
            self._error(number, f"{option[:80]!r} is not a keyword", "key or key@scope, without blanks")
            return
        self.entries.append(Entry(self.section, key, scope, "", number, number))
        self.continues = True
        self._append(value.strip(), number)

    def _append(self, bare: str, number: int) -> None:
        bare = _INLINE.sub("", bare)
        self.backslash = bare.endswith("\\")
        part = bare[:-1].rstrip() if self.backslash else bare
        entry = self.entries[-1]
        value = f"{entry.value} {part}".strip() if entry.value else part
        self.entries[-1] = replace(entry, value=value, last=number)
        if len(value) > VALUE_LIMIT >= len(entry.value):
            self._error(number, f"the value of {entry.option} is longer than 16 KiB", "")

    def _error(self, line: int, text: str, hint: str) -> None:
        self.findings.append(Finding("error", self.section or "", "", line, text, hint))


def _duplicates(document: Document, findings: list[Finding]) -> None:
    seen: dict[tuple[str, str], Entry] = {}
    for entry in document.entries:
        key = (entry.section, entry.option)
        if key in seen:
            findings.append(Finding("note", entry.section, entry.option, entry.line,
                                    f"{entry.option} was already set at line {seen[key].line}; the last one counts"))
        seen[key] = entry
    folded: dict[str, str] = {}
    for name in document.sections:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            line = dict(document.heads)[name]
            findings.append(Finding("error", name, "", line, f"[{name}] differs from [{other}] only by case",
                                    "use one spelling"))


def _continued(option: str, value: str) -> list[str]:
    first, *rest = value.split("\n")
    return [f"{option} = {first}".rstrip(), *(f"    {part}" for part in rest if part.strip())]

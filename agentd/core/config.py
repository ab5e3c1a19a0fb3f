"""The configuration text of a service: a strict parser that keeps every line.

Owns the dialect (docs/bad-input.md): sections, ``key@scope = value``, continuation lines,
comments. Reports all problems at once with their lines and never raises for a bad text.
`Document` is edited by value: comments, order and untouched lines survive.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentd.core.errors import InvalidRequest

TEXT_LIMIT = 1 << 20
"""Bytes of a text."""
VALUE_LIMIT = 16 << 10
"""Characters of a value."""
FINDINGS_LIMIT = 500
"""Problems of one text that the parser tells; a text with more is no configuration."""

_BLANK = " \t\r"
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_SECTION = re.compile(r"[A-Za-z_]+(?:#[A-Za-z0-9_.:\-]{1,64})?")
_HEADER = re.compile(rf"\[[ \t]*{_SECTION.pattern}[ \t]*\]")
_INLINE = re.compile(r"[ \t];.*")
_LIKE_AN_OPTION = re.compile(r"[a-z_]+(?:@[A-Za-z0-9_.\-]+)?[ \t]+=[ \t].*")
_WRITTEN = re.compile(r"([ \t]*[^=]*=)([ \t]*)(.*?)([ \t]+;.*)?(\r?)")
# What a reader of the text does not see, or what another program takes for a line end:
# C0 but for tab and line end, DEL, C1, line and paragraph separators, direction overrides.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060\u2066-\u2069\ufeff]|\r(?!\n|$)")


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


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text. `lines` are as written, without ``\\n``; `heads`: (section, line)."""

    lines: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    heads: tuple[tuple[str, int], ...] = ()
    sections: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sections", tuple(dict.fromkeys(name for name, _ in self.heads)))

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def options(self, section: str) -> tuple[Entry, ...]:
        """The entries of a section in the order of the file."""
        return tuple(e for e in self.entries if e.section == section)

    def get(self, section: str, option: str) -> str | None:
        """The raw text of ``key`` or ``key@scope``; the last one written counts."""
        found = self._written(section, option)
        return found[-1].value if found else None

    def set(self, section: str, option: str, value: str) -> Document:
        """The document with one option changed or added; all other lines stay.

        InvalidRequest when the text cannot carry it: a value with `` ;`` in it, a control
        character, a bad name. Line ends in `value` become continuation lines.
        """
        parts = [part for part in (line.strip(_BLANK) for line in value.split("\n")) if part] or [""]
        old = self._written(section, option)
        if old:
            changed = self._replaced(old[-1], parts)
        else:
            changed = self._added(section, [f"{option} = {parts[0]}".rstrip(), *(f"    {p}" for p in parts[1:])])
        carried = changed.get(section, option) == " ".join(parts)
        alone = changed._rest(section, option) == self._rest(section, option)
        if not carried or not alone or set(changed.sections) != {*self.sections, section}:
            raise InvalidRequest(
                f"{option[:80]} = {value[:80]} cannot be written in [{section[:80]}]",
                hint="key or key@scope; a value has no ` ;`, no control character and no section header in it",
            )
        return changed

    def unset(self, section: str, option: str) -> Document:
        """The document without an option (all its occurrences); unchanged when it has none."""
        found = self._written(section, option)
        return self.removing({number for entry in found for number in self._own_lines(entry)}) if found else self

    def without(self, section: str) -> Document:
        """The document without a whole section, comments inside it included."""
        heads = {line: name for name, line in self.heads}
        gone, name = set(), ""
        for number in range(1, len(self.lines) + 1):
            name = heads.get(number, name)
            if name == section:
                gone.add(number)
        return self.removing(gone)

    def removing(self, numbers: Container[int]) -> Document:
        """The document without some lines, counted from 1."""
        return _reread(line for number, line in enumerate(self.lines, 1) if number not in numbers)

    def _written(self, section: str, option: str) -> list[Entry]:
        return [e for e in self.entries if e.section == section and e.option == option]

    def _rest(self, section: str, option: str) -> list[tuple[str, str, str]]:
        """All that is written but one option."""
        return [(e.section, e.option, e.value) for e in self.entries
                if e.section != section or e.option != option]

    def _own_lines(self, entry: Entry) -> list[int]:
        """The numbers of an entry's lines; a comment between them is not its own."""
        return [n for n in range(entry.line, entry.last + 1)
                if n == entry.line or self.lines[n - 1].lstrip(_BLANK)[:1] not in ("#", ";")]

    def _replaced(self, entry: Entry, parts: Sequence[str]) -> Document:
        own = set(self._own_lines(entry))
        found = _WRITTEN.fullmatch(self.lines[entry.line - 1])
        assert found is not None, "an entry has an equals sign"
        indent = " " * (len(found[1]) - len(found[1].lstrip(_BLANK)) + 4)
        comment = found[4] if found[4] and entry.line == entry.last else ""
        new = [f"{found[1]}{found[2] or ' '}{parts[0]}".rstrip() + (comment or ""),
               *(f"{indent}{part}" for part in parts[1:])]
        comments = [self.lines[n - 1] for n in range(entry.line, entry.last + 1) if n not in own]
        return _reread([*self.lines[:entry.line - 1], *(line + found[5] for line in new), *comments,
                        *self.lines[entry.last:]])

    def _added(self, section: str, new: Sequence[str]) -> Document:
        """With the lines at the end of the section; at the end of the text when it is a new one."""
        ends = [line for name, line in self.heads if name == section]
        ends += [e.last for e in self.entries if e.section == section]
        lines = list(self.lines)
        if not ends:
            while lines and not lines[-1].strip(_BLANK):
                lines.pop()
            new = [*([""] if lines else []), f"[{section}]", *new]
        at = max(ends, default=len(lines))
        end = "\r" if lines and lines[0].endswith("\r") else ""
        lines[at:at] = [line + end for line in new]
        return _reread([*lines, ""] if lines[-1].strip(_BLANK) else lines)


def _reread(lines: Iterable[str]) -> Document:
    return parse("\n".join(lines))[0]


def parse(text: str | bytes) -> tuple[Document, tuple[Finding, ...]]:
    """A Document and everything that is wrong with the text, by line. Never raises.

    A text that cannot be read at all (too long, not UTF-8) gives an empty Document.
    """
    findings: list[Finding] = []
    decoded = _decode(text, findings)
    if decoded is None:
        return Document(), tuple(findings)
    lines = decoded.split("\n")
    reader = _Reader(findings, _hidden(lines, findings) if _HIDDEN.search(decoded) else frozenset())
    reader.read(lines)
    document = Document(tuple(lines), tuple(reader.entries), tuple(reader.heads))
    _duplicates(document, findings)
    if not document.heads and not any(f.severity == "error" for f in findings):
        findings.append(Finding("error", "", "", 0, "the text has no section",
                                "a service configuration begins with [DEFAULT]"))
    findings.sort(key=lambda f: f.line)
    if len(findings) > FINDINGS_LIMIT:
        more = len(findings) - FINDINGS_LIMIT
        findings[FINDINGS_LIMIT:] = [Finding("error", "", "", 0, f"and {more} more problems of this kind")]
    return document, tuple(findings)


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
        column = trouble.start - raw.rfind(b"\n", 0, trouble.start)
        error(f"not UTF-8 at column {column}", "save the file as UTF-8", line)
        return None
    if decoded.startswith("\ufeff"):
        findings.append(Finding("warning", "", "", 1, "byte order mark removed"))
        decoded = decoded[1:]
    return decoded


def _hidden(lines: list[str], findings: list[Finding]) -> frozenset[int]:
    """Report what cannot be seen; the numbers of the lines that hold it, which are not read."""
    bad = set()
    for number, line in enumerate(lines, 1):
        found = _HIDDEN.search(line)
        if found:
            bad.add(number)
            findings.append(Finding("error", "", "", number,
                                    f"control character U+{ord(found[0]):04X} at column {found.start() + 1}",
                                    "remove it; of what cannot be seen only tab and line end are accepted"))
    return frozenset(bad)


class _Reader:
    """One pass over the lines.

    `parts` are those of the entry being read; None: no entry is open. An entry whose first
    line was refused stays open with an empty `key`, so that its continuation lines are not
    reported a second time.
    """

    def __init__(self, findings: list[Finding], skipped: frozenset[int]) -> None:
        self.findings, self.skipped = findings, skipped
        self.entries: list[Entry] = []
        self.heads: list[tuple[str, int]] = []
        self.known: set[str] = set()
        self.section: str | None = None
        self.parts: list[str] | None = None
        self.key = self.scope = ""
        self.line = self.last = self.indent = 0
        self.backslash = False

    def read(self, lines: list[str]) -> None:
        for number, line in enumerate(lines, 1):
            bare = line.strip(_BLANK)
            if not bare or number in self.skipped:
                self._close()
            elif bare[0] in "#;":
                continue
            elif bare[0] == "[" and (line[0] == "[" or self._is_header(bare)):
                self._head(bare, number, indented=line[0] != "[")
            elif self.parts is not None and (self.backslash or self._indent(line) > self.indent):
                self._continue(bare, number)
            else:
                self._entry(line, bare, number)
        self._close()

    def _indent(self, line: str) -> int:
        return len(line) - len(line.lstrip(_BLANK))

    def _is_header(self, bare: str) -> bool:
        return _HEADER.fullmatch(_INLINE.sub("", bare)) is not None

    def _head(self, bare: str, number: int, indented: bool) -> None:
        hidden = self.backslash
        self._close()
        self.section = None
        header = _INLINE.sub("", bare)
        name = header[1:-1] if header.endswith("]") else ""
        if hidden:
            self._error(number, f"the line before ends with a backslash and would swallow {header[:80]}",
                        "remove the backslash")
        elif indented:
            self._error(number, f"the section header {header[:80]} is indented",
                        "write it at the start of the line")
        elif not _SECTION.fullmatch(name):
            self._error(number, f"{header[:80]} is not a section header",
                        "[DEFAULT], [env], [subset#name] or [group#id], without blanks")
        else:
            self._open_section(name, number)

    def _open_section(self, name: str, number: int) -> None:
        if name != "DEFAULT" and name.lower() == "default":
            self._say("note", "DEFAULT", "", number, f"[{name}] is read as [DEFAULT]", "write [DEFAULT]")
            name = "DEFAULT"
        if name in self.known:
            self._say("warning", name, "", number, f"[{name}] is written twice; both are read",
                      "put its keywords together")
        self.known.add(name)
        self.section = name
        self.heads.append((name, number))

    def _entry(self, line: str, bare: str, number: int) -> None:
        self._close()
        option, equals, value = bare.partition("=")
        option = option.rstrip(_BLANK)
        key, at, scope = option.partition("@")
        self.parts, self.key, self.scope = [], "", scope
        self.line = self.last = number
        self.indent = self._indent(line)
        if not equals:
            self._error(number, f"{bare[:80]!r} is not `key = value`",
                        "the sign between key and value is =, not :" if ":" in bare
                        else "a comment starts with # or ;")
        elif self.section is None:
            if not self.heads:
                self._error(number, f"{option[:80]} stands before the first section", "begin with [DEFAULT]")
        elif not _KEY.fullmatch(key) or (at and not _SCOPE.fullmatch(scope)):
            self._error(number, f"{option[:80]!r} is not a keyword",
                        "the sign between key and value is =, not :" if ":" in option
                        else "key or key@scope, without blanks")
        else:
            self.key = key
        self._append(value)

    def _continue(self, bare: str, number: int) -> None:
        if self.key and not self.backslash and _LIKE_AN_OPTION.fullmatch(bare):
            self._say("warning", self.section or "", self.key, number,
                      f"an indented line goes on with the value of {self.key}: {bare[:80]}",
                      "begin a keyword at the same column as the one before")
        self.last = number
        self._append(bare)

    def _append(self, text: str) -> None:
        assert self.parts is not None
        if ";" in text:
            text = _INLINE.sub("", text)
        text = text.strip(_BLANK)
        self.backslash = text.endswith("\\")
        if self.backslash:
            text = text[:-1].rstrip(_BLANK)
        if text:
            self.parts.append(text)

    def _close(self) -> None:
        """End the entry that is open."""
        if self.parts is not None and self.key:
            value = self.parts[0] if len(self.parts) == 1 else " ".join(self.parts)
            if len(value) > VALUE_LIMIT:
                self._say("error", self.section or "", self.key, self.line,
                          f"the value of {self.key} has {len(value)} characters; at most 16 KiB is accepted")
                value = ""
            self.entries.append(Entry(self.section or "", self.key, self.scope, value, self.line, self.last))
        self.parts, self.backslash = None, False

    def _error(self, line: int, text: str, hint: str) -> None:
        self._say("error", self.section or "", "", line, text, hint)

    def _say(self, severity: str, section: str, option: str, line: int, text: str, hint: str = "") -> None:
        self.findings.append(Finding(severity, section, option, line, text, hint))


def _duplicates(document: Document, findings: list[Finding]) -> None:
    seen: dict[tuple[str, str, str], Entry] = {}
    for entry in document.entries:
        place = (entry.section, entry.key.lower(), entry.scope)
        other = seen.setdefault(place, entry)
        if other is entry:
            continue
        if other.key != entry.key:
            findings.append(Finding("warning", entry.section, entry.option, entry.line,
                                    f"{entry.key} differs only by case from {other.key} at line {other.line}",
                                    "use one spelling"))
        else:
            findings.append(Finding("note", entry.section, entry.option, entry.line,
                                    f"{entry.option} was already set at line {other.line}; the last one counts"))
        seen[place] = entry
    folded: dict[str, str] = {}
    lines = dict(reversed(document.heads))
    for name in document.sections:
        other_name = folded.setdefault(name.lower(), name)
        if other_name != name:
            findings.append(Finding("error", name, "", lines[name], f"[{name}] differs from [{other_name}]"
                                    " only by case", "use one spelling"))

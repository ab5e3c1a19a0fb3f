"""The configuration text of a service, as a value: every line is kept.

Owns `Document`, which is edited by value (comments, order and untouched lines survive), and
`parse`, which reports all problems of a text at once and never raises for a bad one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from agentd.core.dialect import BLANK, HIDDEN, INLINE, Entry, Finding, Reader, decode, hidden
from agentd.core.errors import InvalidRequest

FINDINGS_LIMIT = 500
"""Problems of one text that the parser tells; a text with more is no configuration."""

__all__ = ["Document", "Entry", "Finding", "parse"]


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
        parts = [part for part in (line.strip(BLANK) for line in value.split("\n")) if part] or [""]
        old = self._written(section, option)
        if old:
            changed = self._replaced(old[-1], parts)
        else:
            changed = self._added(
                section, [f"{option} = {parts[0]}".rstrip(), *(f"    {p}" for p in parts[1:])]
            )
        carried = changed.get(section, option) == " ".join(parts)
        alone = changed._rest(section, option) == self._rest(section, option)
        if not carried or not alone or set(changed.sections) != {*self.sections, section}:
            raise InvalidRequest(
                f"{option[:80]} = {value[:80]} cannot be written in [{section[:80]}]",
                hint="key or key@scope; no ` ;`, control character or section header in a value",
            )
        return changed

    def unset(self, section: str, option: str) -> Document:
        """The document without an option (all its occurrences); unchanged when it has none."""
        found = self._written(section, option)
        return (
            self.removing({number for entry in found for number in self._own_lines(entry)}) if found else self
        )

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
        return [
            (e.section, e.option, e.value) for e in self.entries if e.section != section or e.option != option
        ]

    def _own_lines(self, entry: Entry) -> list[int]:
        """The numbers of an entry's lines; a comment between them is not its own."""
        return [
            n
            for n in range(entry.line, entry.last + 1)
            if n == entry.line or self.lines[n - 1].lstrip(BLANK)[:1] not in ("#", ";")
        ]

    def _replaced(self, entry: Entry, parts: Sequence[str]) -> Document:
        own = set(self._own_lines(entry))
        written = self.lines[entry.line - 1]
        head, equals, rest = written.partition("=")
        end = "\r" if written.endswith("\r") else ""
        gap = rest[: len(rest) - len(rest.lstrip(" \t"))] or " "
        comment = INLINE.search(rest) if entry.line == entry.last else None
        indent = head[: len(head) - len(head.lstrip(BLANK))] + "    "
        first = f"{head}{equals}{gap}{parts[0]}".rstrip()
        if comment and first.endswith(parts[0]):
            first += " " + comment[0].strip(BLANK)
        comments = [self.lines[n - 1] for n in range(entry.line, entry.last + 1) if n not in own]
        new = [line + end for line in (first, *(f"{indent}{part}" for part in parts[1:]))]
        return _reread([*self.lines[: entry.line - 1], *new, *comments, *self.lines[entry.last :]])

    def _added(self, section: str, new: Sequence[str]) -> Document:
        """With the lines at the end of the section; at the end of the text when it is a new one."""
        ends = [line for name, line in self.heads if name == section]
        ends += [e.last for e in self.entries if e.section == section]
        lines = list(self.lines)
        if not ends:
            while lines and not lines[-1].strip(BLANK):
                lines.pop()
            new = [*([""] if lines else []), f"[{section}]", *new]
        at = max(ends, default=len(lines))
        end = "\r" if lines and lines[0].endswith("\r") else ""
        lines[at:at] = [line + end for line in new]
        return _reread([*lines, ""] if lines[-1].strip(BLANK) else lines)


def _reread(lines: Iterable[str]) -> Document:
    return parse("\n".join(lines))[0]


def parse(text: str | bytes) -> tuple[Document, tuple[Finding, ...]]:
    """A Document and everything that is wrong with the text, by line. Never raises.

    A text that cannot be read at all (too long, not UTF-8) gives an empty Document.
    """
    findings: list[Finding] = []
    decoded = decode(text, findings)
    if decoded is None:
        return Document(), tuple(findings)
    lines = decoded.split("\n")
    reader = Reader(findings, hidden(lines, findings) if HIDDEN.search(decoded) else frozenset())
    reader.read(lines)
    document = Document(tuple(lines), tuple(reader.entries), tuple(reader.heads))
    _duplicates(document, findings)
    if not document.heads and not any(f.severity == "error" for f in findings):
        findings.append(
            Finding(
                "error", "", "", 0, "the text has no section", "a service configuration begins with [DEFAULT]"
            )
        )
    findings.sort(key=lambda f: f.line)
    if len(findings) > FINDINGS_LIMIT:
        more = len(findings) - FINDINGS_LIMIT
        findings[FINDINGS_LIMIT:] = [Finding("error", "", "", 0, f"and {more} more problems of this kind")]
    return document, tuple(findings)


def _duplicates(document: Document, findings: list[Finding]) -> None:
    seen: dict[tuple[str, str, str], Entry] = {}
    for entry in document.entries:
        place = (entry.section, entry.key.lower(), entry.scope)
        other = seen.setdefault(place, entry)
        if other is entry:
            continue
        if other.key != entry.key:
            findings.append(
                Finding(
                    "warning",
                    entry.section,
                    entry.option,
                    entry.line,
                    f"{entry.key} differs only by case from {other.key} at line {other.line}",
                    "use one spelling",
                )
            )
        else:
            findings.append(
                Finding(
                    "note",
                    entry.section,
                    entry.option,
                    entry.line,
                    f"{entry.option} was already set at line {other.line}; the last one counts",
                )
            )
        seen[place] = entry
    folded: dict[str, str] = {}
    lines = dict(reversed(document.heads))
    for name in document.sections:
        other_name = folded.setdefault(name.lower(), name)
        if other_name != name:
            findings.append(
                Finding(
                    "error",
                    name,
                    "",
                    lines[name],
                    f"[{name}] differs from [{other_name}] only by case",
                    "use one spelling",
                )
            )

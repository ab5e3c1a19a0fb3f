"""Status documents as trees. Pure: one document in, one text out, nothing asked.

The columns are those of the first samples of the format: a name of 20, four flags (M
monitored, D disabled, O optional, E of the guest), a state of 8, the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from cli.text import painted, safe, short, wrapped

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from typing import Any

AVAIL = ("container", "disk", "share", "fs", "ip", "app")
BRANCHES = ("task", "sync", "hb")
LABEL_COLUMN = 35
OUTER = 14
MIN_ROOM = 24
LONGEST_LABEL = 160
_WIDE = ("prov", "stdby", "restart", "age", "source")
_WIDE_FORMAT = " {:<5s} {:<5s} {:<7s} {:>6s} {:<10s}"


class UnreadableDocument(ValueError):
    """What was to be drawn is not such a document."""


class _Look:
    """How to draw. A plain class: dataclasses would double the time this module takes to load."""

    __slots__ = ("color", "host", "label_column", "wide", "width")

    def __init__(self, wide: bool, color: bool, width: int, level: object) -> None:
        self.wide, self.color, self.width = wide, color, width
        self.host = level == "host"
        self.label_column = LABEL_COLUMN + (len(_WIDE_FORMAT.format(*_WIDE)) if wide else 0)


def tree(document: Mapping[str, Any], wide: bool = False, color: bool = False, width: int = 78) -> str:
    """The tree of one instance (encap.status/1). Raises UnreadableDocument.

    `width`: where lines of a log are wrapped. `wide` adds what is provisioned, standby,
    the restarts left, the age of what is shown and where it is from.
    """
    look = _Look(wide, color, width, document.get("level"))
    return _text(_instance(document, safe(document.get("service", "")), look))


def cluster_tree(
    document: Mapping[str, Any], wide: bool = False, color: bool = False, width: int = 78,
) -> str:
    """Every instance with its guests, and the nodes that were not heard
    (encap.cluster-status/1). Raises UnreadableDocument."""
    plain = _Look(False, color, width, "none")
    lines = [
        safe(document.get("service", "")), _head("", "overall", document, plain),
        _head("", "avail", document, plain, "split" if document.get("split") else ""),
    ]
    for instance in _rows(document, "instances"):
        look = _Look(wide, color, width, instance.get("level"))
        lines += ["", *_instance(instance, safe(instance.get("node", "")), look)]
    silent = _rows(document, "silent")
    return _text([*lines, *([""] if silent else []), *(_silence(s) for s in silent)])


def any_tree(document: object, wide: bool = False, color: bool = False, width: int = 78) -> str:
    """The tree of either document. Raises UnreadableDocument with a sentence for people."""
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if isinstance(document, Mapping) and schema == "encap.status/1":
        return tree(document, wide, color, width)
    if isinstance(document, Mapping) and schema == "encap.cluster-status/1":
        return cluster_tree(document, wide, color, width)
    found = short(schema, 60) if isinstance(schema, str) else "missing"
    raise UnreadableDocument(f"neither encap.status/1 nor encap.cluster-status/1: schema is {found}")


def _text(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _rows(of: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = of.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise UnreadableDocument(f"{key} is not a list of objects")
    return found


def _state(of: Mapping[str, Any], key: str) -> str:
    if not isinstance(of.get(key), str):
        raise UnreadableDocument(f"there is no {key}")
    return str(of[key])


def _instance(document: Mapping[str, Any], name: str, look: _Look) -> Iterator[str]:
    rows = _rows(document, "resources")
    groups = document.get("groups")
    yield name
    yield _head("", "overall", document, look, _notices(document), titles=True)
    yield from _log("|", document, look)
    yield _head("|- ", "avail", document, look)
    yield from _branch([r for g in AVAIL for r in rows if r.get("group") == g], "|  ", look)
    for group in BRANCHES:
        own = [r for r in rows if r.get("group") == group]
        if group == "task" and not own:
            continue
        last = group == BRANCHES[-1]
        states = groups if isinstance(groups, Mapping) and group in groups else {group: "n/a"}
        yield _head("'- " if last else "|- ", group, states, look)
        yield from _branch(own, "   " if last else "|  ", look)


def _head(
    mark: str, name: str, of: Mapping[str, Any], look: _Look, tail: str = "", titles: bool = False,
) -> str:
    middle = ""
    if look.wide:
        middle = _WIDE_FORMAT.format(*(_WIDE if titles else [""] * len(_WIDE)))
    state = painted(_state(of, name), look.color, 8)
    return f"{mark}{name:<{20 - len(mark)}s} {'':4s}{middle} {state} {tail}"


def _notices(document: Mapping[str, Any]) -> str:
    """Frozen, and the operation in progress."""
    words = []
    frozen, operation = document.get("frozen"), document.get("operation")
    if isinstance(frozen, Mapping):
        words.append(_frozen(frozen))
    if isinstance(operation, Mapping):
        phase = f": {safe(operation['phase'])}" if operation.get("phase") else ""
        words.append(f"{safe(operation.get('action', ''))} in progress{phase}")
    return ", ".join(words)


def _frozen(frozen: Mapping[str, Any]) -> str:
    text = "frozen"
    for word, key in (("by", "by"), ("until", "until")):
        text += f" {word} {safe(frozen[key])}" if frozen.get(key) else ""
    return text + (f" ({safe(frozen['reason'])})" if frozen.get("reason") else "")


def _branch(rows: Sequence[Mapping[str, Any]], prefix: str, look: _Look, name: int = OUTER) -> Iterator[str]:
    """The rows below `prefix`; under a container those of its guest, 3 columns further in."""
    for number, row in enumerate(rows, 1):
        last = number == len(rows)
        yield _resource(prefix + ("'- " if last else "|- "), row, name, look)
        below = prefix + ("   " if last else "|  ")
        guest = row.get("guest")
        inner = _rows(guest, "resources") if isinstance(guest, Mapping) and name == OUTER else []
        yield from _log(below + ("|" if inner else ""), row, look)
        yield from _branch(inner, below, look, OUTER - 3)


def _resource(prefix: str, row: Mapping[str, Any], name: int, look: _Look) -> str:
    beside = row.get("group") in BRANCHES
    flags = "".join((
        "M" if row.get("monitor") else ".", "D" if row.get("disable") else ".",
        "O" if row.get("optional") and not beside else ".", "E" if row.get("encap") and look.host else ".",
    ))
    state = painted(_state(row, "status"), look.color, 8)
    middle = _WIDE_FORMAT.format(*_details(row)) if look.wide else ""
    return f"{prefix}{safe(row.get('rid', '')):<{name}s} {flags}{middle} {state} {_label(row)}"


def _label(row: Mapping[str, Any]) -> str:
    label = short(row.get("label") or "", LONGEST_LABEL)
    if row.get("last_status"):
        age = _seconds(row.get("age"))
        label += f" (was {safe(row['last_status'])}{', ' + age + ' ago' if age else ''})"
    guest = row.get("guest")
    if isinstance(guest, Mapping) and isinstance(guest.get("frozen"), Mapping):
        label += f" ({safe(guest.get('node', ''))} {_frozen(guest['frozen'])})"
    return label


def _details(row: Mapping[str, Any]) -> tuple[str, ...]:
    found = row.get("restart")
    budget: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    restart = f"{safe(budget.get('left'))}/{safe(budget.get('of'))}" if budget.get("of") else "."
    return (
        short(row.get("provisioned") or "n/a", 5), "yes" if row.get("standby") else ".", restart,
        _seconds(row.get("age")) or "-", short(row.get("source") or "-", 10),
    )


def _seconds(age: object) -> str:
    """An age for people, "" when there is none."""
    if not isinstance(age, int | float) or isinstance(age, bool) or not 0 <= age < 1e12:
        return ""
    if age < 100:
        return f"{age:.1f} s" if age < 10 else f"{age:.0f} s"
    for unit, size in (("d", 86400), ("h", 3600)):
        if age >= 2 * size:
            return f"{age / size:.0f} {unit}"
    return f"{age / 60:.0f} min"


def _log(prefix: str, of: Mapping[str, Any], look: _Look) -> Iterator[str]:
    """Lines of a log, wrapped under the label."""
    room = max(look.width - look.label_column - 2, MIN_ROOM)
    for entry in _rows(of, "log"):
        for line in wrapped(entry.get("text", ""), room):
            yield f"{prefix:<{look.label_column}s}# {line}"


def _silence(silent: Mapping[str, Any]) -> str:
    age, since = _seconds(silent.get("age")), silent.get("since")
    when = f" for {age}" if age else f" since {safe(since)}" if since else ""
    why = f": {safe(silent['why'])}" if silent.get("why") else ""
    return f"{safe(silent.get('node', ''))} is silent{when}{why}"

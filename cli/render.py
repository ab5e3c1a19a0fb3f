"""Documents -> text: trees, plans, events, tables. Pure, and light to import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 78
AVAIL = ("container", "disk", "share", "fs", "ip", "app")
_COLORS = {"up": "32", "down": "31", "warn": "33", "undef": "35", "stdby up": "32", "stdby down": "31"}


def safe(text: object) -> str:
    """Text for a terminal: control characters and direction overrides become visible escapes."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def tree(document: Mapping[str, Any], *, wide: bool = False, color: bool = False) -> str:
    """The status tree of one instance (encap.status/1), no blank at a line's end."""
    paint = _Paint(color)
    lines = [safe(document["service"]), _head("", "overall", document["overall"], paint, _notices(document))]
    lines += _notes("", document.get("log", ()))
    lines.append(_head("|- ", "avail", document["avail"], paint))
    rows = [r for g in AVAIL for r in document["resources"] if r["group"] == g]
    lines += _branch(rows, "|  ", document["level"] == "host", paint, wide)
    for mark, group in (("|- ", "sync"), ("'- ", "hb")):
        lines.append(_head(mark, group, document["groups"].get(group, "n/a"), paint))
        rows = [r for r in document["resources"] if r["group"] == group]
        lines += _branch(rows, "|  " if group == "sync" else "   ", document["level"] == "host", paint, wide)
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _Paint:
    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, status: str, width: int = 8) -> str:
        text = f"{status:<{width}s}"
        return f"\x1b[{_COLORS[status]}m{text}\x1b[0m" if self.on and status in _COLORS else text


def _head(mark: str, name: str, status: str, paint: _Paint, tail: str = "") -> str:
    return f"{mark}{name:<{20 - len(mark)}s} {'':4s} {paint(status)} {tail}"


def _notices(document: Mapping[str, Any]) -> str:
    words = []
    if document.get("frozen"):
        frozen = document["frozen"]
        words.append(f"frozen by {safe(frozen.get('by'))}" + (f": {safe(frozen['reason'])}" if frozen.get("reason") else ""))
    if document.get("operation"):
        operation = document["operation"]
        words.append(f"{safe(operation.get('action'))} in progress" + (f" ({safe(operation['phase'])})" if operation.get("phase") else ""))
    return ", ".join(words)


def _branch(rows: Sequence[Mapping[str, Any]], prefix: str, host: bool, paint: _Paint, wide: bool) -> list[str]:
    lines: list[str] = []
    for number, row in enumerate(rows, 1):
        last = number == len(rows)
        lines.append(_resource(prefix + ("'- " if last else "|- "), row, 14, host, paint, wide))
        below = prefix + ("   " if last else "|  ")
        inner = (row.get("guest") or {}).get("resources", ())
        lines += _notes((below + ("|  " if inner else "")).ljust(0), row["log"])
        for count, child in enumerate(inner, 1):
            end = count == len(inner)
            lines.append(_resource(below + ("'- " if end else "|- "), child, 11, host, paint, wide))
            lines += _notes(below + ("   " if end else "|  "), child["log"])
    return lines


def _resource(prefix: str, row: Mapping[str, Any], width: int, host: bool, paint: _Paint, wide: bool) -> str:
    flags = "".join((
        "M" if row["monitor"] else ".", "D" if row["disable"] else ".",
        "O" if row["optional"] and row["group"] not in ("sync", "hb") else ".", "E" if row["encap"] and host else ".",
    ))
    line = f"{prefix}{safe(row['rid']):<{width}s} {flags} {paint(row['status'])} {safe(row['label'])}"
    if row["last_status"]:
        line += f" (was {row['last_status']} {row['age']:.0f} s ago)"
    if wide:
        budget = row["restart"]
        line += f"  [{row['source']} {row['age']:.0f}s, provisioned {row['provisioned']}" + (
            f", restarts left {budget['left']}/{budget['of']}" if budget["of"] else "") + (
            ", standby" if row["standby"] else "") + "]"
    return line


LABEL_COLUMN = 34


def _notes(prefix: str, log: Iterable[Mapping[str, str]]) -> list[str]:
    """Log lines, wrapped under the label column."""
    lines = []
    for entry in log:
        text, room = safe(entry["text"]), WIDTH - LABEL_COLUMN - 2
        while text:
            cut = len(text) if len(text) <= room else (text.rfind(" ", 0, room + 1) if " " in text[:room + 1] else room)
            lines.append(f"{prefix:<{LABEL_COLUMN}s}# {text[:cut]}")
            text = text[cut:].lstrip()
    return lines


def cluster_tree(document: Mapping[str, Any], *, color: bool = False) -> str:
    """Every instance of a service, and the nodes that were not heard (encap.cluster-status/1)."""
    lines = [f"{safe(document['service'])}  avail {document['avail']}  overall {document['overall']}"]
    for instance in document["instances"]:
        lines.append(f"{safe(instance['node'])}:")
        lines += ["  " + line for line in tree(instance, color=color).splitlines()[1:]]
    lines += [f"{safe(s['node'])}: not heard, {safe(s['why'])}" for s in document["silent"]]
    return "\n".join(lines) + "\n"


def plan_text(plan: Mapping[str, Any]) -> str:
    """A plan (encap.plan/1) as numbered lines, a guest's own steps under the delegated one."""
    lines = [f"{safe(plan['service'])}: {plan['action']} on {safe(plan['node'])}, {len(plan['steps'])} steps"]
    for step in plan["steps"]:
        indent = "      " if step.get("under") is not None else "  "
        after = f"  after {', '.join(map(str, step['after']))}" if step["after"] else ""
        why = f"  ({safe(step['why'])})" if step["why"] else ""
        lines.append(f"{indent}{step['id']:>2} {safe(step['where'])} {step['action']} {safe(step['what'])}{after}{why}")
    lines += [f"  -- {safe(s['where'])} {safe(s['what'])}: skipped, {safe(s['why'])}" for s in plan["skipped"]]
    return "\n".join(lines) + "\n"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as needed."""
    cells = [list(headers), *([safe(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells) + "\n"


def json15(document: Mapping[str, Any]) -> dict[str, Any]:
    """The status as OpenSVC 1.5 printed it for `json status`."""
    rows = document["resources"]
    groups = {g: _worst([r["status"] for r in rows if r["group"] == g]) for g in AVAIL}
    return {
        "overall": document["overall"], "avail": document["avail"], **groups, **document["groups"],
        "resources": {r["rid"]: {
            "status": r["status"], "label": r["label"], "log": [f"{x['level']}: {x['text']}" for x in r["log"]],
            "monitor": r["monitor"], "disable": r["disable"], "optional": r["optional"], "encap": r["encap"],
        } for r in rows},
    }


def _worst(statuses: Sequence[str]) -> str:
    """One word for a group: the common state, else warn."""
    known = {s for s in statuses if s not in ("n/a", "undef")}
    return next(iter(known)) if len(known) == 1 else "warn" if known else ("undef" if "undef" in statuses else "n/a")

"""Documents -> text: plans, events, and by their names here the trees and tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cli.compat import json15, status_code
from cli.text import painted, safe, short, table
from cli.tree import UnreadableDocument, any_tree, cluster_tree, tree

TYPE_CHECKING = False  # as in cli.main
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "UnreadableDocument", "any_tree", "cluster_tree", "event_line", "json15", "painted", "plan_text",
    "progress_line", "safe", "short", "status_code", "table", "tree",
]

_OUTCOME_COLORS = {"done": "32", "undone": "32", "failed": "31", "undo": "33", "skipped": "2", "phase": "36"}
_RESULT_COLORS = {"succeeded": "32", "failed": "31", "cancelled": "33", "unknown": "35"}


def plan_text(plan: Mapping[str, Any]) -> str:
    """A plan (encap.plan/1) as numbered lines, a guest's own steps under the delegated one."""
    steps = plan["steps"]
    count = f"{len(steps)} step{'' if len(steps) == 1 else 's'}" if steps else "nothing to do"
    lines = [f"{safe(plan['service'])}: {safe(plan['action'])} on {safe(plan['node'])}, {count}"]
    widths = [max((len(safe(s[k])) for s in steps), default=0) for k in ("where", "action", "what")]
    lines += _step_lines(steps, None, 1, widths)
    for skipped in plan["skipped"]:
        what = f"{safe(skipped['where'])} {safe(skipped['what'])}"
        lines.append(f"  -- {what}: skipped: {safe(skipped['why'])}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _step_lines(
    steps: Sequence[Mapping[str, Any]], under: int | None, depth: int, widths: Sequence[int],
) -> Iterator[str]:
    """The steps under `under`, each followed by what it unfolds to. A step can only be under
    one that has a smaller id, so a wrong document ends as well."""
    for step in steps:
        if step.get("under") != under:
            continue
        columns = (safe(step[k]).ljust(w) for k, w in zip(("where", "action", "what"), widths, strict=True))
        yield f"{'  ' * depth}{step['id']:>3}  {'  '.join(columns)}  {_remarks(step)}"
        deeper = [s for s in steps if isinstance(s.get("under"), int) and s["id"] > step["id"]]
        yield from _step_lines(deeper, step["id"], depth + 1, widths)


def _remarks(step: Mapping[str, Any]) -> str:
    words = []
    if step["after"]:
        words.append("after " + ", ".join(str(i) for i in step["after"]))
    if step["undo"]:
        words.append(f"undo: {safe(step['undo'])}")
    if step["optional"]:
        words.append("may fail")
    if step["why"]:
        words.append(safe(step["why"]))
    return "; ".join(words)


def event_line(event: Mapping[str, Any], nested: bool | None = None, color: bool = False) -> str:
    """One event of an operation as a plain line, without a line end.

    `nested`: told by the agent of a delegated step; from the event itself when None.
    """
    kind = safe(event["kind"])
    deeper = event.get("under") is not None if nested is None else nested
    who = " ".join(safe(event[k]) for k in ("where", "what") if event.get(k))
    if kind == "end":
        result = safe(event.get("result") or "ended")
        kind = _in_color(result, _RESULT_COLORS.get(result, "") if color else "")
    else:
        kind = _in_color(kind, _OUTCOME_COLORS.get(kind, "") if color else "")
    text = f": {safe(event['text'])}" if event.get("text") else ""
    head = f"{safe(event.get('at') or '')} " if event.get("at") else ""
    return f"{head}{'  ' if deeper else ''}{who}{' ' if who else ''}{kind}{text}"


def progress_line(event: Mapping[str, Any], width: int = 78) -> str:
    """What is going on, on one line of a terminal that the next one overwrites: for started,
    phase, progress and undo; "" for the kinds that are worth a line that stays."""
    if event["kind"] not in ("started", "phase", "progress", "undo"):
        return ""
    what = " ".join(safe(event[k]) for k in ("where", "what") if event.get(k))
    text = safe(event.get("text") or event["kind"])
    return short(f"{'  ' if event.get('under') is not None else ''}... {what}: {text}", max(width - 1, 4))


def _in_color(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code else text

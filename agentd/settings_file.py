"""Changing single keys of the settings file and leaving everything else as a person wrote it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentd.core.errors import InvalidConfig
from agentd.files import write_atomically
from agentd.settings import Paths, load

Value = str | int | float | Sequence[str]


def change(paths: Paths, values: Mapping[str, Value]) -> None:
    """Set top-level keys. The result is read back before it replaces the old file; what it
    cannot do without touching something else is refused with InvalidConfig."""
    file = paths.settings_file
    old = file.read_text("utf-8") if file.exists() else ""
    text = old
    for key, value in values.items():
        text = _with(text, key, value)
    wanted = {**tomllib.loads(old), **{k: v if isinstance(v, str | int | float) else list(v)
                                       for k, v in values.items()}}
    if _loads(text) != wanted:
        raise InvalidConfig(f"{file} is written in a way that cannot be changed by itself", (),
                            hint=f"write {', '.join(values)} there by hand")
    if text != old:
        write_atomically(file, text.encode(), 0o644)
        _undo_if_bad(paths, file, old)


def _undo_if_bad(paths: Paths, file: Path, old: str) -> None:
    try:
        load(paths.root)
    except InvalidConfig:
        write_atomically(file, old.encode(), 0o644)
        raise


def _loads(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _with(text: str, key: str, value: Value) -> str:
    entry = f"{key} = {toml_value(value)}\n"
    lines = text.splitlines(keepends=True)
    top = next((n for n, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    for start in range(top):
        if re.match(rf"{re.escape(key)}\s*=", lines[start]):
            return "".join((*lines[:start], entry, *lines[_end(lines, start):]))
    before = "".join(lines[:top])
    return before + ("" if not before or before.endswith("\n") else "\n") + entry + "".join(lines[top:])


def _end(lines: Sequence[str], start: int) -> int:
    """Past the last line of the entry that begins at `start`: an array may span several."""
    for end in range(start + 1, len(lines) + 1):
        if _loads("".join(lines[start:end])) is not None:
            return end
    return start + 1


def toml_value(value: Value) -> str:
    """Strings (of any character but surrogates), numbers, and lists of strings."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return str(value).lower()
    return f"[{', '.join(toml_value(item) for item in value)}]"

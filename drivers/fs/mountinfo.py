"""What is mounted where: /proc/self/mountinfo as values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line. `options` are those of the mount and of the file system together."""

    point: str
    source: str
    type: str
    device: str
    root: str
    options: frozenset[str]

    @property
    def read_only(self) -> bool:
        return "ro" in self.options


def mounts(text: str) -> Iterator[Mount]:
    """Every line of a mountinfo, in its order: of two on one point, the later covers the other."""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if len(before) < 6 or len(after) < 2:
            continue
        options = {*before[5].split(","), *(after[2].split(",") if len(after) > 2 else ())}
        yield Mount(
            point=plain(before[4]),
            source=plain(after[1]),
            type=after[0],
            device=before[2],
            root=plain(before[3]),
            options=frozenset(options),
        )


def mounted_on(text: str, point: str) -> Mount | None:
    """What a look into `point` would show; None when nothing is mounted exactly there."""
    found = None
    for mount in mounts(text):
        if mount.point == point:
            found = mount
    return found


def plain(text: str) -> str:
    r"""``\040`` is a blank, and so on."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)

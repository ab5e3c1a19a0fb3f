"""A program of its own: prints the ids of the processes whose ENCAP_ROOT is the given folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path


def marked(root: str, proc: Path = Path("/proc")) -> Iterator[int]:
    """Running processes, but this one, that carry the mark in their environment."""
    mark = f"ENCAP_ROOT={root}".encode()
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            found = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or of another user and so not ours
            continue
        if found:
            yield int(entry.name)


if __name__ == "__main__":
    print(*marked(sys.argv[1]))  # noqa: T201 the output is the answer

"""Which boot of this machine it is: a new one means that everything in it has ended meanwhile."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def boot_id(proc: Path = Path("/proc")) -> str:
    """32 hex digits, the same for every agent that runs in this boot of this machine.

    A container shares its kernel's id and has a first process of its own; a guest of type
    process shares that too and is told apart by the mark that its driver gives it.
    """
    kernel = (proc / "sys/kernel/random/boot_id").read_text().strip()
    first = (proc / "1/stat").read_text().rpartition(")")[2].split()[19]
    return hashlib.sha256(f"{kernel} {first} {os.environ.get('ENCAP_BOOT', '')}".encode()).hexdigest()[:32]

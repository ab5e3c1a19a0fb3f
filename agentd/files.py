"""Writing files so that a reader, a crash or a full disk never sees half of one."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from agentd.core.errors import StorageTrouble

_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an input/output error",
    errno.EACCES: "permission denied",
}


def storage_trouble(doing: str, error: OSError) -> StorageTrouble:
    """The error for people; `doing` as in "cannot write x"."""
    words = _WORDS.get(error.errno or 0, error.strerror or str(error))
    return StorageTrouble(f"{doing}: {words}", hint="the old content is intact; free some space and try again"
                          if error.errno in (errno.ENOSPC, errno.EDQUOT) else "the old content is intact")


def write_atomically(path: Path, data: bytes, mode: int = 0o600, *, synced: bool = True) -> None:
    """Temp file, fsync, rename, directory fsync: the old content or the new, never half.

    `synced` False leaves the two fsync out: for what nobody needs after the machine's end.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        Path(temporary).replace(path)
        temporary = ""
        if synced:
            sync_directory(path.parent)
    except OSError as error:
        raise storage_trouble(f"cannot write {path}", error) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file for good; one that is gone already is fine."""
    try:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_directory(path.parent)
    except OSError as error:
        raise storage_trouble(f"cannot remove {path}", error) from error


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

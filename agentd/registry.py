"""The services this node knows: their accepted texts, and what was built from them.

Owns ``etc/encap/services/NAME.conf`` and its revisions. A file changed by an editor is
found by one stat a second; a text with errors never replaces a good one, it is kept on
disk and reported beside the service.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.core.build import build
from agentd.core.config import Document, Finding, parse
from agentd.core.errors import InvalidConfig, InvalidRequest, NotFound, StorageTrouble
from agentd.core.keywords import Types
from agentd.core.model import Service
from agentd.core.names import is_service_name
from agentd.core.replication import content_hash
from agentd.core.validation import validate
from agentd.files import remove, write_atomically

TEXT_LIMIT = 1 << 20
"""Bytes of a configuration text."""


@dataclass(frozen=True, slots=True)
class Held:
    """A service as this node holds it.

    `text` is the last good one. `findings`: warnings of that text. `trouble`: sentences
    about a newer text on disk that was not accepted. `stamp`: (mtime_ns, size) of the file.
    """

    name: str
    text: str
    document: Document
    service: Service
    hash: str
    revision: int = 0
    findings: tuple[Finding, ...] = ()
    trouble: tuple[str, ...] = ()
    stamp: tuple[int, int] = (0, 0)


class Registry:
    """Name -> Held. Files are read and written here and nowhere else."""

    def __init__(self, directory: Path, node: Callable[[], str], types: Types) -> None:
        self._directory, self._node, self._types = directory, node, types
        self._held: dict[str, Held] = {}
        self._unreadable: dict[str, tuple[int, int]] = {}
        self.troubles: dict[str, str] = {}
        self.generation = 0
        """Counts the changes of what is held."""

    def __iter__(self) -> Iterator[Held]:
        return iter(self._held.values())

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def find(self, name: str) -> Held | None:
        return self._held.get(name)

    def get(self, name: str) -> Held:
        try:
            return self._held[name]
        except KeyError:
            raise NotFound(f"there is no service {name} on {self._node()}",
                           hint="svc ls lists the services", code="service-not-found") from None

    def examine(self, name: str, text: str) -> Held:
        """What `text` would be as service `name`; InvalidConfig when it has errors for this node."""
        if not is_service_name(name):
            raise InvalidRequest(f"{name!r} is not a service name",
                                 hint="lower-case letters, digits, dot, dash and underscore, at most 63")
        if len(text.encode()) > TEXT_LIMIT:
            raise InvalidRequest("a configuration is at most 1 MiB", code="too-large")
        document, found = parse(text)
        findings = validate(document, self._types, name, found, self._node())
        errors = [f.document() for f in findings if f.severity == "error"]
        if errors:
            raise InvalidConfig(f"{name}: the configuration has {len(errors)} error(s)", errors,
                                hint="svc config validate FILE shows all of them")
        return self._built(name, text, document, findings)

    def install(self, held: Held, revision: int) -> Held:
        """Write the text of an examined service and hold it."""
        path = self.path(held.name)
        write_atomically(path, held.text.encode(), 0o600)
        return self._keep(replace(held, revision=revision, stamp=_stamp(path) or (0, 0)))

    def remove(self, name: str) -> None:
        """Delete the file of `name` and forget the service."""
        remove(self.path(name))
        self._held.pop(name, None)
        self._unreadable.pop(name, None)
        self.troubles.pop(name, None)
        self.generation += 1

    def renumber(self, name: str, revision: int) -> None:
        """The text of `name` got its number."""
        self._held[name] = replace(self.get(name), revision=revision)

    def path(self, name: str) -> Path:
        return self._directory / f"{name}.conf"

    def changed(self) -> tuple[list[str], list[str]]:
        """Names whose file differs from what is held, and names whose file is gone."""
        present: dict[str, tuple[int, int]] = {}
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    name = entry.name.removesuffix(".conf")
                    if entry.name.endswith(".conf") and is_service_name(name):
                        stat = entry.stat(follow_symlinks=False)
                        present[name] = (stat.st_mtime_ns, stat.st_size)
        except FileNotFoundError:
            return [], []
        except OSError as error:
            raise StorageTrouble(f"cannot list {self._directory}: {error.strerror}") from error
        known = {n: h.stamp for n, h in self._held.items()} | self._unreadable
        fresh = [n for n, stamp in present.items() if known.get(n) != stamp]
        return sorted(fresh), sorted(n for n in self._held if n not in present)

    def load(self, name: str, revision_of: Callable[[str, str], int]) -> Held | None:
        """Take the file of `name` in; `revision_of(name, hash)` numbers its text.

        None when the file is not good: the last good text stays in force and `trouble`
        says why.
        """
        path = self.path(name)
        stamp = _stamp(path) or (0, 0)
        try:
            held = self.examine(name, _read(path))
        except (InvalidRequest, StorageTrouble) as error:
            self._unreadable[name] = stamp
            self._trouble(name, _sentences(error))
            return None
        self.troubles.pop(name, None)
        return self._keep(replace(held, revision=revision_of(name, held.hash), stamp=stamp))

    def _keep(self, held: Held) -> Held:
        self._held[held.name] = held
        self.generation += 1
        self._unreadable.pop(held.name, None)
        return held

    def _built(self, name: str, text: str, document: Document, findings: tuple[Finding, ...]) -> Held:
        service, _ = build(document, name, self._node(), self._types)
        return Held(name, text, document, service, content_hash(text), findings=findings)

    def _trouble(self, name: str, sentences: tuple[str, ...]) -> None:
        held = self._held.get(name)
        if held is not None:
            self._held[name] = replace(held, trouble=sentences)
        else:
            self.troubles[name] = "; ".join(sentences)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.lstat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> str:
    """The text of a regular file of at most 1 MiB: no link, FIFO or device is followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise StorageTrouble(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        # Before it becomes a file object: that cannot be made of a directory.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StorageTrouble(f"{path.name} is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(TEXT_LIMIT + 1)
    except OSError as error:
        raise StorageTrouble(f"{path.name} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(raw) > TEXT_LIMIT:
        raise InvalidRequest(f"{path.name} is larger than 1 MiB", code="too-large")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path.name} is not UTF-8 at byte {error.start}") from error


def _sentences(error: InvalidRequest | StorageTrouble) -> tuple[str, ...]:
    if isinstance(error, InvalidConfig):
        return tuple(f"line {f['line']}: {f['text']}" for f in error.findings[:5])
    return (error.text,)

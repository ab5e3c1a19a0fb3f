"""Keyword rows: the one declaration from which validation, help, docs and completion come.

A driver module lists the rows of its type in `KEYWORDS`; the rows that every resource
has, and those of DEFAULT, stand at the end of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Convert = Callable[[str], Any]
"""Text -> value; raises ValueError with a sentence for people."""


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword of one kind of section.

    `default` is the converted value used when the keyword is absent (None: nothing).
    `inheritable`: falls back to the same keyword in DEFAULT.
    `candidates`: the only accepted texts, when not empty.
    `aliases`: older names, accepted with a note.
    """

    name: str
    help: str
    convert: Convert = str
    default: Any = None
    required: bool = False
    scopable: bool = True
    inheritable: bool = False
    candidates: tuple[str, ...] = ()
    example: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """What the core knows of a resource type: plain data, no code of the driver.

    `label` is a format string over the converted options, for example ``{dev}@{mnt}``;
    `driver` False: the type is known to the product, and this version has no driver for it.
    `agentless`: a container type that can never hold an agent.
    """

    group: str
    type: str
    keywords: Mapping[str, Keyword] = field(default_factory=dict)
    label: str = "{rid}"
    driver: bool = True
    help: str = ""


class Types(Protocol):
    """The catalogue of resource types, as the core sees it (`drivers.Catalogue` is one)."""

    def find(self, group: str, type: str) -> TypeInfo | None: ...

    def names(self, group: str) -> Iterable[str]: ...

    def default(self, group: str) -> str:
        """The type of a section that names none; "" when naming one is required."""
        ...

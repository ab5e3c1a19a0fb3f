"""What callers send: strict models, an unknown field is an error."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Word = Annotated[str, StringConstraints(max_length=256)]


class ActionBody(BaseModel):
    """What to do with a service; the same fields as the options of `svc`."""

    model_config = ConfigDict(extra="forbid")

    action: Word
    nodes: list[Word] = []
    rids: list[Word] = []
    tags: Word = ""
    subsets: list[Word] = []
    to: Word = ""
    master: bool = False
    slave: list[Word] = []
    slaves: bool = False
    force: bool = False
    assume_down: list[Word] = []
    stop_containers: list[Word] = []
    reason: Annotated[str, StringConstraints(max_length=1024)] = ""
    until: Word | None = None
    dry_run: bool = False


class Edit(BaseModel):
    """One option of the configuration; `option` is ``key`` or ``key@scope``."""

    model_config = ConfigDict(extra="forbid")

    section: Word
    option: Word
    value: Annotated[str, StringConstraints(max_length=16384)] = ""


class EditBody(BaseModel):
    """Options to set and options to remove, in one revision."""

    model_config = ConfigDict(extra="forbid")

    set: list[Edit] = []
    unset: list[Edit] = []

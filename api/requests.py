"""What callers send: strict models, an unknown field is an error."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from agentd.core.names import is_node_name, is_service_name
from agentd.timers import stamp

Word = Annotated[str, StringConstraints(max_length=256)]


def _node(text: str) -> str:
    if not is_node_name(text):
        raise ValueError("not the name of a node")
    return text


def _instance(text: str) -> str:
    if not is_service_name(text.removesuffix("/encap")):
        raise ValueError("not a service, nor one with /encap")
    return text


def _moment(text: str | None) -> str | None:
    """As `agentd.timers.stamp` writes it, so that texts compare as moments."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("without a zone")
        return stamp(moment)
    except (ValueError, OverflowError) as error:
        raise ValueError("not a time with its zone, such as 2026-12-01T06:00:00Z") from error


NodeName = Annotated[Word, AfterValidator(_node)]
Instance = Annotated[Word, AfterValidator(_instance)]
Words = Annotated[list[Word], Field(max_length=1000)]
ClaimingOperation = Annotated[str, StringConstraints(
    max_length=40, pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}(\.[1-9][0-9]{0,8})?$")]
"""The id of an operation; from its second try on with a full stop and the number of the try."""


class OriginBody(BaseModel):
    """For whom another agent asks: a person, at that agent's operation."""

    model_config = ConfigDict(extra="forbid")

    who: Word = ""
    node: NodeName
    operation: Annotated[str, StringConstraints(max_length=40, pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]


class ActionBody(BaseModel):
    """What to do with a service; the same fields as the options of `svc`."""

    model_config = ConfigDict(extra="forbid")

    action: Word
    nodes: Words = []
    rids: Words = []
    tags: Word = ""
    subsets: Words = []
    to: Word = ""
    master: bool = False
    slave: Words = []
    slaves: bool = False
    force: bool = False
    assume_down: Annotated[list[NodeName], Field(max_length=64)] = []
    stop_containers: Words = []
    reason: Annotated[str, StringConstraints(max_length=1024)] = ""
    until: Annotated[Word | None, AfterValidator(_moment)] = None
    dry_run: bool = False
    local: bool = False
    origin: OriginBody | None = None


class TokenBody(BaseModel):
    """Which node is to join, and as what."""

    model_config = ConfigDict(extra="forbid")

    name: Word
    role: Literal["hypervisor", "guest"]


class Edit(BaseModel):
    """One option of the configuration; `option` is ``key`` or ``key@scope``."""

    model_config = ConfigDict(extra="forbid")

    section: Word
    option: Word
    value: Annotated[str, StringConstraints(max_length=16384)] = ""


Edits = Annotated[list[Edit], Field(max_length=64)]
"""Each is a reading of the whole text."""


class EditBody(BaseModel):
    """Options to set and options to remove, in one revision."""

    model_config = ConfigDict(extra="forbid")

    set: Edits = []
    unset: Edits = []


class WireClaim(BaseModel):
    """A claim as its claimant asks for it; `agentd.core.claims.Claim`."""

    model_config = ConfigDict(extra="forbid")

    instance: Instance
    operation: ClaimingOperation
    claimant: NodeName
    action: Annotated[str, StringConstraints(max_length=32, pattern=r"^[a-z][a-z-]*$")] = "start"
    to: Annotated[Word, AfterValidator(lambda text: text and _node(text))] = ""


class ClaimBody(BaseModel):
    """A claimant's question, and the nodes that a user vouches for to be down."""

    model_config = ConfigDict(extra="forbid")

    claim: WireClaim
    assume_down: Annotated[list[NodeName], Field(max_length=64)] = []


class ReleaseBody(BaseModel):
    """What the caller gives back."""

    model_config = ConfigDict(extra="forbid")

    instance: Instance
    operation: ClaimingOperation


class ReplicaBody(BaseModel):
    """A configuration from another hypervisor; `agentd.core.replicas` checks what it says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: Annotated[int, Field(ge=1, le=1 << 53)]
    hash: Word
    base: Word
    text: Annotated[str, StringConstraints(max_length=1 << 20)]
    author: Word
    origin: Word

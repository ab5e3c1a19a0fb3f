"""What callers send: strict models, an unknown field is an error."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from agentd.core.names import is_node_name, is_service_name
from agentd.timers import stamp

Word = Annotated[str, StringConstraints(max_length=256)]
Reason = Annotated[str, StringConstraints(max_length=1024)]


def _node(text: str) -> str:
    if not is_node_name(text):
        raise ValueError("not the name of a node")
    return text


def _instance(text: str) -> str:
    if not is_service_name(text.removesuffix("/encap")):
        raise ValueError("not a service, nor one with /encap")
    return text


def _moment(text: str) -> str:
    """As `agentd.timers.stamp` writes it, so that texts compare as moments."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("without a zone")
        return stamp(moment)
    except (ValueError, OverflowError) as error:
        raise ValueError("not a time with its zone, such as 2026-12-01T06:00:00Z") from error


NodeName = Annotated[Word, AfterValidator(_node)]
Nodes = Annotated[list[NodeName], Field(max_length=64)]
Moment = Annotated[Word, AfterValidator(_moment)]
Instance = Annotated[Word, AfterValidator(_instance)]
Words = Annotated[list[Word], Field(max_length=1000)]
ClaimingOperation = Annotated[str, StringConstraints(
    max_length=40, pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}(\.[1-9][0-9]{0,8})?$")]
"""The id of an operation; from its second try on with a full stop and the number of the try."""


class OriginBody(BaseModel):
    """For whom another agent asks: a person, at that agent's operation."""

    model_config = ConfigDict(extra="forbid")

    who: Word = Field("", description="the person who asked that agent")
    node: NodeName = Field(description="that agent's node: the caller's own")
    operation: Annotated[str, StringConstraints(
        max_length=40, pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")] = Field(description="its operation")


class ActionBody(BaseModel):
    """What to do with a service; the same fields as the options of `svc`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: Word = Field(description="`start`, `stop`, `freeze`, `startfs`, ...: as after `svc`")
    nodes: Words = Field([], description="only on these hypervisors")
    rids: Words = Field([], description="only these resources")
    tags: Word = Field("", description="only resources with these tags: `a,b` is a or b, `a+b` is both")
    subsets: Words = Field([], description="only these subsets")
    to: Word = Field("", description="a rid or group: up to it for a start, down to it for a stop")
    master: bool = Field(False, description="at the hypervisor level")
    slave: Words = Field([], description="in these guests")
    slaves: bool = Field(False, description="in all guests")
    force: bool = Field(False, description="stop standby resources too, delete what is not proven stopped")
    assume_down: Nodes = Field([], description="silent hypervisors that are known to be down; audited")
    stop_containers: Words = Field([], description="not yet supported: refused")
    reason: Reason = Field("", description="why, for the others")
    until: Moment | None = Field(None, description="with `freeze`: when it ends by itself, RFC 3339")
    dry_run: bool = Field(False, description="answer with the plan, and do nothing")
    local: bool = Field(False, description="for other agents: on this node only")
    origin: OriginBody | None = Field(None, description="for other agents: for whom they ask")


class TokenBody(BaseModel):
    """Which node is to join, and as what."""

    model_config = ConfigDict(extra="forbid")

    name: Word = Field(description="the name of the node that is to join")
    role: Literal["hypervisor", "guest"] = Field(description="`hypervisor` or `guest`")


class Edit(BaseModel):
    """One option of the configuration; `option` is ``key`` or ``key@scope``."""

    model_config = ConfigDict(extra="forbid")

    section: Word = Field(description="`DEFAULT`, `env`, or a rid")
    option: Word = Field(description="`key` or `key@scope`")
    value: Annotated[str, StringConstraints(max_length=16384)] = Field("", description="what to set it to")


Edits = Annotated[list[Edit], Field(max_length=64)]
"""Each is a reading of the whole text."""


class EditBody(BaseModel):
    """Options to set and options to remove, in one revision."""

    model_config = ConfigDict(extra="forbid")

    set: Edits = Field([], description="options to set")
    unset: Edits = Field([], description="options to remove")


class WireClaim(BaseModel):
    """A claim as its claimant asks for it; `agentd.core.claims.Claim`."""

    model_config = ConfigDict(extra="forbid")

    instance: Instance = Field(description="a service, or `SERVICE/encap`")
    operation: ClaimingOperation = Field(description="for which operation, and which try of it")
    claimant: NodeName = Field(description="the caller's own node")
    action: Annotated[str, StringConstraints(max_length=32, pattern=r"^[a-z][a-z-]*$")] = Field(
        "start", description="what for")
    to: Annotated[Word, AfterValidator(lambda text: text and _node(text))] = Field(
        "", description="the guest that is to have an encap instance")


class ClaimBody(BaseModel):
    """A claimant's question, and the nodes that a user vouches for to be down."""

    model_config = ConfigDict(extra="forbid")

    claim: WireClaim = Field(description="what is claimed")
    assume_down: list[NodeName] = Field(
        [], max_length=64, description="nodes that a user vouches for to be down")


class ReleaseBody(BaseModel):
    """What the caller gives back."""

    model_config = ConfigDict(extra="forbid")

    instance: Instance = Field(description="a service, or `SERVICE/encap`")
    operation: ClaimingOperation = Field(description="as it was claimed")


class ReplicaBody(BaseModel):
    """A configuration from another hypervisor; `agentd.core.replicas` checks what it says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: int = Field(ge=1, le=1 << 53, description="the number of the text")
    hash: Word = Field(description="`sha256:` and 64 hex digits over the text")
    base: Word = Field(description="the hash of the text that it was made from")
    text: Annotated[str, StringConstraints(max_length=1 << 20)] = Field(description="the configuration")
    author: Word = Field(description="who made it")
    origin: Word = Field(description="the node that it was made on")

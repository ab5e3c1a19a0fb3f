"""The documents that go over the wire, as models: their JSON Schemas come from here.

Fields may be added, meanings do not change. A reader ignores fields that it does not know,
so every model lets them through. `DOCUMENTS` names each one that has a schema of its own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["up", "down", "warn", "n/a", "undef", "stdby up", "stdby down"]
Level = Literal["host", "encap", "none"]
Group = Literal["container", "disk", "share", "fs", "ip", "app", "task", "sync", "hb"]
Agent = Literal["answering", "silent", "enrolling", "absent", "down", "none"]
Source = Literal["probe", "event", "config", "guest", "last-known"]
Provisioned = Literal["true", "false", "mixed", "n/a"]
Outcome = Literal["succeeded", "failed", "cancelled", "unknown"]
Seconds = Annotated[float, Field(ge=0)]
Moment = Annotated[str, Field(description="RFC 3339, UTC, milliseconds; for people, never for decisions")]


class Model(BaseModel):
    """A document, or a part of one."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, serialize_by_alias=True)


class LogLine(Model):
    level: Literal["info", "warn", "error"]
    text: str


class Frozen(Model):
    """Who froze it, why, since when, and until when if it ends by itself."""

    by: str | None = None
    reason: str | None = None
    since: Moment | None = None
    until: Moment | None = None


class Running(Model):
    """The operation in progress."""

    id: str | None = None
    action: str | None = None
    phase: str | None = None


class Budget(Model):
    """Restarts by the agent itself that are left, of how many."""

    left: Annotated[int, Field(ge=0)]
    of: Annotated[int, Field(ge=0)]


class ResourceStatus(Model):
    rid: str
    group: Group
    type: str
    label: str
    status: Status
    monitor: bool
    disable: bool
    optional: bool
    encap: bool
    standby: bool
    last_status: Annotated[Status | None, Field(description="the last known value while status is undef")]
    provisioned: Provisioned
    restart: Budget
    log: list[LogLine]
    age: Annotated[Seconds | None, Field(description="null: never seen")]
    observed_at: Moment | None
    source: Source
    stale: bool
    folds_as: Annotated[Status | None, Field(description="counts as this, where not as status")] = None


class GuestStatus(Model):
    """What hangs under a container that holds an agent."""

    node: str
    agent: Agent
    last_answer: Moment | None
    reason: Annotated[str | None, Field(description="why an agent that answers is not believed")] = None
    revision: int | None
    frozen: Frozen | None
    avail: Status
    overall: Status
    optional: Status = "n/a"
    resources: list[ResourceStatus]


class OwnResourceStatus(ResourceStatus):
    guest: GuestStatus | None = None


class StatusDocument(Model):
    """A service on one node, with its guests folded under their containers."""

    schema_: Annotated[Literal["encap.status/1"], Field(alias="schema")]
    service: str
    node: str
    level: Level
    revision: int
    hash: str
    in_step: bool | None = None
    topology: Literal["failover", "flex"]
    orchestrate: str
    expected: Annotated[bool, Field(description="whether the instance is expected up on this node")] = False
    frozen: Frozen | None
    operation: Running | None
    provisioned: Provisioned
    avail: Status
    overall: Status
    optional: Status
    groups: dict[str, Status]
    observed_at: str
    log: list[LogLine]
    resources: Annotated[list[OwnResourceStatus], Field(description="in the order of display")]


class Silence(Model):
    """A node that was not heard."""

    node: str
    since: Moment | None
    why: str
    age: Seconds | None = None


class ClusterStatus(Model):
    """A service on all its nodes. `split`: a failover service that runs more than once."""

    schema_: Annotated[Literal["encap.cluster-status/1"], Field(alias="schema")]
    service: str
    topology: Literal["failover", "flex"] | None = None
    avail: Status
    overall: Status
    split: bool = False
    running: list[str] = []
    instances: list[StatusDocument]
    silent: list[Silence]


class StepDocument(Model):
    id: int
    where: str
    action: str
    what: str
    after: list[int]
    undo: str
    optional: bool
    why: str
    under: Annotated[int | None, Field(description="the delegated step that this one unfolds")] = None


class SkippedDocument(Model):
    where: str
    what: str
    why: str


class PlanDocument(Model):
    """What an action will do, in an order that respects `after`."""

    schema_: Annotated[Literal["encap.plan/1"], Field(alias="schema")]
    service: str
    action: str
    node: str
    steps: list[StepDocument]
    skipped: list[SkippedDocument]


class Origin(Model):
    """Who asked; `node` and `operation` are set when another agent did."""

    who: str
    node: str | None = None
    operation: str | None = None


class FindingDocument(Model):
    section: str
    option: str
    line: int | None
    text: str
    hint: str


class FieldDocument(Model):
    """What is wrong with a request itself."""

    field: str
    text: str


class Problem(Model):
    """RFC 9457. `code` is stable and for programs, `hint` helps the reader go on."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    retryable: bool
    node: str
    problems: Annotated[list[FindingDocument | FieldDocument] | None, Field(
        description="of a configuration, or of the fields of a request")] = None


class OperationProblem(Model):
    """The problem that ended an operation: as `Problem`, without what only HTTP needs."""

    detail: str
    code: str
    hint: str = ""


class OperationDocument(Model):
    schema_: Annotated[Literal["encap.operation/1"], Field(alias="schema")] = "encap.operation/1"
    id: Annotated[str, Field(description="ULID")]
    service: str
    action: str
    node: str
    origin: Origin | None
    state: Literal["queued", "running", "cancelling", "ended"]
    result: Outcome | None
    undone: Annotated[bool | None, Field(description="null: there was nothing to undo")]
    phase: str | None
    plan: PlanDocument | None
    request: Annotated[dict[str, Any] | None, Field(description="what was asked for")] = None
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    problem: OperationProblem | None


class EventDocument(Model):
    """Something that happened in an operation. `id` counts within the operation."""

    id: Annotated[int, Field(ge=1)]
    at: Moment
    operation: str
    kind: Literal["started", "phase", "progress", "log", "done", "skipped", "failed", "undo", "undone", "end"]
    step: int | None
    where: str
    what: str
    text: str
    under: int | None
    result: Annotated[Outcome | None, Field(description="with kind end only")] = None


class ValidationDocument(Model):
    """What is wrong with a configuration, all at once; notes are listed among the warnings."""

    errors: list[FindingDocument]
    warnings: list[FindingDocument]


DOCUMENTS: dict[str, type[Model]] = {
    "encap.status.1": StatusDocument,
    "encap.cluster-status.1": ClusterStatus,
    "encap.plan.1": PlanDocument,
    "encap.operation.1": OperationDocument,
    "encap.event.1": EventDocument,
    "encap.problem.1": Problem,
    "encap.validation.1": ValidationDocument,
}
"""File name, without its ending, of the schema of each document."""


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a document of `DOCUMENTS`."""
    schema = DOCUMENTS[name].model_json_schema(by_alias=True)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:encap:schema:{name}"}
    return {**head, **schema}

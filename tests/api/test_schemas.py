"""The JSON Schemas in the repository are those of the models, and what is made fits them."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agentd.core.cluster_status import cluster_document
from agentd.core.errors import Busy, InvalidConfig
from agentd.core.events import Happening, Kind
from agentd.core.folding import InstanceContext, instance_document
from agentd.core.guest_part import GuestReport
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.plan import Plan, Skipped, Step
from agentd.core.status import LogLine, Observation, Probe, Status
from api.errors import problem
from api.schema_export import main, texts
from api.schemas import DOCUMENTS, StatusDocument, json_schema

ROOT = Path(__file__).parent.parent.parent
AT = "2026-11-23T16:00:00.000Z"


def test_the_files_in_the_repository_are_up_to_date() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "schemas").iterdir()}
    assert kept == texts(), "run: python -m api.schema_export schemas"


def test_the_export_writes_them(tmp_path: Path) -> None:
    assert main([str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(texts())


def test_the_export_needs_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_each_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(name))


def check(name: str, document: dict[str, Any]) -> None:
    jsonschema.validate(document, json_schema(name), cls=jsonschema.Draft202012Validator)
    assert unknown(json_schema(name), json_schema(name), document) == []


def unknown(schema: Any, root: Any, value: Any, path: str = "") -> list[str]:
    """Fields of a document that its schema does not name: each must be described."""
    if "$ref" in schema:
        return unknown(root["$defs"][schema["$ref"].rpartition("/")[2]], root, value, path)
    if "anyOf" in schema:
        fits = (
            [
                s
                for s in schema["anyOf"]
                if jsonschema.Draft202012Validator({**root, **s, "anyOf": [s]}).is_valid(value)
            ]
            if value is not None
            else []
        )
        return unknown(fits[0], root, value, path) if fits else []
    found: list[str] = []
    if isinstance(value, dict) and "properties" in schema:
        for key, inner in value.items():
            described = schema["properties"].get(key)
            found += (
                [f"{path}.{key}"] if described is None else unknown(described, root, inner, f"{path}.{key}")
            )
    if isinstance(value, list) and "items" in schema:
        for inner in value:
            found += unknown(schema["items"], root, inner, f"{path}[]")
    return found


def status(seen: Status = Status.UP, report: GuestReport | None = None, chosen: str = "") -> dict[str, Any]:
    inner = Resource("ip#1", "host", "a@b", encap=True)
    service = Service(
        "web",
        "hv1",
        Level.HOST,
        ("hv1",),
        encapnodes=("vm1",),
        resources=(Resource("container#0", "lxc"), Resource("task#1", "host")),
        guests=(Guest("container#0", "vm1", (inner,), nodes=("vm1", "vm2")),),
    )
    probe = Observation(Probe(seen, (LogLine("warn", "x"),)), 1.0, AT, last=Status.DOWN)
    frozen = {"by": "a", "reason": "b", "since": AT, "until": None}
    context = InstanceContext(
        2.0,
        AT,
        3,
        "sha256:0",
        frozen,
        {"id": "1", "action": "stop", "phase": ""},
        chosen=chosen,
        notes=(LogLine("info", "y"),),
    )
    return instance_document(
        service, {"container#0": probe}, {"container#0": report} if report else {}, context
    )


def test_status_documents_fit() -> None:
    made = [
        status(),
        status(Status.UNDEF),
        status(Status.DOWN, chosen="vm2"),
        status(report=GuestReport("silent")),
    ]
    for document in made:
        check("encap.status.1", document)
    silent = [
        {"node": "hv2", "since": AT, "why": "x", "age": 3.0},
        {"node": "hv3", "since": None, "why": "y"},
    ]
    check("encap.cluster-status.1", cluster_document("web", "failover", 1, made, silent))


def test_a_status_document_survives_the_model() -> None:
    document = status(Status.DOWN, chosen="vm2")
    again = StatusDocument.model_validate(document).model_dump(exclude_unset=True)
    assert again == document


def test_plan_and_event_documents_fit() -> None:
    steps = (Step(1, "hv1", "start", "fs#1"), Step(2, "vm1", "start", "ip#1", (1,), under=1))
    check("encap.plan.1", Plan("web", "start", "hv1", steps, (Skipped("hv1", "x", "y"),)).document())
    for kind in Kind:
        happening = Happening(kind, "x", 1, "hv1", "fs#1", None, "failed" if kind is Kind.END else "")
        check("encap.event.1", {"id": 1, "at": AT, "operation": "01", **happening.document()})


def test_problem_documents_fit() -> None:
    finding = {"section": "fs#1", "option": "mnt", "line": 3, "text": "t", "hint": "h"}
    check("encap.problem.1", problem(Busy("x", hint="y"), "hv1"))
    check("encap.problem.1", problem(InvalidConfig("x", [finding]), "hv1"))
    check("encap.validation.1", {"errors": [finding], "warnings": []})


def test_operation_documents_fit() -> None:
    document = {
        "schema": "encap.operation/1",
        "id": "01J",
        "service": "web",
        "action": "start",
        "node": "hv1",
        "origin": {"who": "root", "node": None, "operation": None},
        "state": "ended",
        "result": "failed",
        "undone": True,
        "phase": "up",
        "plan": Plan("web", "start", "hv1").document(),
        "created_at": AT,
        "started_at": AT,
        "ended_at": AT,
        "problem": {"detail": "x", "code": "action-failed", "hint": ""},
    }
    check("encap.operation.1", document)
    with pytest.raises(jsonschema.ValidationError):
        check("encap.operation.1", document | {"state": "paused"})

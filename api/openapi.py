"""What the OpenAPI document says beyond what FastAPI finds out by itself.

Owns the words for parameters and answers. `described` is pure: it takes FastAPI's document
and gives the one that this daemon serves and that is kept in ``schemas/openapi.json``.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from api.schemas import Problem

PARAMETERS = {
    "name": "the service",
    "number": "the operation, by its id",
    "node_name": "the member, by its name",
    "refresh": "look at everything now, in the guests too",
    "cluster": "ask the other hypervisors as well",
    "dry_run": "say what would change, and change nothing",
    "topics": "some of `status`, `operation`, `gone`, with commas between them; all when left out",
    "service": "only those of this service",
    "state": "only those that are `queued`, `running`, `cancelling` or `ended`",
    "limit": "how many, from the newest on",
    "prefer": "`wait=SECONDS`: answer when the operation has ended, or after this time",
    "idempotency-key": "a word of your own for this request; repeating it makes nothing twice",
    "if-match": "the `ETag` of the text that was edited, or `*`",
    "if-none-match": "`*`: make a new service, change none that is there",
    "last-event-id": "the id of the newest event that was heard",
}
"""Every parameter that a route has, in words."""

TEXT_BODY = {"requestBody": {"required": True, "content": {"text/plain": {"schema": {
    "type": "string", "description": "the configuration, UTF-8, at most 1 MiB"}}}}}
STREAM: dict[str, Any] = {"response_description": "a stream of server-sent events", "responses": {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}}
PROBLEM = {"description": "a problem document", "content": {"application/problem+json": {
    "schema": {"$ref": "#/components/schemas/Problem"}}}}
_REFERENCE = "#/components/schemas/{model}"


def gives(words: str, document: type[BaseModel] | None = None, *, status: int = 200,
          also: tuple[str, object] | None = None) -> dict[str, Any]:
    """Keywords for a route: what it answers, in words, and as which document where it is one.

    `also`: when it answers 200 besides `status`, and with what.
    """
    found: dict[str, Any] = {"response_description": words}
    if document is not None:
        found |= {"response_model": None, "responses": {status: {"model": document}}}
    if also is not None:
        found.setdefault("responses", {})[200] = {"description": also[0], "model": also[1]}
    return found


def described(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with a summary for each route, words for each parameter, and problems."""
    for methods in document["paths"].values():
        for operation in methods.values():
            _describe(operation)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    # Our daemon answers 400 with a problem document where FastAPI by itself would answer these.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template=_REFERENCE)
    schemas |= problem.pop("$defs", {})
    schemas["Problem"] = problem
    return document


def _describe(operation: dict[str, Any]) -> None:
    first, _, rest = operation.pop("description", "").partition("\n")
    operation["summary"] = first
    if rest.strip():
        operation["description"] = " ".join(rest.split())
    for parameter in operation.get("parameters", ()):
        parameter["description"] = PARAMETERS[parameter["name"]]
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = PROBLEM

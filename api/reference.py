"""The reference of the API, written from its OpenAPI document: ``python -m api.reference`` prints it.

docs/api.md is its output. What stands before the routes is written by hand, in conventions.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agentd.settings import USER_ROLES
from api.errors import BY_CODE, STATUS
from api.schema_export import openapi

CONVENTIONS = Path(__file__).with_name("conventions.md")
_TYPES = {"string": "text", "integer": "number", "boolean": "yes or no", "object": "object"}
_METHODS = ("get", "post", "put", "patch", "delete")


def reference() -> str:
    """The whole page."""
    document = openapi()
    head = CONVENTIONS.read_text("utf-8").replace("<!-- codes -->\n", _codes())
    parts = [head.rstrip("\n") + "\n"]
    tag = ""
    for path, methods in document["paths"].items():
        for method in (each for each in _METHODS if each in methods):
            operation = methods[method]
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"## {tag}\n")
            parts.append(_route(method, path, operation, document["components"]["schemas"]))
    return "\n".join(parts)


def _route(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}", "", operation["summary"]]
    if "description" in operation:
        lines += ["", operation["description"]]
    lines += ["", f"May: {_may(operation['x-encap-roles'])}.", ""]
    rows = [(f"`{_shown(each)}`", each["in"], each["description"])
            for each in operation.get("parameters", ())]
    content = operation.get("requestBody", {}).get("content", {})
    for kind, body in content.items():
        if kind == "application/json":
            rows += [(f"`{name}`", f"body, {type_}", words)
                     for name, type_, words in _fields(body["schema"], schemas)]
        else:
            rows.append(("the text", "body", body["schema"]["description"]))
    if rows:
        lines += ["| what | where | meaning |", "|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    for status, answer in sorted(operation["responses"].items()):
        if status != "default":
            lines.append(f"- {status}: {answer['description']}")
    return "\n".join(lines) + "\n"


def _may(roles: Iterable[str]) -> str:
    """The roles, and those that are above the least user's."""
    users = [role for role in roles if role in USER_ROLES]
    least = min((USER_ROLES.index(role) for role in users), default=len(USER_ROLES))
    return ", ".join([*USER_ROLES[least:], *(role for role in roles if role not in USER_ROLES)])


def _shown(parameter: Mapping[str, Any]) -> str:
    name = str(parameter["name"])
    return name.title().replace("-Id", "-ID") if parameter["in"] == "header" else name


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any],
            prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(name, type, words) of every field of a body, those inside others with their path."""
    if "$ref" not in schema:  # whatever the sender has to say
        return
    model = schemas[schema["$ref"].rpartition("/")[2]]
    needed = model.get("required", ())
    for name, field in model["properties"].items():
        inner, type_ = _type(field)
        yield f"{prefix}{name}", type_ + (", required" if name in needed else ""), field["description"]
        mark = "[]" if type_.startswith("list") else ""
        yield from _fields(inner, schemas, f"{prefix}{name}{mark}.")


def _type(field: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The schema that a field refers to, and its type in a word."""
    if "anyOf" in field:
        field = next(each for each in field["anyOf"] if each.get("type") != "null")
    if field.get("type") == "array":
        inner, word = _type(field["items"])
        return inner, f"list of {word}s"
    return field, _TYPES[field.get("type", "object")]


def _codes() -> str:
    """The table of problem codes, from the one that the daemon answers with."""
    rows = {kind.code: (status, kind.retryable) for kind, status in STATUS.items()}
    rows |= {code: (status, False) for code, status in BY_CODE.items()}
    lines = ["| code | status | worth trying again |", "|---|---|---|"]
    for code, (status, retryable) in sorted(rows.items(), key=lambda row: (row[1][0], row[0])):
        lines.append(f"| `{code}` | {status} | {'yes' if retryable else 'no'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())

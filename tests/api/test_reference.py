"""The page on the API and the kept OpenAPI document are those of the code, and leave nothing unsaid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import APIRouter

from api.app import Api
from api.openapi import PARAMETERS
from api.reference import reference
from api.schema_export import openapi

ROOT = Path(__file__).parent.parent.parent


def operations() -> dict[str, dict[str, object]]:
    return {f"{method} {path}": operation for path, methods in openapi()["paths"].items()
            for method, operation in methods.items()}


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs/api.md").read_text("utf-8")
    assert page == reference(), "run: python -m api.reference > docs/api.md"


@pytest.mark.real
def test_the_module_prints_the_page() -> None:
    printed = subprocess.run([sys.executable, "-P", "-m", "api.reference"], capture_output=True, text=True)
    assert (printed.returncode, printed.stdout) == (0, reference())


def test_the_version_of_the_daemon_changes_nothing_but_the_version() -> None:
    served = Api("9.9.9").openapi()
    assert served["openapi"].startswith("3.1")
    assert served["info"].pop("version") == "9.9.9"
    kept = openapi()
    kept["info"].pop("version")
    assert served == kept


@pytest.mark.parametrize("route", operations())
def test_every_route_says_what_it_does_and_gives(route: str) -> None:
    operation = operations()[route]
    assert str(operation["summary"]).endswith("."), "the first line of a route's docstring is a sentence"
    answers = operation["responses"]
    assert isinstance(answers, dict)
    assert "default" in answers
    assert "422" not in answers
    assert all(a["description"] not in ("", "Successful Response") for a in answers.values())


def test_every_word_for_a_parameter_is_used() -> None:
    used = {p["name"] for o in operations().values() for p in o.get("parameters", ())}  # type: ignore[attr-defined]
    assert used == set(PARAMETERS)


def test_every_field_that_a_caller_sends_is_explained() -> None:
    schemas = openapi()["components"]["schemas"]
    bodies = [name for name in schemas if name.endswith("Body") or name in ("Edit", "WireClaim")]
    assert len(bodies) >= 8
    assert [f"{name}.{field}" for name in bodies for field, known in schemas[name]["properties"].items()
            if not known.get("description")] == []


def test_a_reference_inside_the_document_leads_somewhere() -> None:
    document = openapi()
    found: list[str] = []

    def look(value: object) -> None:
        if isinstance(value, dict):
            found.extend(v for k, v in value.items() if k == "$ref" and isinstance(v, str))
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(document)
    assert found
    assert {ref.rpartition("/")[2] for ref in found} <= set(document["components"]["schemas"])


def test_a_route_without_a_docstring_does_not_pass_unseen() -> None:
    app = Api("1")
    router = APIRouter()

    @router.get("/v1/silent", tags=["x"])
    async def silent() -> dict[str, str]:
        return {}

    app.router.routes.extend(router.routes)
    assert app.openapi()["paths"]["/v1/silent"]["get"]["summary"] == ""

"""Writes the JSON Schemas of the documents and the OpenAPI document: ``python -m api.schema_export DIR``.

The files under ``schemas/`` are made by it and kept in the repository, so that a change of
a document or of a route is seen in review; a test compares them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from api.app import Api
from api.schemas import DOCUMENTS, json_schema

API_VERSION = "1"
"""Of the API, as in ``/v1``. A daemon puts its own version there; the kept file is not to change with it."""


def openapi() -> dict[str, Any]:
    """The OpenAPI document as it is kept."""
    return Api(API_VERSION).openapi()


def texts() -> dict[str, str]:
    """File name -> content, of everything under ``schemas/``."""
    found = {f"{name}.json": json_schema(name) for name in DOCUMENTS} | {"openapi.json": openapi()}
    return {name: json.dumps(document, indent=1) + "\n" for name, document in found.items()}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m api.schema_export DIR\n")
        return 2
    directory = Path(arguments[0])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Writes the JSON Schemas of the documents: ``python -m api.schema_export DIR``.

The files under ``schemas/`` are made by it and kept in the repository, so that a change of
a document is seen in review; a test compares them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from api.schemas import DOCUMENTS, json_schema


def texts() -> dict[str, str]:
    """File name -> content, of every schema."""
    return {f"{name}.json": json.dumps(json_schema(name), indent=1) + "\n" for name in DOCUMENTS}


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

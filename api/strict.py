"""JSON bodies of callers, read so that they have one meaning only.

A name that is there twice, NaN, a number without end, text that is not UTF-8: other readers
would take each for something else than the sender meant, so none is accepted.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from fastapi import Request
from starlette.exceptions import HTTPException

from agentd.core.reply import clean


class StrictRequest(Request):
    """The request that every route gets."""

    async def json(self) -> Any:
        return read(await self.body())


def read(raw: bytes) -> Any:
    """The value of a JSON text. Raises HTTPException: FastAPI passes no other error on."""
    try:
        return json.loads(raw.decode(), object_pairs_hook=_unique, parse_float=_finite,
                          parse_constant=_no_constant)
    except RecursionError:
        why = "it is nested too deeply"
    except ValueError as error:
        why = clean(str(error))[:200]
    raise HTTPException(400, f"the body cannot be read as JSON: {why}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"{name[:60]!r} is there twice")
        made[name] = value
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")

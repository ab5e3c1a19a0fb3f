"""Query parameters: one that a route does not have is an error, so a misspelt one is never ignored."""

from __future__ import annotations

from fastapi import Request

from agentd.core.errors import InvalidRequest


async def no_unknown_query(request: Request) -> None:
    """A dependency of every router. Raises InvalidRequest, also for a parameter that is there twice."""
    route = request.scope.get("route")
    known = {each.alias for each in getattr(getattr(route, "dependant", None), "query_params", ())}
    given = [key for key, _ in request.query_params.multi_items()]
    unknown = sorted(set(given) - known)
    if unknown:
        raise InvalidRequest(f"unknown query parameter {unknown[0][:64]!r}",
                             hint=f"this route knows {', '.join(sorted(known)) or 'none'}")
    twice = next((key for key in given if given.count(key) > 1), None)
    if twice is not None:
        raise InvalidRequest(f"the query parameter {twice!r} is there twice")

"""The application: every route has a rule, every error is a problem document."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from agentd.core.errors import ActionFailed, EncapError, InvalidRequest
from agentd.node import Node
from api.auth import Access, check_routes
from api.errors import problem, status_of
from api.openapi import described
from api.routes import claims, config, events, nodes, operations, replicas, services
from api.routes import node as node_routes

log = logging.getLogger("encap.api")

PROBLEM = "application/problem+json"
_WORDS = {404: ("no-such-route", "there is no such route"),
          405: ("method-not-allowed", "the route has another method")}
_CODES = {400: InvalidRequest.code}


class Api(FastAPI):
    """All routes with their rules, and nobody behind them yet."""

    def __init__(self, version: str) -> None:
        super().__init__(title="Encap", version=version, openapi_url=None, docs_url=None, redoc_url=None,
                         redirect_slashes=False)
        for module in (node_routes, services, config, operations, events, nodes, claims, replicas):
            # Not include_router: it wraps the routes, and their rules could not be checked any more.
            self.router.routes.extend(module.router.routes)
        check_routes(self)

    def openapi(self) -> dict[str, Any]:
        """The document of the API; made once."""
        if not self.openapi_schema:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def create_app(node: Node, access: Access, version: str) -> FastAPI:
    """The API of `node`. `access`: who may call what."""
    app = Api(version)
    app.state.node, app.state.access = node, access
    name = node.settings.node

    async def told(_request: Request, error: EncapError) -> JSONResponse:
        return JSONResponse(problem(error, name), status_of(error), media_type=PROBLEM)

    async def misread(_request: Request, error: RequestValidationError) -> JSONResponse:
        findings = [{"field": ".".join(map(str, e["loc"][1:])), "text": e["msg"]} for e in error.errors()]
        wrong = InvalidRequest("the request cannot be understood", problems=findings)
        return JSONResponse(problem(wrong, name), 400, media_type=PROBLEM)

    async def unrouted(request: Request, error: HTTPException) -> JSONResponse:
        status = error.status_code
        headers = {key.lower(): value for key, value in (error.headers or {}).items()}
        code, words = _WORDS.get(status, (_CODES.get(status, "http-error"), error.detail))
        if status == 405:
            headers["allow"] = ", ".join(_methods(app, request.scope))
        document: dict[str, Any] = problem(EncapError(words, code=code), name) | {"status": status}
        return JSONResponse(document, status, headers, media_type=PROBLEM)

    async def broke(request: Request, error: Exception) -> JSONResponse:
        # Its text may hold what callers should not see.
        log.error("%s %s: an error of the program", request.method, request.url.path, exc_info=error)
        document = problem(ActionFailed(f"internal error: {type(error).__name__}", code="internal"), name)
        return JSONResponse(document, 500, media_type=PROBLEM)

    app.exception_handler(Exception)(broke)
    for kind, handler in ((EncapError, told), (RequestValidationError, misread), (HTTPException, unrouted)):
        app.exception_handler(kind)(handler)
    return app


def _methods(app: FastAPI, scope: Scope) -> list[str]:
    """What can be done at a path: one route of it alone does not say it."""
    fitting = [r for r in app.routes if isinstance(r, APIRoute) and r.matches(scope)[0] is not Match.NONE]
    return sorted({method for route in fitting for method in route.methods or ()})

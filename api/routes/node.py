"""This node, and the document of the API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request

from agentd.node import Node
from api.auth import GuardedRoute, allow
from api.query import no_unknown_query

router = APIRouter(prefix="/v1", route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])


def the_node(request: Request) -> Node:
    found: Node = request.app.state.node
    return found


@router.get("/node", dependencies=[allow("viewer", "hypervisor")])
async def describe(node: Node = Depends(the_node)) -> dict[str, Any]:
    return node.describe()


@router.get("/openapi.json", dependencies=[allow("viewer", "hypervisor")])
async def openapi(request: Request) -> dict[str, Any]:
    document: dict[str, Any] = request.app.openapi()
    return document

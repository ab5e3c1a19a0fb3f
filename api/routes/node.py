"""This node, and the document of the API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request

from agentd.node import Node
from api.auth import GuardedRoute, allow
from api.openapi import gives
from api.query import no_unknown_query

router = APIRouter(prefix="/v1", tags=["This node"], route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])


def the_node(request: Request) -> Node:
    found: Node = request.app.state.node
    return found


@router.get("/node", dependencies=[allow("viewer", "hypervisor")], **gives(
    '`encap.node/1`: `{"node", "cluster", "version", "capabilities", "boot_id", "run_id", "started_at",'
    ' "services", "listen", "unreadable", "trouble"}`'))
async def describe(node: Node = Depends(the_node)) -> dict[str, Any]:
    """Who answers: name, version, abilities, services, and what is wrong with its own disk."""
    return node.describe()


@router.get("/openapi.json", dependencies=[allow("viewer", "hypervisor")], **gives("OpenAPI 3.1"))
async def openapi(request: Request) -> dict[str, Any]:
    """This API as an OpenAPI document."""
    document: dict[str, Any] = request.app.openapi()
    return document

"""Copies of configurations, between nodes of one cluster. For hypervisors only."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from agentd.node import Node
from api.auth import Caller, GuardedRoute, allow
from api.openapi import gives
from api.query import no_unknown_query
from api.requests import ReplicaBody
from api.routes.node import the_node

router = APIRouter(prefix="/v1", tags=["Copies of configurations"], route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])


@router.get("/replicas", dependencies=[allow("hypervisor")], **gives(
    '`{"services": {name: {"revision", "hash", "nodes"}}, "deleted": {name: revision}}`'))
async def held(node: Node = Depends(the_node)) -> dict[str, Any]:
    """Which text of each service this node holds, and what it deleted."""
    return node.replicator.own()


@router.get("/services/{name}/replica", dependencies=[allow("hypervisor")], **gives(
    '`{"revision", "hash", "base", "text", "author", "origin"}`'))
async def read(name: str, node: Node = Depends(the_node)) -> dict[str, Any]:
    """The text in force, with where it came from."""
    return await node.replicator.replica(name)


@router.put("/services/{name}/replica", **gives('`{"revision", "hash"}` of what is held then'))
async def receive(
    name: str, body: ReplicaBody, caller: Caller = allow("hypervisor"), node: Node = Depends(the_node),
) -> dict[str, Any]:
    """Hand over a text. It is taken only if it is valid, and counts above the one held here."""
    return await node.replicator.receive(name, body.model_dump(), caller.node)

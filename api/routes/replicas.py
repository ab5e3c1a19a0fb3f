"""Copies of configurations, between nodes of one cluster. For hypervisors only."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from agentd.node import Node
from api.auth import Caller, GuardedRoute, allow
from api.query import no_unknown_query
from api.requests import ReplicaBody
from api.routes.node import the_node

router = APIRouter(prefix="/v1", route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])


@router.get("/replicas", dependencies=[allow("hypervisor")])
async def held(node: Node = Depends(the_node)) -> dict[str, Any]:
    return node.replicator.own()


@router.get("/services/{name}/replica", dependencies=[allow("hypervisor")])
async def read(name: str, node: Node = Depends(the_node)) -> dict[str, Any]:
    return await node.replicator.replica(name)


@router.put("/services/{name}/replica")
async def receive(
    name: str, body: ReplicaBody, caller: Caller = allow("hypervisor"), node: Node = Depends(the_node),
) -> dict[str, Any]:
    return await node.replicator.receive(name, body.model_dump(), caller.node)

"""The members of the cluster: looking at them, inviting, removing, and what hypervisors tell each other."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from agentd.members import Members
from api.auth import Caller, GuardedRoute, allow
from api.query import no_unknown_query
from api.requests import TokenBody

router = APIRouter(prefix="/v1", route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])


def the_members(request: Request) -> Members:
    found: Members = request.app.state.node.members
    return found


@router.get("/nodes", dependencies=[allow("viewer", "hypervisor")])
async def listed(members: Members = Depends(the_members)) -> dict[str, Any]:
    return {"nodes": await members.nodes()}


@router.post("/nodes/tokens")
async def token(body: TokenBody, caller: Caller = allow("admin"),
                members: Members = Depends(the_members)) -> dict[str, Any]:
    return await members.token(body.name, body.role, caller.who)


@router.delete("/nodes/{node_name}")
async def remove(node_name: str, caller: Caller = allow("admin"),
                 members: Members = Depends(the_members)) -> dict[str, Any]:
    return await members.remove(node_name, caller.who)


@router.get("/cluster/members", dependencies=[allow("hypervisor")])
async def known(members: Members = Depends(the_members)) -> dict[str, Any]:
    return members.list.held().document()


@router.post("/cluster/members")
async def receive(body: dict[str, Any], caller: Caller = allow("hypervisor"),
                  members: Members = Depends(the_members)) -> dict[str, Any]:
    """The list of the caller, merged with ours. What a newer version says beside it is ignored:
    a revocation must arrive whatever the versions are."""
    return await members.receive(body, caller.who)


@router.get("/cluster/ca-key")
async def ca_key(caller: Caller = allow("hypervisor"),
                 members: Members = Depends(the_members)) -> PlainTextResponse:
    return PlainTextResponse(await members.ca_key(caller.node, caller.who),
                             headers={"cache-control": "no-store"})

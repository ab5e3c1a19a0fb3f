"""The members of the cluster: looking at them, inviting, removing, and what hypervisors tell each other."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from agentd.members import Members
from api.auth import Caller, GuardedRoute, allow
from api.openapi import gives
from api.query import no_unknown_query
from api.requests import TokenBody

router = APIRouter(prefix="/v1", tags=["The cluster"], route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])
NODES = '`{"nodes": [{"name", "role", "address", "revoked", "state", "version", "why", "age"}]}`'
LIST = '`{"name", "revision", "members": [{"name", "role", "address", "key_hash", "revoked", "revision"}]}`'


def the_members(request: Request) -> Members:
    found: Members = request.app.state.node.members
    return found


@router.get("/nodes", dependencies=[allow("viewer", "hypervisor")],
            **gives(NODES))
async def listed(members: Members = Depends(the_members)) -> dict[str, Any]:
    """Every member of the cluster and every guest of this node, with what it does now."""
    return {"nodes": await members.nodes()}


@router.post("/nodes/tokens", **gives('`{"token", "expires_at", "name", "role"}`'))
async def token(body: TokenBody, caller: Caller = allow("admin"),
                members: Members = Depends(the_members)) -> dict[str, Any]:
    """A token with which a node joins: once, within 15 minutes, under this name."""
    return await members.token(body.name, body.role, caller.who)


@router.delete("/nodes/{node_name}", **gives('`{"node", "told", "not_told"}`: hypervisors by name'))
async def remove(node_name: str, caller: Caller = allow("admin"),
                 members: Members = Depends(the_members)) -> dict[str, Any]:
    """Revoke a member, here and on every hypervisor that answers."""
    return await members.remove(node_name, caller.who)


@router.get("/cluster/members", dependencies=[allow("hypervisor")], **gives(LIST))
async def known(members: Members = Depends(the_members)) -> dict[str, Any]:
    """The list of members as this hypervisor holds it."""
    return members.list.held().document()


@router.post("/cluster/members", **gives(f"the merged list: {LIST}"))
async def receive(body: dict[str, Any], caller: Caller = allow("hypervisor"),
                  members: Members = Depends(the_members)) -> dict[str, Any]:
    """The list of the caller, merged with ours.

    What a newer version says beside it is ignored: a revocation must arrive whatever the
    versions are.
    """
    return await members.receive(body, caller.who)


@router.get("/cluster/ca-key", response_class=PlainTextResponse, **gives("PEM"))
async def ca_key(caller: Caller = allow("hypervisor"),
                 members: Members = Depends(the_members)) -> PlainTextResponse:
    """The key of the CA, for another hypervisor in the list; every call is audited."""
    return PlainTextResponse(await members.ca_key(caller.node, caller.who),
                             headers={"cache-control": "no-store"})

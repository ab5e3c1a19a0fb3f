"""Services: which there are, what they are like, what is to be done with them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse

from agentd.core.errors import InvalidRequest
from agentd.core.plan import Request as Wanted
from agentd.core.planner import parse_tags
from agentd.node import Node
from agentd.performing import Caller as Asking
from api.auth import Caller, GuardedRoute, allow
from api.query import no_unknown_query
from api.requests import ActionBody
from api.routes.node import the_node

router = APIRouter(prefix="/v1/services", route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])
LONGEST_WAIT = 3600.0


@router.get("")
async def listed(cluster: bool = False, caller: Caller = allow("viewer", "hypervisor"),
                 node: Node = Depends(the_node)) -> dict[str, Any]:
    mine = [s for s in node.services() if caller.sees(s["name"])]
    return {"services": mine, "silent": node.unheard() if cluster else []}


@router.get("/{name}", dependencies=[allow("viewer")])
async def one(name: str, node: Node = Depends(the_node)) -> dict[str, Any]:
    return node.summary(name)


@router.get("/{name}/status", dependencies=[allow("viewer", "hypervisor")])
async def status(name: str, refresh: bool = False, node: Node = Depends(the_node)) -> JSONResponse:
    return JSONResponse(await node.refreshed_status(name) if refresh else node.status(name))


@router.post("/{name}/plan", dependencies=[allow("viewer")])
async def plan(name: str, body: ActionBody, node: Node = Depends(the_node)) -> dict[str, Any]:
    return node.plan(name, wanted(body)).document()


@router.post("/{name}/actions", status_code=202)
async def act(
    request: Request, name: str, body: ActionBody, caller: Caller = allow("operator", "hypervisor"),
    node: Node = Depends(the_node), prefer: Annotated[str, Header(max_length=64)] = "",
    idempotency_key: Annotated[str, Header(max_length=255)] = "",
) -> Response:
    if body.dry_run:
        return JSONResponse(node.plan(name, wanted(body)).document())
    asking = Asking(caller.who, idempotency_key, await request.body(), body.reason, body.until)
    operation = await node.act(name, wanted(body), asking)
    ended = await operation.wait(seconds(prefer)) if prefer else False
    return JSONResponse(operation.document(), 200 if ended else 202,
                        {"location": f"/v1/operations/{operation.id}"})


def wanted(body: ActionBody) -> Wanted:
    """The core's request. Fields that this version does not act on are refused, not ignored."""
    if body.assume_down or body.stop_containers:
        raise InvalidRequest("assume_down and stop_containers: not yet supported", code="not-supported")
    tags = parse_tags(body.tags) if body.tags else ()
    return Wanted(body.action, tuple(body.nodes), tuple(body.rids), tags, tuple(body.subsets), body.to,
                  body.master, tuple(body.slave), body.slaves, body.force)


def seconds(prefer: str) -> float:
    """``wait=N`` of a Prefer header, at most an hour."""
    name, _, value = prefer.partition("=")
    if name.strip() != "wait" or not value.strip().isdecimal() or len(value) > 9:
        raise InvalidRequest(f"Prefer: {prefer[:40]!r} is not wait=SECONDS")
    return min(float(value), LONGEST_WAIT)

"""Services: which there are, what they are like, what is to be done with them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse

from agentd.chaining import Caller as Asking
from agentd.core.errors import Forbidden, InvalidRequest
from agentd.core.plan import Request as Wanted
from agentd.core.planner import parse_tags
from agentd.core.verbs import EDITING
from agentd.node import Node
from agentd.timers import stamp
from api.auth import Caller, GuardedRoute, allow
from api.openapi import gives
from api.query import no_unknown_query
from api.requests import ActionBody
from api.routes.node import the_node
from api.schemas import ClusterStatus, OperationDocument, PlanDocument, StatusDocument

router = APIRouter(prefix="/v1/services", tags=["Services"], route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])
LONGEST_WAIT = 3600.0
EDITS = (*EDITING, "delete")
"""Actions that change the configuration."""
SUMMARY = '{"name", "node", "level", "avail", "overall", "topology", "frozen", "operation", "nodes",' \
          ' "flex_min", "instances": {node: avail}}'


@router.get("", **gives(f'`{{"services": [{SUMMARY}], "silent": [{{"node", "since", "why", "age"}}]}}`'))
async def listed(cluster: bool = False, caller: Caller = allow("viewer", "hypervisor"),
                 node: Node = Depends(the_node)) -> dict[str, Any]:
    """The services of this node; with `cluster` those of all hypervisors, the silent ones named."""
    found, silent = await node.cluster_services() if cluster else (node.services(), [])
    return {"services": [s for s in found if caller.sees(s["name"])], "silent": silent}


@router.get("/{name}", dependencies=[allow("viewer")], **gives(f"`{SUMMARY}`"))
async def one(name: str, node: Node = Depends(the_node)) -> dict[str, Any]:
    """One service in a line: its states, and where it stands."""
    return node.summary(name)


@router.get("/{name}/status", dependencies=[allow("viewer", "hypervisor")],
            **gives("`encap.status/1`", StatusDocument))
async def status(name: str, refresh: bool = False, node: Node = Depends(the_node)) -> JSONResponse:
    """The instance of this node with its guests, from memory; `refresh` probes everything first."""
    return JSONResponse(await node.instance(name, refresh=refresh))


@router.get("/{name}/status/cluster", dependencies=[allow("viewer")],
            **gives("`encap.cluster-status/1`", ClusterStatus))
async def everywhere(name: str, refresh: bool = False, node: Node = Depends(the_node)) -> JSONResponse:
    """Every instance of the service; a hypervisor that is silent is named and delays nobody."""
    return JSONResponse(await node.everywhere(name, refresh=refresh))


@router.post("/{name}/plan", dependencies=[allow("viewer")], **gives("`encap.plan/1`", PlanDocument))
async def plan(name: str, body: ActionBody, node: Node = Depends(the_node)) -> dict[str, Any]:
    """What an action would do now. Nothing is done."""
    return (await node.actions.plan(name, wanted(body), tuple(body.assume_down))).document()


@router.post("/{name}/actions", status_code=202, **gives(
    "`encap.operation/1`, with `Location`", OperationDocument, status=202,
    also=("with `Prefer`: the same, when it has ended in time; with `dry_run`: `encap.plan/1`",
          OperationDocument | PlanDocument)))
async def act(
    request: Request, name: str, body: ActionBody, caller: Caller = allow("operator", "hypervisor"),
    node: Node = Depends(the_node), prefer: Annotated[str, Header(max_length=64)] = "",
    idempotency_key: Annotated[str, Header(max_length=255)] = "",
) -> Response:
    """Do something with a service: 202 and the operation, or with `Prefer: wait=N` its end."""
    asking = await asked_by(request, body, caller, idempotency_key)
    patience = seconds(prefer) if prefer else 0.0
    if body.dry_run:
        return JSONResponse((await node.actions.plan(name, wanted(body), asking.assume_down)).document())
    operation = await node.actions.act(name, wanted(body), asking)
    ended = await operation.wait(patience) if prefer else False
    return JSONResponse(operation.document(), 200 if ended else 202,
                        {"location": f"/v1/operations/{operation.id}"})


async def asked_by(request: Request, body: ActionBody, caller: Caller, key: str) -> Asking:
    """Who asks. Only another agent acts for somebody else, and only as itself."""
    if (body.local or body.origin is not None) and not caller.node:
        raise Forbidden("local and origin are for other agents", hint="leave them out")
    if caller.node and (body.origin is None or body.origin.node != caller.node or not body.local):
        raise InvalidRequest(f"{caller.who} has to say for which of its operations it asks", code="no-origin")
    if body.until and not caller.node and body.until <= stamp(datetime.now(UTC)):
        raise InvalidRequest(f"until {body.until}: that is past")
    if body.action in EDITS and not caller.has("editor", "hypervisor"):
        raise Forbidden(f"{caller.who} is {caller.role}; {body.action} changes the configuration,"
                        " which needs editor")
    origin = (body.origin.node, body.origin.operation) if body.origin is not None else ("", "")
    who = f"{body.origin.who} by {caller.who}" if body.origin is not None and body.origin.who else caller.who
    return Asking(who, key, await request.body(), body.reason, body.until, tuple(body.assume_down), origin)


def wanted(body: ActionBody) -> Wanted:
    """The core's request. Fields that this version does not act on are refused, not ignored."""
    if body.stop_containers:
        raise InvalidRequest("stop_containers: not yet supported", code="not-supported")
    tags = parse_tags(body.tags) if body.tags else ()
    return Wanted(body.action, tuple(body.nodes), tuple(body.rids), tags, tuple(body.subsets), body.to,
                  body.master, tuple(body.slave), body.slaves, body.force, body.local)


def seconds(prefer: str) -> float:
    """``wait=N`` of a Prefer header, at most an hour."""
    name, _, value = prefer.partition("=")
    if name.strip() != "wait" or not value.strip().isdecimal() or len(value) > 9:
        raise InvalidRequest(f"Prefer: {prefer[:40]!r} is not wait=SECONDS")
    return min(float(value), LONGEST_WAIT)

"""Operations: listed, looked at, followed, cancelled."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse

from agentd.core.errors import InvalidRequest
from agentd.feed import lively
from agentd.node import Node
from agentd.operation import Operation
from api.auth import Caller, GuardedRoute, allow
from api.openapi import STREAM, gives
from api.query import no_unknown_query
from api.routes.node import the_node
from api.schemas import OperationDocument

router = APIRouter(prefix="/v1/operations", tags=["Operations"], route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])
State = Literal["", "queued", "running", "cancelling", "ended"]


@router.get("", **gives('`{"operations": [encap.operation/1]}`, their `plan` null'))
async def listed(
    service: str = "", state: State = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    caller: Caller = allow("viewer", "hypervisor"), node: Node = Depends(the_node),
) -> dict[str, Any]:
    """The operations of this node, the newest first."""
    found = await node.operations.list(service, state, limit)
    return {"operations": [o for o in found if caller.sees(o["service"])]}


@router.get("/{number}", **gives("`encap.operation/1`", OperationDocument))
async def one(number: str, caller: Caller = allow("viewer", "hypervisor", scoped=True),
              node: Node = Depends(the_node)) -> dict[str, Any]:
    """One operation, running or ended."""
    return (await seen(node, number, caller)).document()


@router.get("/{number}/events", response_class=StreamingResponse, **STREAM)
async def events(
    number: str, caller: Caller = allow("viewer", "hypervisor", scoped=True), node: Node = Depends(the_node),
    last_event_id: Annotated[str, Header(max_length=20)] = "",
) -> StreamingResponse:
    """Server-sent events of one operation up to its end, each an `encap.event/1`."""
    if last_event_id and not last_event_id.isdecimal():
        raise InvalidRequest("Last-Event-ID is the number of an event")
    operation = await seen(node, number, caller)
    return StreamingResponse(_stream(operation, int(last_event_id or 0)), media_type="text/event-stream")


@router.post("/{number}/cancel", **gives("`encap.operation/1`", OperationDocument))
async def cancel(number: str, caller: Caller = allow("operator", "hypervisor", scoped=True),
                 node: Node = Depends(the_node)) -> dict[str, Any]:
    """Ask for a cancel: at the next step, and what was done is undone."""
    operation = await seen(node, number, caller)
    operation.cancel(caller.who)
    return operation.document()


async def seen(node: Node, number: str, caller: Caller) -> Operation:
    operation = await node.operations.get(number)
    caller.require(operation.service)
    return operation


async def _stream(operation: Operation, after: int) -> AsyncIterator[str]:
    async for event in lively(operation.follow(after)):
        yield ": \n\n" if event is None else f"id: {event['id']}\ndata: {json.dumps(event)}\n\n"

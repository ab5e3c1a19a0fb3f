"""The events of this node, as one stream."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse

from agentd.core.errors import InvalidRequest
from agentd.feed import TOPICS
from agentd.node import Node
from api.auth import Caller, GuardedRoute, allow
from api.openapi import STREAM
from api.query import no_unknown_query
from api.routes.node import the_node

router = APIRouter(prefix="/v1", tags=["Events"], route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])


@router.get("/events", response_class=StreamingResponse, **STREAM)
async def events(
    topics: str = "", caller: Caller = allow("viewer", "hypervisor"), node: Node = Depends(the_node),
    last_event_id: Annotated[str, Header(max_length=80)] = "",
) -> StreamingResponse:
    """Server-sent events: `node`, `status`, `gone`, `operation`, and `all` when everything was told once."""
    chosen = tuple(filter(None, topics.split(",")))
    if not set(chosen) <= set(TOPICS):
        raise InvalidRequest(f"the topics are {', '.join(TOPICS)}")
    return StreamingResponse(node.feed.stream(chosen, last_event_id, caller.sees),
                             media_type="text/event-stream")

"""Configurations: read, checked, replaced, edited by option."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import PlainTextResponse

from agentd.core.errors import InvalidRequest
from agentd.node import Node
from api.auth import Caller, GuardedRoute, allow
from api.openapi import TEXT_BODY, gives
from api.query import no_unknown_query
from api.requests import EditBody
from api.routes.node import the_node
from api.schemas import ValidationDocument

router = APIRouter(prefix="/v1", tags=["Configurations"], route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])
ACCEPTED = gives('`{"revision", "hash", "warnings", "told", "not_told"}`; with `dry_run` a `diff`, and'
                 " nobody is told")
Tag = Annotated[str | None, Header(max_length=128)]


@router.get("/services/{name}/config", dependencies=[allow("viewer", "hypervisor")],
            response_class=PlainTextResponse,
            **gives("the text, with its `ETag` and its number in `Encap-Revision`"))
async def read(name: str, node: Node = Depends(the_node)) -> PlainTextResponse:
    """The text in force on this node."""
    held = node.registry.get(name)
    headers = {"etag": f'"{held.hash}"', "encap-revision": str(held.revision)}
    return PlainTextResponse(held.text, headers=headers)


@router.put("/services/{name}/config", openapi_extra=TEXT_BODY, **ACCEPTED)
async def put(
    request: Request, name: str, dry_run: bool = False, caller: Caller = allow("editor"),
    node: Node = Depends(the_node), if_match: Tag = None, if_none_match: Tag = None,
) -> dict[str, Any]:
    """Replace the text (`If-Match`), or make a service (`If-None-Match: *`), and tell the other nodes."""
    return await node.configurations.put(name, text_of(await request.body()), tag(if_match),
                                         if_none_match == "*", caller.who, dry_run)


@router.patch("/services/{name}/config", **ACCEPTED)
async def patch(
    name: str, body: EditBody, dry_run: bool = False, caller: Caller = allow("editor"),
    node: Node = Depends(the_node), if_match: Tag = None,
) -> dict[str, Any]:
    """Set and remove options, in one revision; comments and all other lines stay (`If-Match`)."""
    changes = [(e.section, e.option, e.value) for e in body.set]
    removed = [(e.section, e.option) for e in body.unset]
    return await node.configurations.edit(name, changes, removed, tag(if_match), caller.who, dry_run)


@router.post("/config/validate", dependencies=[allow("viewer")], openapi_extra=TEXT_BODY,
             **gives("every finding, with its line", ValidationDocument))
async def validate(request: Request, node: Node = Depends(the_node)) -> dict[str, Any]:
    """Check a text, from every node's point of view. Nothing is kept."""
    return node.configurations.validate(text_of(await request.body()))


def tag(header: str | None) -> str | None:
    """The hash in a strong ETag."""
    if header is None or header == "*":
        return header
    if not (header.startswith('"') and header.endswith('"') and len(header) > 2):
        raise InvalidRequest("If-Match takes one strong ETag, in double quotes")
    return header[1:-1]


def text_of(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the text is not UTF-8 at byte {error.start}") from error

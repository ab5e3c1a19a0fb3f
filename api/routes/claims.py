"""Claims: what this hypervisor granted, and what other hypervisors ask of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from agentd.core.claims import Ask, Claim
from agentd.core.errors import Forbidden
from agentd.node import Node
from api.auth import Caller, GuardedRoute, allow
from api.openapi import gives
from api.query import no_unknown_query
from api.requests import ClaimBody, ClaimingOperation, ReleaseBody
from api.routes.node import the_node

router = APIRouter(prefix="/v1/claims", tags=["Claims"], route_class=GuardedRoute,
                   dependencies=[Depends(no_unknown_query)])


@router.get("", **gives('`{"claims": [{"instance", "operation", "claimant", "action", "to"}]}`'))
async def granted(caller: Caller = allow("viewer", "hypervisor"),
                  node: Node = Depends(the_node)) -> dict[str, Any]:
    """The claims that this hypervisor has granted."""
    return {"claims": [c for c in node.claims.held() if caller.sees(c["instance"].removesuffix("/encap"))]}


@router.post("", **gives('`{"granted": true}`; a refusal is a problem, with the `holder` where there is one'))
async def ask(body: ClaimBody, caller: Caller = allow("hypervisor"),
              node: Node = Depends(the_node)) -> dict[str, Any]:
    """Ask for a claim. It is on the disk of this hypervisor when the answer comes."""
    claim = Claim(**body.claim.model_dump())
    if claim.claimant != caller.node:
        raise Forbidden(f"{caller.who} cannot claim for {claim.claimant}", code="not-yours",
                        hint="a hypervisor asks for itself only")
    return await node.claims.answer(Ask(claim, tuple(body.assume_down)), caller.who)


@router.post("/release", **gives('`{"released": true}`, also where nothing was held'))
async def release(body: ReleaseBody, caller: Caller = allow("hypervisor"),
                  node: Node = Depends(the_node)) -> dict[str, Any]:
    """Give a claim back."""
    await node.claims.release(body.instance, body.operation, caller.node)
    return {"released": True}


@router.get("/operations/{number}", dependencies=[allow("hypervisor")],
            **gives('`{"state"}`: `running`, `ended` or `unknown-operation`'))
async def claimant_says(number: Annotated[ClaimingOperation, Path()],
                        node: Node = Depends(the_node)) -> dict[str, str]:
    """Whether what an operation of this node claimed may still be needed."""
    return await node.claims.claimant_says(number)

"""Routes and roles, from the OpenAPI document: a route that is not in this table fails the build."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from agentd.identity import Identity, LocalUser, Peer
from agentd.node import Node
from agentd.settings import Settings, User
from api.app import create_app
from api.auth import Access

LOOK, ACT, EDIT = ("viewer", "hypervisor"), ("operator", "hypervisor"), ("editor",)
PEER = ("hypervisor",)
TABLE = {
    ("get", "/v1/node"): LOOK,
    ("get", "/v1/openapi.json"): LOOK,
    ("get", "/v1/events"): LOOK,
    ("get", "/v1/nodes"): LOOK,
    ("post", "/v1/nodes/tokens"): ("admin",),
    ("delete", "/v1/nodes/{node_name}"): ("admin",),
    ("get", "/v1/cluster/members"): PEER,
    ("post", "/v1/cluster/members"): PEER,
    ("get", "/v1/cluster/ca-key"): PEER,
    ("get", "/v1/replicas"): PEER,
    ("get", "/v1/services/{name}/replica"): PEER,
    ("put", "/v1/services/{name}/replica"): PEER,
    ("get", "/v1/services"): LOOK,
    ("get", "/v1/services/{name}"): ("viewer",),
    ("get", "/v1/services/{name}/status"): LOOK,
    ("get", "/v1/services/{name}/status/cluster"): ("viewer",),
    ("post", "/v1/services/{name}/plan"): ("viewer",),
    ("post", "/v1/services/{name}/actions"): ACT,
    ("get", "/v1/services/{name}/config"): LOOK,
    ("put", "/v1/services/{name}/config"): EDIT,
    ("patch", "/v1/services/{name}/config"): EDIT,
    ("post", "/v1/config/validate"): ("viewer",),
    ("get", "/v1/operations"): LOOK,
    ("get", "/v1/operations/{number}"): LOOK,
    ("get", "/v1/operations/{number}/events"): LOOK,
    ("post", "/v1/operations/{number}/cancel"): ACT,
    ("get", "/v1/claims"): LOOK,
    ("post", "/v1/claims"): PEER,
    ("post", "/v1/claims/release"): PEER,
    ("get", "/v1/claims/operations/{number}"): PEER,
}
ORDER = ("viewer", "operator", "editor", "admin")
SETTINGS = Settings(root=cast(Any, "/"), node="hv1", users={role: User(role) for role in ORDER})


def application(peer: Peer | None) -> FastAPI:
    node = cast(Node, SimpleNamespace(settings=SETTINGS))
    app = create_app(node, Access(lambda: SETTINGS, daemon_uid=1), "0")

    @app.middleware("http")
    async def known(request: Any, call_next: Any) -> Any:
        request.state.peer = peer
        return await call_next(request)

    return app


def answer(peer: Peer | None, method: str, path: str, action: str = "start") -> httpx.Response:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(application(peer), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="https://hv1") as client:
            where = path.format(name="web", number="x", node_name="hv2")
            body = {"action": action} if method == "post" else None
            return await client.request(method, where, json=body)

    return asyncio.run(call())


def certificate(role: str) -> Identity:
    return Identity("c", "user", role) if role in ORDER else Identity("c", role, "vm1")


def test_the_document_has_the_routes_of_the_table_and_their_rules() -> None:
    paths = application(None).openapi()["paths"]
    found = {(method, path): tuple(operation["x-encap-roles"])
             for path, methods in paths.items() for method, operation in methods.items()}
    assert found == TABLE


@pytest.mark.parametrize("role", [*ORDER, "hypervisor", "guest", "nobody"])
@pytest.mark.parametrize(("method", "path"), TABLE)
def test_who_may_call_what(method: str, path: str, role: str) -> None:
    rule = TABLE[method, path]
    least = next((ORDER.index(r) for r in rule if r in ORDER), len(ORDER))
    allowed = role in rule or (role in ORDER and ORDER.index(role) >= least)
    status = answer(None if role == "nobody" else certificate(role), method, path).status_code
    assert (status != 403) is allowed


@pytest.mark.parametrize("role", [*ORDER, "hypervisor"])
@pytest.mark.parametrize("action", ["start", "freeze", "clear", "enable", "disable", "delete"])
def test_an_action_that_edits_the_configuration_is_for_those_who_may(action: str, role: str) -> None:
    least = "editor" if action in ("enable", "disable", "delete") else "operator"
    allowed = role == "hypervisor" or ORDER.index(role) >= ORDER.index(least)
    found = answer(certificate(role), "post", "/v1/services/{name}/actions", action)
    assert (found.status_code != 403) is allowed


def test_root_is_admin_and_another_user_is_nobody() -> None:
    assert answer(LocalUser(0), "patch", "/v1/services/{name}/config").status_code != 403
    assert answer(LocalUser(4242), "get", "/v1/node").status_code == 403


def test_an_unknown_query_parameter_is_an_error() -> None:
    found = answer(LocalUser(0), "get", "/v1/services?refesh=true")
    assert found.status_code == 400
    assert found.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path", "status"), [("get", "/nope", 404), ("delete", "/v1/node", 405)])
def test_errors_of_routing_are_problem_documents(method: str, path: str, status: int) -> None:
    found = answer(LocalUser(0), method, path)
    assert (found.status_code, found.json()["node"]) == (status, "hv1")


def test_a_replica_comes_with_the_name_of_its_sender_and_nothing_else_in_it() -> None:
    received: list[tuple[str, Any, str]] = []

    async def receive(name: str, replica: Any, sender: str) -> dict[str, Any]:
        received.append((name, replica, sender))
        return {"revision": 3, "hash": "x"}

    app = application(Identity("c", "hypervisor", "hv2"))
    app.state.node.replicator = SimpleNamespace(receive=receive)
    body = {"revision": 3, "hash": "x", "base": "", "text": "[DEFAULT]\n", "author": "alice", "origin": "hv2"}

    async def put(sent: Any) -> int:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="https://hv1") as client:
            return (await client.put("/v1/services/web/replica", json=sent)).status_code

    assert asyncio.run(put(body)) == 200
    assert received == [("web", body, "hv2")]
    for wrong in ({"revision": "3"}, {"revision": 0}, {"more": 1}, {"text": "x" * ((1 << 20) + 1)}):
        assert asyncio.run(put(body | wrong)) == 400
    assert len(received) == 1

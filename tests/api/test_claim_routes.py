"""The routes of claims: who may say what, and two hypervisors over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from agentd import pki
from agentd.claiming import Claims
from agentd.core.claims import Claim
from agentd.core.errors import HeldElsewhere
from agentd.identity import Identity
from agentd.node import Node
from agentd.peers import Peer, Peers
from agentd.server import Server
from agentd.settings import Paths, Settings, User
from agentd.store import Store
from api.app import create_app
from api.auth import Access

ID, OTHER = "01JDQ4T0S7M3X5K8Z9V2W1R6PB", "01JDQ4T0S7M3X5K8Z9V2W1R6PC"
CLAIM = {"instance": "web", "operation": ID, "claimant": "hv1", "action": "start", "to": ""}
BODY = {"claim": CLAIM, "assume_down": []}
HV1, HV2, ALICE = Identity("c", "hypervisor", "hv1"), Identity("c", "hypervisor", "hv2"), Identity("c", "user", "alice")


class Hypervisor:
    """Claims with a real store and with operations as plain values, behind the real routes."""

    def __init__(self, root: Path, name: str, where: Mapping[str, Peer]) -> None:
        users = {"alice": User("viewer", ("we*",))}
        self.settings = Settings(root, name, "c", listen=(("127.0.0.1", 0),), users=users)
        self.operations = {ID: "running"}
        self.peers = Peers(where.get, lambda: pki.client_context(self.settings.paths), lambda: "c", 3.0)

    async def start(self) -> None:
        async def look(_claim: Claim) -> Mapping[str, str | None]:
            return {"container#0": "down"}

        async def state(operation: str) -> str:
            return self.operations.get(operation, "unknown-operation")

        name = self.settings.node
        self.store = await Store.open(self.settings.paths.database, lambda: "2026-11-23T16:00:00.000Z")
        self.claims = Claims(lambda: name, self.store.claims, self.store.audit, self.peers, look, state)
        await self.claims.load()
        node = cast(Node, SimpleNamespace(settings=self.settings, claims=self.claims))
        self.app = create_app(node, Access(lambda: self.settings), "0")

    async def stop(self) -> None:
        await self.claims.close()
        await self.peers.close()
        await self.store.close()

    async def call(self, peer: Identity, method: str, path: str = "", body: Any = None) -> httpx.Response:
        async def known(scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "state": {"peer": peer}}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="https://hv2") as client:
            return await client.request(method, f"/v1/claims{path}", json=body)


@pytest.fixture
async def granter(tmp_path: Path) -> AsyncIterator[Hypervisor]:
    """hv2, which can reach nobody."""
    found = Hypervisor(tmp_path, "hv2", {})
    await found.start()
    yield found
    await found.stop()


async def test_a_hypervisor_claims_for_itself_and_gives_back_what_is_its_own(granter: Hypervisor) -> None:
    for body in (BODY, {"claim": {k: CLAIM[k] for k in ("instance", "operation", "claimant")}}):
        answer = await granter.call(HV1, "POST", "", body)
        assert (answer.status_code, answer.json()) == (200, {"granted": True})
    answer = await granter.call(HV2, "POST", "", BODY)
    assert (answer.status_code, answer.json()["code"]) == (403, "not-yours")
    answer = await granter.call(HV2, "POST", "", {"claim": {**CLAIM, "claimant": "hv2", "operation": OTHER}})
    assert (answer.status_code, answer.json()["code"]) == (409, "held-elsewhere")
    assert answer.json()["holder"] == {"operation": ID, "node": "hv1", "action": "start", "to": ""}

    given = {"instance": "web", "operation": ID}
    assert (await granter.call(HV2, "POST", "/release", given)).status_code == 403
    for _ in range(2):
        assert (await granter.call(HV1, "POST", "/release", given)).json() == {"released": True}
    assert granter.claims.held() == []


async def test_what_is_held_is_told_to_those_who_may_see_the_service(granter: Hypervisor) -> None:
    for instance in ("web", "web/encap", "db"):
        await granter.call(HV1, "POST", "", {"claim": {**CLAIM, "instance": instance, "operation": f"{ID}.2"}})
    told = (await granter.call(HV1, "GET")).json()["claims"]
    assert told == [{**CLAIM, "instance": instance} for instance in ("db", "web", "web/encap")]
    seen = (await granter.call(ALICE, "GET")).json()["claims"]
    assert [claim["instance"] for claim in seen] == ["web", "web/encap"]


@pytest.mark.parametrize(("number", "state"), [(ID, "running"), (f"{ID}.2", "running"),
                                               (OTHER, "unknown-operation")])
async def test_a_claimant_says_what_became_of_its_operation(granter: Hypervisor, number: str, state: str) -> None:
    assert (await granter.call(HV1, "GET", f"/operations/{number}")).json() == {"state": state}


HOSTILE_CLAIMS = [
    {"instance": "../etc"}, {"instance": "web/other"}, {"instance": "web/encap/encap"}, {"instance": ""},
    {"instance": "web\n"}, {"instance": "w" * 64}, {"instance": 7}, {"instance": None},
    {"operation": "1"}, {"operation": f"{ID}\n"}, {"operation": f"{ID}.0"}, {"operation": f"{ID}.x"},
    {"operation": f"{ID}.1234567890"}, {"operation": ID.lower()}, {"operation": f"{ID}/../x"},
    {"claimant": ""}, {"claimant": "a/b"}, {"claimant": ["hv1"]}, {"action": ""}, {"action": "Start now"},
    {"action": "x" * 33}, {"to": "vm 1"}, {"to": ".."}, {"to": "x" * 300}, {"more": "x"},
]


@pytest.mark.parametrize("body", [
    *({"claim": {**CLAIM, **each}} for each in HOSTILE_CLAIMS), {"claim": {}}, {"claim": None}, {}, [], "x", None,
    {**BODY, "more": 1}, {**BODY, "assume_down": "hv2"}, {**BODY, "assume_down": ["a b"]},
    {**BODY, "assume_down": [1]}, {**BODY, "assume_down": ["hv3"] * 65},
], ids=lambda body: str(body)[-60:].replace("\n", ""))
async def test_hostile_questions_are_refused_before_anything_is_done(granter: Hypervisor, body: Any) -> None:
    assert (await granter.call(HV1, "POST", "", body)).status_code == 400
    assert granter.claims.held() == []


@pytest.mark.parametrize("body", [{}, {"instance": "web"}, {"instance": "..", "operation": ID}, None,
                                  {"instance": "web", "operation": "x"},
                                  {"instance": "web", "operation": ID, "claimant": "hv1"}])
async def test_hostile_releases_are_refused(granter: Hypervisor, body: Any) -> None:
    assert (await granter.call(HV1, "POST", "/release", body)).status_code == 400


@pytest.mark.parametrize("number", ["x", f"{ID}.", f"{ID}.-1", f"{ID}%0A", "%00", "9" * 26, "A" * 5000])
async def test_hostile_numbers_of_operations_are_refused(granter: Hypervisor, number: str) -> None:
    assert (await granter.call(HV1, "GET", f"/operations/{number}")).status_code == 400


# --- over real connections


@asynccontextmanager
async def served(folder: Path, *names: str) -> AsyncIterator[tuple[list[Hypervisor], list[Server]]]:
    where: dict[str, Peer] = {}
    nodes = [Hypervisor(folder / name, name, where) for name in names]
    first = Paths(folder / names[0])
    pki.init_ca(first, "c", names[0])
    servers = []
    for node in nodes:
        name, paths = node.settings.node, node.settings.paths
        if node is not nodes[0]:
            issued = pki.sign_request(first, pki.make_key_and_request(paths, name), "hypervisor", name)
            pki.install(paths, issued, first.ca_certificate.read_bytes(), "c", "hypervisor", name)
        await node.start()
        servers.append(Server(node.app, node.settings))
        await servers[-1].start()
        where[name] = Peer(servers[-1].listening[0], ("hypervisor",))
    yield nodes, servers
    for node in nodes:
        await node.stop()
    for server in servers:
        await server.stop()


@pytest.mark.socket
async def test_two_hypervisors_over_tls(tmp_path: Path) -> None:
    async with served(tmp_path, "hv1", "hv2") as ((hv1, hv2), servers):
        order = ("hv1", "hv2")
        await hv2.claims.take(Claim("web", ID, "hv2"), order)
        assert hv1.claims.held() == hv2.claims.held() == [{**CLAIM, "claimant": "hv2"}]
        hv1.operations = {OTHER: "running"}
        with pytest.raises(HeldElsewhere, match="hv2 holds the claim on web") as caught:
            await hv1.claims.take(Claim("web", OTHER, "hv1"), order)
        assert caught.value.details["holder"]["operation"] == ID

        hv2.operations[ID] = "ended"
        await hv1.claims.take(Claim("web", OTHER, "hv1"), order)
        assert hv1.claims.held() == hv2.claims.held() == [{**CLAIM, "operation": OTHER}]
        await hv1.claims.finished(OTHER)
        async with asyncio.timeout(10):
            while hv1.claims.held() or hv2.claims.held():  # noqa: ASYNC110 - the other end of a connection
                await asyncio.sleep(0.01)

        hv1.operations[ID] = "running"
        await servers[1].stop()
        with pytest.raises(HeldElsewhere) as caught:
            await hv1.claims.take(Claim("web", ID, "hv1"), order)
        assert (caught.value.details["node"], caught.value.details["silent"]) == ("hv2", True)

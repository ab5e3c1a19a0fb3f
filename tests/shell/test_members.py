"""Membership among real servers: who is told, who is refused, and lists that are not to be trusted."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentd import joining, membership, pki
from agentd.core.errors import (
    Forbidden,
    InvalidConfig,
    InvalidRequest,
    NotFound,
    Refused,
    Silent,
    StorageTrouble,
)
from agentd.identity import Identity, LocalUser
from agentd.joinlistener import JoinListener
from agentd.members import Members
from agentd.membership import Cluster, Member
from agentd.node import Node
from agentd.peers import Peer, Peers
from agentd.server import Server
from agentd.settings import Paths, Settings, parse_address
from agentd.store import Store
from agentd.timers import SystemClock
from agentd.tokens import Tokens
from api.app import create_app
from api.auth import Access

pytestmark = pytest.mark.socket
ANYWHERE = (("127.0.0.1", 0),)
HASH, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
VM1 = Member("vm1", "guest", "", HASH)


@dataclass
class Hypervisor:
    """One node's membership with its store and its servers, as the daemon puts them together."""

    settings: Settings
    store: Store
    guests: dict[str, tuple[str, str]]

    def __post_init__(self) -> None:
        self.cut: list[int] = []
        self.server: Server | None = None
        self.peers = Peers(self._find, lambda: pki.client_context(self.paths),
                           lambda: "prod", 1.0)
        self.members = Members(lambda: self.settings, self.peers, SystemClock(), self.store.audit, self._drop,
                               lambda: self.guests, "1.2.3")
        self.members.joining = JoinListener(lambda: self.settings, Tokens(self.paths.tokens_file),
                                            self.members.admit)

    @property
    def paths(self) -> Paths:
        return self.settings.paths

    @property
    def name(self) -> str:
        return self.settings.node

    @property
    def joining(self) -> JoinListener:
        assert self.members.joining is not None
        return self.members.joining

    def list(self) -> Cluster:
        found = self.members.cluster()
        assert found is not None
        return found

    def save(self, cluster: Cluster) -> None:
        membership.save(self.paths, cluster)

    def _find(self, node: str) -> Peer | None:
        return self.members.find(node)

    def _drop(self) -> None:
        if self.server is not None:
            self.cut.append(self.server.drop_refused())

    async def start(self) -> None:
        """At the address it had before, if it had one."""
        node = SimpleNamespace(settings=self.settings, members=self.members,
                               describe=lambda: {"node": self.name, "version": "1.2.3"})
        app = create_app(cast(Node, node), Access(lambda: self.settings), "1.2.3")
        self.server = Server(app, self.settings, self.members.refuses)
        await self.server.start()
        self.settings = replace(self.settings, listen=(parse_address(self.server.listening[0]),))

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    async def close(self) -> None:
        await self.members.close()
        await self.peers.close()
        await self.joining.stop()
        await self.stop()
        await self.store.close()

    async def audited(self) -> list[tuple[str, str, str]]:
        return [(row["who"], row["action"], row["subject"]) for row in await self.store.audit.tail()]


Make = Callable[..., Awaitable[list[Hypervisor]]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Hypervisors of one cluster that serve, and know each other and vm1."""
    async with AsyncExitStack() as stack:

        async def open_one(name: str) -> Hypervisor:
            settings = Settings(tmp_path / name, name, "prod", listen=ANYWHERE, join_listen=ANYWHERE)
            store = await Store.open(settings.paths.database, lambda: "now")
            found = Hypervisor(settings, store, {})
            stack.push_async_callback(found.close)
            return found

        async def made(*names: str) -> list[Hypervisor]:
            cluster = pki.init_ca(Paths(tmp_path / names[0]), "prod", names[0])
            nodes = [await open_one(name) for name in names]
            for node in nodes:
                if node is not nodes[0]:
                    certify(nodes[0], node)
                await node.start()
                key_hash = pki.hash_of(node.paths.certificate.read_bytes())
                where = f"127.0.0.1:{node.settings.listen[0][1]}"
                cluster = cluster.admit(Member(node.name, "hypervisor", where, key_hash))
            for node in nodes:
                node.save(cluster.admit(VM1))
            return nodes

        yield made


def certify(first: Hypervisor, other: Hypervisor) -> None:
    issued = pki.sign_request(first.paths, pki.make_key_and_request(other.paths, other.name), "hypervisor", other.name)
    pki.install(other.paths, issued, first.paths.ca_certificate.read_bytes(), "prod", "hypervisor", other.name)


# Changes, and who is told


async def test_an_admitted_member_is_known_to_all_others_and_audited(make: Make) -> None:
    hv1, hv2, hv3 = await make("hv1", "hv2", "hv3")
    vm2 = Member("vm2", "guest", "", OTHER)
    after = await hv1.members.admit(vm2)
    assert after.member("vm2") == replace(vm2, revision=after.revision) == membership.load(hv1.paths).member("vm2")  # type: ignore[union-attr]
    await hv1.members.close()
    assert hv1.list() == hv2.list() == hv3.list() == after
    assert await hv1.audited() == [("hv1", "admit", "vm2")]
    assert await hv2.audited() == [("hv1 (hypervisor)", "members", "")]
    assert await hv1.members.admit(vm2) == after
    assert len(await hv1.audited()) == 1


async def test_a_silent_hypervisor_is_not_told_and_learns_when_it_returns(make: Make) -> None:
    hv1, hv2, hv3 = await make("hv1", "hv2", "hv3")
    await hv2.stop()
    assert await hv1.members.remove("vm1", "root") == {"node": "vm1", "told": ["hv3"], "not_told": ["hv2"]}
    vm1 = Identity("prod", "guest", "vm1", HASH)
    assert "removed" in hv1.members.refuses(vm1)
    assert "removed" in hv3.members.refuses(vm1)
    assert hv2.members.refuses(vm1) == ""
    await hv2.start()
    assert set(await hv1.members.compare()) == {"hv2", "hv3"}
    assert "removed" in hv2.members.refuses(vm1)
    assert hv2.cut == [0]
    # A second removal changes nothing and tells those who had not heard.
    assert (await hv1.members.remove("vm1", "root"))["told"] == ["hv2", "hv3"]
    assert await hv1.audited() == [("root", "remove", "vm1")] * 2


async def test_the_one_that_returns_asks_by_itself(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    await hv2.stop()
    await hv1.members.remove("vm1", "root")
    await hv2.members.compare()
    assert hv2.list() == hv1.list()


async def test_changes_made_apart_come_together_in_one_comparison(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    await hv1.stop()
    await hv2.stop()
    await asyncio.gather(hv1.members.admit(Member("vm2", "guest", "", HASH)),
                         hv2.members.admit(Member("vm3", "guest", "", OTHER)))
    await hv2.members.remove("vm1", "root")
    await hv1.members.close()
    await hv2.members.close()
    assert hv1.list() != hv2.list()
    await hv1.start()
    await hv2.start()
    await hv1.members.compare()
    assert hv1.list() == hv2.list()
    assert {m.name: m.revoked for m in hv1.list().members} == {
        "hv1": False, "hv2": False, "vm1": True, "vm2": False, "vm3": False}
    before = hv1.paths.cluster_file.stat()
    await hv2.members.compare()
    assert hv1.paths.cluster_file.stat() == before


async def test_many_admissions_at_once_lose_none(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    names = [f"g{n}" for n in range(12)]
    await asyncio.gather(*(node.members.admit(Member(name, "guest", "", HASH))
                           for name, node in zip(names, [hv1, hv2] * 6, strict=True)))
    await hv1.members.close()
    await hv2.members.close()
    await hv1.members.compare()
    assert hv1.list() == hv2.list()
    assert {m.name for m in hv1.list().members} == {"hv1", "hv2", "vm1", *names}


async def test_a_removal_by_an_old_list_still_holds(make: Make) -> None:
    """hv1 slept while vm1 joined again elsewhere: its first revocation is older than that."""
    hv1, hv2 = await make("hv1", "hv2")
    newer = hv2.list()
    for number in range(5):
        newer = newer.admit(replace(VM1, key_hash=f"sha256:{number:064}"))
    hv2.save(newer)
    assert await hv1.members.remove("vm1", "root") == {"node": "vm1", "told": ["hv2"], "not_told": []}
    for node in (hv1, hv2):
        found = node.list().member("vm1")
        assert found is not None
        assert found.revoked


async def test_a_list_that_does_not_fit_one_request_arrives(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    known = hv1.list()
    guests = [Member(f"guest-with-a-rather-long-name-{n}", "guest", f"10.0.{n // 250}.{n % 250}:1216", HASH, False, 9)
              for n in range(6_000)]
    hv1.save(Cluster("prod", 9, tuple(sorted((*known.members, *guests), key=lambda m: m.name))))
    hv1.peers.timeout = 20.0
    assert set(await hv1.members.compare()) == {"hv2"}
    assert hv2.list() == hv1.list()
    assert len(hv2.list().members) == 6_003


async def test_what_is_not_removed(make: Make) -> None:
    (hv1,) = await make("hv1")
    with pytest.raises(Refused, match="this node") as told:
        await hv1.members.remove("hv1", "root")
    assert "another hypervisor" in told.value.hint
    with pytest.raises(NotFound):
        await hv1.members.remove("vm9", "root")
    assert await hv1.audited() == []


# Who is refused


async def test_a_removed_hypervisor_is_cut_off_and_refused(make: Make) -> None:
    hv1, hv2, hv3 = await make("hv1", "hv2", "hv3")
    assert (await hv2.peers.ask("hv3", "GET", "/v1/node"))["node"] == "hv3"
    host, port = hv3.settings.listen[0]
    reader, writer = await asyncio.open_connection(host, port, ssl=pki.client_context(hv2.paths), server_hostname="hv3")
    writer.write(b"GET /v1/node HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    ended = asyncio.create_task(drained(reader))
    assert (await hv1.members.remove("hv2", "root"))["told"] == ["hv3"]
    await asyncio.wait_for(ended, 5)
    writer.close()
    assert hv3.cut[0] >= 1
    for node in ("hv1", "hv3"):
        with pytest.raises(Silent):
            await hv2.peers.ask(node, "GET", "/v1/node")
    assert hv1.members.find("hv2") is None
    assert (hv1.members.others(), hv3.members.others()) == (["hv3"], ["hv1"])
    assert await hv2.members.compare() == {}
    assert (await hv1.members.nodes())[1]["state"] == "revoked"


async def drained(reader: asyncio.StreamReader) -> None:
    try:
        await reader.read()
    except (ConnectionError, ssl.SSLError):
        return  # cut in the middle: that is what is waited for


async def test_a_list_without_this_node_is_merged_and_told_loudly(
        make: Make, caplog: pytest.LogCaptureFixture) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    with caplog.at_level(logging.ERROR, "encap.members"):
        told = await hv2.peers.ask("hv1", "POST", "/v1/cluster/members", body=hv2.list().revoke("hv1").document())
        await hv1.members.receive(told, "hv2 (hypervisor)")
    assert [m["revoked"] for m in told["members"]] == [True, False, False]
    assert len(caplog.records) == 1
    assert "WAS REMOVED from cluster prod, says hv2 (hypervisor)" in caplog.text


def hostile(cluster: Cluster) -> dict[str, Any]:
    good = cluster.document()
    entry = {"name": "evil", "role": "hypervisor", "address": "10.6.6.6:1", "revision": 50}

    def with_entry(**change: Any) -> dict[str, Any]:
        return {**good, "members": [{**entry, **change}]}

    return {
        "no object": [], "text": "prod", "nothing": {}, "no members": {**good, "members": {"a": 1}},
        "another cluster": {**good, "name": "test"}, "a path": {**good, "name": "../prod"},
        "too many": {**good, "members": [{"name": f"g{n}", "role": "guest"} for n in range(10_001)]},
        "too many together": {**good, "members": [{"name": f"g{n}", "role": "guest"} for n in range(9_998)]},
        "twice": {**good, "members": [entry, entry]},
        "no table": {**good, "members": ["evil"]}, "deep": {**good, "members": [[[[[]]]]]},
        "a user": with_entry(role="user"), "a name": with_entry(name="a\nb"), "an address": with_entry(name="10.0.0.1"),
        "a number": with_entry(name=7), "revoked": with_entry(revoked="yes"), "a hash": with_entry(key_hash="x"),
        "where": with_entry(address="a b"), "late": with_entry(revision=1 << 60), "true": with_entry(revision=True),
        "the end of numbers": with_entry(revision=(1 << 53) - 1),
    }


@pytest.mark.parametrize("kind", hostile(Cluster("prod")))
async def test_a_hostile_list_changes_nothing(make: Make, kind: str) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    text = hv1.paths.cluster_file.read_bytes()
    assert await hv2.peers.ask("hv1", "GET", "/v1/cluster/members") == hv1.list().document()
    with pytest.raises((InvalidRequest, Refused)):
        await hv2.peers.ask("hv1", "POST", "/v1/cluster/members", body=hostile(hv1.list())[kind])
    assert hv1.paths.cluster_file.read_bytes() == text
    assert await hv1.audited() == []
    assert hv1.cut == []


async def test_an_answer_that_is_no_list_counts_as_not_told(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    await hv2.stop()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    hv2.server = Server(app, hv2.settings)
    await hv2.server.start()
    assert await hv1.members.remove("vm1", "root") == {"node": "vm1", "told": [], "not_told": ["hv2"]}
    assert (await hv1.members.nodes())[1] == {
        "name": "hv2", "role": "hypervisor", "address": f"127.0.0.1:{hv2.settings.listen[0][1]}", "revoked": False,
        "state": "answering", "version": ""}


async def test_an_older_change_does_not_let_a_removed_node_back_in(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    old = hv1.list().document()
    await hv1.members.remove("vm1", "root")
    await hv2.peers.ask("hv1", "POST", "/v1/cluster/members", body=old)
    assert "removed" in hv1.members.refuses(Identity("prod", "guest", "vm1", HASH))


# The file


async def test_the_file_is_read_again_when_it_changed(make: Make) -> None:
    (hv1,) = await make("hv1")
    first = hv1.list()
    assert hv1.members.cluster() is first
    hv1.save(first.revoke("vm1"))
    assert hv1.members.cluster() == first.revoke("vm1")
    assert "removed" in hv1.members.refuses(Identity("prod", "guest", "vm1", HASH))
    assert hv1.members.refuses(LocalUser(0)) == ""


@pytest.mark.parametrize("text", ["name = ", "name = 'prod'\nmembers = 5\n", "a = " + "[" * 5000, "\x00", None])
async def test_a_file_that_went_bad_leaves_the_last_good_list(
        make: Make, text: str | None, caplog: pytest.LogCaptureFixture) -> None:
    (hv1,) = await make("hv1")
    good = hv1.list().revoke("vm1")
    hv1.save(good)
    assert hv1.list() == good
    hv1.paths.cluster_file.unlink()
    if text is not None:
        hv1.paths.cluster_file.write_text(text)
    with caplog.at_level(logging.ERROR, "encap.members"):
        assert [hv1.list() for _ in range(3)] == [good] * 3
    assert len(caplog.records) == 1
    assert "last good list stays in force" in caplog.text
    await hv1.members.admit(Member("vm2", "guest", "", HASH))
    assert membership.load(hv1.paths) == hv1.list()
    assert hv1.list().member("vm1") == good.member("vm1")


async def test_without_any_good_list_nobody_is_let_in(make: Make, tmp_path: Path) -> None:
    (hv1,) = await make("hv1")
    hv1.paths.cluster_file.write_text("name = ")
    for _ in range(2):
        assert "cannot be read" in hv1.members.refuses(Identity("prod", "hypervisor", "hv7", HASH))
        with pytest.raises(InvalidConfig):
            hv1.members.cluster()
    assert hv1.members.refuses(LocalUser(0)) == ""


# Looking


async def test_the_nodes_and_what_they_do(make: Make) -> None:
    hv1, hv2, hv3 = await make("hv1", "hv2", "hv3")
    await hv3.stop()
    hv1.guests.update({"vm2": ("enrolling", "10.0.0.9:1216")})
    rows = {row["name"]: row for row in (await hv2.peers.ask("hv1", "GET", "/v1/nodes"))["nodes"]}
    assert list(rows) == ["hv1", "hv2", "hv3", "vm1", "vm2"]
    assert {name: row["state"] for name, row in rows.items()} == {
        "hv1": "answering", "hv2": "answering", "hv3": "silent", "vm1": "unknown", "vm2": "enrolling"}
    assert {name: row["version"] for name, row in rows.items()} == {
        "hv1": "1.2.3", "hv2": "1.2.3", "hv3": "", "vm1": "", "vm2": ""}
    assert rows["hv3"]["why"]
    assert rows["hv3"]["age"] is None
    assert rows["vm2"] == {"name": "vm2", "role": "guest", "address": "10.0.0.9:1216", "revoked": False,
                           "state": "enrolling", "version": ""}
    hv1.guests.update({"vm1": ("silent", "10.0.0.8:1216"), "hv2": ("down", "10.0.0.7:1216")})
    await hv2.stop()
    rows = {row["name"]: row for row in await hv1.members.nodes()}
    assert (rows["vm1"]["state"], rows["vm1"]["address"]) == ("silent", "10.0.0.8:1216")
    assert (rows["hv2"]["state"], rows["hv2"]["role"]) == ("silent", "hypervisor")
    assert rows["hv2"]["age"] >= 0


async def test_a_guest_holds_no_list_and_shows_itself(make: Make, tmp_path: Path) -> None:
    (hv1,) = await make("hv1")
    settings = Settings(tmp_path / "vm1", "vm1", "prod")
    issued = pki.sign_request(hv1.paths, pki.make_key_and_request(settings.paths, "vm1"), "guest", "vm1")
    pki.install(settings.paths, issued, hv1.paths.ca_certificate.read_bytes(), "prod", "guest", "vm1")
    guest = Members(lambda: settings, hv1.peers, SystemClock(), hv1.store.audit, list, dict, "1.2.3")
    assert await guest.nodes() == [{"name": "vm1", "role": "guest", "address": "", "revoked": False,
                                    "state": "answering", "version": "1.2.3"}]
    assert guest.cluster() is None
    assert guest.others() == []
    assert guest.find("hv1") is None
    assert guest.refuses(Identity("prod", "hypervisor", "hv1", OTHER)) == ""
    assert await guest.compare() == {}
    for call in (lambda: guest.token("vm2", "guest", "root"), lambda: guest.admit(VM1),
                 lambda: guest.remove("hv1", "root"), lambda: guest.receive(hv1.list().document(), "hv1"),
                 lambda: guest.ca_key("hv1", "hv1")):
        with pytest.raises(Refused):
            await call()
    assert await hv1.audited() == []
    assert not settings.paths.cluster_file.exists()


async def test_where_the_others_are(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    assert hv1.members.find("hv2") == Peer(f"127.0.0.1:{hv2.settings.listen[0][1]}", ("hypervisor",))
    assert [hv1.members.find(name) for name in ("hv1", "vm1", "hv9")] == [None] * 3
    hv1.save(hv1.list().admit(replace(hv1.list().members[1], address="")))
    assert hv1.members.find("hv2") is None


# What is handed out


async def test_a_token_and_a_real_join_with_the_ca_key(make: Make, tmp_path: Path) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    issued = await hv1.members.token("hv3", "hypervisor", "root")
    assert set(issued) == {"token", "expires_at", "name", "role"}
    assert (issued["name"], issued["role"]) == ("hv3", "hypervisor")
    hv3 = Paths(tmp_path / "hv3")
    joined = await asyncio.to_thread(joining.join, issued["token"], hv3, ["127.0.0.1:7"])
    await hv1.members.close()
    assert joined == joining.Joined("prod", "hv3", "hypervisor", ca_key=True)
    assert hv3.ca_key.read_bytes() == hv1.paths.ca_key.read_bytes()
    assert hv1.list() == hv2.list() == membership.load(hv3)
    assert await hv1.audited() == [("root", "token", "hv3"), ("hv1", "admit", "hv3"), ("hv3 (hypervisor)", "ca-key", "hv3")]


async def test_a_removal_withdraws_the_tokens_that_were_made_before(make: Make, tmp_path: Path) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    old = (await hv1.members.token("vm1", "guest", "root"))["token"]
    await hv2.members.remove("vm1", "root")
    assert hv1.joining.listening == ()
    with pytest.raises(Silent):
        await asyncio.to_thread(joining.join, old, Paths(tmp_path / "thief"))
    again = (await hv1.members.token("vm1", "guest", "root"))["token"]
    await asyncio.to_thread(joining.join, again, Paths(tmp_path / "vm1"))
    await hv1.members.close()
    found = hv2.list().member("vm1")
    assert found is not None
    assert not found.revoked
    assert found.key_hash == pki.hash_of(Paths(tmp_path / "vm1").certificate.read_bytes())


async def test_a_token_is_made_by_the_newest_list(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    hv2.save(hv2.list().admit(Member("web", "guest", "", OTHER)))
    with pytest.raises(Refused, match="web is a guest"):
        await hv1.members.token("web", "hypervisor", "root")
    with pytest.raises(Refused, match="this node"):
        await hv1.members.token("hv1", "hypervisor", "root")
    assert [row for row in await hv1.audited() if row[1] == "token"] == []


async def test_who_gets_the_ca_key(make: Make) -> None:
    hv1, hv2 = await make("hv1", "hv2")
    assert await hv2.peers.ask("hv1", "GET", "/v1/cluster/ca-key") == hv1.paths.ca_key.read_text()
    assert await hv1.audited() == [("hv2 (hypervisor)", "ca-key", "hv2")]
    with pytest.raises(Refused, match="not on hv2"):
        await hv1.peers.ask("hv2", "GET", "/v1/cluster/ca-key")
    hv1.settings = replace(hv1.settings, ca="offline")
    with pytest.raises(Refused, match="off the hypervisors"):
        await hv2.peers.ask("hv1", "GET", "/v1/cluster/ca-key")
    hv1.settings = replace(hv1.settings, ca="online")
    for name in ("vm1", "hv9", ""):
        with pytest.raises(Forbidden):
            await hv1.members.ca_key(name, name)
    hv1.save(hv1.list().revoke("hv2"))
    with pytest.raises(Forbidden):
        await hv1.members.ca_key("hv2", "hv2 (hypervisor)")
    assert len(await hv1.audited()) == 1


async def test_without_an_audit_nothing_is_handed_out_and_a_removal_still_holds(make: Make, tmp_path: Path) -> None:
    hv1, _hv2 = await make("hv1", "hv2")
    (tmp_path / "broken.db").mkdir()
    store = await Store.open(tmp_path / "broken.db", lambda: "now", stand_in=True)
    cut: list[int] = []
    members = Members(lambda: hv1.settings, hv1.peers, SystemClock(), store.audit, lambda: cut.append(1), dict)
    try:
        with pytest.raises(StorageTrouble):
            await members.ca_key("hv2", "hv2 (hypervisor)")
        with pytest.raises(StorageTrouble):
            await members.admit(Member("vm2", "guest", "", HASH))
        assert hv1.list().member("vm2") is None
        with pytest.raises(StorageTrouble):
            await members.remove("vm1", "root")
        assert "removed" in hv1.members.refuses(Identity("prod", "guest", "vm1", HASH))
        assert cut == [1]
    finally:
        await members.close()
        await store.close()

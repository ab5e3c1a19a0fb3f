"""One configuration on three hypervisors and in two guests: who gets which text, and who keeps it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from agentd.core.config import parse
from agentd.core.errors import (
    EditConflict,
    EncapError,
    Forbidden,
    InvalidConfig,
    InvalidRequest,
    Refused,
    Silent,
)
from agentd.core.replication import content_hash, view
from agentd.core.status import Probe, Status
from agentd.peers import Peers
from agentd.registry import Held, Registry
from agentd.replicator import Replicator
from agentd.store import Store
from api.errors import error_from, problem, status_of
from drivers import catalogue

TEXT = """\
[DEFAULT]
nodes = hv1 hv2
drpnodes = dr1
encapnodes = vm1 vm2

[container#0]
type = fake
name = vm1

[container#1]
type = fake
name = vm2

[fs#1]
type = flag

[app#1]
type = fake
tags@vm1 = encap
start = /bin/one

[app#2]
type = fake
tags@vm2 = encap
start = /bin/two
"""
HOSTS, GUESTS = ("hv1", "hv2", "dr1"), ("vm1", "vm2")
PATH = "/v1/services/web/replica"


class SetClock:
    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> datetime:
        return datetime(2026, 11, 23, 16, tzinfo=UTC)


@dataclass
class Net:
    """The other daemons of every node: a call goes to the replicator it names, as JSON."""

    nodes: dict[str, Node] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    calls: list[tuple[str, str, str, str]] = field(default_factory=list)
    answers: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    """What a node answers whatever it holds: (node, method, path) -> document or error."""
    called: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, node: str) -> Peers:
        return cast(Peers, _Asking(self, node))

    async def until(self, true: Callable[[], bool]) -> None:
        """What nodes pass on by themselves is waited for."""
        async with asyncio.timeout(10):
            while not true():
                self.called.clear()
                await self.called.wait()

    def moved(self) -> list[tuple[str, str]]:
        """(sender, receiver) of the texts that were sent since the last question."""
        found = [(sender, to) for sender, to, method, _ in self.calls if method == "PUT"]
        self.calls.clear()
        return found


@dataclass
class _Asking:
    net: Net
    sender: str
    timeout: float = 3.0

    async def ask(self, node: str, method: str, path: str, *, body: Any = None, timeout: float | None = None) -> Any:
        self.net.calls.append((self.sender, node, method, path))
        self.net.called.set()
        if node in self.net.silent or self.sender in self.net.silent or node not in self.net.nodes:
            raise Silent(f"{node} does not answer", node=node)
        given = self.net.answers.get((node, method, path))
        if isinstance(given, EncapError):
            raise given
        if given is not None:
            return given
        try:
            answer = await self.net.nodes[node].answer(self.sender, method, path, json.loads(json.dumps(body)))
        except EncapError as error:
            raise error_from(problem(error, node), status_of(error)) from None
        finally:
            self.net.called.set()
        return json.loads(json.dumps(answer))


@dataclass
class Node:
    """A hypervisor or a guest: a registry, a store and a replicator over a folder."""

    name: str
    folder: Path
    net: Net
    running: set[str] = field(default_factory=set)
    changed: list[str] = field(default_factory=list)

    async def begin(self) -> Node:
        self.folder.mkdir(exist_ok=True)
        self.store = await Store.open(self.folder / "encap.db", lambda: "now")
        self.registry = Registry(self.folder, lambda: self.name, catalogue())
        self.replicator = Replicator(
            lambda: self.name, self.registry, self.store, self.net.of(self.name), catalogue(), self.runs,
            lambda guest: guest not in self.net.silent, SetClock(), self.hear)
        for name in self.registry.changed()[0]:
            numbers = await self.store.revisions.numbers()
            self.registry.load(name, lambda service, hash_, known=numbers: known[service, hash_])
        await self.replicator.load()
        self.net.nodes[self.name] = self
        return self

    async def end(self) -> None:
        await self.replicator.close()
        await self.store.close()

    async def hear(self, name: str) -> None:
        self.changed.append(name)

    def runs(self, _service: str, container: str) -> bool:
        return container in self.running

    async def answer(self, sender: str, method: str, path: str, body: Any) -> Any:
        if path == "/v1/replicas":
            return self.replicator.own()
        name = path.split("/")[3]
        if method == "GET":
            return await self.replicator.replica(name)
        return await self.replicator.receive(name, body, sender)

    async def edit(self, text: str, name: str = "web") -> dict[str, Any]:
        """As a user on this node does: examined, numbered, installed, told to the others."""
        await self.write(text, name)
        return await self.replicator.accepted(name)

    async def write(self, text: str, name: str = "web") -> None:
        before = self.registry.find(name)
        fresh = self.registry.examine(name, text)
        number = await self.store.revisions.append(
            name, fresh.hash, text, origin=self.name, author="alice", base=before.hash if before else "")
        self.registry.install(fresh, number)

    async def delete(self, name: str = "web") -> None:
        held = self.registry.get(name)
        await self.replicator.forgotten(name, held.revision)
        self.registry.remove(name)

    @property
    def held(self) -> Held:
        return self.registry.get("web")

    @property
    def text(self) -> str:
        return self.held.text

    @property
    def probe(self) -> Probe:
        return self.replicator.in_step(self.held)

    @property
    def lines(self) -> list[str]:
        return [line.text for line in self.probe.log]

    @property
    def notes(self) -> list[str]:
        return [line.text for line in self.replicator.notes(self.held)]


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Net]:
    """hv1 has web at revision 1 and both containers run there; nobody else has anything."""
    made = Net()
    for name in (*HOSTS, *GUESTS):
        await Node(name, tmp_path / name, made).begin()
    made.nodes["hv1"].running = {"container#0", "container#1"}
    yield made
    for node in made.nodes.values():
        await node.end()


@pytest.fixture
async def settled(net: Net) -> Net:
    """web is everywhere."""
    await net.nodes["hv1"].edit(TEXT)
    await net.until(lambda: all(not net.nodes[host].lines for host in HOSTS))
    net.moved()
    return net


def part(guest: str, text: str = TEXT) -> str:
    return str(view(parse(text)[0], "web", guest, catalogue()))


def replica(text: str = TEXT, revision: int = 2, **more: Any) -> dict[str, Any]:
    return {"revision": revision, "hash": content_hash(text), "base": "", "text": text, "author": "bob",
            "origin": "hv2"} | more


# --- the way of an edit


async def test_one_edit_reaches_every_hypervisor_and_every_guest_gets_its_view(net: Net) -> None:
    told = await net.nodes["hv1"].edit(TEXT)

    assert told == {"revision": 1, "told": ["hv2", "dr1", "vm1", "vm2"], "not_told": []}
    assert [net.nodes[host].text for host in HOSTS] == [TEXT] * 3
    assert [net.nodes[host].held.revision for host in HOSTS] == [1] * 3
    for guest in GUESTS:
        assert net.nodes[guest].text == part(guest)
        assert net.nodes[guest].held.service.level == "encap"
    assert "/bin/two" not in net.nodes["vm1"].text
    assert net.nodes["hv2"].changed == ["web"]
    row = await net.nodes["hv2"].store.revisions.newest("web")
    assert row is not None
    assert (row["author"], row["origin"]) == ("alice", "hv1")
    (audited,) = await net.nodes["hv2"].store.audit.tail()
    assert (audited["who"], audited["subject"], audited["detail"]["author"]) == ("hv1 (hypervisor)", "web", "alice")
    assert await net.nodes["vm1"].store.audit.tail() == []


async def test_every_hypervisor_comes_to_know_that_all_are_in_step(settled: Net) -> None:
    assert [settled.nodes[host].probe for host in HOSTS] == [Probe(Status.UP)] * 3


async def test_a_hypervisor_gives_what_arrives_to_the_guests_that_it_runs(settled: Net) -> None:
    settled.nodes["hv2"].running, settled.nodes["hv1"].running = {"container#1"}, {"container#0"}

    told = await settled.nodes["hv1"].edit(TEXT.replace("/bin/two", "/bin/2"))
    assert told["told"] == ["hv2", "dr1"]
    await settled.until(lambda: "/bin/2" in settled.nodes["vm2"].text)
    assert ("hv1", "vm1") not in settled.moved()


async def test_a_guest_is_told_only_when_its_view_changed(settled: Net) -> None:
    await settled.nodes["hv1"].edit(TEXT.replace("/bin/one", "/bin/1"))
    assert settled.nodes["vm1"].text == part("vm1", TEXT.replace("/bin/one", "/bin/1"))
    assert not [call for call in settled.calls if call[1] == "vm2"]
    await settled.nodes["hv1"].replicator.compare()
    assert "vm2" not in [to for _, to in settled.moved()]
    assert settled.nodes["hv1"].lines == []


async def test_nothing_moves_when_all_is_equal(settled: Net) -> None:
    for host in HOSTS:
        os.utime(settled.nodes[host].registry.path("web"))
        await settled.nodes[host].replicator.compare()
    assert {(method, path) for _, _, method, path in settled.calls} == {("GET", "/v1/replicas")}


async def test_a_node_that_is_taken_out_of_the_service_learns_it(settled: Net) -> None:
    without = TEXT.replace("drpnodes = dr1\n", "")
    told = await settled.nodes["hv1"].edit(without)
    assert "dr1" in told["told"]
    assert (settled.nodes["dr1"].text, settled.nodes["dr1"].held.service.level) == (without, "none")


async def test_a_node_that_takes_itself_out_still_tells_the_others(settled: Net) -> None:
    told = await settled.nodes["hv1"].edit(TEXT.replace("hv1 hv2", "hv2"))
    assert told["told"] == ["hv2", "dr1"]
    assert settled.nodes["hv2"].held.service.nodes == ("hv2",)


async def test_a_silent_node_is_named_and_catches_up_by_comparing(settled: Net) -> None:
    settled.silent.add("hv2")
    told = await settled.nodes["hv1"].edit(TEXT + "\n")
    assert told["not_told"] == [{"node": "hv2", "why": "hv2 does not answer"}]
    assert settled.nodes["hv1"].probe.status is Status.WARN
    assert settled.nodes["hv1"].lines == ["hv2 has not confirmed revision 2 yet: it does not answer"]

    settled.silent.clear()
    await settled.nodes["hv2"].replicator.compare()
    assert settled.nodes["hv2"].text == TEXT + "\n"
    await settled.nodes["hv1"].replicator.compare()
    assert settled.nodes["hv1"].lines == []


async def test_comparing_brings_a_service_to_a_node_that_never_had_it(net: Net) -> None:
    await net.nodes["hv1"].write(TEXT)
    await net.nodes["hv2"].write(TEXT.replace("hv1 hv2", "hv2 hv1"), "db")

    await net.nodes["hv1"].replicator.compare()
    assert net.nodes["hv1"].registry.get("db").revision == 1
    assert net.nodes["hv2"].text == TEXT


async def test_a_slow_guest_costs_its_own_deadline_only(settled: Net) -> None:
    settled.silent.add("vm1")
    told = await settled.nodes["hv1"].edit(TEXT.replace("/bin", "/sbin"))
    assert told["told"] == ["hv2", "dr1", "vm2"]
    assert [one["node"] for one in told["not_told"]] == ["vm1"]


# --- two texts with one number


async def parted(net: Net) -> tuple[str, str]:
    """hv1 and hv2 made a revision 2 each, neither heard of the other's."""
    one, two = TEXT.replace("/bin/one", "/bin/1"), TEXT.replace("/bin/two", "/bin/2")
    net.silent = {"hv1", "hv2"}
    await net.nodes["hv1"].edit(one)
    await net.nodes["hv2"].edit(two)
    net.silent = set()
    return one, two


@pytest.mark.parametrize("first", ["hv1", "hv2"])
async def test_of_two_texts_with_one_number_that_of_the_earlier_node_counts(settled: Net, first: str) -> None:
    one, two = await parted(settled)

    await settled.nodes[first].replicator.compare()
    for host in ("hv1", "hv2"):
        node = settled.nodes[host]
        assert (node.text, node.held.revision) == (one, 2)
        kept = {row["text"] for row in await node.store.revisions.of("web") if row["number"] == 2}
        assert kept == {one, two}
        assert node.notes == ["revision 2 was made on hv1 and on hv2: the text of hv1 counts, the other is kept"]


async def test_two_texts_with_one_number_are_still_told_after_a_restart_and_gone_with_the_next(settled: Net) -> None:
    one, _two = await parted(settled)
    await settled.nodes["hv1"].replicator.compare()

    hv2 = settled.nodes["hv2"]
    before = hv2.notes
    await hv2.end()
    await hv2.begin()
    assert hv2.notes == before != []
    await hv2.edit(one + "\n")
    assert [settled.nodes[host].notes for host in HOSTS] == [[], [], []]


async def test_an_older_text_is_refused_with_what_is_held(settled: Net) -> None:
    hv1 = settled.nodes["hv1"]
    await hv1.edit(TEXT + "\n")
    with pytest.raises(EditConflict, match="revision 2 of web") as refused:
        await hv1.replicator.receive("web", replica(revision=1), "hv2")
    assert refused.value.details == {"revision": 2, "hash": content_hash(TEXT + "\n")}


async def test_a_newer_text_that_was_not_made_from_ours_says_so(settled: Net) -> None:
    hv1, other = settled.nodes["hv1"], TEXT.replace("/bin/two", "/bin/2")
    await hv1.replicator.receive("web", replica(other, base=content_hash("another")), "hv2")
    assert hv1.text == other
    assert hv1.notes == ["revision 2 of hv2 was not made from revision 1 here, which it replaced; that one is kept"]


# --- deleted services


async def test_what_was_deleted_is_not_brought_back_and_the_node_that_missed_it_says_so(settled: Net) -> None:
    hv1, hv2, dr1 = (settled.nodes[host] for host in HOSTS)
    settled.silent.add("hv2")
    await dr1.delete()
    await hv1.delete()
    settled.silent.clear()

    for node in (hv1, hv2, dr1):
        await node.replicator.compare()
    assert "web" not in hv1.registry
    assert "web" not in dr1.registry
    assert settled.moved() == []
    advice = "here too: svc delete web --node hv2"
    assert sorted(hv2.notes) == [f"deleted on dr1; {advice}", f"deleted on hv1; {advice}"]
    assert "hv1 has not confirmed revision 1 yet: it was deleted there" in hv2.lines
    with pytest.raises(Refused, match="web was deleted on hv1 at revision 1") as refused:
        await hv1.replicator.receive("web", replica(TEXT, 1), "hv2")
    assert refused.value.code == "deleted"


async def test_a_refused_push_says_that_the_service_was_deleted(settled: Net) -> None:
    await settled.nodes["hv1"].delete()
    hv2 = settled.nodes["hv2"]
    await hv2.replicator.accepted("web")
    assert hv2.notes == ["deleted on hv1; here too: svc delete web --node hv2"]


async def test_a_tombstone_outlives_a_restart_and_a_service_made_anew_goes_on_above_it(settled: Net) -> None:
    hv1, hv2, dr1 = (settled.nodes[host] for host in HOSTS)
    for node in (hv1, hv2, dr1):
        await node.delete()
    await hv1.end()
    await hv1.begin()
    assert hv1.replicator.own() == {"services": {}, "deleted": {"web": 1}}

    told = await hv1.edit(TEXT)
    assert told["revision"] == 2
    assert told["told"][:2] == ["hv2", "dr1"]
    assert (hv2.held.revision, hv2.text) == (2, TEXT)
    assert [node.replicator.own()["deleted"] for node in (hv1, hv2, dr1)] == [{}, {}, {}]


async def test_a_node_learns_what_was_deleted_while_it_had_nothing(settled: Net) -> None:
    hv1, hv2, dr1 = (settled.nodes[host] for host in HOSTS)
    await hv2.edit(TEXT.replace("hv1 hv2", "hv2 hv1"), "db")
    for node in (hv1, hv2):
        await node.delete()
    await dr1.delete("db")
    await hv1.replicator.compare()
    assert hv1.replicator.own()["deleted"] == {"web": 1}
    await hv2.delete("db")
    await dr1.replicator.compare()
    assert dr1.replicator.own()["deleted"] == {"db": 1}


# --- what does not replace a good text


@pytest.mark.parametrize(("given", "error", "part_of_it"), [
    (replica() | {"text": TEXT[:-20]}, InvalidRequest, "cut short"),
    (replica(""), InvalidConfig, "1 error"),
    (replica("[DEFAULT]\nnodes = hv1 hv2\n[fs#1]\ntype = nonsense\n"), InvalidConfig, "1 error"),
    (replica("[DEFAULT]\n"), InvalidRequest, "names no hypervisor"),
    (replica("# " + "x" * (1 << 20)), InvalidRequest, "1 MiB"),
    (replica() | {"text": 1}, InvalidRequest, "not a text"),
    (replica() | {"text": "\ud800"}, InvalidRequest, "not Unicode"),
    (replica() | {"revision": "2"}, InvalidRequest, "no number"),
    (replica() | {"revision": True}, InvalidRequest, "no number"),
    (replica() | {"revision": 1 << 60}, InvalidRequest, "no number"),
    (replica() | {"hash": "sha256:0"}, InvalidRequest, "no hash"),
    (replica() | {"base": []}, InvalidRequest, "no hash"),
    (replica() | {"origin": "../hv2"}, InvalidRequest, "no node name"),
    (replica() | {"author": "x" * 300}, InvalidRequest, "256"),
    ([], InvalidRequest, "is an object"),
])
@pytest.mark.parametrize("node", ["hv1", "vm1"])
async def test_a_bad_text_never_replaces_a_good_one(
    settled: Net, node: str, given: Any, error: type[EncapError], part_of_it: str,
) -> None:
    there = settled.nodes[node]
    before, changed, rows = there.text, list(there.changed), await there.store.revisions.of("web")
    with pytest.raises(error, match=part_of_it):
        await there.replicator.receive("web", given, "hv2")
    assert there.text == before == there.registry.path("web").read_text()
    assert await there.store.revisions.of("web") == rows
    assert there.changed == changed


async def test_only_hypervisors_of_the_service_are_listened_to(settled: Net) -> None:
    for node, text in (("hv1", TEXT + "\n"), ("vm1", part("vm1") + "\n")):
        with pytest.raises(Forbidden, match="hv9 is no hypervisor of web") as refused:
            await settled.nodes[node].replicator.receive("web", replica(text), "hv9")
        assert refused.value.code == "not-of-this-service"
    elsewhere = TEXT.replace("hv1 hv2", "hv2 hv3")
    with pytest.raises(Forbidden, match="hv1 is no node of db"):
        await settled.nodes["hv1"].replicator.receive("db", replica(elsewhere), "hv2")


async def test_a_node_may_hand_over_a_text_in_which_it_has_no_part_any_more(settled: Net) -> None:
    await settled.nodes["hv1"].replicator.receive("web", replica(TEXT.replace("hv1 hv2", "hv1")), "hv2")
    assert settled.nodes["hv1"].held.revision == 2


async def test_what_an_editor_has_just_written_is_not_overwritten(settled: Net) -> None:
    hv1 = settled.nodes["hv1"]
    path, edited = hv1.registry.path("web"), TEXT + "# mine, of a moment ago\n"
    path.write_text(edited)
    with pytest.raises(EditConflict, match="not taken in yet"):
        await hv1.replicator.receive("web", replica(TEXT + "\n"), "hv2")
    path.write_text("[DEFAULT\n")
    hv1.registry.load("web", lambda _service, _hash: 0)
    with pytest.raises(EditConflict, match="is not good: line 1"):
        await hv1.replicator.receive("web", replica(TEXT + "\n"), "hv2")
    assert path.read_text() == "[DEFAULT\n"
    assert hv1.text == TEXT


async def test_a_text_that_is_here_already_changes_nothing(settled: Net) -> None:
    hv2 = settled.nodes["hv2"]
    hv2.changed.clear()
    given = await settled.nodes["hv1"].replicator.replica("web")
    assert given["author"] == "alice"
    assert await hv2.replicator.receive("web", given, "hv1") == {"revision": 1, "hash": content_hash(TEXT)}
    assert hv2.changed == []


# --- guests


async def test_a_guest_takes_a_newer_view_from_any_of_its_hypervisors_and_no_older_one(settled: Net) -> None:
    vm1 = settled.nodes["vm1"]
    newer = part("vm1", TEXT.replace("/bin/one", "/bin/1"))
    assert (await vm1.replicator.receive("web", replica(newer, 5), "dr1"))["revision"] == 5
    with pytest.raises(EditConflict, match="vm1 holds revision 5 of web"):
        await vm1.replicator.receive("web", replica(part("vm1"), 4), "hv1")
    assert (await vm1.replicator.receive("web", replica(newer, 6), "hv1"))["revision"] == 5
    assert vm1.text == newer
    assert vm1.replicator.in_step(vm1.held) == Probe(Status.UP)


async def test_a_start_brings_its_view_into_a_guest_and_asks_before(settled: Net) -> None:
    hv1, vm1 = settled.nodes["hv1"], settled.nodes["vm1"]
    guest = hv1.held.service.guest("container#0")
    assert guest is not None
    await hv1.replicator.into_guest(hv1.held, guest)
    assert settled.moved() == []

    vm1.registry.remove("web")
    await hv1.replicator.into_guest(hv1.held, guest)
    assert vm1.text == part("vm1")
    settled.silent.add("vm1")
    with pytest.raises(Silent):
        await hv1.replicator.into_guest(hv1.held, guest)


async def test_a_guest_that_holds_something_newer_keeps_it_and_is_named(settled: Net) -> None:
    hv1, vm1 = settled.nodes["hv1"], settled.nodes["vm1"]
    mine = part("vm1").replace("/bin/one", "/bin/mine")
    await vm1.write(mine)
    await hv1.replicator.compare()
    assert vm1.text == mine
    assert hv1.lines == ["vm1 has not confirmed revision 1 yet: vm1 holds revision 2 of web, and 1 is older"]


@pytest.mark.parametrize("answer", [
    [], {"services": []}, {"services": {"../web": {}}}, {"services": {"web": {"revision": 1}}},
    {"services": {"web": {"revision": -1, "hash": content_hash("")}}}, {"services": {}, "deleted": {"web": "all"}},
    {"services": {"web": {"revision": 1, "hash": content_hash(""), "nodes": ["*"]}}},
    {"services": {f"s{number}": {} for number in range(10_001)}},
])
async def test_a_guest_that_answers_nonsense_is_named_and_keeps_nobody_back(settled: Net, answer: Any) -> None:
    settled.answers["vm1", "GET", "/v1/replicas"] = answer
    hv1 = settled.nodes["hv1"]
    await hv1.edit(TEXT.replace("/bin", "/sbin"))
    assert "/sbin" in settled.nodes["vm2"].text
    (line,) = hv1.lines
    assert line.startswith("vm1 has not confirmed revision 2 yet: not the copy of a configuration")


async def test_a_guest_has_no_say_in_whether_a_service_is_deleted(settled: Net) -> None:
    settled.answers["vm1", "GET", "/v1/replicas"] = {"services": {}, "deleted": {"web": 99}}
    settled.answers["vm1", "PUT", PATH] = Refused("web was deleted", code="deleted")
    hv1 = settled.nodes["hv1"]
    await hv1.replicator.compare()
    assert ("hv1", "vm1") in settled.moved()
    assert hv1.notes == []
    assert hv1.replicator.own()["deleted"] == {}


async def test_the_words_of_a_guest_are_cut_and_made_visible(settled: Net) -> None:
    hv1 = settled.nodes["hv1"]
    settled.answers["vm1", "GET", "/v1/replicas"] = Refused("\x1b[2J" + "x" * 5000)
    await hv1.replicator.compare()
    assert hv1.lines == []  # it confirmed this text before
    await hv1.edit(TEXT.replace("/bin", "/sbin"))
    (line,) = hv1.lines
    assert "\\x1b[2Jxxx" in line
    assert len(line) < 400


async def test_a_guest_that_claims_another_hash_than_it_was_given_is_named(settled: Net) -> None:
    settled.answers["vm1", "PUT", PATH] = {"revision": 7, "hash": content_hash("")}
    hv1 = settled.nodes["hv1"]
    told = await hv1.edit(TEXT.replace("/bin", "/sbin"))
    assert told["not_told"] == [
        {"node": "vm1", "why": "vm1 holds another text of web than it was given, its revision 7"}]
    assert hv1.probe.status is Status.WARN


# --- in step


async def test_guests_count_where_their_containers_run(net: Net) -> None:
    hv1 = net.nodes["hv1"]
    await hv1.write(TEXT)
    net.silent = {"hv2", "dr1", "vm1"}
    hv1.running = {"container#0"}
    assert hv1.lines == [
        "hv2 has not confirmed revision 1 yet: it was not asked yet",
        "dr1 has not confirmed revision 1 yet: it was not asked yet",
        "vm1 has not confirmed revision 1 yet: its agent does not answer"]
    await hv1.replicator.compare()
    assert hv1.lines[0] == "hv2 has not confirmed revision 1 yet: it does not answer"
    hv1.running = set()
    assert [line.split()[0] for line in hv1.lines] == ["hv2", "dr1"]


async def test_a_node_that_holds_another_text_is_named(settled: Net) -> None:
    hv1 = settled.nodes["hv1"]
    await hv1.write(TEXT.replace("/bin", "/sbin"))
    assert hv1.lines == [f"{node} holds another text, its revision 1" for node in ("hv2", "dr1", *GUESTS)]


async def test_what_is_newer_elsewhere_and_not_good_here_is_said(settled: Net) -> None:
    hv1 = settled.nodes["hv1"]
    bad = "[DEFAULT]\nnodes = hv1 hv2\n[fs#1]\ntype = nonsense\n"
    settled.answers["hv2", "GET", "/v1/replicas"] = {"services": {"web": {"revision": 9, "hash": content_hash(bad)}}}
    settled.answers["hv2", "GET", PATH] = replica(bad, 9)
    await hv1.replicator.compare()
    assert hv1.text == TEXT
    assert hv1.lines == ["hv2 has not confirmed revision 1 yet: what it holds is not taken here: web: the"
                         " configuration has 1 error(s)"]

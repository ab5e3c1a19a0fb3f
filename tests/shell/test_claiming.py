"""Claims between real granters and claimants with real stores; only the wire is a stand-in."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from agentd import granting
from agentd.claiming import Claims
from agentd.core.claims import Ask, Claim
from agentd.core.errors import (
    ActionFailed,
    EncapError,
    Forbidden,
    HeldElsewhere,
    InvalidRequest,
    Refused,
    Silent,
    StorageTrouble,
)
from agentd.database import Database
from agentd.peers import Peers
from agentd.store import MIGRATIONS, Store
from api.errors import error_from, problem, status_of

NODES = ("hv1", "hv2", "hv3")


def now() -> str:
    return "2026-11-23T16:00:00.000Z"


def claim(operation: str = "A", claimant: str = "hv1", instance: str = "web", **more: str) -> Claim:
    return Claim(instance, operation, claimant, **more)


class Hypervisor:
    """One node: its store, its containers and its operations as plain values."""

    def __init__(self, name: str, folder: Path, world: World) -> None:
        self.name, self.folder, self.world = name, folder, world
        self.states: dict[str, str | None] = {"container#0": "down"}
        self.operations: dict[str, str] = {}
        self.looking: Callable[[], Awaitable[None]] | None = None
        self.looks, self.alive = 0, False

    store: Store
    claims: Claims

    async def start(self, *, load: bool = True) -> None:
        self.store = await Store.open(self.folder / f"{self.name}.db", now)
        self.claims = Claims(lambda: self.name, self.store.claims, self.store.audit,
                             cast(Peers, Wire(self.name, self.world)), self.look, self.state)
        if load:
            await self.claims.load()
        self.alive = True

    async def kill(self) -> None:
        self.alive = False
        await self.claims.close()
        await self.store.close()

    async def look(self, _claim: Claim) -> Mapping[str, str | None]:
        self.looks += 1
        if self.looking is not None:
            await self.looking()
        return dict(self.states)

    async def state(self, operation: str) -> str:
        return self.operations.get(operation, "unknown-operation")

    async def take(self, operation: str = "A", *assume_down: str, **more: str) -> None:
        """For an operation that runs here."""
        self.operations.setdefault(operation, "running")
        await self.claims.take(claim(operation, self.name, **more), NODES, assume_down, "alice")

    async def end(self, operation: str = "A") -> None:
        self.operations[operation] = "ended"
        await self.claims.finished(operation)

    def holders(self) -> list[tuple[str, str]]:
        return [(c["claimant"], c["operation"]) for c in self.claims.held()]


class World:
    """The hypervisors and the network between them. `fate`: (asker, node, path) -> heard, silent
    (the question is lost), lost (its answer is), late (the question arrives when `late` is sent)."""

    def __init__(self, folder: Path) -> None:
        self.nodes = {name: Hypervisor(name, folder, self) for name in NODES}
        self.fate: Callable[[str, str, str], str] = lambda asker, node, path: "heard"
        self.delay: Callable[[], float] = lambda: 0.0
        self.late: list[Callable[[], Awaitable[Any]]] = []

    def silence(self, *nodes: str) -> None:
        """These are silent, all others answer."""
        self.fate = lambda asker, node, path: "silent" if node in nodes else "heard"

    def losing(self, node: str, path: str, fate: str) -> None:
        self.fate = lambda asker, to, of: fate if (to, of) == (node, path) else "heard"

    async def deliver(self, asker: str, node: str, path: str, body: Any) -> Any:
        """What the routes do; errors cross the wire as problem documents."""
        claims = self.nodes[node].claims
        if not self.nodes[node].alive:
            raise Silent(f"{node} is dead")
        try:
            if path == "/v1/claims":
                asked = Ask(Claim(**body["claim"]), tuple(body["assume_down"]))
                assert asked.claim.claimant == asker
                return await claims.answer(asked, f"{asker} (hypervisor)")
            if path == "/v1/claims/release":
                await claims.release(body["instance"], body["operation"], asker)
                return {"released": True}
            return await claims.claimant_says(path.removeprefix("/v1/claims/operations/"))
        except EncapError as error:
            raise error_from(json.loads(json.dumps(problem(error, node))), status_of(error)) from None

    async def until(self, condition: Callable[[], bool]) -> None:
        """In virtual time, so this costs none."""
        async with asyncio.timeout(300):
            while not condition():  # noqa: ASYNC110 - what it waits for happens in several places
                await asyncio.sleep(0.05)

    async def all_free(self) -> None:
        await self.until(lambda: not any(node.holders() for node in self.nodes.values()))


class Wire:
    """What `asker` has for Peers."""

    def __init__(self, asker: str, world: World) -> None:
        self._asker, self._world = asker, world

    async def ask(self, node: str, method: str, path: str, *, timeout: float | None = None,
                  body: Any = None) -> Any:
        assert timeout is not None
        assert method == ("GET" if "/operations/" in path else "POST")
        assert node != self._asker
        world, sent = self._world, json.loads(json.dumps(body))
        fate = world.fate(self._asker, node, path)
        await asyncio.sleep(world.delay())
        if fate == "late":
            world.late.append(lambda: world.deliver(self._asker, node, path, sent))
        if fate in ("heard", "lost"):
            # The other node goes on with it, whether or not anybody waits.
            answering = asyncio.ensure_future(world.deliver(self._asker, node, path, sent))
            await asyncio.wait([answering], timeout=timeout)
            await asyncio.sleep(world.delay())
            if answering.done() and not answering.cancelled() and fate == "heard":
                return json.loads(json.dumps(answering.result()))
            answering.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise Silent(f"{node} did not answer", node=node)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    for node in world.nodes.values():
        await node.start()
    yield world
    for node in world.nodes.values():
        await node.kill()


Scenario = Callable[[World, Hypervisor, Hypervisor, Hypervisor], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, virtual: Callable[..., Any]) -> Callable[[Scenario], None]:
    """Plays a scenario of three hypervisors in virtual time."""

    async def whole(scenario: Scenario) -> None:
        async with running(tmp_path) as world:
            await scenario(world, *world.nodes.values())

    return lambda scenario: virtual(whole(scenario))


Play = Callable[[Scenario], None]


async def refused(taking: Awaitable[None]) -> HeldElsewhere:
    with pytest.raises(HeldElsewhere) as caught:
        await taking
    return caught.value


# --- taking, holding, giving back


def test_a_claim_is_granted_by_all_held_on_disk_audited_and_given_back(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        await hv2.take()
        await hv2.take()
        for node in (hv1, hv2, hv3):
            assert node.claims.held() == [asdict(claim("A", "hv2"))]
            assert await node.store.claims.load() == [asdict(claim("A", "hv2"))]
            (row,) = await node.store.audit.tail()
            who = "alice" if node is hv2 else "hv2 (hypervisor)"
            assert (row["who"], row["action"], row["subject"]) == (who, "claim", "web")
            assert row["detail"] == {"operation": "A", "claimant": "hv2", "purpose": "start", "to": "",
                                     "assume_down": [], "ended": None}
        await hv2.end()
        await world.all_free()
        assert (await hv3.store.audit.tail())[-1]["action"] == "release"

    play(scenario)


def test_the_loser_is_told_who_holds_it_and_keeps_nothing(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        await hv1.take("A")
        hv1.operations["A2"] = "running"
        error = await refused(hv2.take("B"))
        assert error.details == {"holder": {"operation": "A", "node": "hv1", "action": "start", "to": ""},
                                 "node": "hv1", "silent": False}
        assert error.text == "no claim on web: hv1 holds the claim on web for start (operation A)"
        assert "svc op wait A on hv1" in error.hint
        assert all(node.holders() == [("hv1", "A")] for node in (hv1, hv2, hv3))

    play(scenario)


def test_a_container_elsewhere_refuses_and_what_was_got_is_given_back(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        hv3.states["container#0"] = "paused"
        error = await refused(hv1.take())
        assert error.details == {"holder": None, "node": "hv3", "silent": False}
        assert "container#0 is paused on hv3" in error.text
        await world.all_free()
        hv3.states["container#0"] = "down"
        await hv2.take("B")
        assert hv3.looks == 2

    play(scenario)


def test_silence_refuses_and_is_told_until_everybody_acknowledged(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        world.silence("hv1", "hv3")
        hv2.operations["A"] = "running"
        error = await refused(hv2.claims.take(claim("A", "hv2"), ("hv2", "hv3", "hv1")))
        assert error.details == {"holder": None, "node": "hv3", "silent": True}
        assert "--assume-down hv3" in error.hint
        await world.until(lambda: not hv2.holders())
        world.losing("hv3", "/v1/claims", "lost")
        assert (await refused(hv1.take("B"))).details["silent"]
        assert hv3.holders() in ([("hv1", "B")], [])  # granted, though nobody heard it
        await world.all_free()

    play(scenario)


def test_a_lost_answer_is_owed_a_release_however_long_the_silence(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        fates = {"/v1/claims": "lost", "/v1/claims/release": "silent"}
        world.fate = lambda asker, node, path: fates.get(path, "heard") if node == "hv3" else "heard"
        await refused(hv1.take())
        await world.until(lambda: not hv1.holders() and not hv2.holders())
        await asyncio.sleep(200)
        assert hv3.holders() == [("hv1", "A")]
        world.silence()
        await world.all_free()

    play(scenario)


@pytest.mark.parametrize("answer", [{"granted": "yes"}, {}, None, ["granted"], StorageTrouble("full"),
                                    ActionFailed("internal error", code="internal")])
def test_no_answer_but_yes_is_a_grant_and_a_doubtful_one_is_owed_a_release(play: Play, answer: Any) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        whole, told = world.deliver, []

        async def deliver(asker: str, node: str, path: str, body: Any) -> Any:
            if (node, path) == ("hv2", "/v1/claims"):
                await whole(asker, node, path, {**body, "assume_down": []})
                if isinstance(answer, EncapError):
                    raise answer
                return answer
            told.append((node, path))
            return await whole(asker, node, path, body)

        world.deliver = deliver  # type: ignore[method-assign]
        error = await refused(hv1.take("A", "hv2"))
        assert (error.details["node"], error.details["silent"]) == ("hv2", False)
        await world.all_free()
        assert ("hv3", "/v1/claims") not in told

    play(scenario)


def test_a_cancelled_taking_is_given_back(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        looked, go = asyncio.Event(), asyncio.Event()

        async def looking() -> None:
            looked.set()
            await go.wait()

        hv3.looking = looking
        taking = asyncio.create_task(hv1.take())
        await looked.wait()
        assert hv2.holders() == [("hv1", "A")]
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        go.set()
        await world.all_free()
        assert hv3.looks == 1

    play(scenario)


def test_an_operation_that_ends_on_its_way_round_holds_nothing(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        hv3.looking = hv1.end
        with pytest.raises(Refused, match="ended while it claimed web"):
            await hv1.take()
        await world.all_free()
        with pytest.raises(Refused, match="does not run"):
            await hv1.take()

    play(scenario)


def test_requests_that_make_no_sense(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        hv1.operations["A"] = "running"
        for wrong, order, assume_down in ((claim(), NODES, ("hv1",)), (claim(), ("hv2", "hv3"), ()),
                                          (claim("A", "hv2"), NODES, ())):
            with pytest.raises(InvalidRequest):
                await hv1.claims.take(wrong, order, assume_down)
        assert hv1.looks == hv2.looks == 0

    play(scenario)


def test_one_operation_chooses_one_guest(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        for node in (hv1, hv2, hv3):
            node.states = {}
        await hv1.take(instance="web/encap", to="vm1")
        error = await refused(hv1.take(instance="web/encap", to="vm2"))
        assert error.details["holder"] == {"operation": "A", "node": "hv1", "action": "start", "to": "vm1"}
        error = await refused(hv2.take("B", instance="web/encap", to="vm3"))
        assert error.details["holder"]["to"] == "vm1"

    play(scenario)


def test_the_same_operation_at_the_same_time_goes_round_once(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        await asyncio.gather(*(hv1.take() for _ in range(3)))
        assert (hv1.looks, hv2.looks, hv3.looks) == (1, 1, 1)

    play(scenario)


# --- trying again


def test_a_late_release_of_an_earlier_try_ends_nothing_of_a_later_one(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        fates = {("hv3", "/v1/claims"): "silent", ("hv1", "/v1/claims/release"): "late"}
        world.fate = lambda asker, node, path: fates.get((node, path), "heard")
        await refused(hv2.take())
        await world.until(lambda: len(world.late) >= 1)
        assert hv1.holders() == [("hv2", "A")]
        fates.clear()
        await hv2.take()
        for late in world.late:
            await late()
        assert all(node.claims.held() == [asdict(claim("A", "hv2"))] for node in (hv1, hv2, hv3))
        assert (await refused(hv3.take("B"))).details["holder"]["operation"] == "A"
        await hv2.end()
        await world.all_free()

    play(scenario)


def test_a_late_question_of_an_earlier_try_stands_in_nobodys_way(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        world.losing("hv3", "/v1/claims", "late")
        await refused(hv1.take())
        await world.all_free()
        (late,) = world.late
        await late()
        assert hv3.holders() == [("hv1", "A")]
        world.silence()
        await hv1.take()
        with pytest.raises(HeldElsewhere):
            await late()
        await hv1.end()
        await world.all_free()

    play(scenario)


# --- what ends a claim


@pytest.mark.parametrize("state", ["ended", "unknown-operation"])
def test_the_claim_of_an_operation_that_is_over_passes_on(play: Play, state: str) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        await hv1.take("A")
        hv1.operations["A"] = state  # and its claims were never given back
        await hv2.take("B")
        assert all(node.holders() == [("hv2", "B")] for node in (hv1, hv2, hv3))
        rows = await hv3.store.audit.tail()
        assert [row["action"] for row in rows] == ["claim", "release", "claim"]
        assert rows[1]["detail"]["why"] == f"hv1 says: {state}"

    play(scenario)


@pytest.mark.parametrize(("state", "action"), [("running", "start"), ("ended", "migrate"),
                                               ("unknown-operation", "migrate"), (None, "start")])
def test_the_claim_of_a_running_or_silent_holder_and_of_a_migration_stays(
        play: Play, state: str | None, action: str) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        await hv1.take("A", action=action)
        if state is None:
            world.silence("hv1")
        else:
            hv1.operations["A"] = state
        with pytest.raises(HeldElsewhere) as caught:
            await hv3.claims.answer(Ask(claim("B", "hv2")), "hv2")
        assert caught.value.details["holder"]["node"] == "hv1"
        assert hv3.holders() == [("hv1", "A")]

    play(scenario)


@pytest.mark.parametrize("answer", [{"state": ["ended"]}, ["ended"], None, {}])
def test_an_answer_that_says_nothing_ends_nothing(play: Play, answer: Any) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        await hv1.take("A")

        async def deliver(asker: str, node: str, path: str, body: Any) -> Any:
            return answer

        world.deliver = deliver  # type: ignore[method-assign]
        with pytest.raises(HeldElsewhere):
            await hv3.claims.answer(Ask(claim("B", "hv2")), "hv2")
        assert hv3.holders() == [("hv1", "A")]

    play(scenario)


def test_a_migrations_claim_ends_with_the_word_of_its_own_operation_only(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        hv1.states["container#0"] = "up"
        await hv1.take(action="migrate", to="hv2")
        await hv1.end()
        await asyncio.sleep(60)
        assert all(node.holders() == [("hv1", "A")] for node in (hv1, hv2, hv3))
        await hv1.kill()
        await hv1.start()
        await hv1.claims.recover(lambda instance: NODES)
        await asyncio.sleep(60)
        assert all(node.holders() == [("hv1", "A")] for node in (hv1, hv2, hv3))
        await hv1.claims.finished("A", migrated=True)
        await world.all_free()

    play(scenario)


def test_only_the_claimant_releases_and_as_often_as_it_likes(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        await hv1.take("A")
        with pytest.raises(Forbidden, match="is hv1's, not hv2's"):
            await hv3.claims.release("web", "A", "hv2")
        await hv3.claims.release("web", "B", "hv2")
        assert hv3.holders() == [("hv1", "A")]
        for _ in range(2):
            await hv3.claims.release("web", "A", "hv1")
        assert hv3.holders() == []
        assert await hv3.store.claims.load() == []

    play(scenario)


# --- assume-down


def test_assume_down_replaces_silence_ends_that_nodes_claim_and_is_audited(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        await hv1.take("A")
        await hv1.take("A", instance="db")
        world.silence("hv1")
        error = await refused(hv2.take("B"))
        assert (error.details["node"], error.details["silent"]) == ("hv1", True)
        await hv2.take("C", "hv1")
        for node in (hv2, hv3):
            assert node.holders() == [("hv1", "A"), ("hv2", "C")]
            row = (await node.store.audit.tail())[-1]
            assert row["detail"]["assume_down"] == ["hv1"]
            assert row["detail"]["ended"]["operation"] == "A"
        await hv2.end("C")
        await asyncio.sleep(100)
        world.silence()
        await hv1.end("A")
        await world.all_free()

    play(scenario)


@pytest.mark.parametrize("hindrance", ["answers", "silent probe", "hanging probe"])
def test_a_node_that_answers_is_not_down_whatever_hinders_its_probes(play: Play, hindrance: str) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        async def silent() -> None:
            raise Silent("virsh does not answer")

        if hindrance != "answers":
            hv3.looking = silent if hindrance == "silent probe" else asyncio.Event().wait  # type: ignore[assignment]
        error = await refused(hv1.take("A", "hv3"))
        assert (error.details["node"], error.details["silent"]) == ("hv3", False)
        assert "not down: it answers" in error.text
        assert "leave out --assume-down hv3" in error.hint

    play(scenario)


@pytest.mark.parametrize("hindrance", ["silent probe", "hanging probe"])
def test_a_probe_that_cannot_be_had_is_an_answer_and_no_silence(play: Play, hindrance: str) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        async def looking() -> None:
            if hindrance == "hanging probe":
                await asyncio.Event().wait()
            raise Silent("virsh does not answer")

        hv3.looking = looking
        with pytest.raises(HeldElsewhere, match="cannot tell whether web runs there") as caught:
            await world.deliver("hv1", "hv3", "/v1/claims", {"claim": asdict(claim()), "assume_down": []})
        assert caught.value.details["holder"] is None
        assert asyncio.get_running_loop().time() == (granting.LOOK_TIMEOUT if "hanging" in hindrance else 0)
        hv3.looking = None
        await hv1.take()

    play(scenario)


# --- disks, restarts, turns


async def test_a_store_that_cannot_save_grants_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        hv1, hv2, hv3 = world.nodes.values()
        await hv1.take("A", instance="db")
        refusing = Store(await Database.in_memory(MIGRATIONS, StorageTrouble("the disk is full")), now)
        for rows, audit in ((refusing.claims, hv3.store.audit), (hv3.store.claims, refusing.audit)):
            claims = Claims(lambda: "hv3", rows, audit, cast(Peers, Wire("hv3", world)), hv3.look, hv3.state)
            await claims.load()
            before = claims.held()
            hv3.claims = claims
            with pytest.raises(StorageTrouble):
                await claims.answer(Ask(claim("B", "hv2")), "hv2")
            assert claims.held() == before
            assert [row["instance"] for row in await hv3.store.claims.load()] == ["db"]
            error = await refused(hv2.take("B"))
            assert (error.details["node"], error.details["silent"]) == ("hv3", False)
            assert "the disk is full" in error.text
        await refusing.close()


def test_a_granter_that_is_killed_before_it_answers_still_holds_what_it_granted(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        fates = {"/v1/claims": "lost", "/v1/claims/release": "silent"}
        world.fate = lambda asker, node, path: fates.get(path, "heard") if node == "hv3" else "heard"
        await refused(hv1.take("A"))
        hv1.operations["C"] = "running"
        await hv3.claims.answer(Ask(claim("C", "hv1", "db")), "hv1")
        await hv3.kill()
        await hv3.start(load=False)
        for call in (hv3.claims.answer(Ask(claim("B", "hv2")), "hv2"), hv3.claims.claimant_says("X"),
                     hv3.claims.release("web", "A", "hv1")):
            with pytest.raises(HeldElsewhere, match="has not read yet"):
                await call
        await hv3.claims.load()
        assert hv3.holders() == [("hv1", "C"), ("hv1", "A")]
        assert (await refused(hv2.take("B", instance="db"))).details["node"] == "hv3"
        world.silence()
        await world.until(lambda: hv3.holders() == [("hv1", "C")])

    play(scenario)


def test_a_claimant_that_was_killed_gives_back_what_is_over_and_keeps_what_runs(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        for operation, instance in (("A", "web"), ("B", "db"), ("C", "app"), ("D", "mail")):
            await hv1.take(operation, instance=instance)
        await hv1.kill()
        hv1.operations = {"A": "ended", "B": "running", "D": "running"}
        await hv1.start()
        known = {"web": NODES, "db": NODES, "mail": NODES}
        await hv1.claims.recover(lambda instance: known.get(instance, ()))
        assert hv1.holders() == [("hv1", "B"), ("hv1", "D")]
        await world.until(lambda: hv3.holders() == [("hv1", "C"), ("hv1", "B"), ("hv1", "D")])
        await hv1.end("B")
        await world.until(lambda: ("hv1", "B") not in hv2.holders() + hv3.holders())
        await hv2.take("E", instance="app")
        assert hv3.holders() == [("hv2", "E"), ("hv1", "D")]

    play(scenario)


async def test_a_grant_is_whole_even_if_whoever_asked_goes_away(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        hv3, disk, looked = world.nodes["hv3"], threading.Event(), asyncio.Event()

        async def looking() -> None:
            hv3.store.database.post(lambda connection: disk.wait(20))
            looked.set()

        hv3.looking = looking
        asking = asyncio.create_task(hv3.claims.answer(Ask(claim()), "hv1"))
        await looked.wait()
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        disk.set()
        assert await hv3.store.claims.load() == [asdict(claim())]
        await hv3.claims.release("web", "another", "hv1")
        assert hv3.holders() == [("hv1", "A")]


def test_questions_about_one_instance_are_answered_in_turn_each_with_its_own_look(play: Play) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        hv1.operations["A"] = hv2.operations["B"] = "running"
        looked, go = asyncio.Event(), asyncio.Event()

        async def looking() -> None:
            looked.set()
            await go.wait()

        hv3.looking = looking
        first = asyncio.create_task(hv3.claims.answer(Ask(claim("A", "hv1")), "hv1"))
        await looked.wait()
        second = asyncio.create_task(hv3.claims.answer(Ask(claim("B", "hv2")), "hv2"))
        given = asyncio.create_task(hv3.claims.release("web", "A", "hv1"))
        hv3.looking = None
        await hv3.claims.answer(Ask(claim("C", "hv1", "db")), "hv1")
        await hv3.claims.release("db", "another", "hv1")
        assert (hv3.looks, second.done(), given.done()) == (2, False, False)
        hv3.states["container#0"] = "up"  # after the first look had begun
        first.cancel()
        go.set()
        with pytest.raises(HeldElsewhere, match=r"hv1 holds|container#0 is up"):
            await second
        await given
        with pytest.raises(asyncio.CancelledError):
            await first
        assert hv3.holders() == [("hv1", "C")]
        assert await hv3.store.claims.load() == [asdict(claim("C", "hv1", "db"))]

    play(scenario)


# --- any schedule


@pytest.mark.parametrize("number", [2, 3])
def test_exactly_one_gets_it_when_all_answer(play: Play, number: int) -> None:
    async def scenario(world: World, *nodes: Hypervisor) -> None:
        for seed in range(40):
            chance = random.Random(seed)
            world.delay = lambda chance=chance: chance.choice((0, 0.1, 1.5)) * chance.random()

            async def contend(node: Hypervisor, operation: str, chance: random.Random = chance) -> bool:
                await asyncio.sleep(chance.random())
                try:
                    await node.take(operation)
                except HeldElsewhere as error:
                    return not error.details["holder"]
                return True

            names = [f"{seed}o{n}" for n in range(number)]
            got = await asyncio.gather(*map(contend, nodes, names))
            assert sum(got) == 1, f"seed {seed}: {got}"
            for node, name in zip(nodes, names, strict=False):
                await node.end(name)
            await world.all_free()

    play(scenario)


class Contention:
    """Operations on all nodes want the same instance, on a bad network, with daemons that are
    killed. `holding`: who is in possession of it now."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed, self.chance = world, seed, random.Random(seed)
        self.holding: list[str] = []
        self.successes, self.over = 0, False
        world.fate = lambda asker, node, path: self.chance.choice(("heard",) * 9 + ("silent", "lost", "late"))
        world.delay = lambda: self.chance.choice((0, 0.5, 3, 6)) * self.chance.random()

    async def contend(self, node: Hypervisor, operation: str) -> None:
        for _ in range(3):
            await asyncio.sleep(5 * self.chance.random())
            try:
                await node.take(operation)
            except HeldElsewhere:
                continue
            self.holding.append(operation)
            assert self.holding == [operation], f"seed {self.seed}: two hold"
            await asyncio.sleep(10 * self.chance.random())
            self.holding.remove(operation)
            self.successes += 1
            break
        await node.end(operation)

    async def stray(self) -> None:
        """What is late arrives some time, in any order."""
        while not self.over:
            await asyncio.sleep(6 * self.chance.random())
            if self.world.late:
                await self.arrives(self.world.late.pop(self.chance.randrange(len(self.world.late))))

    async def arrives(self, late: Callable[[], Awaitable[Any]]) -> None:
        try:
            await late()
        except EncapError:
            pass  # whoever asked does not hear it any more

    async def restart(self, node: Hypervisor) -> None:
        """A granter without operations of its own is killed and comes back."""
        while not self.over:
            await asyncio.sleep(10 * self.chance.random())
            await node.kill()
            await asyncio.sleep(3 * self.chance.random())
            await node.start()


@pytest.mark.parametrize("seed", range(12))
def test_never_two_on_any_network_and_nothing_stays_claimed(play: Play, seed: int) -> None:
    async def scenario(world: World, hv1: Hypervisor, hv2: Hypervisor, hv3: Hypervisor) -> None:
        contention = Contention(world, seed)
        async with asyncio.TaskGroup() as nuisances:
            nuisances.create_task(contention.stray())
            nuisances.create_task(contention.restart(hv3))
            for each in range(4):
                await asyncio.gather(*(contention.contend(node, f"{each}{node.name}{n}")
                                       for node in (hv1, hv2) for n in range(2)))
            contention.over = True
        world.silence()
        world.delay = lambda: 0.0
        for late in world.late:
            await contention.arrives(late)
        assert contention.successes > 0
        await hv1.take("last")
        await hv1.end("last")
        await world.all_free()

    play(scenario)

"""Never two: what a hypervisor answers, and any number of claimants in any interleaving."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.claims import (
    Ask,
    Claim,
    Claiming,
    ClaimTable,
    Denied,
    Granted,
    claiming,
    decide,
    encap_instance_name,
    instance_name,
    must_release,
    order,
    release,
)
from agentd.core.model import Guest, Level, Resource, Service

NODES = ("hv1", "hv2", "hv3")
DOWN = {"container#0": "down"}


def claim(operation: str = "A", claimant: str = "hv1", **more: Any) -> Claim:
    return Claim("web", operation, claimant, **more)


def table(*claims: Claim) -> ClaimTable:
    return ClaimTable({c.instance: c for c in claims})


# --- what a hypervisor answers


@pytest.mark.parametrize("state", ["down", "absent"])
def test_a_free_claim_is_granted_where_the_container_is_proven_down(state: str) -> None:
    assert decide(ClaimTable(), Ask(claim()), {"container#0": state}, "hv2") == Granted(table(claim()))


@pytest.mark.parametrize("state", ["up", "starting", "paused", "saved", "stopping", "migrating", "crashed",
                                   "stuck", "unknown", "undef", "", "nonsense", None])
def test_any_other_state_elsewhere_refuses(state: str | None) -> None:
    answer = decide(ClaimTable(), Ask(claim()), {"container#1": "down", "container#0": state}, "hv2")
    assert answer == Denied(f"container#0 is {state or 'unknown'} on hv2")


@pytest.mark.parametrize(("state", "granted"), [("up", True), ("paused", True), ("crashed", True),
                                                ("unknown", False), (None, False), ("migrating", False)])
def test_a_claimant_is_refused_at_home_only_what_could_be_two(state: str | None, granted: bool) -> None:
    answer = decide(ClaimTable(), Ask(claim()), {"container#0": state}, "hv1")
    assert isinstance(answer, Granted) is granted


def test_the_source_of_a_migration_is_not_refused_by_what_it_moves() -> None:
    moving = claim(action="migrate", to="hv2")
    assert isinstance(decide(ClaimTable(), Ask(moving), {"container#0": "migrating"}, "hv1"), Granted)
    assert isinstance(decide(ClaimTable(), Ask(moving), {"container#0": "up"}, "hv2"), Denied)


def test_a_held_claim_refuses_others_with_its_holder_and_not_its_own_operation() -> None:
    held = table(claim("A", "hv1"))
    answer = decide(held, Ask(claim("B", "hv2")), DOWN, "hv3")
    assert isinstance(answer, Denied)
    assert answer.holder == claim("A", "hv1")
    assert "hv1 holds the claim on web" in answer.why
    assert decide(held, Ask(claim("A", "hv1")), DOWN, "hv3") == Granted(held)
    assert isinstance(decide(held, Ask(claim("A", "hv2")), DOWN, "hv3"), Denied)


def test_another_instance_is_no_conflict() -> None:
    other = Claim("db", "B", "hv2")
    assert decide(table(other), Ask(claim()), DOWN, "hv3") == Granted(table(other, claim()))


def test_assume_down_ends_what_that_node_holds_of_the_instance_and_nothing_else() -> None:
    held = table(claim("A", "hv1"), Claim("db", "A", "hv1"))
    answer = decide(held, Ask(claim("B", "hv2"), assume_down=("hv1",)), DOWN, "hv3")
    assert answer == Granted(table(Claim("db", "A", "hv1"), claim("B", "hv2")))
    assert isinstance(decide(held, Ask(claim("B", "hv2"), assume_down=("hv4",)), DOWN, "hv3"), Denied)


def test_a_node_that_answers_is_not_down() -> None:
    assert decide(ClaimTable(), Ask(claim(), assume_down=("hv2",)), DOWN, "hv2") == \
        Denied("hv2 is not down: it answers")


def test_assume_down_does_not_excuse_a_container_that_runs() -> None:
    assert isinstance(decide(ClaimTable(), Ask(claim(), ("hv3",)), {"container#0": "up"}, "hv2"), Denied)


def test_the_encap_claim_asks_for_the_other_guests() -> None:
    ask = Ask(Claim("web/encap", "A", "hv1", to="vm1"))
    assert isinstance(decide(ClaimTable(), ask, {"vm2": "down", "vm1": "undef"}, "hv1"), Granted)
    for state in ("up", "undef", None):
        assert isinstance(decide(ClaimTable(), ask, {"vm2": state}, "hv1"), Denied)
        assert isinstance(decide(ClaimTable(), ask, {"vm2": state}, "hv2"), Denied)


def test_release_is_of_one_operation_and_harmless_when_repeated() -> None:
    held = table(claim("A"), Claim("db", "A", "hv1"))
    once = release(held, "web", "A")
    assert once == table(Claim("db", "A", "hv1"))
    assert release(once, "web", "A") == once
    assert release(held, "web", "B") == held


@pytest.mark.parametrize(("answer", "ends"), [("running", False), ("silent", False), ("ended", True),
                                              ("unknown-operation", True), ("", False)])
def test_only_the_claimants_own_word_ends_a_claim_and_never_a_migration(answer: str, ends: bool) -> None:
    assert must_release(claim(), answer) is ends
    assert must_release(claim(action="migrate", to="hv2"), answer) is False


# --- names and order


def service(topology: str = "failover", nodes: tuple[str, ...] = ("vm1", "vm2"), *groups: str) -> Service:
    resources = tuple(Resource(f"{group}#0", "fake") for group in groups or ("container",))
    guest = Guest("container#0", "vm1", (), "failover", nodes)
    return Service("web", "hv1", Level.HOST, ("hv1", "hv2"), ("dr1", "hv2"), topology=topology,
                   resources=resources, guests=(guest,))


def test_what_is_claimed_and_whom_to_ask() -> None:
    assert instance_name(service()) == "web"
    assert instance_name(service("flex")) == ""
    # A file system mounted twice is as bad as a container that runs twice.
    assert instance_name(service("failover", ("vm1",), "fs")) == "web"
    assert instance_name(Service("web", "hv1", Level.HOST, ("hv1",))) == ""
    assert encap_instance_name(service("flex")) == "web/encap"
    assert encap_instance_name(service("flex", ("vm1",))) == ""
    assert order(service()) == ("hv1", "hv2", "dr1")


# --- the claimant


def test_a_claimant_asks_in_order_itself_included_and_holds_when_all_granted() -> None:
    state = claiming(claim("A", "hv2"), NODES)
    asked = []
    while state.next_ask is not None:
        assert not state.held
        asked.append(state.next_ask)
        state = state.granted(state.next_ask)
    assert asked == list(NODES)
    assert state.held
    assert state.give_back == frozenset()
    over = state.finished()
    assert not over.held
    assert over.give_back == frozenset(NODES)
    for node in NODES:
        over = over.acknowledged(node)
    assert over.give_back == frozenset()


def test_a_refused_claimant_asks_no_more_and_gives_back_what_it_got() -> None:
    state = claiming(claim(), NODES).granted("hv1").denied("hv2", "container#0 is up on hv2")
    assert state.next_ask is None
    assert not state.held
    assert state.give_back == {"hv1"}
    assert state.refusal is not None
    assert state.refusal.node == "hv2"
    assert state.acknowledged("hv1").give_back == frozenset()


def test_silence_refuses_and_the_silent_one_is_owed_a_release() -> None:
    state = claiming(claim(), NODES).granted("hv1").silent("hv2")
    assert state.refusal is not None
    assert state.refusal.silent
    assert state.give_back == {"hv1", "hv2"}


def test_assume_down_replaces_silence_and_not_an_answer() -> None:
    begun = claiming(claim(), NODES, ("hv2",)).granted("hv1")
    assert begun.silent("hv2").granted("hv3").held
    assert begun.denied("hv2", "hv2 is not down: it answers").refusal is not None


def test_impossible_claimants_and_answers_out_of_turn() -> None:
    with pytest.raises(ValueError, match="not among"):
        claiming(claim("A", "hv9"), NODES)
    with pytest.raises(ValueError, match="not down"):
        claiming(claim("A", "hv1"), NODES, ("hv1",))
    with pytest.raises(ValueError, match="next is hv1"):
        claiming(claim(), NODES).granted("hv2")


# --- any interleaving


@dataclass
class World:
    """Granters and claimants, with a network that loses, delays and repeats."""

    claimants: dict[str, Claiming]
    tables: dict[str, ClaimTable] = field(default_factory=lambda: {node: ClaimTable() for node in NODES})
    late: list[tuple[str, str, Ask]] = field(default_factory=list)
    dead: frozenset[str] = frozenset()

    def hear(self, node: str, ask: Ask) -> Granted | Denied:
        answer = decide(self.tables[node], ask, DOWN, node)
        if isinstance(answer, Granted):
            self.tables[node] = answer.table
        return answer

    def ask(self, name: str, fate: str) -> None:
        """`fate`: heard, question lost, answer lost, question late."""
        state = self.claimants[name]
        node = state.next_ask
        if node is None or state.ask.claim.claimant in self.dead:
            return
        if node in self.dead or fate != "heard":
            if fate == "answer lost" and node not in self.dead:
                self.hear(node, state.ask)
            if fate == "question late":
                self.late.append(("ask", node, state.ask))
            self.claimants[name] = state.silent(node)
            return
        answer = self.hear(node, state.ask)
        self.claimants[name] = state.granted(node) if isinstance(answer, Granted) \
            else state.denied(node, answer.why, answer.holder)

    def give_back(self, name: str, fate: str) -> None:
        state = self.claimants[name]
        for node in sorted(state.give_back - self.dead):
            claim_ = state.ask.claim
            if fate == "question late":
                self.late.append(("release", node, state.ask))
            if fate in ("heard", "answer lost"):
                self.tables[node] = release(self.tables[node], claim_.instance, claim_.operation)
            if fate == "heard":
                state = state.acknowledged(node)
        self.claimants[name] = state

    def deliver(self) -> None:
        """The oldest late message arrives, whatever happened since."""
        if self.late:
            kind, node, ask = self.late.pop(0)
            if kind == "ask" and node not in self.dead:
                self.hear(node, ask)
            elif node not in self.dead:
                self.tables[node] = release(self.tables[node], ask.claim.instance, ask.claim.operation)

    def inquire(self, node: str) -> None:
        """A granter asks the claimants of what it granted."""
        for held in tuple(self.tables[node].held.values()):
            state = self.claimants.get(held.operation)
            over = state is None or state.over or state.refusal is not None
            if must_release(held, "ended" if over else "running"):
                self.tables[node] = release(self.tables[node], held.instance, held.operation)

    def holders(self) -> list[str]:
        return [name for name, state in self.claimants.items() if state.held]


FATES = st.sampled_from(("heard", "heard", "heard", "question lost", "answer lost", "question late"))
KINDS = st.sampled_from(("ask", "ask", "ask", "give back", "finish", "deliver", "inquire", "return"))
MOVES = st.lists(st.tuples(KINDS, st.integers(0, 2), FATES), max_size=60)


def claimants(number: int, *assume_down: str) -> dict[str, Claiming]:
    return {name: claiming(claim(name, node), NODES, assume_down)
            for name, node in list(zip("ABC", NODES, strict=True))[:number]}


def play(world: World, moves: list[tuple[str, int, str]]) -> None:
    names = sorted(world.claimants)
    for move, which, fate in moves:
        name = names[which % len(names)]
        if move == "ask":
            world.ask(name, fate)
        elif move == "give back":
            world.give_back(name, fate)
        elif move == "finish" and world.claimants[name].held:
            world.claimants[name] = world.claimants[name].finished()
        elif move == "deliver":
            world.deliver()
        elif move == "inquire":
            world.inquire(NODES[which])
        elif move == "return":
            world.dead = frozenset()
        assert len(world.holders()) <= 1, f"two hold after {move}"


@pytest.mark.parametrize("number", [2, 3])
@settings(max_examples=300, deadline=None)
@given(moves=MOVES)
def test_never_two_whatever_is_lost_late_or_silent(number: int, moves: list[tuple[str, int, str]]) -> None:
    play(World(claimants(number)), moves)


@settings(max_examples=300, deadline=None)
@given(moves=MOVES)
def test_never_two_when_a_node_was_assumed_down_and_comes_back(moves: list[tuple[str, int, str]]) -> None:
    """hv3 is down while A and B vouch for that; it returns at any moment, with a claimant of
    its own, and questions that were asked before may arrive after."""
    contenders = claimants(2, "hv3") | {"C": claiming(claim("C", "hv3"), NODES)}
    play(World(contenders, dead=frozenset(("hv3",))), moves)


@pytest.mark.parametrize("number", [1, 2, 3])
@settings(max_examples=100, deadline=None)
@given(turns=st.lists(st.integers(0, 2), max_size=40))
def test_exactly_one_holds_when_all_answer(number: int, turns: list[int]) -> None:
    world = World(claimants(number))
    play(world, [("ask", turn, "heard") for turn in turns])
    for name in sorted(world.claimants) * len(NODES):
        world.ask(name, "heard")
    assert len(world.holders()) == 1
    losers = [state for state in world.claimants.values() if not state.held]
    assert all(state.refusal is not None and state.refusal.holder is not None for state in losers)


@settings(max_examples=100, deadline=None)
@given(moves=MOVES)
def test_nothing_stays_claimed_once_all_is_over(moves: list[tuple[str, int, str]]) -> None:
    """And the network is back."""
    world = World(claimants(3))
    play(world, moves)
    for name, state in world.claimants.items():
        world.claimants[name] = state.finished()
    while world.late:
        world.deliver()
    for name in world.claimants:
        world.give_back(name, "heard")
    for node in NODES:
        world.inquire(node)
    assert all(not table.held for table in world.tables.values())
    assert all(not state.give_back for state in world.claimants.values())

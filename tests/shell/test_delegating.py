"""Steps that another agent carries out: lost answers, busy agents, silence, cancels, lies. In virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentd.core.errors import ActionFailed, Busy, EncapError, NotFound, Silent
from agentd.core.plan import Request, Step, undo_of
from agentd.delegating import Delegate
from agentd.executor import Done, Ending, LeftOver, SkippedStep, TakenBack, UnknownStep

from .agents import OURS, THEIRS, Memory, Other, done, operation

START = Step(3, "vm1", "start", "web", undo="stop", request=Request("start", local=True), touches=("fs#1", "app#1"))


class World:
    """One delegated step of an operation here."""

    def __init__(self, other: Other, step: Step = START, *, working: float = 60.0, silent: float = 15.0,
                 **more: Any) -> None:
        self.other, self.step, self.memory = other, step, Memory()
        self.operation = operation(self.memory)
        self._limits = {"working": working, "silent": silent, **more}

    async def carry_out(self) -> Ending:
        delegate = Delegate(self.other, self.operation, self.step, label="3", under=3,  # type: ignore[arg-type]
                            **self._limits)
        return await delegate.carry_out(self.step.request or Request("start"), "alice", {})

    def told(self, kind: str) -> list[tuple[str, str]]:
        return [(e["what"], e["text"]) for e in self.memory.told if e["kind"] == kind]


UP = ((1.0, done("fs#1")), (2.0, done("app#1")))


def test_a_part_is_asked_for_once_followed_and_told_under_its_step(virtual) -> None:
    async def scenario() -> None:
        world = World(Other(*UP))
        assert await world.carry_out() == Done(started=("fs#1", "app#1"))
        ((key, body),) = world.other.requests
        assert key == f"{OURS}.3"
        assert body == {"action": "start", "local": True,
                        "origin": {"who": "alice", "node": "hv1", "operation": OURS}}
        assert [e["under"] for e in world.memory.told] == [3, 3]
        assert world.told("end") == []

    virtual(scenario())


def test_an_operation_that_did_nothing_is_a_skip(virtual) -> None:
    skipped = {"kind": "skipped", "where": "vm1", "what": "fs#1", "text": "already up"}
    assert virtual(World(Other((0.0, skipped))).carry_out()) == SkippedStep("nothing to do")


def test_a_lost_answer_is_asked_for_again_with_the_same_key(virtual) -> None:
    async def scenario() -> None:
        other = Other(*UP)
        other.lost_answers = 2
        world = World(other)
        assert await world.carry_out() == Done(started=("fs#1", "app#1"))
        assert [key for key, _body in other.requests] == [f"{OURS}.3"] * 3
        assert other.requests[0][1] == other.requests[2][1]

    virtual(scenario())


def test_who_does_not_answer_in_time_is_silent(virtual) -> None:
    async def scenario() -> None:
        other = Other(*UP)
        other.away = [(0.0, 1000.0)]
        with pytest.raises(Silent, match="vm1 does not answer"):
            await World(other, silent=15.0).carry_out()
        assert 15 <= other.now < 20

    virtual(scenario())


def test_a_busy_agent_is_waited_for(virtual) -> None:
    async def scenario() -> None:
        other = Other(*UP)
        other.refusals = [Busy("busy", operation={"id": THEIRS}) for _ in range(10)]
        world = World(other)
        assert await world.carry_out() == Done(started=("fs#1", "app#1"))
        assert len(other.requests) == 11
        assert len(world.told("progress")) == 1

    virtual(scenario())


def test_a_busy_agent_is_waited_for_no_longer_than_the_steps_time(virtual) -> None:
    async def scenario() -> None:
        other = Other(*UP)
        other.refusals = [Busy("busy") for _ in range(1000)]
        with pytest.raises(TakenBack) as caught:
            await World(other, working=60.0).carry_out()
        assert caught.value.code == "busy"
        assert 60 <= other.now < 62

    virtual(scenario())


OLDER = "01J00000000000000000000000"


def busy(number: str, action: str = "start", operation: str = "", **request: Any) -> Busy:
    return Busy("busy", operation={"id": number, "action": action, "origin": {"operation": operation},
                                   "request": {"action": action, **request}})


@pytest.mark.parametrize(("running", "ending"), [
    (busy(OLDER), SkippedStep(f"vm1 carries out start itself: operation {OLDER}")),
    (busy(OLDER, nodes=["hv1"]), SkippedStep(f"vm1 carries out start itself: operation {OLDER}")),
    (busy(OLDER, "stop"), "busy"),
    (busy(OLDER, rids=["fs#1"]), "busy"),
    (busy(THEIRS), Done(started=("fs#1", "app#1"))),
    (busy(OLDER, operation=THEIRS), Done(started=("fs#1", "app#1"))),
])
def test_of_two_hypervisors_that_wait_for_one_another_the_younger_gives_way(
    virtual, running: Busy, ending: Ending | str,
) -> None:
    async def scenario() -> None:
        other = Other(*UP)
        other.refusals = [running] * 3
        world = World(other, rival=True)
        if isinstance(ending, str):
            with pytest.raises(TakenBack) as caught:
                await world.carry_out()
            assert caught.value.code == ending
        else:
            assert await world.carry_out() == ending

    virtual(scenario())


def test_a_short_silence_in_the_middle_loses_nothing(virtual) -> None:
    async def scenario() -> None:
        other = Other((1.0, done("fs#1")), (12.0, done("app#1")))
        other.away = [(2.0, 8.0)]
        world = World(other, silent=15.0)
        assert await world.carry_out() == Done(started=("fs#1", "app#1"))
        assert world.told("done") == [("fs#1", ""), ("app#1", "")]

    virtual(scenario())


def test_a_stream_that_died_while_its_agent_lives_is_no_silence(virtual) -> None:
    async def scenario() -> None:
        other = Other((1.0, done("fs#1")), (40.0, done("app#1")))
        other.mute = [(2.0, 35.0)]
        assert await World(other, silent=15.0).carry_out() == Done(started=("fs#1", "app#1"))

    virtual(scenario())


def test_an_agent_whose_end_is_heard_and_whose_events_are_not_has_ended(virtual) -> None:
    async def scenario() -> None:
        other = Other((1.0, done("fs#1")), (4.0, done("app#1")))
        other.mute = [(2.0, 1000.0)]
        assert await World(other, silent=15.0).carry_out() == Done(), "what it started is not known"
        assert other.now < 40

    virtual(scenario())


def test_a_long_silence_in_the_middle_is_one(virtual) -> None:
    async def scenario() -> None:
        other = Other((1.0, done("fs#1")), (12.0, done("app#1")))
        other.away = [(2.0, 1000.0)]
        with pytest.raises(Silent, match="fell silent in the middle of start"):
            await World(other, silent=15.0).carry_out()
        assert other.now < 40

    virtual(scenario())


def test_who_lives_and_tells_nothing_of_its_work_is_given_up(virtual) -> None:
    async def scenario() -> None:
        other = Other((1.0, done("fs#1")), (1000.0, done("app#1")))
        with pytest.raises(Silent, match="nothing new of start for 60 s") as caught:
            await World(other, working=60.0).carry_out()
        assert caught.value.code == "no-progress"
        assert 60 < other.now < 75

    virtual(scenario())


def test_an_operation_that_is_not_known_any_more_is_lost(virtual) -> None:
    async def scenario() -> None:
        class Forgetful(Other):
            async def ask(self, node: str, method: str, path: str, **more: Any) -> Any:
                if method == "GET" and self.now > 20:
                    raise NotFound("there is no such operation")
                return await super().ask(node, method, path, **more)

        other = Forgetful((1.0, done("fs#1")), (30.0, done("app#1")))
        with pytest.raises(Silent, match="does not know the operation any more") as caught:
            await World(other).carry_out()
        assert caught.value.code == "operation-lost"

    virtual(scenario())


def test_a_cancel_is_passed_on(virtual) -> None:
    async def scenario() -> None:
        other = Other((1.0, done("fs#1")), (50.0, done("app#1")), undone=True)
        other.stubborn = False
        world = World(other)
        running = asyncio.ensure_future(world.carry_out())
        await asyncio.sleep(10)
        world.operation.cancel("alice")
        with pytest.raises(TakenBack):
            await running
        assert other.cancelled == [10.0]
        assert other.now < 20

    virtual(scenario())


def test_a_cancel_that_met_silence_is_passed_on_later(virtual) -> None:
    async def scenario() -> None:
        other = Other((1.0, done("fs#1")), (50.0, done("app#1")), undone=True)
        other.stubborn, other.away = False, [(9.0, 13.0)]
        world = World(other)
        running = asyncio.ensure_future(world.carry_out())
        await asyncio.sleep(10)
        world.operation.cancel("alice")
        with pytest.raises(TakenBack):
            await running
        assert 13 <= other.cancelled[0] < 14

    virtual(scenario())


def test_who_ignores_a_cancel_and_tells_progress_for_ever_is_given_up(virtual) -> None:
    async def scenario() -> None:
        progress = {"kind": "progress", "where": "vm1", "what": "app#1", "text": "nearly"}
        other = Other(*((float(second), progress) for second in range(5000)))
        world = World(other, working=60.0)
        running = asyncio.ensure_future(world.carry_out())
        await asyncio.sleep(100)
        assert not running.done(), "whoever goes on telling may go on working"
        world.operation.cancel("alice")
        with pytest.raises(Silent, match="cancel"):
            await running
        assert 160 <= other.now < 165

    virtual(scenario())


def test_a_cancel_does_not_end_the_undo_that_it_is_for(virtual) -> None:
    async def scenario() -> None:
        other = Other((1.0, done("app#1")), (9.0, done("fs#1")))
        other.stubborn = False
        other.refusals = [Busy("a start that is just being cancelled", operation={"id": THEIRS})] * 3
        world = World(other, undo_of(START, ("fs#1", "app#1")), undoing=True)
        world.operation.cancel("alice")
        assert await world.carry_out() == Done(started=("app#1", "fs#1"))
        assert other.cancelled == []

    virtual(scenario())


@pytest.mark.parametrize(("result", "problem", "raised"), [
    ("failed", {"code": "action-failed", "detail": "no such device", "undone": True}, TakenBack),
    ("failed", {"code": "action-failed", "detail": "no such device", "undone": None}, TakenBack),
    ("failed", {"code": "action-failed", "detail": "no such device", "undone": False}, LeftOver),
    ("failed", {"code": "silent", "detail": "no such device", "undone": False}, LeftOver),
    ("failed", {"code": "refused", "detail": "no such device", "undone": False}, LeftOver),
    ("failed", {"code": "interrupted", "detail": "no such device", "undone": None}, LeftOver),
    ("cancelled", {"code": "action-failed", "detail": "no such device", "undone": True}, TakenBack),
    ("a lie", {"code": "x", "detail": "no such device", "undone": True}, TakenBack),
])
def test_how_it_ended_there_is_how_the_step_ended(
    virtual, result: str, problem: dict[str, Any], raised: type[EncapError],
) -> None:
    with pytest.raises(EncapError, match="no such device") as caught:
        virtual(World(Other(*UP, result=result, **problem)).carry_out())
    assert type(caught.value) is raised
    assert caught.value.code == problem["code"]


def test_what_is_not_known_there_is_not_known_here(virtual) -> None:
    ending = virtual(World(Other(*UP, result="unknown", detail="app#1: its state cannot be told")).carry_out())
    assert ending == UnknownStep("app#1: its state cannot be told")


@pytest.mark.parametrize("lie", [
    done("fs#9"), done("container#0"), done("web"), {**done("x"), "what": {"a": 1}}, {**done("x"), "what": None},
])
def test_a_guest_started_nothing_that_it_was_not_asked_for(virtual, lie: dict[str, Any]) -> None:
    ending = virtual(World(Other((1.0, lie), (2.0, done("fs#1")))).carry_out())
    assert ending == Done(started=("fs#1",))


@pytest.mark.parametrize("answer", [None, [], {"id": 7}, {"id": "../../x"}, {"id": "A" * 41}, {"id": "١٢"}])
def test_an_answer_without_an_operation_is_a_failure(virtual, answer: Any) -> None:
    class Liar(Other):
        def _accept(self, body: dict[str, Any], key: str) -> dict[str, Any]:
            return answer

    with pytest.raises(ActionFailed) as caught:
        virtual(World(Liar(*UP)).carry_out())
    assert caught.value.code == "invalid-reply"
    assert not isinstance(caught.value, TakenBack), "it may have begun all the same"

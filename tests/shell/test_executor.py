"""The executor: order, parallelism, undo, cancel, silence. All in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.errors import ActionFailed, Silent
from agentd.core.events import Happening, Kind
from agentd.core.plan import Plan, Request, Step
from agentd.executor import (
    Done,
    Ending,
    LeftAlone,
    LeftOver,
    Outcome,
    SkippedStep,
    TakenBack,
    UnknownStep,
    execute,
)


def step(number: int, *after: int, what: str = "", undo: str = "stop", **more: object) -> Step:
    return Step(number, "hv1", "start", what or f"app#{number}", after, undo, **more)  # type: ignore[arg-type]


def plan(*steps: Step) -> Plan:
    return Plan("web", "start", "hv1", steps)


@dataclass
class World:
    """Does steps in virtual time and writes down when each began and ended.

    `answers`: what (step id, action) gives: an ending or an exception; `seconds`: how long.
    """

    answers: dict[tuple[int, str], Ending | BaseException] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    diary: list[tuple[float, str, str, int]] = field(default_factory=list)
    told: list[Happening] = field(default_factory=list)
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    cancel_after: int | None = None
    ended: int = 0

    async def perform(self, step: Step, emit: Callable[[Happening], None]) -> Ending:
        loop = asyncio.get_running_loop()
        self.diary.append((loop.time(), "began", step.action, step.id))
        emit(Happening(Kind.PROGRESS, "on its way"))
        await asyncio.sleep(self.seconds.get(step.id, 1))
        self.diary.append((loop.time(), "ended", step.action, step.id))
        self.ended += 1
        if self.ended == self.cancel_after:
            self.cancel.set()
        answer = self.answers.get((step.id, step.action), Done())
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def run(self, plan: Plan) -> Outcome:
        return await execute(plan, self.perform, self.told.append, self.cancel)

    def began(self, action: str) -> list[int]:
        return [number for _, what, did, number in self.diary if what == "began" and did == action]

    def moment(self, what: str, action: str, number: int) -> float:
        return next(t for t, w, a, n in self.diary if (w, a, n) == (what, action, number))

    def kinds(self, number: int | None = None) -> list[Kind]:
        return [h.kind for h in self.told if number is None or h.step == number]


def test_independent_steps_run_together_and_a_step_waits_for_all_it_needs(virtual) -> None:
    async def scenario() -> None:
        world = World(seconds={1: 5, 2: 3, 3: 1, 4: 1})
        outcome = await world.run(plan(step(1), step(2), step(3, 1, 2), step(4, 2)))
        assert outcome == Outcome("succeeded")
        assert world.moment("began", "start", 1) == world.moment("began", "start", 2) == 0
        assert world.moment("began", "start", 3) == 5
        assert world.moment("began", "start", 4) == 3
        assert world.kinds(1) == [Kind.STARTED, Kind.PROGRESS, Kind.DONE]

    virtual(scenario())


def test_an_empty_plan_succeeds(virtual) -> None:
    assert virtual(World().run(plan())) == Outcome("succeeded")


def test_a_failure_undoes_what_was_started_in_reverse_and_not_what_was_skipped(virtual) -> None:
    async def scenario() -> None:
        world = World({(2, "start"): SkippedStep("already up"), (4, "start"): ActionFailed("no such device")})
        outcome = await world.run(plan(step(1), step(2, 1), step(3, 2), step(4, 3), step(5, 4)))
        assert (outcome.result, outcome.undone) == ("failed", True)
        assert outcome.problem is not None
        assert outcome.problem.text == "no such device"
        assert world.began("start") == [1, 2, 3, 4]
        assert world.began("stop") == [4, 3, 1]
        assert world.kinds(4) == [
            Kind.STARTED, Kind.PROGRESS, Kind.FAILED, Kind.UNDO, Kind.PROGRESS, Kind.UNDONE]

    virtual(scenario())


def test_running_steps_are_awaited_before_the_undo(virtual) -> None:
    async def scenario() -> None:
        world = World({(1, "start"): ActionFailed("no")}, seconds={1: 1, 2: 60})
        outcome = await world.run(plan(step(1), step(2), step(3, 2)))
        assert (outcome.result, outcome.undone) == ("failed", True)
        assert world.moment("began", "stop", 2) == 60
        assert world.began("start") == [1, 2]

    virtual(scenario())


def test_one_failing_undo_does_not_keep_the_others_from_running(virtual) -> None:
    async def scenario() -> None:
        world = World({(3, "start"): ActionFailed("no"), (2, "stop"): ActionFailed("busy")})
        outcome = await world.run(plan(step(1), step(2, 1), step(3, 2)))
        assert (outcome.result, outcome.undone) == ("failed", False)
        assert world.began("stop") == [3, 2, 1]
        assert "undo failed: busy" in [h.text for h in world.told]

    virtual(scenario())


def test_what_another_node_could_not_take_back_is_not_undone(virtual) -> None:
    async def scenario() -> None:
        world = World({(2, "start"): LeftOver("fs#1 is busy")})
        outcome = await world.run(plan(step(1, undo=""), step(2, undo="")))
        assert (outcome.result, outcome.undone) == ("failed", False)
        again = World({(2, "start"): LeftOver("fs#1 is busy")})
        outcome = await again.run(plan(step(1), step(2, 1)))
        assert (outcome.result, outcome.undone) == ("failed", True), "what has an undo here is undone from here"

    virtual(scenario())


def test_a_step_that_took_itself_back_is_not_undone_again(virtual) -> None:
    async def scenario() -> None:
        world = World({(2, "start"): TakenBack("the guest undid its part")})
        outcome = await world.run(plan(step(1), step(2, 1)))
        assert (outcome.result, outcome.undone) == ("failed", True)
        assert world.began("stop") == [1]

    virtual(scenario())


def test_nothing_to_undo_is_neither_undone_nor_not(virtual) -> None:
    async def scenario() -> None:
        world = World({(1, "start"): ActionFailed("no")})
        outcome = await world.run(plan(step(1, undo="")))
        assert (outcome.result, outcome.undone) == ("failed", None)

    virtual(scenario())


def test_the_undo_of_a_delegated_step_names_what_was_really_started(virtual) -> None:
    undone: list[tuple[str, ...]] = []

    async def perform(step: Step, emit: Callable[[Happening], None]) -> Ending:
        if step.id == 3:
            raise ActionFailed("no")
        if step.action == "stop":
            assert step.request is not None
            undone.append(step.request.rids)
        return Done(started=("app#1",) if step.id == 1 else ())

    async def scenario() -> None:
        asked = Request("start", local=True)
        outcome = await execute(
            plan(step(1, request=asked, touches=("app#1", "app#2")), step(2, 1, request=asked),
                 step(3, 2, undo="")), perform, lambda _: None, asyncio.Event())
        assert (outcome.result, outcome.undone) == ("failed", True)

    virtual(scenario())
    assert undone == [("app#1",)]


@pytest.mark.parametrize("forgiving", [{"optional": True}, {"on_failure": "go on"}])
def test_what_may_fail_is_told_and_gone_on_from(virtual, forgiving) -> None:
    async def scenario() -> None:
        world = World({(1, "start"): ActionFailed("no")})
        outcome = await world.run(plan(step(1, **forgiving), step(2, 1)))
        assert outcome.result == "succeeded"
        assert outcome.notes == ("start app#1: no",)
        assert Kind.FAILED in world.kinds(1)
        assert world.began("start") == [1, 2]

    virtual(scenario())


def test_silence_and_failure_are_forgiven_apart(virtual) -> None:
    """A stop goes on when the guest is silent, not when the guest says that it failed."""
    async def scenario() -> None:
        guest = step(1, undo="", on_silence="go on")
        silent = World({(1, "start"): Silent("vm1 does not answer")})
        assert (await silent.run(plan(guest, step(2, 1, undo="")))).result == "succeeded"
        told = World({(1, "start"): ActionFailed("app#1 does not stop")})
        assert (await told.run(plan(guest, step(2, 1, undo="")))).result == "failed"
        assert told.began("start") == [1]

    virtual(scenario())


def test_silence_that_cannot_be_taken_back_is_unknown(virtual) -> None:
    async def scenario() -> None:
        world = World({(2, "start"): Silent("hv2 has not answered for 15 s")})
        outcome = await world.run(plan(step(1), step(2, 1, undo="")))
        assert (outcome.result, outcome.undone) == ("unknown", True)
        assert outcome.problem is not None
        assert outcome.problem.code == "unknown"
        assert "hv2" in outcome.problem.text
        assert world.began("stop") == [1]

    virtual(scenario())


def test_silence_that_was_taken_back_is_a_failure(virtual) -> None:
    async def scenario() -> None:
        world = World({(1, "start"): UnknownStep("mount did not return")})
        outcome = await world.run(plan(step(1)))
        assert (outcome.result, outcome.undone) == ("failed", True)
        still = World({(1, "start"): UnknownStep("mount did not return"), (1, "stop"): ActionFailed("busy")})
        assert (await still.run(plan(step(1)))).result == "unknown"

    virtual(scenario())


def test_what_was_there_before_and_is_silent_now_is_unknown_and_not_undone(virtual) -> None:
    async def scenario() -> None:
        world = World({(2, "start"): LeftAlone("mount did not return")})
        outcome = await world.run(plan(step(1), step(2, 1)))
        assert (outcome.result, outcome.undone) == ("unknown", True)
        assert world.began("stop") == [1]

    virtual(scenario())


@pytest.mark.parametrize(("container", "result", "undone"), [
    (Done(), "failed", True), (ActionFailed("does not die"), "unknown", False)])
def test_a_silent_guest_is_proven_stopped_by_its_containers_stop(virtual, container, result, undone) -> None:
    async def scenario() -> None:
        world = World({(2, "start"): Silent("vm1"), (2, "stop"): Silent("vm1"), (1, "stop"): container})
        outcome = await world.run(plan(step(1, what="container#0"), step(2, 1, what="web")))
        assert (outcome.result, outcome.undone) == (result, undone)

    virtual(scenario())


def test_an_error_of_the_program_is_a_failure_and_is_undone(virtual) -> None:
    async def scenario() -> None:
        world = World({(2, "start"): KeyError("oops")})
        outcome = await world.run(plan(step(1), step(2, 1)))
        assert (outcome.result, outcome.undone) == ("failed", True)
        assert outcome.problem is not None
        assert outcome.problem.code == "internal"

    virtual(scenario())


def test_the_whole_is_verified_and_undone_when_it_is_not_good(virtual) -> None:
    async def verify() -> None:
        raise ActionFailed("avail is warn")

    async def scenario() -> None:
        world = World()
        outcome = await execute(plan(step(1)), world.perform, world.told.append, world.cancel, verify)
        assert (outcome.result, outcome.undone) == ("failed", True)
        assert world.began("stop") == [1]

    virtual(scenario())


def test_a_whole_that_cannot_be_told_is_unknown_and_nothing_is_taken_back(virtual) -> None:
    async def verify() -> None:
        raise Silent("whether web is up cannot be told")

    async def scenario() -> None:
        world = World()
        outcome = await execute(plan(step(1)), world.perform, world.told.append, world.cancel, verify)
        assert (outcome.result, outcome.undone) == ("unknown", None)
        assert outcome.problem is not None
        assert outcome.problem.text == "whether web is up cannot be told"
        assert world.began("stop") == []

    virtual(scenario())


def test_steps_in_a_circle_are_refused_before_anything_starts(virtual) -> None:
    async def scenario() -> None:
        world = World()
        with pytest.raises(ValueError, match="circle"):
            await world.run(plan(step(1), step(2, 3), step(3, 2)))
        assert world.diary == []

    virtual(scenario())


CHAIN = plan(step(1), step(2, 1), step(3, 1), step(4, 2, 3), step(5, 4))


@pytest.mark.parametrize("after", range(6))
def test_cancel_at_each_boundary(virtual, after) -> None:
    async def scenario() -> None:
        world = World(cancel_after=after)
        if after == 0:
            world.cancel.set()
        outcome = await world.run(CHAIN)
        started = world.began("start")
        if after == 5:
            assert outcome == Outcome("succeeded")
        else:
            assert outcome.result == "cancelled"
            assert outcome.undone is (True if started else None)
            assert world.began("stop") == started[::-1]
        # Both of the parallel steps had begun when the first of them ended.
        assert len(started) == {0: 0, 1: 1, 2: 3, 3: 3, 4: 4, 5: 5}[after]

    virtual(scenario())


def test_the_daemons_stop_abandons_steps_and_undoes_nothing(virtual) -> None:
    async def scenario() -> None:
        world = World(seconds={1: 1, 2: 100})
        task = asyncio.create_task(world.run(plan(step(1), step(2, 1))))
        await asyncio.sleep(10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert world.began("stop") == []
        assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []

    virtual(scenario())


def test_an_undo_that_has_begun_is_carried_to_its_end(virtual) -> None:
    async def scenario() -> None:
        world = World({(3, "start"): ActionFailed("no")}, seconds={1: 5, 2: 5, 3: 5})
        task = asyncio.create_task(world.run(plan(step(1), step(2, 1), step(3, 2))))
        await asyncio.sleep(17)
        assert world.began("stop") == [3]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [n for _, w, a, n in world.diary if (w, a) == ("ended", "stop")] == [3, 2, 1]

    virtual(scenario())


def test_shown_steps_of_a_guest_are_not_run(virtual) -> None:
    async def scenario() -> None:
        world = World()
        await world.run(plan(step(1), step(2, 1, under=1)))
        assert world.began("start") == [1]

    virtual(scenario())


# --- properties ---------------------------------------------------------------------------

ENDINGS = st.sampled_from(["done", "done", "done", "skipped", "failed", "silent", "unknown", "taken back"])


def ending(word: str) -> Ending | BaseException:
    return {"done": Done(), "skipped": SkippedStep("up"), "failed": ActionFailed("no"),
            "silent": Silent("quiet"), "unknown": UnknownStep("who knows"),
            "taken back": TakenBack("undone there")}[word]


@st.composite
def stories(draw: st.DrawFn) -> tuple[Plan, dict[int, str], set[int], dict[int, float], int]:
    size = draw(st.integers(1, 8))
    steps = []
    for number in range(size):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        steps.append(step(number, *sorted(needs), optional=draw(st.integers(0, 5)) == 0))
    words = {number: draw(ENDINGS) for number in range(size)}
    bad_undo = draw(st.sets(st.integers(0, size - 1), max_size=2))
    seconds = {number: float(draw(st.integers(0, 5))) for number in range(size)}
    return plan(*steps), words, bad_undo, seconds, draw(st.integers(0, size * 2))


@settings(max_examples=150, deadline=None)
@given(story=stories())
def test_every_started_step_is_undone_exactly_once_and_none_starts_before_its_needs(virtual, story) -> None:
    wanted, words, bad_undo, seconds, cancel_after = story

    async def scenario() -> None:
        answers: dict[tuple[int, str], Ending | BaseException] = {
            (n, "start"): ending(word) for n, word in words.items()}
        answers |= {(n, "stop"): ActionFailed("stuck") for n in bad_undo}
        world = World(answers, seconds, cancel_after=cancel_after)
        outcome = await world.run(wanted)
        started = world.began("start")
        assert len(started) == len(set(started))
        for number in started:
            for needed in wanted.steps[number].after:
                assert world.moment("ended", "start", needed) <= world.moment("began", "start", number)
                assert words[needed] in ("done", "skipped") or wanted.steps[needed].optional
        if outcome.result == "succeeded":
            assert world.began("stop") == []
            assert len(started) == len(wanted.steps)
        else:
            owed = [n for n in started if words[n] not in ("skipped", "taken back")]
            assert world.began("stop") == owed[::-1]
            assert outcome.undone is (None if not owed else bad_undo.isdisjoint(owed))
            assert min((world.moment("began", "stop", n) for n in owed), default=9e9) >= max(
                (world.moment("ended", "start", n) for n in started), default=0)
        doubtful = {n for n in started if words[n] in ("silent", "unknown") and not wanted.steps[n].optional}
        assert (outcome.result == "unknown") == bool(doubtful & bad_undo)
        for kinds in (world.kinds(n) for n in started):
            assert kinds[0] == Kind.STARTED
            assert len({Kind.DONE, Kind.SKIPPED, Kind.FAILED}.intersection(kinds[:3])) == 1

    virtual(scenario())

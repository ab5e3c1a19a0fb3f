"""Carries out a Plan: waves in parallel, cancel at a step boundary, undo whatever comes.

What happens with a step that did not simply succeed:

* It *skipped* (there was nothing to do): counts as ended well, is never undone.
* It *failed*: nothing new starts, what runs is awaited, then every step that was started and
  did not skip is taken back, the failed one too (it may have acted by half), in reverse order
  of start. One undo that fails does not keep the others from running. A step that raises
  TakenBack has undone itself, or found what is not this operation's to undo.
* It is *optional*, or says ``go on`` for what happened to it: told, and the operation goes on.
* It met *silence*, or does not know how it ended: like failed. If it can be taken back and
  that succeeds (an undo ends with a probe), the operation failed and is undone. If not, the
  result is ``unknown``: a restart, a read or the silent one's answer has to resolve it.

A cancelled *task* is the daemon's stop, not a user's cancel: running steps are abandoned,
nothing is undone and nothing is called ended; the next start of the daemon resolves it by
probing. Only an undo that has begun is carried to its end first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from agentd.core.errors import ActionFailed, EncapError, Silent
from agentd.core.events import Happening, Kind
from agentd.core.plan import Plan, Step, undo_of

log = logging.getLogger(__name__)

GO_ON = "go on"


@dataclass(frozen=True, slots=True)
class Done:
    """A step acted and succeeded. `started`: the rids that another agent started for it, when
    it told, so that the undo names those and no other; () for none, and there is no undo."""

    text: str = ""
    started: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SkippedStep:
    """There was nothing to do, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class UnknownStep:
    """Whether the step acted is not known; `text` says what is not and what will resolve it."""

    text: str


class TakenBack(ActionFailed):
    """A step that failed and has itself undone what it did: there is nothing left to undo."""


class LeftOver(ActionFailed):
    """A step that failed by half, and did not take back what it did."""


class LeftAlone(Silent):
    """How a step ended is not known, and what it was about was there before: it is not undone."""


Ending = Done | SkippedStep | UnknownStep
Emit = Callable[[Happening], None]
Perform = Callable[[Step, Emit], Awaitable[Ending]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended.

    `result`: succeeded, failed, cancelled, unknown. `undone`: None when there was nothing to
    take back, else whether all of it was. `problem`: why, when not succeeded. `notes`: what
    went wrong without failing the operation.
    """

    result: str
    undone: bool | None = None
    problem: EncapError | None = None
    notes: tuple[str, ...] = ()


async def execute(
    plan: Plan, perform: Perform, emit: Emit, cancel: asyncio.Event,
    verify: Callable[[], Awaitable[None]] | None = None,
) -> Outcome:
    """Carry out the own steps of `plan`.

    `perform` does one step (also the undo of one, which keeps the step's id) and raises
    EncapError. `verify` looks at the whole after the last step; what it raises fails the
    operation and undoes it, but Silent, which makes it unknown. Raises ValueError for a plan
    whose steps wait for one another.
    """
    list(plan.waves())
    run = _Run(plan, perform, emit, cancel)
    await run.forward()
    if run.problem is None and not run.waiting and verify is not None:
        run.problem = await run.verified(verify)
        if isinstance(run.problem, Silent):
            # Every step was seen to end well: that is not taken back because one look failed.
            return run.unknown(run.problem.text, None)
    if run.problem is None and not run.waiting:
        return Outcome("succeeded", notes=tuple(run.notes))
    undoing = asyncio.ensure_future(run.take_back())
    try:
        await asyncio.shield(undoing)
    except asyncio.CancelledError:
        # The daemon stops. What was begun is not left half undone; then the stop goes on.
        await asyncio.wait([undoing])
        raise
    return run.outcome()


class _Run:
    """The state of one execution."""

    def __init__(self, plan: Plan, perform: Perform, emit: Emit, cancel: asyncio.Event) -> None:
        self.plan, self.perform, self.emit, self.cancel = plan, perform, emit, cancel
        self.waiting: dict[int, Step] = {step.id: step for step in plan.own}
        self.steps = dict(self.waiting)
        self.ended: set[int] = set()
        self.acted: dict[int, Step] = {}
        """What takes each started step back, in order of start; skipped ones are removed."""
        self.doubtful: dict[int, str] = {}
        """Steps of which it is not known whether they acted."""
        self.problem: EncapError | None = None
        self.notes: list[str] = []
        self.cancelled = False
        self.undone: dict[int, EncapError | None] = {}

    async def forward(self) -> None:
        """Start what can start, until all is done, something failed or somebody cancelled."""
        running: dict[asyncio.Task[None], Step] = {}
        try:
            while True:
                for step in self._startable():
                    del self.waiting[step.id]
                    self.acted[step.id] = undo_of(step)
                    running[asyncio.create_task(self._step(step))] = step
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del running[task]
                    task.result()
        finally:
            # Reached with running steps only when the daemon stops.
            await _abandon(running)

    def _startable(self) -> list[Step]:
        if self.cancel.is_set() and self.waiting:
            self.cancelled = True
        if self.problem is not None or self.cancelled:
            return []
        return [step for step in self.waiting.values() if self.ended.issuperset(step.after)]

    async def _step(self, step: Step) -> None:
        self._tell(step, Kind.STARTED, step.why)
        ending = await self._attempt(step)
        if isinstance(ending, EncapError):
            self._failed(step, ending)
            return
        self.ended.add(step.id)
        if isinstance(ending, SkippedStep):
            del self.acted[step.id]
            self._tell(step, Kind.SKIPPED, ending.why)
        else:
            if ending.started is not None:
                self.acted[step.id] = undo_of(step, ending.started)
            if ending.started == ():
                del self.acted[step.id]
            self._tell(step, Kind.DONE, ending.text)

    async def _attempt(self, step: Step) -> Done | SkippedStep | EncapError:
        """Perform one step; an error is a value here, and "unknown" is the error Silent."""
        try:
            ending = await self.perform(step, lambda happening: self.emit(_of(step, happening)))
        except EncapError as error:
            return error
        except Exception as error:
            log.exception("%s %s on %s: an error of the program", step.action, step.what, step.where)
            return internal(error)
        return Silent(ending.text, code="unknown") if isinstance(ending, UnknownStep) else ending

    async def verified(self, verify: Callable[[], Awaitable[None]]) -> EncapError | None:
        """What is wrong with the whole, now that every step has ended well."""
        try:
            await verify()
        except EncapError as error:
            self.emit(Happening(Kind.FAILED, error.text, where=self.plan.node, what=self.plan.service))
            return error
        except Exception as error:
            log.exception("verifying %s of %s: an error of the program", self.plan.action, self.plan.service)
            return internal(error)
        return None

    def _failed(self, step: Step, error: EncapError) -> None:
        forgiving = step.on_silence if isinstance(error, Silent) else step.on_failure
        if isinstance(error, TakenBack | LeftAlone):
            del self.acted[step.id]
        if step.optional or forgiving == GO_ON:
            self.ended.add(step.id)
            self.notes.append(f"{step.action} {step.what}: {error.text}")
            self._tell(step, Kind.FAILED, f"{error.text}; going on")
            return
        if isinstance(error, Silent):
            self.doubtful[step.id] = error.text
        if isinstance(error, LeftOver) and not step.undo:
            self.undone[step.id] = error
        # Of several failures the first is the cause; the others are told as events.
        self.problem = self.problem or error
        self._tell(step, Kind.FAILED, error.text)

    async def take_back(self) -> None:
        """Undo every step that was started, acted or may have, and has an undo."""
        for number, undo in reversed(self.acted.items()):
            if not undo.action:
                continue
            self._tell(undo, Kind.UNDO, f"{undo.action} {undo.what}")
            ending = await self._attempt(undo)
            if isinstance(ending, EncapError):
                self.undone[number] = ending
                self._tell(undo, Kind.FAILED, f"undo failed: {ending.text}")
            else:
                self.undone[number] = None
                self._tell(undo, Kind.UNDONE, ending.why if isinstance(ending, SkippedStep) else ending.text)

    def outcome(self) -> Outcome:
        lost = [n for n, error in self.undone.items() if error is not None and not self._redeemed(n, error)]
        undone = not lost if self.undone else None
        doubt = [n for n in self.doubtful if n in lost or n not in self.undone]
        if doubt:
            texts = "; ".join(self.doubtful[n] for n in doubt)
            return self.unknown(texts, undone)
        result = "cancelled" if self.cancelled or (self.problem and self.cancel.is_set()) else "failed"
        return Outcome(result, undone, self.problem, tuple(self.notes))

    def unknown(self, text: str, undone: bool | None) -> Outcome:
        problem = EncapError(text, code="unknown", hint="svc status --refresh shows what is known now")
        return Outcome("unknown", undone, problem, tuple(self.notes))

    def _redeemed(self, number: int, error: EncapError) -> bool:
        """An agent that was silent when asked to undo is proven stopped by its container's stop."""
        if not isinstance(error, Silent):
            return False
        return any(self.undone.get(n, error) is None and self.steps[n].what.startswith("container#")
                   for n in self.steps[number].after)

    def _tell(self, step: Step, kind: Kind, text: str) -> None:
        self.emit(Happening(kind, text, step.id, step.where, step.what))


def _of(step: Step, happening: Happening) -> Happening:
    """What a step tells about itself, with the step's name filled in where it left that out."""
    if happening.step is not None or happening.under is not None:
        return happening
    return replace(happening, step=step.id, where=happening.where or step.where,
                   what=happening.what or step.what)


def internal(error: Exception) -> ActionFailed:
    """What an error of the program is for those who wait for the operation."""
    return ActionFailed(f"internal error: {type(error).__name__}: {error}", code="internal",
                        hint="the daemon's log has the details; please report it")


async def _abandon(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)

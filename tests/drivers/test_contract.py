"""What every type of container must do alike, whatever its tools: one suite, one world per type.

A world is a hypervisor of that type in memory (`world.World`). To put another type under the
suite, write its world and add it to `WORLDS`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest

from agentd.core.errors import ActionFailed, EncapError, NotFound, Silent
from agentd.core.status import Status
from drivers.base import Addressable, ContainerState, Executing, Pausable, Result

from .kvm_world import KvmWorld, needs_libvirt
from .memory import SETTING
from .world import World


class LxcWorld(World):
    """Answers as the lxc-* tools do."""

    type = "lxc"
    WORDS: ClassVar = {
        "STOPPED": ContainerState.DOWN,
        "RUNNING": ContainerState.UP,
        "FROZEN": ContainerState.PAUSED,
    }

    def __init__(self) -> None:
        super().__init__()
        self.word, self.ready_at = "STOPPED", 0.0
        self.files["/var/lib/lxc/c1/config"] = "lxc.uts.name = c1\n"

    def put(self, state: ContainerState) -> None:
        if state is ContainerState.ABSENT:
            self.files.pop("/var/lib/lxc/c1/config")
        elif state is ContainerState.STARTING:
            self.word, self.ready_at = "RUNNING", self.clock + 3
        else:
            self.word = next(word for word, known in self.WORDS.items() if known is state)

    def running(self) -> bool:
        return self.word != "STOPPED"

    def starts(self) -> int:
        return sum(call.startswith("lxc-start") for call in self.calls)

    async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        assert argv[1:3] == ("-n", "c1")
        tool, arguments = argv[0], argv[3:]
        if tool == "lxc-info" and self.garbage:
            return Result(0, "\x00\xff State? maybe\n")
        if tool == "lxc-info":
            if "/var/lib/lxc/c1/config" not in self.files:
                return Result(1, "", "c1 doesn't exist\n")
            word = "STARTING" if self.running() and self.clock < self.ready_at else self.word
            return Result(0, f"State:          {word}\nlxc.start.auto = 0\n")
        if tool == "lxc-start":
            self.word, self.ready_at = "RUNNING", self.clock + self.starting_takes
        elif tool == "lxc-unfreeze":
            self.word = "RUNNING"
        elif tool == "lxc-stop" and arguments[0] == "--nokill":
            if self.ignores_shutdown:
                self.clock += float(arguments[2])
                return Result(1)
            self.word = "STOPPED"
        elif tool == "lxc-stop" and arguments == ("-k",) and not self.survives_kill:
            self.word = "STOPPED"
        return Result(0)


class ProcessWorld(World):
    """A process table; its guest is process 4711."""

    type = "process"
    states = (ContainerState.ABSENT, ContainerState.DOWN, ContainerState.UP, ContainerState.PAUSED)
    ROOT: ClassVar = f"{SETTING.state}/container.1.root"

    def __init__(self) -> None:
        super().__init__()
        self.letter, self.started = "", 0
        self.files["/proc/sys/kernel/random/boot_id"] = "5e1f\n"
        self.files[f"{self.ROOT}/etc/encap/agentd.toml"] = 'node = "c1"\n'

    def put(self, state: ContainerState) -> None:
        record = f"{SETTING.run}/container.1.pid"
        if state is ContainerState.ABSENT:
            self.files.clear()
        elif state in (ContainerState.UP, ContainerState.PAUSED):
            self.letter = "T" if state is ContainerState.PAUSED else "S"
            self.files[record] = "4711 1000 5e1f\n"
        elif state is ContainerState.DOWN:
            self.letter = ""
            self.files.pop(record, None)

    def running(self) -> bool:
        return bool(self.letter)

    def starts(self) -> int:
        return self.started

    async def read(self, path: str, limit: int = 1 << 20) -> str:
        if self.hanging:
            self.clock += 30
            raise Silent(f"cannot read {path}: no answer within 30 s")
        if path.endswith(".pid") and self.garbage:
            return "nonsense"
        if path == "/proc/4711/stat":
            if not self.letter or self.missing:  # its agent has died, so that a tool looks for what is left
                raise NotFound(f"{path} does not exist")
            return f"4711 (agentd) ) x) {self.letter}{' 0' * 18} 1000 0 0"
        return await super().read(path, limit)

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        log: str,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        umask: int | None = None,
    ) -> int:
        assert shlex.join(argv).endswith(f"run --root {self.ROOT}")
        assert env is not None
        assert env.keys() == {"ENCAP_ROOT", "ENCAP_BOOT"}
        assert env["ENCAP_ROOT"] == self.ROOT
        self.letter, self.started = "S", self.started + 1
        return 4711

    async def kill(self, pid: int, signal: int, *, group: bool = True) -> bool:
        assert pid == 4711
        if signal == 18:
            self.letter = "S"
        elif not (self.ignores_shutdown if signal == 15 else self.survives_kill):
            self.letter = ""
        return True

    async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        assert argv[-1] == self.ROOT
        assert argv[-2].endswith("leftovers.py")
        return Result(0, "4711" if self.letter and self.survives_kill else "")


class FakeWorld(World):
    """A folder in memory."""

    type = "fake"
    FOLDER: ClassVar = f"{SETTING.state}/container.1.fake"

    def put(self, state: ContainerState) -> None:
        self.files[f"{self.FOLDER}/state"] = f"{state}\n"

    def running(self) -> bool:
        return self.files.get(f"{self.FOLDER}/state", "down").strip() not in ("down", "absent")

    def starts(self) -> int:
        return int(self.files.get("starts", "0"))

    async def write(self, path: str, text: str, mode: int = 0o600) -> None:
        if path == f"{self.FOLDER}/state" and text == "up\n":
            self.files["starts"] = str(self.starts() + 1)
        await super().write(path, text, mode)

    async def read(self, path: str, limit: int = 1 << 20) -> str:
        if path == f"{self.FOLDER}/orders":
            orders = {
                "ignore shutdown": self.ignores_shutdown,
                "ignore kill": self.survives_kill,
                "garbage": self.garbage,
                "hang probe": self.hanging,
                "missing": self.missing,
            }
            return "\n".join(order for order, given in orders.items() if given)
        state = await super().read(path, limit)
        if state == "starting\n" and self.clock >= 3:
            return "up\n"
        return state


WORLDS = {world.type: world for world in (LxcWorld, ProcessWorld, FakeWorld, KvmWorld)}


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "kvm":
        needs_libvirt()
    found: World = WORLDS[request.param]()
    return found


STATUSES = {
    ContainerState.ABSENT: Status.DOWN,
    ContainerState.DOWN: Status.DOWN,
    ContainerState.UP: Status.UP,
    ContainerState.PAUSED: Status.WARN,
    ContainerState.STARTING: Status.WARN,
    ContainerState.SAVED: Status.WARN,
}


@pytest.mark.parametrize(
    ("world", "state"),
    [
        pytest.param(name, state, id=f"{name}-{state}")
        for name in sorted(WORLDS)
        for state in WORLDS[name].states
    ],
    indirect=["world"],
)
async def test_each_state_has_its_status(world: World, state: ContainerState) -> None:
    world.put(state)
    found = await world.driver().probe()
    assert (found.state, found.status) == (state, STATUSES[state])
    assert bool(found.log) is (found.status is Status.WARN), (
        "a warning has its reason, and nothing else has one"
    )


async def test_garbage_is_unknown_with_the_reason_and_not_down(world: World) -> None:
    world.put(ContainerState.UP)
    world.garbage = True
    found = await world.driver().probe()
    assert (found.state, found.status) == (ContainerState.UNKNOWN, Status.UNDEF)
    assert found.log[0].text


async def test_a_missing_tool_is_unknown_with_the_reason(world: World) -> None:
    world.put(ContainerState.UP)
    world.missing = True
    found = await world.driver().probe()
    assert found.status is Status.UNDEF
    assert "tool missing" in found.log[0].text


async def test_a_tool_that_hangs_is_unknown_with_the_reason(world: World) -> None:
    world.put(ContainerState.UP)
    world.hanging = True
    found = await world.driver().probe()
    assert found.status is Status.UNDEF
    assert re.search(r"no answer within \d+ s", found.log[0].text)


@pytest.mark.parametrize("verb", ["start", "stop"])
async def test_nothing_is_done_to_a_guest_of_which_nothing_is_known(world: World, verb: str) -> None:
    world.put(ContainerState.UP)
    world.garbage = True
    with pytest.raises(EncapError):
        await getattr(world.driver(), verb)()
    assert world.starts() == 0
    assert world.running()


async def test_a_start_comes_back_when_the_guest_is_up(world: World) -> None:
    world.starting_takes = 4
    await world.driver().start()
    assert (await world.driver().probe()).status is Status.UP
    assert world.starts() == 1


async def test_a_start_of_a_running_guest_starts_nothing(world: World) -> None:
    world.put(ContainerState.UP)
    await world.driver().start()
    assert world.starts() == 0


@pytest.mark.parametrize(
    "world",
    [name for name in sorted(WORLDS) if ContainerState.STARTING in WORLDS[name].states],
    indirect=True,
)
async def test_a_start_while_it_is_starting_only_waits(world: World) -> None:
    world.put(ContainerState.STARTING)
    await world.driver().start()
    assert world.starts() == 0
    assert world.clock >= 3


async def test_a_paused_guest_is_not_started(world: World) -> None:
    world.put(ContainerState.PAUSED)
    with pytest.raises(ActionFailed, match="c1 is paused"):
        await world.driver().start()
    assert world.starts() == 0


@pytest.mark.parametrize(
    "world",
    [name for name in sorted(WORLDS) if ContainerState.SAVED in WORLDS[name].states],
    indirect=True,
)
@pytest.mark.parametrize("verb", ["start", "stop"])
async def test_a_saved_guest_is_left_to_people_who_are_told_how(world: World, verb: str) -> None:
    world.put(ContainerState.SAVED)
    with pytest.raises(ActionFailed, match="c1 is saved with its memory") as caught:
        await getattr(world.driver(), verb)()
    assert " c1 " in caught.value.hint
    assert (await world.driver().probe()).state == ContainerState.SAVED
    assert world.starts() == 0


async def test_a_stop_is_asked_for_and_seen(world: World) -> None:
    world.put(ContainerState.UP)
    await world.driver().stop()
    assert not world.running()
    assert world.clock < 10, "it came down by itself"


async def test_a_stop_of_a_stopped_guest_is_nothing(world: World) -> None:
    await world.driver().stop()
    assert not any("stop" in call for call in world.calls)


async def test_a_paused_guest_is_stopped_too(world: World) -> None:
    world.put(ContainerState.PAUSED)
    await world.driver().stop()
    assert not world.running()


async def test_an_ignored_stop_is_forced_after_the_patience_that_was_asked_for(world: World) -> None:
    world.put(ContainerState.UP)
    world.ignores_shutdown = True
    await world.driver().stop()
    assert not world.running()
    assert 10 <= world.clock < 30


async def test_a_forced_stop_that_fails_is_an_error_and_shown_as_stuck_until_it_is_down(world: World) -> None:
    world.put(ContainerState.UP)
    world.ignores_shutdown = world.survives_kill = True
    with pytest.raises(ActionFailed) as caught:
        await world.driver().stop()
    assert caught.value.code == "stuck"
    found = await world.driver().probe()
    assert (found.state, found.status) == (ContainerState.STUCK, Status.WARN)

    world.survives_kill = False
    await world.driver().stop()
    assert (await world.driver().probe()).status is Status.DOWN
    await world.driver().start()
    assert (await world.driver().probe()).status is Status.UP, "the mark is gone"


def test_abilities_are_seen_by_the_methods_that_a_type_has(world: World) -> None:
    driver = world.driver()
    assert isinstance(driver, Pausable)
    assert isinstance(driver, Executing) is (world.type in ("lxc", "process"))
    assert isinstance(driver, Addressable) is (world.type != "fake")

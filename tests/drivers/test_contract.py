"""What every type of container must do alike, whatever its tools: one suite, one world per type.

A world is a simulated hypervisor of that type, in `worlds/`. To put another type under the
suite, write its world and add it to `WORLDS`.
"""

from __future__ import annotations

import re

import pytest

from agentd.core.errors import ActionFailed, EncapError, InvalidRequest, NotFound, NotSupported, Silent
from agentd.core.status import Status
from drivers import BUILTIN
from drivers.base import Addressable, ContainerState, Executing, Exporting, Listing, Pausable, Result
from drivers.container.tools import Listed

from .worlds.base import MARK, ToolWorld, World
from .worlds.fake import FakeWorld
from .worlds.hpvm import HpvmWorld
from .worlds.jail import JailWorld
from .worlds.kvm import KvmWorld
from .worlds.ldom import LdomWorld
from .worlds.lxc import LxcWorld
from .worlds.openvz import OpenvzWorld
from .worlds.prlctl import PrlctlWorld
from .worlds.process import ProcessWorld
from .worlds.srp import SrpWorld
from .worlds.vbox import VboxWorld
from .worlds.xen import XenWorld
from .worlds.zone import ZoneWorld

WORLDS: dict[str, type[World]] = {
    world.type: world
    for world in (
        FakeWorld,
        HpvmWorld,
        JailWorld,
        KvmWorld,
        LdomWorld,
        LxcWorld,
        OpenvzWorld,
        ProcessWorld,
        SrpWorld,
        VboxWorld,
        XenWorld,
        ZoneWorld,
    )
}
WORLDS["prlctl"] = PrlctlWorld  # the other tool of type openvz
NAMES = sorted(WORLDS)
COMMANDED = sorted(name for name in NAMES if issubclass(WORLDS[name], ToolWorld) and name != "vbox")
"""Types whose tool lists all guests as a text."""

LISTED = sorted([*COMMANDED, "kvm"])


def having(*states: ContainerState) -> list[str]:
    """The types whose guests can be in these states."""
    return [name for name in NAMES if set(states) <= set(WORLDS[name].states)]


def only(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("world", names, indirect=True)


@pytest.fixture(params=NAMES)
def world(request: pytest.FixtureRequest) -> World:
    name, _, version = str(request.param).partition("-")
    found = WORLDS[name]()
    found.old = version == "old"
    return found


STATUSES = {
    ContainerState.ABSENT: Status.DOWN,
    ContainerState.DOWN: Status.DOWN,
    ContainerState.UP: Status.UP,
}


@pytest.mark.parametrize(
    ("world", "state"),
    [
        pytest.param(name + version, state, id=f"{name}{version}-{state}")
        for name in NAMES
        for version in (("", "-old") if issubclass(WORLDS[name], ToolWorld) else ("",))
        for state in WORLDS[name].states
    ],
    indirect=["world"],
)
async def test_each_state_has_its_status(world: World, state: ContainerState) -> None:
    world.put(state)
    found = await world.driver().probe()
    assert (found.state, found.status) == (state, STATUSES.get(state, Status.WARN))
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


@only(having(ContainerState.STARTING))
async def test_a_start_while_it_is_starting_only_waits(world: World) -> None:
    world.put(ContainerState.STARTING)
    await world.driver().start()
    assert world.starts() == 0
    assert world.clock >= 3


NOT_STARTED = (
    ContainerState.PAUSED,
    ContainerState.SAVED,
    ContainerState.STOPPING,
    ContainerState.MIGRATING,
    ContainerState.STUCK,
)


@pytest.mark.parametrize(
    ("world", "state"),
    [(name, state) for name in NAMES for state in NOT_STARTED if state in WORLDS[name].states],
    indirect=["world"],
)
async def test_a_guest_that_is_neither_up_nor_down_is_not_started(
    world: World, state: ContainerState
) -> None:
    world.put(state)
    with pytest.raises(ActionFailed, match=f"c1 is {state}") as caught:
        await world.driver().start()
    assert caught.value.hint
    assert world.starts() == 0


# Of hpvm, Invalid is the configuration: a start does not mend that.
@only([name for name in having(ContainerState.CRASHED) if name != "hpvm"])
async def test_a_crashed_guest_is_cleared_away_and_started(world: World) -> None:
    world.put(ContainerState.CRASHED)
    await world.driver().start()
    assert (await world.driver().probe()).status is Status.UP
    assert world.starts() == 1


@only([name for name in NAMES if name not in ("fake", "process")])
async def test_a_start_that_somebody_else_was_faster_with_is_a_start(world: World) -> None:
    world.somebody_was_faster = True
    await world.driver().start()
    assert (await world.driver().probe()).status is Status.UP


@only([name for name in NAMES if name not in ("fake", "process")])
async def test_an_absent_guest_is_not_started(world: World) -> None:
    world.put(ContainerState.ABSENT)
    with pytest.raises((ActionFailed, NotFound)):
        await world.driver().start()
    assert world.starts() == 0


async def test_a_stop_is_asked_for_and_seen(world: World) -> None:
    world.put(ContainerState.UP)
    await world.driver().stop()
    assert not world.running()
    assert world.clock < 10, "it came down by itself"


async def test_a_stop_of_a_stopped_guest_is_nothing(world: World) -> None:
    await world.driver().stop()
    assert not any("stop" in call for call in world.calls)


@only(having(ContainerState.PAUSED))
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


@only(having(ContainerState.PAUSED))
async def test_a_guest_is_paused_and_goes_on(world: World) -> None:
    world.put(ContainerState.UP)
    driver = world.driver()
    assert isinstance(driver, Pausable)
    await driver.pause()
    assert (await world.driver().probe()).state is ContainerState.PAUSED
    await driver.resume()
    assert (await world.driver().probe()).state is ContainerState.UP


@only(having(ContainerState.SAVED))
async def test_a_stop_of_a_saved_guest_throws_its_memory_away_and_never_wakes_it(world: World) -> None:
    world.put(ContainerState.SAVED)
    if world.discards:
        await world.driver().stop()
        assert (await world.driver().probe()).status is Status.DOWN
    else:
        with pytest.raises(NotSupported, match="c1 is saved"):
            await world.driver().stop()
        assert (await world.driver().probe()).state is ContainerState.SAVED
    assert world.starts() == 0
    assert not any("resume" in call for call in world.calls)


@only(having(ContainerState.MIGRATING))
async def test_a_migrating_guest_is_not_stopped(world: World) -> None:
    world.put(ContainerState.MIGRATING)
    with pytest.raises(ActionFailed, match="c1 is migrating"):
        await world.driver().stop()
    assert (await world.driver().probe()).state is ContainerState.MIGRATING


@only(having(ContainerState.CRASHED))
async def test_a_crashed_guest_is_not_asked_but_taken_away(world: World) -> None:
    world.put(ContainerState.CRASHED)
    await world.driver().stop()
    assert not world.running()
    assert world.clock < 10


@only(having(ContainerState.STUCK))
async def test_a_guest_that_its_tool_calls_stuck_is_killed_at_once_or_after_it_was_asked(
    world: World,
) -> None:
    world.put(ContainerState.STUCK)
    await world.driver().stop()
    assert not world.running()


@pytest.mark.parametrize("verb", ["start", "stop"])
async def test_a_tool_that_hangs_ends_an_action_as_silence(world: World, verb: str) -> None:
    world.put(ContainerState.UP)
    world.hanging = True
    with pytest.raises(Silent):
        await getattr(world.driver(), verb)()
    world.hanging = False
    assert world.running()


@only([name for name in NAMES if name == "kvm" or issubclass(WORLDS[name], ToolWorld)])
async def test_a_stop_waits_for_a_slow_guest(world: World) -> None:
    world.put(ContainerState.UP)
    world.stopping_takes = 6
    await world.driver().stop()
    assert (await world.driver().probe()).status is Status.DOWN
    assert 6 <= world.clock < 10


@only(["openvz", "vbox"])
async def test_a_tool_that_is_busy_is_asked_again(world: World) -> None:
    assert isinstance(world, ToolWorld)
    world.busy = 3
    await world.driver().start()
    assert world.starts() == 1
    world.busy = 1000
    with pytest.raises(ActionFailed, match="locked"):
        await world.driver().pause()  # type: ignore[attr-defined]


@only([name for name in NAMES if WORLDS[name].autostarts])
async def test_a_guest_that_starts_by_itself_has_a_warning_and_the_command_that_mends_it(
    world: World,
) -> None:
    world.put(ContainerState.UP)
    world.autostart = True
    found = await world.driver().probe()
    assert found.status is Status.UP
    (line,) = found.log
    assert line.level == "warn"
    assert line.text.partition(MARK)[2].split()[0] in (
        "sed", "rm", "zonecfg", "sysrc", "vzctl", "VBoxManage", "ldm", "hpvmmodify", "srp", "virsh",
    )  # fmt: skip


@only([name for name in NAMES if WORLDS[name].executes])
async def test_a_command_in_the_guest_gets_its_words_and_its_input_and_its_exit_code_comes_back(
    world: World,
) -> None:
    world.put(ContainerState.UP)
    driver = world.driver()
    assert isinstance(driver, Executing)
    words = ("printf", "two words", "it's", "$HOME; reboot", "")
    result = await driver.execute(*words, stdin=b"input")
    assert (result.code, result.out) == world_says(world, words)


def world_says(world: World, words: tuple[str, ...]) -> tuple[int, str]:
    result = world.inside(words, b"input")
    return result.code, result.out


@only([name for name in NAMES if WORLDS[name].executes and name != "process"])
async def test_a_command_in_a_guest_that_is_down_is_an_error_and_no_answer(world: World) -> None:
    driver = world.driver()
    assert isinstance(driver, Executing)
    with pytest.raises(ActionFailed, match="c1 is not running"):
        await driver.execute("true")


@only([name for name in NAMES if WORLDS[name].address])
async def test_the_address_of_the_guest_is_told(world: World) -> None:
    world.put(ContainerState.UP)
    driver = world.driver()
    assert isinstance(driver, Addressable)
    assert await driver.addresses() == (world.address,)


@only([name for name in NAMES if WORLDS[name].export])
async def test_the_definition_of_a_guest_travels(world: World) -> None:
    driver = world.driver()
    assert isinstance(driver, Exporting)
    files = await driver.export()
    assert list(files) == [world.export]
    with pytest.raises(InvalidRequest, match="one file"):
        await driver.define({**files, "../../etc/passwd": ""})

    other = type(world)()
    other.put(ContainerState.ABSENT)
    receiver = other.driver()
    assert isinstance(receiver, Exporting)
    await receiver.define(files)
    assert (await other.driver().probe()).state is ContainerState.DOWN
    assert await receiver.export() == files
    await other.driver().start()
    assert (await other.driver().probe()).status is Status.UP


@only(LISTED)
async def test_two_hundred_guests_cost_one_question(world: World) -> None:
    assert isinstance(world, (ToolWorld, KvmWorld))
    world.put(ContainerState.UP)
    world.crowd(200)
    driver = world.driver()
    assert isinstance(driver, Listing)
    found = await type(driver).states(world, driver.options)
    assert {name for name, state in found.items() if state is ContainerState.UP} >= {"c1", "g0", "g199"}
    assert len(world.calls) == 1


@only(COMMANDED)
async def test_a_list_that_was_cut_proves_nothing(world: World) -> None:
    assert isinstance(world, ToolWorld)
    world.put(ContainerState.ABSENT)
    world.crowd(3000)
    found = await world.driver().probe()
    assert (found.state, found.status) == (ContainerState.UNKNOWN, Status.UNDEF)


UNHEARD_OF = {
    "hpvm": (":On:", ":Odd:"),
    "jail": ("ACTIVE", "ODD"),
    "ldom": ("=active", "=odd"),
    "openvz": ("running", "odd"),
    "srp": ("started", "odd"),
    "xen": ("------", "---s?-"),
    "zone": (":running:", ":???:"),
}


@only([name for name in COMMANDED if name in UNHEARD_OF])
@pytest.mark.parametrize(("odd", "other"), [("c1", "g0"), ("g0", "c1")])
async def test_a_word_that_is_not_known_makes_one_guest_unknown(world: World, odd: str, other: str) -> None:
    assert isinstance(world, ToolWorld)
    world.put(ContainerState.UP)
    world.crowd(1)
    driver = world.driver()
    assert isinstance(driver, Listed)
    out = (await world.tool(type(driver).QUERY, None)).out
    at = out.index(odd)
    seen = type(driver).read(Result(0, out[:at] + out[at:].replace(*UNHEARD_OF[world.type], 1)))
    assert seen[odd].state is ContainerState.UNKNOWN
    assert seen[other].state is ContainerState.UP


def test_abilities_are_seen_by_the_methods_that_a_type_has(world: World) -> None:
    driver = world.driver()
    assert isinstance(driver, Pausable) is (ContainerState.PAUSED in world.states)
    assert isinstance(driver, Executing) is world.executes
    assert isinstance(driver, Addressable) is bool(world.address)
    assert isinstance(driver, Exporting) is (
        bool(world.export) if world.exporting is None else world.exporting
    )
    assert isinstance(driver, Listing) is (world.type in LISTED)


def test_every_type_with_a_driver_has_a_world() -> None:
    assert {f"container.{WORLDS[name].type}" for name in NAMES} == {
        name for name in BUILTIN if name.startswith("container.")
    }

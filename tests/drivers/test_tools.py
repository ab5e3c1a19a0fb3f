"""What the drivers of command-line tools share, beyond the contract of all containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.core.errors import EncapError, InvalidRequest
from drivers import BUILTIN
from drivers.base import ContainerState, Result
from drivers.container.openvz import Openvz
from drivers.container.xen import Xen

from .memory import make
from .worlds.openvz import OpenvzWorld
from .worlds.vbox import CONFIG, VboxWorld
from .worlds.xen import XenWorld


class Deaf(VboxWorld):
    """Its guest hears the power button from the third time on; asked in between, the tool may be unclear."""

    unclear = False

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        asked = sum("acpipowerbutton" in call for call in self.calls)
        if words[-1] == "acpipowerbutton" and asked < 3:
            return Result(0)
        if words[0] == "showvminfo" and self.unclear and asked:
            return Result(1, "", "VBoxManage: error: Failed to create the VirtualBox object!\n")
        return await super().answer(tool, words, stdin)


async def test_a_guest_that_hears_no_power_button_while_it_boots_is_asked_again() -> None:
    world = Deaf()
    world.put(ContainerState.UP)
    driver = make("container#1", "vbox", world, name="c1", user="vbox", stop_timeout=60)
    await driver.stop()
    assert sum("acpipowerbutton" in call for call in world.calls) == 3
    assert not any("poweroff" in call for call in world.calls)
    assert 30 <= world.clock < 45


async def test_a_second_request_that_is_refused_since_the_guest_is_on_its_way_forces_nothing() -> None:
    class Slow(VboxWorld):
        def control(self, verb: str) -> Result:
            if self.now_is is ContainerState.STOPPING:
                return Result(1, "", "VBoxManage: error: Invalid machine state: Stopping\n")
            return super().control(verb)

    world = Slow()
    world.put(ContainerState.UP)
    world.stopping_takes = 25
    await make("container#1", "vbox", world, name="c1", user="vbox", stop_timeout=60).stop()
    assert 25 <= world.clock < 30
    assert sum("acpipowerbutton" in call for call in world.calls) == 2
    assert not any("poweroff" in call for call in world.calls)


async def test_an_unclear_answer_ends_no_wait_before_its_time_and_is_then_the_error_and_no_force() -> None:
    world = Deaf()
    world.unclear = True
    world.put(ContainerState.UP)
    driver = make("container#1", "vbox", world, name="c1", user="vbox", stop_timeout=40)
    with pytest.raises(EncapError, match="Failed to create the VirtualBox object"):
        await driver.stop()
    assert world.clock >= 40
    assert not any("poweroff" in call for call in world.calls)


async def test_a_machine_without_a_place_for_its_file_is_not_made_known() -> None:
    world = VboxWorld()
    driver = make("container#1", "vbox", world, name="c1", user="vbox")
    with pytest.raises(InvalidRequest) as caught:
        await driver.define({"vbox": "<VirtualBox/>"})  # type: ignore[attr-defined]
    assert "cf" in caught.value.hint
    assert not any("registervm" in call for call in world.calls)


@pytest.mark.parametrize("name", ["../../crontab.conf", "-x.conf", "c1", "a/b.conf", ""])
async def test_a_definition_of_openvz_goes_nowhere_else(name: str) -> None:
    world = OpenvzWorld()
    before = dict(world.files)
    driver = make("container#1", "openvz", world, name="c1")
    with pytest.raises(InvalidRequest):
        await driver.define({name: "evil"})  # type: ignore[attr-defined]
    assert world.files == before


async def test_a_name_that_is_the_number_of_another_container_means_the_number() -> None:
    rows = "101 running no -  192.0.2.7\n102 stopped no 101 192.0.2.8\n"
    for out in (rows, "\n".join(reversed(rows.splitlines()))):
        found = Openvz.read(Result(0, out))
        assert found["101"].state is ContainerState.UP
        assert found["102"].state is ContainerState.DOWN


async def test_a_machine_is_asked_for_as_its_user() -> None:
    users = []

    class Asked(VboxWorld):
        async def probe(self, *argv: str, user: str = "", **how: object) -> Result:
            users.append(user)
            return await super().probe(*argv, user=user, **how)  # type: ignore[arg-type]

        async def run(self, *argv: str, user: str = "", **how: object) -> Result:
            users.append(user)
            return await super().run(*argv, user=user, **how)  # type: ignore[arg-type]

    world = Asked()
    driver = make("container#1", "vbox", world, name="c1", user="vbox", cf=CONFIG)
    await driver.start()
    await driver.stop()
    assert "vbox" in users
    assert world.started == 1


async def test_a_list_is_whole_by_its_bytes_and_not_by_its_signs() -> None:
    class Greek(XenWorld):
        async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
            return Result(0, f"Name ID\n{'Ω' * 33000} 0 1 1 r----- 1.0\nDomain-0 0 1 1 r----- 1.0\n")

    with pytest.raises(EncapError, match="too long"):
        await Xen.states(Greek(), {})


async def test_the_tools_are_taken_from_the_folder_that_is_named() -> None:
    world = XenWorld()
    driver = make("container#1", "xen", world, name="c1", tools_dir="/opt/xen/bin")
    await driver.start()
    await driver.stop()
    assert all(call.startswith("/opt/xen/bin/xl ") for call in world.calls)


async def test_what_a_failed_kill_said_is_in_the_error_of_a_stuck_guest() -> None:
    world = XenWorld()
    world.put(ContainerState.UP)
    world.ignores_shutdown = world.survives_kill = True
    with pytest.raises(EncapError, match=r"stuck.*destroy failed \(rc=-3\)") as caught:
        await make("container#1", "xen", world, name="c1", stop_timeout=1).stop()
    assert caught.value.code == "stuck"


@pytest.mark.parametrize("name", ["hpvm", "jail", "ldom", "openvz", "srp", "vbox", "xen", "zone"])
def test_a_type_is_one_short_file(name: str) -> None:
    module = BUILTIN[f"container.{name}"].partition(":")[0]
    path = Path(__file__).parents[2] / f"{module.replace('.', '/')}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150

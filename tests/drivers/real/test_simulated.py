"""The types that are driven by command lines, through real processes with the names of their tools."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.core.errors import ActionFailed, NotFound, Silent
from agentd.core.status import Status
from drivers.base import ContainerState, Executing
from drivers.container.tools import Commanded

from ..memory import make  # noqa: TID252 of the same tests
from ..worlds.base import ToolWorld  # noqa: TID252
from ..worlds.hpvm import HpvmWorld  # noqa: TID252
from ..worlds.jail import JailWorld  # noqa: TID252
from ..worlds.ldom import LdomWorld  # noqa: TID252
from ..worlds.openvz import OpenvzWorld  # noqa: TID252
from ..worlds.srp import SrpWorld  # noqa: TID252
from ..worlds.vbox import VboxWorld  # noqa: TID252
from ..worlds.xen import XenWorld  # noqa: TID252
from ..worlds.zone import ZoneWorld  # noqa: TID252
from .simulator import Machine, Simulator

pytestmark = pytest.mark.real

TOOLS: dict[type[ToolWorld], tuple[str, ...]] = {
    HpvmWorld: ("hpvmstatus", "hpvmstart", "hpvmstop"),
    JailWorld: ("jls", "jail", "jexec", "sysrc"),
    LdomWorld: ("ldm",),
    OpenvzWorld: ("vzlist", "vzctl"),
    SrpWorld: ("srp", "srp_su"),
    VboxWorld: ("VBoxManage",),
    XenWorld: ("xl",),
    ZoneWorld: ("zoneadm", "zonecfg", "zlogin"),
}


class Bench:
    """A driver over a simulated tool."""

    def __init__(self, world: ToolWorld, folder: Path) -> None:
        self.world, self.simulator = world, Simulator(folder, world)
        self.host = Machine(folder, world)

    def driver(self, **options: object) -> Commanded:
        own = {key: value for key, value in self.world.options.items() if key != "user"}
        words = {"name": "c1", "tools_dir": self.simulator.folder, "stop_timeout": 1, **own, **options}
        found = make("container#1", self.world.type, self.host, **words)
        assert isinstance(found, Commanded)
        return found


def type_of(world: type[ToolWorld]) -> str:
    return world.type


@pytest.fixture(params=list(TOOLS), ids=type_of)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    # Short: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="encap-", dir="/tmp") as folder:
        bench = Bench(request.param(), Path(folder))
        await bench.simulator.start(*TOOLS[request.param])
        yield bench
        await bench.simulator.stop()
        await bench.host.close()


async def test_a_life(bench: Bench) -> None:
    driver = bench.driver()
    assert (await driver.probe()).state is ContainerState.DOWN
    await driver.start()
    assert (await driver.probe()).status is Status.UP
    bench.world.ignores_shutdown = True
    await driver.stop()
    assert (await driver.probe()).state is ContainerState.DOWN
    bench.world.put(ContainerState.ABSENT)
    assert (await driver.probe()).state is (
        ContainerState.UNKNOWN if bench.world.type == "vbox" else ContainerState.ABSENT
    )


@pytest.mark.parametrize("bench", [world for world in TOOLS if world.executes], indirect=True, ids=type_of)
async def test_words_input_and_exit_code_go_through_a_process(bench: Bench) -> None:
    driver = bench.driver()
    assert isinstance(driver, Executing)
    bench.world.put(ContainerState.UP)
    words = ("printf", "two words", "it's", "$HOME; reboot", "", "ünï", "--", "-rf")
    result = await driver.execute(*words, stdin=b"input\nof two lines")
    said = bench.world.inside(words, b"input\nof two lines")
    assert (result.code, result.out) == (said.code, said.out)
    bench.world.put(ContainerState.DOWN)
    with pytest.raises(ActionFailed, match="c1 is not running"):
        await driver.execute("true")


@pytest.mark.parametrize("bench", [HpvmWorld, ZoneWorld], indirect=True, ids=type_of)
async def test_a_change_that_hangs_is_ended(bench: Bench) -> None:
    bench.world.put(ContainerState.UP)
    tool = {"hpvm": "hpvmstop", "zone": "zlogin"}[bench.world.type]
    bench.simulator.hanging = {tool}
    driver = bench.driver()
    with pytest.raises(Silent, match="no answer within"):
        await driver.change(tool, "c1", timeout=0.3)
    assert bench.world.running()


async def test_a_query_that_hangs_is_silence(bench: Bench) -> None:
    bench.world.put(ContainerState.UP)
    query = TOOLS[type(bench.world)][0]
    bench.simulator.hanging = {query}
    with pytest.raises(Silent, match="no answer within"):
        await bench.driver().look(query, timeout=0.3)


async def test_without_its_tools_a_machine_is_unknown(bench: Bench) -> None:
    found = await bench.driver(tools_dir="/nowhere").probe()
    assert (found.status, found.state) == (Status.UNDEF, ContainerState.UNKNOWN)
    assert "tool missing: /nowhere/" in found.log[0].text
    with pytest.raises(NotFound):
        await bench.driver(tools_dir="/nowhere").start()

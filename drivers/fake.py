"""The fake of every group: a folder is a machine, and files in it say what it does.

``state`` holds the state in one word. ``orders`` holds what goes wrong, one order a line,
read again at each verb::

    fail start        the verb fails: start, stop, probe; a container also knows shutdown and kill
    ignore shutdown   the verb says yes and does nothing
    hang probe        the verb is not answered for `hang_timeout` seconds, and then counts as silent
    delay 2           every start and stop takes 2 seconds
    garbage           the state cannot be read
    missing           there is no tool to ask

The keywords ``fail``, ``hang`` and ``delay`` give the same orders for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentd.core.converters import absolute_path, duration, words
from agentd.core.errors import ActionFailed, NotFound, Silent
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine, Probe, Status
from drivers.base import ContainerState, Driver, Host, StateUnknown
from drivers.container.base import Container

KEYWORDS = (
    Keyword("machine", "The folder that is the machine; the resource's own when absent.", absolute_path, ""),
    Keyword("fail", "Verbs that fail: start, stop, probe, shutdown, kill.", words, (), example="start"),
    Keyword("hang", "Verbs that are not answered.", words, (), example="probe"),
    Keyword("hang_timeout", "How long one waits for a verb that hangs.", duration, 30.0),
    Keyword("delay", "How long a start and a stop take.", duration, 0.0, example="2s"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The folder, and what its orders and the keywords say together."""

    host: Host
    folder: str
    options: Mapping[str, Any]

    async def orders(self) -> dict[str, tuple[str, ...]]:
        """Order -> its words."""
        found: dict[str, tuple[str, ...]] = {verb: tuple(self.options[verb]) for verb in ("fail", "hang")}
        for line in (await self._read("orders")).splitlines():
            order, *rest = line.split() or [""]
            found[order] = (*found.get(order, ()), *rest)
        return found

    async def obey(self, *verbs: str) -> bool:
        """Do as ordered for a verb, of which there may be two names; False when it is to be ignored."""
        orders = await self.orders()

        def ordered(order: str) -> bool:
            return not set(verbs).isdisjoint(orders.get(order, ()))

        if ordered("hang"):
            await self.host.sleep(self.options["hang_timeout"])
            raise Silent(f"fake {verbs[0]}: no answer within {self.options['hang_timeout']:g} s")
        if "probe" not in verbs:
            await self.host.sleep(float((orders.get("delay") or (self.options["delay"],))[-1]))
        if ordered("fail"):
            raise ActionFailed(f"fake {verbs[0]}: told to fail")
        if "missing" in orders:
            raise NotFound("tool missing: fake", code="tool-missing")
        if "probe" in verbs and "garbage" in orders:
            raise StateUnknown("fake probe: told to answer garbage")
        return not ordered("ignore")

    async def state(self) -> str:
        return (await self._read("state")).strip()

    async def become(self, state: str) -> None:
        await self.host.make_directory(self.folder)
        await self.host.write(f"{self.folder}/state", f"{state}\n")

    async def _read(self, name: str) -> str:
        try:
            return await self.host.read(f"{self.folder}/{name}", 4096)
        except NotFound:
            return ""


def machine(driver: Driver) -> Machine:
    return Machine(driver.host, str(driver.options["machine"] or driver.state_path("fake")), driver.options)


class Fake(Driver):
    """Does nothing to the machine, and remembers what it was told in a folder."""

    KEYWORDS = KEYWORDS

    async def probe(self) -> Probe:
        await machine(self).obey("probe")
        word = await machine(self).state() or "down"
        if word not in tuple(Status):
            return Probe(Status.UNDEF, (LogLine("warn", f"the fake's state {word[:40]!r} is none"),))
        return Probe(Status(word))

    async def start(self) -> None:
        if await machine(self).obey("start"):
            await machine(self).become(Status.UP)

    async def stop(self) -> None:
        if await machine(self).obey("stop"):
            await machine(self).become(Status.DOWN)


class FakeContainer(Container):
    """A container that is a folder, with every state that a real one can be in."""

    KEYWORDS = (*Container.KEYWORDS, *KEYWORDS)

    async def state(self) -> ContainerState:
        await machine(self).obey("probe")
        word = await machine(self).state() or ContainerState.DOWN
        if word not in tuple(ContainerState):
            raise StateUnknown(f"the fake's state {word[:40]!r} is none")
        return ContainerState(word)

    async def start_guest(self) -> None:
        if await machine(self).obey("start"):
            await machine(self).become(ContainerState.UP)

    async def shutdown_guest(self, seconds: float) -> None:
        if await machine(self).obey("shutdown", "stop"):
            await machine(self).become(ContainerState.DOWN)

    async def kill_guest(self) -> None:
        if await machine(self).obey("kill", "stop"):
            await machine(self).become(ContainerState.DOWN)

    async def discard_guest(self) -> None:
        if await machine(self).obey("kill"):
            await machine(self).become(ContainerState.DOWN)

    async def pause(self) -> None:
        await machine(self).become(ContainerState.PAUSED)

    async def resume(self) -> None:
        await machine(self).become(ContainerState.UP)

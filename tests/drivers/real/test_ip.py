"""The address driver on two machines of two network namespaces, joined by a cable."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.core.errors import ActionFailed
from agentd.core.status import Status
from agentd.host import LocalHost
from drivers import catalogue
from drivers.base import Driver, Host, Result

from ..memory import SETTING, resource  # noqa: TID252 of the same tests

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]


class NamespacedHost(LocalHost):
    """This machine, with the network of a namespace."""

    def __init__(self, root: Path, namespace: str) -> None:
        super().__init__(root)
        self.namespace = namespace

    async def probe(self, *argv: str, **how: Any) -> Result:
        return await super().probe("ip", "netns", "exec", self.namespace, *argv, **how)

    async def run(self, *argv: str, **how: Any) -> Result:
        return await super().run("ip", "netns", "exec", self.namespace, *argv, **how)


@pytest.fixture
async def machines(
    tmp_path: Path, needs: Callable[..., None]
) -> AsyncIterator[tuple[NamespacedHost, NamespacedHost]]:
    needs("ip", "arping")
    names = [f"encap-{os.getpid()}-{letter}" for letter in "ab"]
    local = LocalHost(tmp_path)
    for name in names:
        await local.run("ip", "netns", "add", name)
    here, there = (NamespacedHost(tmp_path, name) for name in names)
    await local.run(
        "ip",
        "link",
        "add",
        "eth0",
        "netns",
        names[0],
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        names[1],
    )
    for host, last in ((here, 1), (there, 2)):
        await host.run("ip", "link", "set", "lo", "up")
        await host.run("ip", "link", "set", "eth0", "up")
        await host.run("ip", "addr", "add", f"10.99.7.{last}/24", "dev", "eth0")
        await host.run("ip", "addr", "add", f"fd00:99::{last}/64", "dev", "eth0", "nodad")
    yield here, there
    for name in names:
        await local.run("ip", "netns", "del", name)
    await asyncio.gather(here.close(), there.close(), local.close())


def address(host: Host, ipname: str, **options: object) -> Driver:
    driver = catalogue().driver("ip", "host")
    assert driver is not None
    return driver(resource("ip#1", "host", ipname=ipname, ipdev="eth0", **options), host, SETTING)


async def addresses(host: Host) -> dict[str, Any]:
    answer = await host.probe("ip", "-j", "addr", "show", "dev", "eth0")
    return {info["local"]: info for info in json.loads(answer.out)[0]["addr_info"]}


async def test_an_address_comes_is_reached_and_goes(machines: tuple[NamespacedHost, NamespacedHost]) -> None:
    here, there = machines
    driver = address(here, "10.99.7.50")
    assert (await driver.probe()).status is Status.DOWN
    await driver.start()
    assert (await driver.probe()).status is Status.UP
    info = (await addresses(here))["10.99.7.50"]
    assert (info["prefixlen"], info["label"]) == (24, "eth0:1")
    answer = await there.probe("arping", "-c", "1", "-w", "2", "-I", "eth0", "10.99.7.50")
    assert answer.code == 0, answer
    await driver.stop()
    assert (await driver.probe()).status is Status.DOWN
    assert "10.99.7.1" in await addresses(here), "the others stay"


async def test_an_address_of_the_other_machine_is_refused(
    machines: tuple[NamespacedHost, NamespacedHost],
) -> None:
    here, there = machines
    await address(there, "10.99.7.51").start()
    with pytest.raises(ActionFailed, match=r"10\.99\.7\.51 is in use by another machine"):
        await address(here, "10.99.7.51").start()
    assert "10.99.7.51" not in await addresses(here)


async def test_the_neighbours_learn_that_an_address_moved(
    machines: tuple[NamespacedHost, NamespacedHost],
) -> None:
    here, there = machines
    await there.run(
        "ip", "neigh", "replace", "10.99.7.52", "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "stale"
    )
    await address(here, "10.99.7.52").start()
    answer = await there.probe("ip", "neigh", "show", "10.99.7.52")
    assert "02:00:00:00:00:01" not in answer.out, answer.out


async def test_the_first_address_of_a_network_leaves_without_the_others(
    machines: tuple[NamespacedHost, NamespacedHost],
) -> None:
    here, _ = machines
    for name in ("10.98.0.1", "10.98.0.2"):
        await address(here, name, netmask=24).start()
    await address(here, "10.98.0.1").stop()
    found = await addresses(here)
    assert "10.98.0.1" not in found
    assert "10.98.0.2" in found


async def test_six_leaves_the_search_for_duplicates_to_the_kernel(
    machines: tuple[NamespacedHost, NamespacedHost],
) -> None:
    here, there = machines
    await address(here, "fd00:99::50").start()
    assert "tentative" not in (await addresses(here))["fd00:99::50"]
    with pytest.raises(ActionFailed, match="in use by another machine"):
        await address(there, "fd00:99::50").start()
    assert "fd00:99::50" not in await addresses(there)
    await address(here, "fd00:99::50").stop()
    assert "fd00:99::50" not in await addresses(here)


async def test_a_pulled_cable_is_seen(machines: tuple[NamespacedHost, NamespacedHost]) -> None:
    here, there = machines
    await there.run("ip", "link", "set", "eth0", "down")
    for _ in range(50):  # the kernel may take a second to tell
        if (await address(here, "10.99.7.1").probe()).status is Status.WARN:
            break
        await asyncio.sleep(0.1)
    assert (await address(here, "10.99.7.1").probe()).status is Status.WARN
    with pytest.raises(ActionFailed, match="eth0 has no link"):
        await address(here, "10.99.7.53").start()

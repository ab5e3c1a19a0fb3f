"""The LXC driver on a real container: its root is this machine's /usr, read-only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agentd.core.errors import ActionFailed, NotFound
from agentd.core.status import Status
from agentd.host import LocalHost
from drivers.base import ContainerState, Setting
from drivers.container.lxc import Lxc

from ..memory import resource  # noqa: TID252 of the same tests

pytestmark = [pytest.mark.real, pytest.mark.timeout(90)]

INIT = "trap 'exit 0' PWR; while :; do sleep 0.1; done"
DEAF = "trap '' PWR TERM; while :; do sleep 0.1; done"
CONFIG = """\
lxc.rootfs.path = dir:{root}
lxc.uts.name = c1
lxc.apparmor.profile = unconfined
lxc.init.cmd = /usr/bin/init
lxc.mount.auto = proc:mixed
lxc.mount.entry = /usr/bin usr/real none ro,bind 0 0
lxc.mount.entry = /usr/lib usr/lib none ro,bind 0 0
lxc.mount.entry = /usr/lib64 usr/lib64 none ro,bind,optional 0 0
lxc.net.0.type = veth
lxc.net.0.flags = up
lxc.net.0.name = eth0
lxc.net.0.ipv4.address = 10.97.0.2/24
lxc.net.0.ipv6.address = fd00:97::2/64
"""


def guest(host: LocalHost, folder: Path, **options: object) -> Lxc:
    setting = Setting("shop", "hv1", str(folder / "state"), str(folder / "run"))
    keywords = {"name": "c1", "container_data_dir": folder, "start_timeout": 20, "stop_timeout": 5, **options}
    return Lxc(resource("container#1", "lxc", **keywords), host, setting)


def define(folder: Path, init: str) -> None:
    root = folder / "c1/rootfs"
    for name in ("usr/bin", "usr/real", "usr/lib", "usr/lib64", "proc", "sys", "dev", "etc", "tmp", "run"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("sh", "sleep", "cat", "env"):
        (root / "usr/bin" / name).symlink_to(f"/usr/real/{name}")
    (root / "usr/bin/init").write_text(f"#!/usr/real/sh\n{init}\n")
    (root / "usr/bin/init").chmod(0o755)
    (folder / "c1/config").write_text(CONFIG.format(root=root))


@pytest.fixture
async def folder(host: LocalHost, tmp_path: Path, needs: Callable[..., None]) -> AsyncIterator[Path]:
    needs("lxc-start", "lxc-info", "lxc-stop", "lxc-attach")
    yield tmp_path
    await host.probe("lxc-stop", "-n", "c1", "-P", str(tmp_path), "-k")


async def test_the_life_of_a_container(host: LocalHost, folder: Path) -> None:
    driver = guest(host, folder)
    assert (await driver.probe()).state is ContainerState.ABSENT
    with pytest.raises(NotFound, match="not defined here"):
        await driver.start()

    define(folder, INIT)
    assert (await driver.probe()).state is ContainerState.DOWN
    await driver.start()
    found = await driver.probe()
    assert (found.status, found.log) == (Status.UP, ())
    assert await driver.addresses() == ("10.97.0.2", "fd00:97::2")

    result = await driver.execute("cat", stdin=b"through the pipe")
    assert (result.code, result.out) == (0, "through the pipe")
    said = (await driver.execute("env")).out.splitlines()
    assert sorted(line.partition("=")[0] for line in said) == ["PATH", "container"]
    assert (await driver.execute("sh", "-c", "exit 3")).code == 3

    await driver.pause()
    assert (await driver.probe()).state is ContainerState.PAUSED
    with pytest.raises(ActionFailed, match="c1 is paused"):
        await driver.start()
    began = host.now()
    await driver.stop()
    assert host.now() - began < 4, "it was thawed, and went by itself"
    assert (await driver.probe()).state is ContainerState.DOWN
    await driver.stop()
    with pytest.raises(ActionFailed, match="c1 is not running"):
        await driver.execute("env")


async def test_a_deaf_init_is_killed_after_stop_timeout(host: LocalHost, folder: Path) -> None:
    define(folder, DEAF)
    driver = guest(host, folder, stop_timeout=1)
    await driver.start()
    began = host.now()
    await driver.stop()
    assert 1 <= host.now() - began < 10
    assert (await driver.probe()).state is ContainerState.DOWN


async def test_a_broken_root_is_an_error_with_what_lxc_said(host: LocalHost, folder: Path) -> None:
    define(folder, INIT)
    driver = guest(host, folder, rootfs="/nowhere/at/all")
    with pytest.raises(ActionFailed, match=r"lxc-start.*exit 1"):
        await driver.start()
    assert (await driver.probe()).state is ContainerState.DOWN


async def test_the_definition_travels(host: LocalHost, folder: Path) -> None:
    define(folder, INIT)
    files = await guest(host, folder).export()
    await guest(host, folder / "other").define(files)
    assert (await guest(host, folder / "other").probe()).state is ContainerState.DOWN


async def test_start_by_itself_at_boot_is_a_warning(host: LocalHost, folder: Path) -> None:
    define(folder, INIT)
    with (folder / "c1/config").open("a") as file:
        file.write("lxc.start.auto = 1\n")
    found = await guest(host, folder).probe()
    assert found.status is Status.DOWN
    assert "starts by itself at boot" in found.log[0].text

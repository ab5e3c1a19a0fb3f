"""The file system drivers on real mounts: images through loop devices, memory, folders."""

# ruff: noqa: ASYNC240 a test may read a small file
from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.core.errors import ActionFailed
from agentd.core.status import Status
from agentd.host import LocalHost
from drivers import catalogue
from drivers.base import Driver, Setting

from ..memory import resource  # noqa: TID252 of the same tests

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]


def filesystem(host: LocalHost, folder: Path, type: str, **options: object) -> Driver:
    driver = catalogue().driver("fs", type)
    assert driver is not None
    setting = Setting("shop", "hv1", str(folder / "state"), str(folder / "run"))
    return driver(resource("fs#1", type, **options), host, setting)


async def up_and_down(driver: Driver) -> None:
    assert (await driver.probe()).status is Status.DOWN
    await driver.start()
    try:
        assert (await driver.probe()).status is Status.UP
    finally:
        await driver.stop()
    assert (await driver.probe()).status is Status.DOWN


@pytest.mark.parametrize(("type", "size"), [("ext4", 16 << 20), ("btrfs", 128 << 20), ("xfs", 320 << 20)])
async def test_an_image(
    host: LocalHost, tmp_path: Path, needs: Callable[..., None], type: str, size: int
) -> None:
    needs(f"mkfs.{type}")
    if type not in Path("/proc/filesystems").read_text().split():
        pytest.skip(f"this kernel has no {type}")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(size)
    await host.run(f"mkfs.{type}", "-q", str(image))
    await up_and_down(filesystem(host, tmp_path, type, dev=image, mnt=tmp_path / "mnt"))


async def test_memory(host: LocalHost, tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("mount")
    await up_and_down(filesystem(host, tmp_path, "tmpfs", mnt=tmp_path / "a b", mnt_opt="size=1m"))


async def test_a_folder_in_a_second_place(
    host: LocalHost, tmp_path: Path, needs: Callable[..., None]
) -> None:
    needs("mount")
    (tmp_path / "there").mkdir()
    await up_and_down(filesystem(host, tmp_path, "bind", dev=tmp_path / "there", mnt=tmp_path / "here"))


async def test_a_mount_point_behind_a_link(
    host: LocalHost, tmp_path: Path, needs: Callable[..., None]
) -> None:
    needs("mount")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    await up_and_down(filesystem(host, tmp_path, "tmpfs", mnt=tmp_path / "link"))


async def test_read_only_is_seen(host: LocalHost, tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("mount")
    driver = filesystem(host, tmp_path, "tmpfs", mnt=tmp_path / "mnt")
    await driver.start()
    await host.run("mount", "-o", "remount,ro", str(tmp_path / "mnt"))
    try:
        assert (await driver.probe()).status is Status.WARN
    finally:
        await driver.stop()


async def test_who_holds_a_busy_one_is_named(
    host: LocalHost, tmp_path: Path, needs: Callable[..., None]
) -> None:
    needs("mount", "fuser")
    driver = filesystem(host, tmp_path, "tmpfs", mnt=tmp_path / "mnt")
    await driver.start()
    pid = await host.spawn(("sleep", "60"), log=str(tmp_path / "log"), cwd=str(tmp_path / "mnt"))
    await asyncio.sleep(0.1)
    try:
        with pytest.raises(ActionFailed, match=rf"held by {pid} \(sleep\)"):
            await driver.stop()
    finally:
        await host.kill(pid, 9)
        await asyncio.sleep(0.2)
        await driver.stop()
    assert (await driver.probe()).status is Status.DOWN


async def test_a_directory(host: LocalHost, tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("chown")
    driver = filesystem(
        host, tmp_path, "directory", path=tmp_path / "a/b", user="nobody", group="nogroup", perm="750"
    )
    assert (await driver.probe()).status is Status.DOWN
    await driver.start()
    assert (await driver.probe()).status is Status.NA
    await host.run("chmod", "755", str(tmp_path / "a/b"))
    assert (await driver.probe()).status is Status.WARN
    await driver.start()
    assert (await driver.probe()).status is Status.NA


async def test_a_flag_needs_no_rights(host: LocalHost, tmp_path: Path) -> None:
    await up_and_down(filesystem(host, tmp_path, "flag"))
    assert list((tmp_path / "run").iterdir()) == []

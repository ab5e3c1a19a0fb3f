from __future__ import annotations

import pytest

from agentd.core.errors import ActionFailed, Silent
from agentd.core.status import Status

from .memory import SETTING, MemoryHost, make

FOLDER = f"{SETTING.state}/fs.1.fake"


async def test_a_fake_remembers() -> None:
    host = MemoryHost()
    assert (await make("fs#1", "fake", host).probe()).status is Status.DOWN
    await make("fs#1", "fake", host).start()
    assert (await make("fs#1", "fake", host).probe()).status is Status.UP
    await make("fs#1", "fake", host).stop()
    assert (await make("fs#1", "fake", host).probe()).status is Status.DOWN


async def test_two_fakes_on_one_machine_share_its_state() -> None:
    host = MemoryHost()
    await make("disk#1", "fake", host, machine="/srv/machine").start()
    assert (await make("disk#2", "fake", host, machine="/srv/machine").probe()).status is Status.UP


@pytest.mark.parametrize("options", [{"fail": "start"}, {}])
async def test_told_to_fail(options: dict[str, str]) -> None:
    host = MemoryHost()
    if not options:
        host.files[f"{FOLDER}/orders"] = "delay 2\nfail start stop\n"
    with pytest.raises(ActionFailed, match="told to fail"):
        await make("fs#1", "fake", host, **options).start()
    assert (await make("fs#1", "fake", host).probe()).status is Status.DOWN


async def test_told_to_be_slow() -> None:
    host = MemoryHost()
    await make("fs#1", "fake", host, delay="2s").start()
    assert host.clock == 2
    host.files[f"{FOLDER}/orders"] = "delay 5"
    await make("fs#1", "fake", host).stop()
    assert host.clock == 7


async def test_told_to_hang_is_silence_after_the_timeout() -> None:
    host = MemoryHost()
    with pytest.raises(Silent, match="no answer within 9 s"):
        await make("fs#1", "fake", host, hang="probe", hang_timeout="9").probe()
    assert host.clock == 9


async def test_told_to_ignore_says_yes_and_does_nothing() -> None:
    host = MemoryHost()
    host.files[f"{FOLDER}/orders"] = "ignore start"
    await make("fs#1", "fake", host).start()
    assert (await make("fs#1", "fake", host).probe()).status is Status.DOWN


@pytest.mark.parametrize("state", ["warn", "stdby up", "n/a", "undef"])
async def test_a_state_written_into_the_folder_is_believed(state: str) -> None:
    host = MemoryHost()
    host.files[f"{FOLDER}/state"] = f"{state}\n"
    assert (await make("fs#1", "fake", host).probe()).status == state


async def test_a_state_that_is_none_is_undef_with_the_reason() -> None:
    host = MemoryHost()
    host.files[f"{FOLDER}/state"] = "sideways"
    found = await make("fs#1", "fake", host).probe()
    assert found.status is Status.UNDEF
    assert "sideways" in found.log[0].text

"""The example of the driver checklist is a driver that works, and its transcript passes."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import drivers
from agentd.core.errors import EncapError

from .memory import MemoryHost, make
from .transcript import Result, play, read

PAGE = Path(__file__).parents[2] / "docs/checklists/new-driver.md"


def block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found, mark
    return found[1]


@pytest.fixture(autouse=True)
def _the_example_is_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("example_of_the_checklist")
    exec(compile(block("the driver"), str(PAGE), "exec"), module.__dict__)  # noqa: S102 our own page
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(drivers.BUILTIN, "disk.loop", f"{module.__name__}:Loop")
    drivers.catalogue.cache_clear()
    yield
    drivers.catalogue.cache_clear()


async def test_its_transcript_passes(tmp_path: Path) -> None:
    (tmp_path / "case.txt").write_text(block("the case"), encoding="utf-8")
    await play(read(tmp_path / "case.txt"))


async def test_its_probe_follows_its_own_rules() -> None:
    class Losetup(MemoryHost):
        said = ""

        async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
            return Result(0, self.said)

    host = Losetup()
    driver = make("disk#1", "loop", host, file="/srv/a")
    assert (await driver.probe()).status == "down"
    host.said = '{"loopdevices": [{"name": "/dev/loop1", "back-file": "/srv/a"}]}'
    assert (await driver.probe()).status == "up"
    host.said = "losetup: cannot open"
    with pytest.raises(EncapError):
        await driver.probe()


def test_it_is_short() -> None:
    assert len(block("the driver").splitlines()) <= 45

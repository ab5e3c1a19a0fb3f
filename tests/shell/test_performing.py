"""What follows for a service from the end of an operation on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.expectation import RESTS, Ended
from agentd.performing import remember


class Flags:
    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def set(self, service: str, key: str, value: Any) -> None:
        self.kept[key] = value

    async def clear(self, service: str, key: str = "") -> None:
        self.kept.pop(key, None)


@pytest.mark.parametrize(("ended", "rests"), [
    (Ended("start", "succeeded"), False),
    (Ended("restart", "succeeded"), False),
    (Ended("start", "failed"), True),
    (Ended("start", "unknown"), True),
    (Ended("start", "succeeded", whole=False), True),
    (Ended("freeze", "succeeded"), True),
    (Ended("stop", "succeeded"), True),
])
async def test_what_rests_since_a_boot_is_looked_after_again_once_all_of_it_was_started(
    ended: Ended, rests: bool,
) -> None:
    flags, facts = Flags(), {"web": {"expected": True, RESTS: True}}
    flags.kept = dict(facts["web"])
    means: Any = SimpleNamespace(facts=facts, store=SimpleNamespace(flags=flags))
    await remember(means, "web", ended)
    assert facts["web"].get(RESTS, False) is rests
    assert flags.kept == facts["web"]

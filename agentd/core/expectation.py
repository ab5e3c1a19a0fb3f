"""Whether an instance is expected up on this node: what a guest's new boot id is judged by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_RAISING = frozenset(("start", "restart", "switch", "migrate", "takeover", "giveback"))
_LOWERING = frozenset(("stop", "shutdown", "delete"))

RESTS = "rests"
"""Kept with a service that is expected up and was not started since the machine booted: until
then nothing of it is restarted by itself."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An operation of this node that ended. `whole`: on the whole service, both levels.

    `result`: succeeded, failed, cancelled, unknown.
    """

    action: str
    result: str
    whole: bool = True


def after(expected: bool, ended: Ended) -> bool:
    """Whether the instance is expected up once `ended` ended.

    A stop counts whatever its result: a user wanted it down, so nothing starts it by itself.
    A start of unknown result, or of a part of the service, changes nothing; a cancelled one
    was undone and counts as failed.
    """
    if not ended.whole:
        return expected
    if ended.action in _LOWERING:
        return False
    if ended.action in _RAISING:
        if ended.result == "unknown":
            return expected
        return ended.result == "succeeded"
    return expected


def starts_anew(ended: Ended) -> bool:
    """Whether the whole instance was started: what had rested since a boot is looked after again."""
    return ended.whole and ended.action in _RAISING and ended.result == "succeeded"


def expected_up(history: Iterable[Ended]) -> bool:
    """`history`: oldest first. Nothing ever happened: not expected up."""
    expected = False
    for ended in history:
        expected = after(expected, ended)
    return expected

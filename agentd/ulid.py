"""Operation ids: ULIDs that grow strictly within one process, whatever its clock does."""

from __future__ import annotations

import os
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS = frozenset(ALPHABET)


class Ulids:
    """Makes ids: 48 bits of milliseconds, 80 random bits, 26 letters that sort by time.

    Within one millisecond, and when the clock steps back, the id before is counted up by
    one, so an older operation never sorts after a newer one.
    """

    def __init__(self, milliseconds: Callable[[], int], random: Callable[[int], bytes] = os.urandom) -> None:
        self._milliseconds, self._random, self._last = milliseconds, random, -1

    def __call__(self) -> str:
        # One bit of the random part stays free, so that counting up does not touch the time.
        chance = int.from_bytes(self._random(10)) & ~(1 << 79)
        self._last = max(self._last + 1, (self._milliseconds() << 80) | chance) & ((1 << 128) - 1)
        return "".join(ALPHABET[(self._last >> shift) & 31] for shift in range(125, -5, -5))


def is_ulid(text: str) -> bool:
    return len(text) == 26 and _LETTERS.issuperset(text) and text[0] <= "7"

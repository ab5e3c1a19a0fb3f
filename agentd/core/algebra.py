"""How states merge: commutative, associative, undef the identity.

Two hidden states keep the merge associative: a standby resource that is up beside one that
is up, and beside one that is down. They are resolved once, at the end, so statuses must be
merged from resources, never from already merged and printed ones.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from functools import reduce

from agentd.core.status import Status


class _Hidden(enum.Enum):
    STDBY_UP_WITH_UP = 8
    STDBY_UP_WITH_DOWN = 9


Term = Status | _Hidden

_UP, _DOWN, _WARN, _NA = Status.UP, Status.DOWN, Status.WARN, Status.NA
_SUP, _SDOWN = Status.STDBY_UP, Status.STDBY_DOWN
_WITH_UP, _WITH_DOWN = _Hidden.STDBY_UP_WITH_UP, _Hidden.STDBY_UP_WITH_DOWN

_TABLE: dict[frozenset[Term], Term] = {
    frozenset({_UP}): _UP, frozenset({_DOWN}): _DOWN, frozenset({_SUP}): _SUP, frozenset({_SDOWN}): _SDOWN,
    frozenset({_WITH_UP}): _WITH_UP, frozenset({_WITH_DOWN}): _WITH_DOWN,
    frozenset({_UP, _SUP}): _WITH_UP, frozenset({_UP, _WITH_UP}): _WITH_UP,
    frozenset({_DOWN, _SUP}): _WITH_DOWN, frozenset({_DOWN, _SDOWN}): _SDOWN,
    frozenset({_DOWN, _WITH_DOWN}): _WITH_DOWN,
    frozenset({_SUP, _WITH_UP}): _WITH_UP, frozenset({_SUP, _WITH_DOWN}): _WITH_DOWN,
}
"""Pairs without undef, n/a and warn; a pair that is not here is warn."""


def add(one: Term, other: Term) -> Term:
    """Merge two states."""
    if Status.UNDEF in (one, other):
        return other if one is Status.UNDEF else one
    if _WARN in (one, other):
        return _WARN
    if _NA in (one, other):
        return other if one is _NA else one
    return _TABLE.get(frozenset({one, other}), _WARN)


def shown(term: Term) -> Status:
    """The state that people see."""
    if term is _WITH_UP:
        return Status.UP
    return Status.STDBY_UP if isinstance(term, _Hidden) else term


def merge(statuses: Iterable[Status], empty: Status = Status.NA) -> Status:
    """All of them as one; `empty` when there is none. Only undef: undef.

    A state merged with itself is itself, so each kind counts once.
    """
    terms: set[Term] = set(statuses)
    return shown(reduce(add, terms)) if terms else empty

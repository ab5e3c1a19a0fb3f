"""The merge table of the reference, and the laws that make the order of resources irrelevant."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core import algebra
from agentd.core.algebra import add, merge, shown
from agentd.core.status import Status

UP, DOWN, WARN, NA = Status.UP, Status.DOWN, Status.WARN, Status.NA
SUP, SDOWN, UNDEF = Status.STDBY_UP, Status.STDBY_DOWN, Status.UNDEF
UP8 = add(SUP, UP)
DOWN9 = add(SUP, DOWN)
TERMS = (UP, DOWN, WARN, NA, SUP, SDOWN, UP8, DOWN9, UNDEF)

TABLE = {
    UP: (UP, WARN, WARN, UP, UP8, WARN, UP8, WARN),
    DOWN: (WARN, DOWN, WARN, DOWN, DOWN9, SDOWN, WARN, DOWN9),
    WARN: (WARN,) * 8,
    NA: (UP, DOWN, WARN, NA, SUP, SDOWN, UP8, DOWN9),
    SUP: (UP8, DOWN9, WARN, SUP, SUP, WARN, UP8, DOWN9),
    SDOWN: (WARN, SDOWN, WARN, SDOWN, WARN, SDOWN, WARN, WARN),
    UP8: (UP8, WARN, WARN, UP8, UP8, WARN, UP8, WARN),
    DOWN9: (WARN, DOWN9, WARN, DOWN9, DOWN9, WARN, WARN, DOWN9),
}


def test_hidden_states_are_not_among_those_that_people_see() -> None:
    assert not isinstance(UP8, Status)
    assert not isinstance(DOWN9, Status)
    assert (shown(UP8), shown(DOWN9)) == (UP, SUP)


@pytest.mark.parametrize("one", list(TABLE))
def test_every_pair_of_the_table(one: algebra.Term) -> None:
    assert [add(one, other) for other in TERMS[:8]] == list(TABLE[one])


def test_undef_is_the_identity() -> None:
    assert [add(UNDEF, term) for term in TERMS] == list(TERMS)


def test_a_state_merged_with_itself_is_itself() -> None:
    assert [add(term, term) for term in TERMS] == list(TERMS)


def test_commutative_over_all_pairs() -> None:
    assert all(add(a, b) is add(b, a) for a, b in itertools.product(TERMS, repeat=2))


def test_associative_over_all_triples() -> None:
    triples = list(itertools.product(TERMS, repeat=3))
    assert len(triples) == 729
    assert all(add(add(a, b), c) is add(a, add(b, c)) for a, b, c in triples)


@given(st.lists(st.sampled_from(Status), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_resources_does_not_matter(statuses: list[Status], random: object) -> None:
    shuffled = list(statuses)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge(shuffled) is merge(statuses)


def test_flat_merging_is_not_merging_of_what_was_merged() -> None:
    assert merge([DOWN, SUP, UP]) is WARN
    assert merge([merge([DOWN, SUP]), UP]) is UP


def test_nothing_at_all() -> None:
    assert merge([]) is NA
    assert merge([UNDEF, UNDEF]) is UNDEF

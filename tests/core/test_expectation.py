"""Whether an instance is expected up after what happened to it."""

import pytest

from agentd.core.expectation import Ended, expected_up


@pytest.mark.parametrize(("history", "expected"), [
    ("", False),
    ("start succeeded", True),
    ("start failed", False),
    ("start succeeded, stop succeeded", False),
    ("start succeeded, stop failed", False),
    ("start succeeded, shutdown unknown", False),
    ("stop succeeded, switch succeeded", True),
    ("start succeeded, start failed", False),
    ("start succeeded, start unknown", True),
    ("start unknown", False),
    ("start cancelled", False),
    ("start succeeded, restart failed", False),
    ("start succeeded, freeze succeeded, clear failed", True),
    ("start succeeded, stop succeeded part", True),
    ("start succeeded part", False),
    ("stop succeeded, migrate succeeded", True),
    ("start succeeded, delete succeeded", False),
])
def test_the_last_word_counts(history: str, expected: bool) -> None:
    ended = [words.split() for words in history.split(", ") if words]
    assert expected_up(Ended(w[0], w[1], whole=len(w) == 2) for w in ended) is expected

"""Fixtures of the tests on real machines; every test in this folder carries the mark `lab`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .image import ROOT, guest_image
from .machines import Lab, missing, opened, sweep

HERE = Path(__file__).parent
BUILD = ROOT / "build" / "lab"
NUMBERS = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def able() -> None:
    """Real machines can be made here; else the test is skipped, or fails where they must be."""
    if why := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture(scope="session")
def image(able: None) -> Path:
    """The guests' root file system with this tree's product in it."""
    sweep(BUILD)
    return guest_image(BUILD)


@pytest.fixture
def lab(image: Path) -> Iterator[Lab]:
    """A lab for one test: machines made on first use, all gone afterwards."""
    with opened(BUILD, f"enc{os.getpid()}-{next(NUMBERS)}", image) as lab:
        yield lab


@pytest.fixture(scope="module")
def shared_lab(image: Path) -> Iterator[Lab]:
    """The same for all tests of a module, where making machines for each would take too long."""
    with opened(BUILD, f"enc{os.getpid()}-{next(NUMBERS)}", image) as lab:
        yield lab

"""Fixtures of the tests on real machines; every test in this folder carries the mark `lab`."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from .image import ROOT, guest_image
from .kernel import Kernel, guest_kernel
from .machines import VIRTUAL_TOOLS, Lab, missing, opened, sweep

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
    demand(missing())


@pytest.fixture(scope="session")
def image(able: None) -> Path:
    """The guests' root file system with this tree's product in it."""
    sweep(BUILD)
    return guest_image(BUILD)


@pytest.fixture(scope="session")
def kernel(able: None) -> Kernel:
    """A kernel and a first file system for virtual machines, which are emulated: no KVM is needed."""
    if platform.machine() != "x86_64":
        pytest.skip("the virtual machines of the lab are for x86_64")
    demand(missing(VIRTUAL_TOOLS) or ("" if find_spec("libvirt") else "no libvirt-python: make libvirt"))
    return guest_kernel(BUILD)


def demand(why: str) -> None:
    """Skip with the reason; where everything has to be there, fail."""
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)


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

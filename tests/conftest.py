"""What all tests share: virtual time. Markers are declared in pyproject.toml."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest


def _virtual_time() -> Any:
    """tests/vtime.py, whether or not the folder of the tests can be imported from."""
    if "vtime" not in sys.modules:
        spec = importlib.util.spec_from_file_location("vtime", Path(__file__).parent / "vtime.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["vtime"] = module
        spec.loader.exec_module(module)
    return sys.modules["vtime"]


@pytest.fixture(scope="session")
def virtual() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine to its end on a loop where only virtual time passes.

    ``def test_x(virtual): ... virtual(scenario())``; `asyncio.get_running_loop().time()` is
    then 0.0 at the start. Session-wide, so property tests may use it too.
    """
    runner: Callable[[Coroutine[Any, Any, Any]], Any] = _virtual_time().run_virtual
    return runner


@pytest.fixture(scope="session")
def virtual_loop() -> Callable[[], Any]:
    """The loop class itself, for `asyncio.Runner(loop_factory=virtual_loop)`."""
    loop: Callable[[], Any] = _virtual_time().VirtualTimeLoop
    return loop

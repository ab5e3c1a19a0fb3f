"""What a daemon does first: whatever fails in it, what an earlier run left behind gets its results."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agentd.core.errors import ActionFailed
from agentd.daemon import Daemon


@pytest.mark.parametrize("trouble", [ActionFailed("cannot listen on 127.0.0.1:1217"), OSError("no such file")])
async def test_a_join_door_that_cannot_be_opened_keeps_no_operation_from_its_result(trouble: Exception) -> None:
    done = []

    async def refuse() -> None:
        raise trouble

    async def resolve() -> None:
        done.append("resolved")

    machinery: Any = SimpleNamespace(parts=None, monitor=None, resolving=SimpleNamespace(all=resolve),
                                     joining=SimpleNamespace(refresh=refuse))
    await Daemon(None, None, None, machinery).settle()  # type: ignore[arg-type]
    assert done == ["resolved"]

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agentd.host import LocalHost


@pytest.fixture
def needs() -> Callable[..., None]:
    """Skips, with the reason, where a test's needs are not met; fails where CI=true."""

    def check(*tools: str) -> None:
        missing = [tool for tool in tools if not shutil.which(tool)]
        why = (
            "only root may do this"
            if os.geteuid()
            else f"tools missing: {', '.join(missing)}"
            if missing
            else ""
        )
        if why:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)

    return check


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[LocalHost]:
    local = LocalHost(tmp_path)
    yield local
    await local.close()

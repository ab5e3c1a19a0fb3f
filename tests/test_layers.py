"""The contract on imports names every module of the daemon and of the API, so that each has its place."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent


def named() -> Counter[str]:
    """The modules in the layers, and how often each one stands there."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return Counter(module for layer in layers for module in re.findall(r"[\w.]+", layer))


def modules() -> set[str]:
    """Every module at the top of the two packages; what lies deeper has the place of its folder."""
    found: set[str] = set()
    for package in ("agentd", "api"):
        folder = ROOT / package
        found |= {f"{package}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}
        found |= {f"{package}.{path.parent.name}" for path in folder.glob("*/__init__.py")}
    return found


def test_every_module_has_its_place_in_the_layers() -> None:
    missing = modules() - set(named())
    assert not missing, "say in pyproject.toml, [[tool.importlinter.contracts]], where these belong"


def test_no_place_is_given_twice_or_to_nothing() -> None:
    assert max(named().values()) == 1
    assert set(named()) - modules() == {"cli", "drivers"}


def test_the_record_on_modules_names_each_one_of_the_shell() -> None:
    page = (ROOT / "docs/decisions/0006-modules-of-the-daemon.md").read_text("utf-8")
    shell = {module.removeprefix("agentd.") for module in modules() if module.startswith("agentd.")} - {"core"}
    assert sorted(name for name in shell if f"`{name}`" not in page) == []

"""The page of container types: every type has its row and, where it needs one, an example that validates."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.core.build import build
from agentd.core.config import parse
from drivers import BUILTIN, catalogue

PAGE = (Path(__file__).parents[2] / "docs/containers.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### ([^\n]+)\n\n```ini\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
TYPES = sorted(name.removeprefix("container.") for name in BUILTIN if name.startswith("container."))
Svc = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("name", [name for name in TYPES if name != "fake"])
def test_a_type_has_a_whole_row(name: str) -> None:
    (row,) = re.findall(rf"^\| {name} \|.*$", PAGE, re.MULTILINE)
    assert len(row.strip("|").split("|")) == 6


@pytest.mark.parametrize("title", sorted(EXAMPLES))
def test_an_example_validates(svc: Svc, tmp_path: Path, title: str) -> None:
    file = tmp_path / "shop.conf"
    file.write_text(EXAMPLES[title])
    code, out, err = svc("config", "validate", str(file))
    assert (code, out, err) == (0, f"{file}: 0 errors, 0 warnings\n", "")
    assert f"type = {title}\n" in EXAMPLES[title] or title == "Two types in one service"


def test_every_type_that_is_driven_by_commands_has_an_example() -> None:
    assert set(EXAMPLES) >= set(TYPES) - {"fake", "lxc", "process"}


def test_the_old_name_of_openvz_validates(svc: Svc, tmp_path: Path) -> None:
    file = tmp_path / "shop.conf"
    file.write_text(EXAMPLES["openvz"].replace("type = openvz", "type = vz"))
    assert svc("config", "validate", str(file))[0] == 0


@pytest.mark.parametrize(
    ("node", "type", "detach"), [("hv1", "ldom", None), ("hv2", "ldom", None), ("dr1", "zone", True)]
)
def test_a_container_of_two_types_by_scope(node: str, type: str, detach: bool | None) -> None:
    document, findings = parse(EXAMPLES["Two types in one service"])
    service, problems = build(document, "shop", node, catalogue())
    assert [*findings, *problems] == []
    container = service.resource("container#0")
    assert container is not None
    assert (container.type, container.options.get("detach")) == (type, detach)
    driver = catalogue().driver("container", container.type)
    assert driver is not None
    assert driver.__name__.lower() == type

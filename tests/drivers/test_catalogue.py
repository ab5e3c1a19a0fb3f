from __future__ import annotations

import pytest

from agentd.core.model import GROUPS
from agentd.core.rows import RESOURCE_ROWS
from drivers import BUILTIN, LATER, Catalogue, catalogue
from drivers.base import Driver


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_a_builtin_type_has_a_driver_with_sound_rows(name: str) -> None:
    group, _, type = name.partition(".")
    driver = catalogue().driver(group, type)
    info = catalogue().find(group, type)
    assert driver is not None
    assert issubclass(driver, Driver)
    assert info is not None
    assert info.driver
    assert (driver.__doc__ or "").strip(), "svc explain shows it"
    rows = {row.name: row for row in driver.KEYWORDS}
    assert len(rows) == len(driver.KEYWORDS), "a keyword has one row"
    assert "type" not in rows
    assert not rows.keys() & (RESOURCE_ROWS.keys() - {"netns"}), "the common rows are not the driver's"
    for row in rows.values():
        assert row.help.endswith("."), row.name
        if row.example:
            row.convert(row.example)
    for word in info.label.replace("fake ", "").replace("}", "{").split("{")[1::2]:
        assert word == "rid" or word in info.keywords, f"the label names {word}"


@pytest.mark.parametrize(
    "name", sorted(f"{group}.{type}" for group, types in LATER.items() for type in types)
)
def test_a_type_of_later_work_is_known_without_a_driver(name: str) -> None:
    group, _, type = name.partition(".")
    info = catalogue().find(group, type)
    assert info is not None
    assert not info.driver
    assert catalogue().driver(group, type) is None


def test_every_group_has_a_fake_and_an_unknown_type_is_none() -> None:
    for group in GROUPS:
        assert "fake" in catalogue().names(group)
        assert catalogue().find(group, "nonsense") is None
        default = catalogue().default(group)
        assert not default or catalogue().find(group, default) is not None


def test_openvz_answers_to_its_short_name() -> None:
    assert catalogue().find("container", "vz") == catalogue().find("container", "openvz")


def test_a_fake_says_so_in_its_label() -> None:
    info = catalogue().find("ip", "fake")
    assert info is not None
    assert info.label == "fake {ipname}@{ipdev}"


def test_the_broken_driver_of_a_stranger_costs_its_own_type_only() -> None:
    mixed = Catalogue({**BUILTIN, "disk.strange": "no_such_module:Thing", "disk.odd": "json:loads"}, LATER)
    for type in ("strange", "odd"):
        info = mixed.find("disk", type)
        assert info is not None
        assert not info.driver
        assert "cannot be loaded" in info.help
    assert mixed.find("fs", "flag") is not None

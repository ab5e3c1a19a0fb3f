"""Help on keywords comes from the rows that validation uses."""

from __future__ import annotations

import pytest

from agentd.core.errors import NotFound
from agentd.core.explain import explain
from agentd.core.keywords import Types
from agentd.core.model import GROUPS
from agentd.core.rows import DEFAULT_ROWS, RESOURCE_ROWS


@pytest.mark.parametrize(("topic", "parts"), [
    ("DEFAULT.nodes", ["DEFAULT.nodes", "hypervisors", "example: nodes = hv1 hv2"]),
    ("default.topology", ["one of: failover, flex", "default: failover", "older names: cluster_type"]),
    ("DEFAULT.cluster_type", ["one of: failover, flex"]), ("DEFAULT", ["  nodes", "  encap_trust"]),
    ("fs", ["Types:", "  ext4", "Keywords of every resource:", "  tags"]),
    ("fs.mnt", ["For ext4, xfs:", "required: yes", "For flag:", "required: no"]),
    ("fs.ext4", ["(required) Mount point."]), ("fs.ext4.mnt", ["required: yes", "example: mnt = /srv/data"]),
    ("container.start_timeout", ["default: 240s", "falls back to [DEFAULT]: yes"]),
    ("container.ovm", ["no driver"]), ("disk", ["  vg  (when no type is written)"]),
    ("ip.tags", ["encap"]), ("subset.parallel", ["default: false"]), ("sync.sync_max_delay", ["default: 97200s"]),
])  # fmt: skip
def test_topics(topic: str, parts: list[str], types: Types) -> None:
    text = explain(topic, types)
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize(("topic", "near"), [
    ("fs.mn", "fs.mnt"), ("DEFAULT.node", "DEFAULT.nodes"), ("fss", "fs"), ("fs.ext4.mntt", "fs.ext4.mnt"), ("", "svc explain"),
    ("x" * 5000, "svc explain"),
])
def test_what_is_not_known_names_what_is_near(topic: str, near: str, types: Types) -> None:
    with pytest.raises(NotFound) as refused:
        explain(topic, types)
    assert near in refused.value.hint
    assert len(refused.value.text) < 200


def test_every_row_can_be_explained(types: Types) -> None:
    for row in DEFAULT_ROWS.values():
        assert row.help in explain(f"DEFAULT.{row.name}", types)
    for group in GROUPS:
        for row in RESOURCE_ROWS.values():
            assert row.name in explain(f"{group}.{row.name}", types)

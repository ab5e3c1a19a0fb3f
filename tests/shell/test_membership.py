"""The list of members: names, revocation, merging, and lists that are not to be trusted."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from agentd import membership
from agentd.core.errors import EncapError, InvalidConfig, InvalidRequest, NotFound, Refused
from agentd.identity import Identity
from agentd.membership import Cluster, Member, from_document
from agentd.settings import Paths

HASH = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
HV1 = Member("hv1", "hypervisor", "10.0.0.1:1216", HASH)
VM1 = Member("vm1", "guest", "", OTHER)
PROD = Cluster("prod").admit(HV1).admit(VM1)


def peer(name: str, role: str, key_hash: str = HASH, cluster: str = "prod") -> Identity:
    return Identity(cluster, role, name, key_hash)


def test_names_are_unique_over_both_roles() -> None:
    with pytest.raises(Refused, match="vm1 is a guest"):
        PROD.admit(Member("vm1", "hypervisor", "10.0.0.2:1216", HASH))


def test_admitting_the_same_again_changes_nothing() -> None:
    assert PROD.admit(HV1) is PROD
    assert PROD.revision == 2


def test_who_is_refused() -> None:
    assert PROD.refuses(peer("hv1", "hypervisor")) == ""
    assert PROD.refuses(peer("hv7", "hypervisor")) == ""  # joined elsewhere, the list is on its way
    assert PROD.refuses(peer("alice", "user")) == ""
    assert "another key" in PROD.refuses(peer("hv1", "hypervisor", OTHER))
    assert "is a guest" in PROD.refuses(peer("vm1", "hypervisor", OTHER))
    assert "of cluster test" in PROD.refuses(peer("hv1", "hypervisor", cluster="test"))
    assert "removed" in PROD.revoke("hv1").refuses(peer("hv1", "hypervisor"))


def test_a_removed_node_joins_again_with_a_new_key() -> None:
    again = PROD.revoke("hv1").admit(Member("hv1", "hypervisor", "10.0.0.1:1216", OTHER))
    assert again.refuses(peer("hv1", "hypervisor", OTHER)) == ""
    assert again.refuses(peer("hv1", "hypervisor", HASH)) != ""
    with pytest.raises(NotFound):
        PROD.revoke("hv9")


def test_merging_does_not_depend_on_the_order_and_loses_no_revocation() -> None:
    removed, added = PROD.revoke("vm1"), PROD.admit(Member("hv2", "hypervisor", "10.0.0.2:1216", OTHER))
    moved = PROD.admit(Member("vm1", "guest", "10.0.0.9:1216", OTHER))
    results = {a.merge(b).merge(c).members for a, b, c in permutations((removed, added, moved))}
    assert len(results) == 1
    found = {m.name: m for m in results.pop()}
    assert set(found) == {"hv1", "hv2", "vm1"}
    assert found["vm1"].revoked
    with pytest.raises(Refused):
        PROD.merge(Cluster("test"))


def test_the_file_says_the_same_and_always_in_the_same_bytes(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert membership.load(paths) is None
    membership.save(paths, PROD)
    assert membership.load(paths) == PROD == from_document(PROD.document())
    assert membership.text(PROD) == membership.text(Cluster("prod", 2, PROD.members))
    paths.cluster_file.write_text("name = \n")
    with pytest.raises(InvalidConfig, match=r"cluster\.toml"):
        membership.load(paths)


def document(**member: Any) -> dict[str, Any]:
    return {"name": "prod", "revision": 1, "members": [{"name": "hv1", "role": "hypervisor", **member}]}


@pytest.mark.parametrize("bad", [
    None, [], {}, {"name": "../x"}, {"name": "prod", "members": {}}, {"name": "prod", "revision": -1},
    {"name": "prod", "revision": True}, {"name": "prod", "members": ["hv1"]},
    document(name="a/b"), document(name=7), document(role="user"), document(role=""), document(revoked=1),
    document(key_hash="sha256:zz"), document(revision=1 << 60), document(address="a b"), document(address=5),
    {"name": "prod", "members": [{"name": "a", "role": "guest"}] * 2},
    {"name": "prod", "members": [{}] * 10_001},
])
def test_lists_that_are_not_sound_are_refused(bad: object) -> None:
    with pytest.raises(InvalidRequest):
        from_document(bad)


def test_what_a_newer_version_adds_is_ignored() -> None:
    assert from_document(document(colour="red")).members == (Member("hv1", "hypervisor"),)


def test_a_bad_address_of_this_node_is_an_error() -> None:
    with pytest.raises(EncapError):
        membership.check_address("10.0.0.1:99999")


def test_a_list_is_never_older_than_its_newest_member() -> None:
    found = from_document({"name": "prod", "members": [{"name": "vm1", "role": "guest", "revision": 40}]})
    assert found.revision == 40
    assert found.merge(found.revoke("vm1")).refuses(peer("vm1", "guest")) != ""


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, None])
def test_a_file_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path, text: str | None) -> None:
    paths = Paths(tmp_path)
    paths.cluster_file.parent.mkdir(parents=True)
    if text is None:
        paths.cluster_file.mkdir()
    else:
        paths.cluster_file.write_text(text)
    with pytest.raises(InvalidConfig):
        membership.load(paths)

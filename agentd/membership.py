"""Who belongs to the cluster: ``etc/encap/cluster.toml``, on hypervisors only.

It lists hypervisors and guests with the hash of the key that each holds. A removed node
stays in the list as revoked, so that every hypervisor learns of it, whenever it returns.
Two lists merge member by member: the newer change wins, and of two of the same revision
the revoked one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from agentd.core.errors import InvalidConfig, InvalidRequest, NotFound, Refused
from agentd.files import write_atomically
from agentd.identity import Identity, is_name
from agentd.settings import Paths, parse_address, show_address
from agentd.settings_file import toml_value

MEMBER_LIMIT = 10_000
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_KINDS: dict[str, type] = {"name": str, "role": str, "address": str, "key_hash": str, "revoked": bool,
                           "revision": int}


@dataclass(frozen=True, slots=True)
class Member:
    """A node. `address`: ``host:port``, may be empty for a guest. `revision`: of its last change."""

    name: str
    role: str
    address: str = ""
    key_hash: str = ""
    revoked: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Cluster:
    """The members by name, in alphabetical order. Changes give a new value, one revision on."""

    name: str
    revision: int = 0
    members: tuple[Member, ...] = ()

    def member(self, name: str) -> Member | None:
        return next((m for m in self.members if m.name == name), None)

    def hypervisors(self) -> tuple[Member, ...]:
        return tuple(m for m in self.members if m.role == "hypervisor" and not m.revoked)

    def check_name(self, name: str, role: str) -> None:
        """Refused when `name` is held by a member of the other role."""
        held = self.member(name)
        if held is not None and held.role != role and not held.revoked:
            raise Refused(f"{name} is a {held.role} of this cluster", code="name-taken",
                          hint="names are unique over hypervisors and guests")

    def admit(self, member: Member) -> Cluster:
        """With `member` new, or changed (a node that joins again brings a new key)."""
        self.check_name(member.name, member.role)
        known = self.member(member.name)
        if known is not None and replace(known, revision=0) == replace(member, revision=0):
            return self
        return self._with(member)

    def revoke(self, name: str) -> Cluster:
        known = self.member(name)
        if known is None:
            raise NotFound(f"{name} is no member of cluster {self.name}",
                           hint="svc node ls lists the members")
        return self if known.revoked else self._with(replace(known, revoked=True))

    def merge(self, other: Cluster) -> Cluster:
        """What both know together; the order of merging does not matter."""
        if other.name != self.name:
            raise Refused(f"a list of cluster {other.name}, and this is {self.name}", code="foreign-cluster")
        best: dict[str, Member] = {}
        for member in (*self.members, *other.members):
            best[member.name] = max(best.get(member.name, member), member, key=_weight)
        return Cluster(self.name, max(self.revision, other.revision), _sorted(best.values()))

    def refuses(self, peer: Identity) -> str:
        """Why this peer is refused although its certificate is good; "" when it is not.

        A node that is not listed is not refused: it joined at another hypervisor, whose
        list is on its way. Users are no members: the settings give them their role.
        """
        if peer.cluster != self.name:
            return f"its certificate is of cluster {peer.cluster}"
        member = self.member(peer.name) if peer.role != "user" else None
        if member is None:
            return ""
        if member.revoked:
            return f"{peer.name} was removed from the cluster"
        if member.role != peer.role:
            return f"{peer.name} is a {member.role}, not a {peer.role}"
        if member.key_hash and peer.key_hash and member.key_hash != peer.key_hash:
            return f"{peer.name} holds another key than the one it joined with"
        return ""

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "revision": self.revision, "members": [asdict(m) for m in self.members]}

    def _with(self, member: Member) -> Cluster:
        others = (m for m in self.members if m.name != member.name)
        revision = self.revision + 1
        return Cluster(self.name, revision, _sorted((*others, replace(member, revision=revision))))


def _sorted(members: Any) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda m: m.name))


def _weight(member: Member) -> tuple[int, bool, str, str, str]:
    return member.revision, member.revoked, member.role, member.key_hash, member.address


def from_document(document: object) -> Cluster:
    """A list that came over the wire or from the file; InvalidRequest when it is not sound."""
    if not isinstance(document, Mapping) or not is_name(str(document.get("name", ""))):
        raise InvalidRequest("not a list of members: it names no cluster", code="bad-members")
    entries, revision = document.get("members", []), document.get("revision", 0)
    if not isinstance(entries, list) or len(entries) > MEMBER_LIMIT or not _is_revision(revision):
        raise InvalidRequest("not a list of members", code="bad-members")
    members = [_member(entry) for entry in entries]
    if len({m.name for m in members}) != len(members):
        raise InvalidRequest("a name occurs twice among the members", code="bad-members")
    # A list is never older than its newest member, or changes made here could lose against it.
    return Cluster(str(document["name"]), max((revision, *(m.revision for m in members))), _sorted(members))


def _is_revision(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _member(entry: object) -> Member:
    if not isinstance(entry, Mapping):
        raise InvalidRequest("a member is a table", code="bad-members")
    known = {key: entry[key] for key in _KINDS if key in entry}  # a newer version may say more
    for key, value in known.items():
        if type(value) is not _KINDS[key]:
            raise InvalidRequest(f"a member's {key} is {value!r}", code="bad-members")
    if not is_name(known.get("name", "")) or known.get("role") not in ("hypervisor", "guest"):
        raise InvalidRequest(f"a member's name or role is wrong: {known}", code="bad-members")
    member = Member(**known)
    if (member.key_hash and not _HASH.fullmatch(member.key_hash)) or not _is_revision(member.revision):
        raise InvalidRequest(f"{member.name}: its key hash or its revision is wrong", code="bad-members")
    return replace(member, address=check_address(member.address)) if member.address else member


def check_address(text: str) -> str:
    """``host:port`` in the form that is kept; InvalidRequest otherwise."""
    try:
        return show_address(parse_address(text))
    except ValueError as error:
        raise InvalidRequest(str(error.args[0]), code="bad-address") from error


def load(paths: Paths) -> Cluster | None:
    """The list on disk; None where there is none (a guest, or a node that has not joined)."""
    try:
        return from_document(tomllib.loads(paths.cluster_file.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, InvalidRequest) as error:
        raise InvalidConfig(f"{paths.cluster_file}: {error}", (),
                            hint="it is written by `svc node`; copy it from another hypervisor") from error


def save(paths: Paths, cluster: Cluster) -> None:
    write_atomically(paths.cluster_file, text(cluster).encode(), 0o644)


def text(cluster: Cluster) -> str:
    """The same members always give the same bytes."""
    lines = ["# Written by `svc node join` and `svc node remove`; changes by hand are not pushed to others.",
             f"name = {toml_value(cluster.name)}", f"revision = {cluster.revision}"]
    for member in cluster.members:
        lines += ["", "[[members]]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in asdict(member).items()]
    return "\n".join(lines) + "\n"

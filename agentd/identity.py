"""Who is at the other end of a connection, as the transport proved it.

`Identity` comes from a verified certificate, `LocalUser` from the kernel (the peer
credentials of the Unix socket). What either may do is `api.auth`'s to say.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentd.core.errors import Forbidden
from agentd.core.names import is_node_name

ROLES = ("hypervisor", "guest", "user")
_ADDRESS = re.compile(r"\d+(\.\d+){3}")
_URI = re.compile(r"encap://([a-z0-9._-]{1,63})/(hypervisor|guest|user)/([a-z0-9._-]{1,63})")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate of a cluster. `expires`: epoch seconds; `key_hash`: ``sha256:<hex>`` of its key."""

    cluster: str
    role: str
    name: str
    key_hash: str = ""
    expires: float = float("inf")

    @property
    def uri(self) -> str:
        return identity_uri(self.cluster, self.role, self.name)


@dataclass(frozen=True, slots=True)
class LocalUser:
    """A process on this machine, by the credentials it had when it connected."""

    uid: int
    gids: frozenset[int] = frozenset()


Peer = Identity | LocalUser


def is_name(text: str) -> bool:
    """A name that a certificate may carry: a node name that is sound as a host name; no address."""
    sound = is_node_name(text) and ".." not in text and not text.endswith(".")
    return sound and not _ADDRESS.fullmatch(text)


def identity_uri(cluster: str, role: str, name: str) -> str:
    return f"encap://{cluster}/{role}/{name}"


def parse_uri(uri: str) -> tuple[str, str, str]:
    """(cluster, role, name); Forbidden for anything but exactly the form that we issue."""
    match = _URI.fullmatch(uri)
    if match is None or not (is_name(match[1]) and is_name(match[3])):
        raise Forbidden("the certificate carries no identity of the form encap://cluster/role/name",
                        code="bad-identity")
    return match[1], match[2], match[3]


def identity_of(certificate: Mapping[str, Any] | None, cluster: str = "", key_hash: str = "") -> Identity:
    """The identity in what `getpeercert()` gave for a *verified* certificate.

    Exactly one URI in the subject alternative names counts, the common name never does.
    With `cluster`, a certificate of another one is refused. Raises Forbidden.
    """
    if not certificate:
        raise Forbidden("no client certificate was shown", code="no-certificate")
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1:
        raise Forbidden(f"the certificate carries {len(uris)} URIs where one is expected",
                        code="bad-identity",
                        hint="only certificates made by `svc ca` and `svc node join` open this door")
    found, role, name = parse_uri(uris[0])
    if cluster and found != cluster:
        raise Forbidden(f"the certificate is of cluster {found}, not {cluster}", code="foreign-cluster")
    until = certificate.get("notAfter")
    expires = float(ssl.cert_time_to_seconds(until)) if until else float("inf")
    return Identity(found, role, name, key_hash, expires)


def verify_peer(certificate: Mapping[str, Any] | None, cluster: str, role: str, name: str) -> Identity:
    """The caller's check of a server: it must be exactly the node that was meant."""
    identity = identity_of(certificate, cluster)
    if (identity.role, identity.name) != (role, name):
        raise Forbidden(f"expected {role} {name}, and the certificate is of {identity.role} {identity.name}",
                        code="wrong-peer", hint="is the address in the configuration right?")
    return identity

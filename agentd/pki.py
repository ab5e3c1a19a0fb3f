"""Keys and certificates of the cluster: making them, and the TLS contexts that use them.

Owns ``var/lib/encap/pki``. Issuing imports `cryptography` when it is needed; serving and
calling use the standard library only. Nothing of a signing request but its public key is
believed: name, role and dates are the issuer's.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agentd import certificate, issuing, membership
from agentd.core.errors import EncapError, InvalidRequest, NotFound, Refused
from agentd.files import remove, write_atomically
from agentd.identity import identity_of, identity_uri, parse_uri, verify_peer
from agentd.membership import Cluster, Member
from agentd.settings import Paths

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

LIFE = {"hypervisor": timedelta(days=365), "guest": timedelta(days=30), "user": timedelta(days=365)}


def init_ca(paths: Paths, cluster: str, node: str, address: str = "") -> Cluster:
    """Make a cluster: its CA, this node's certificate, and a list with this one member.

    `address`: ``host:port`` where the other members will find this node.
    """
    issuing.check_names(cluster, node)
    for path in (paths.ca_key, paths.ca_certificate, paths.cluster_file):
        if path.exists():
            raise Refused(f"{path} exists: this node belongs to a cluster already",
                          code="has-cluster",
                          hint="a second CA would lock all members out; another cluster needs another --root")
    address = membership.check_address(address) if address else ""
    try:
        return _make_cluster(paths, cluster, node, address)
    except (EncapError, OSError):
        for path in (paths.ca_key, paths.ca_certificate, paths.certificate):
            path.unlink(missing_ok=True)  # half a cluster would stand in the way of the next try
        raise


def _make_cluster(paths: Paths, cluster: str, node: str, address: str) -> Cluster:
    key, made = issuing.make_ca(cluster)
    paths.pki_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(paths.ca_key, issuing.private_pem(key), 0o400)
    write_atomically(paths.ca_certificate, issuing.pem_of(made), 0o644)
    issued = sign_request(paths, make_key_and_request(paths, node), "hypervisor", node)
    write_atomically(paths.certificate, issued, 0o644)
    members = Cluster(cluster).admit(Member(node, "hypervisor", address, hash_of(issued)))
    membership.save(paths, members)
    return members


def set_address(paths: Paths, node: str, address: str) -> Cluster:
    """Where the other members find this hypervisor from now on."""
    cluster = membership.load(paths)
    member = cluster.member(node) if cluster else None
    if cluster is None or member is None:
        raise NotFound(f"{node} is no member of a cluster yet", hint="svc ca init, or svc node join TOKEN")
    cluster = cluster.admit(replace(member, address=membership.check_address(address)))
    membership.save(paths, cluster)
    return cluster


def issue_user(paths: Paths, name: str, days: int, directory: Path) -> None:
    """Write user.crt, user.key and ca.crt of a person into `directory`."""
    if not 1 <= days <= 3650:
        raise InvalidRequest(f"{days} days: a user certificate lives from 1 to 3650")
    key = issuing.new_key()
    issued = sign_request(paths, issuing.request(key, name), "user", name, life=timedelta(days=days))
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(directory / "user.key", issuing.private_pem(key), 0o600)
    write_atomically(directory / "user.crt", issued, 0o644)
    write_atomically(directory / "ca.crt", paths.ca_certificate.read_bytes(), 0o644)


def make_key_and_request(paths: Paths, name: str) -> bytes:
    """The signing request (PEM) of this node. Its key is made at the first call and kept."""
    issuing.check_names(name)
    if not paths.key.exists():
        paths.pki_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(paths.key, issuing.private_pem(issuing.new_key()), 0o600)
    return issuing.request(issuing.private_key(paths.key.read_bytes()), name)


def sign_request(paths: Paths, csr: bytes, role: str, name: str, *, life: timedelta | None = None,
                 now: datetime | None = None) -> bytes:
    """A certificate (PEM) for the key of a signing request, under the name that the issuer says.

    Refused without `ca.key` here; InvalidRequest for a request that is not sound.
    """
    issuing.check_names(name)
    authority, key = _authority(paths)
    uri = identity_uri(issuing.common_name(authority), role, name)
    start = (now or datetime.now(UTC)).replace(microsecond=0)
    return issuing.sign(authority, key, issuing.public_key(csr), uri, name, start, life or LIFE[role])


def check_can_issue(paths: Paths, name: str) -> None:
    """Refused or InvalidRequest when `sign_request` for this name would be."""
    issuing.check_names(name)
    _authority(paths)


def request_hash(csr: bytes) -> str:
    """The hash of the key in a signing request, as `certificate.key_hash` tells it."""
    return issuing.public_hash(issuing.public_key(csr))


def hash_of(pem: bytes) -> str:
    return certificate.key_hash(certificate.der_of(pem))


def own_identity(paths: Paths) -> tuple[str, str, str]:
    """(cluster, role, name) that this node's certificate says."""
    uris = certificate.facts(certificate.der_of(paths.certificate.read_bytes())).uris
    return parse_uri(uris[0] if len(uris) == 1 else "")


def renewal_due(paths: Paths, now: datetime | None = None) -> bool:
    """Whether less than two thirds of the life of this node's certificate are left."""
    facts = certificate.facts(certificate.der_of(paths.certificate.read_bytes()))
    life = facts.not_after - facts.not_before - issuing.BACKDATED
    return (now or datetime.now(UTC)) >= facts.not_after - life * 2 / 3


def renew_own(paths: Paths) -> None:
    """A hypervisor that holds the CA key signs its own key again."""
    _cluster, role, name = own_identity(paths)
    issued = sign_request(paths, make_key_and_request(paths, name), role, name)
    write_atomically(paths.certificate, issued, 0o644)


def install(paths: Paths, issued: bytes, authorities: bytes, cluster: str, role: str, name: str) -> None:
    """Put a certificate in place. Refused unless it is for our key, of that CA, and says what
    was asked for; the certificate comes last, for the daemon waits for it."""
    found = certificate.facts(certificate.der_of(issued))
    if len(found.uris) != 1 or parse_uri(found.uris[0]) != (cluster, role, name):
        raise Refused(f"the certificate is not for {role} {name} of {cluster}", code="wrong-certificate")
    staged = paths.pki_dir / ".staged.crt"
    try:
        write_atomically(staged, issued, 0o600)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(staged, paths.key)
        except ssl.SSLError as error:
            text = "the certificate is not for the key of this node"
            raise Refused(text, code="wrong-certificate") from error
        issuing.check_signature(issued, authorities)
        write_atomically(paths.ca_certificate, authorities, 0o644)
        write_atomically(paths.certificate, issued, 0o644)
    finally:
        remove(staged)


def install_ca_key(paths: Paths, pem: bytes) -> None:
    """Keep the CA key that another hypervisor gave; Refused unless it is the key of our CA."""
    theirs = issuing.public_hash(issuing.private_key(pem).public_key())
    if theirs not in map(certificate.key_hash, certificate.all_of(paths.ca_certificate.read_bytes())):
        raise Refused("this is not the key of our CA", code="wrong-key")
    write_atomically(paths.ca_key, pem, 0o400)


# TLS contexts


def server_context(paths: Paths) -> ssl.SSLContext:
    """For listeners: TLS 1.3, our certificate, and nobody without a certificate of our CA."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, paths)
    context.verify_mode = ssl.CERT_REQUIRED
    _trust(context, paths)
    return context


def join_context(paths: Paths) -> ssl.SSLContext:
    """For the join listener: the client has no certificate yet."""
    return _context(ssl.PROTOCOL_TLS_SERVER, paths)


def client_context(paths: Paths) -> ssl.SSLContext:
    """For calls to other daemons. The name to give as `server_hostname` is the node's own
    (every certificate carries it), never its address; then check the URI with `verify_peer`."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, paths)
    _trust(context, paths)
    return context


def reload_certificate(context: ssl.SSLContext, paths: Paths) -> None:
    """New connections of a context in use show the certificate that is on disk now."""
    _load_own(context, paths)
    if context.verify_mode is ssl.CERT_REQUIRED:
        _trust(context, paths)


def _context(protocol: int, paths: Paths) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # a resumed session would skip the look at the certificate
    _load_own(context, paths)
    return context


def _load_own(context: ssl.SSLContext, paths: Paths) -> None:
    try:
        context.load_cert_chain(paths.certificate, paths.key)
    except FileNotFoundError as error:
        raise NotFound(f"this node has no certificate in {paths.pki_dir}", code="not-enrolled",
                       hint="svc ca init on the first hypervisor, svc node join TOKEN on others") from error
    except ssl.SSLError as error:
        raise EncapError(f"{paths.certificate} and {paths.key} do not belong together: {error.reason}",
                         code="bad-certificate") from error


def _trust(context: ssl.SSLContext, paths: Paths) -> None:
    try:
        context.load_verify_locations(paths.ca_certificate)
    except (FileNotFoundError, ssl.SSLError) as error:
        raise EncapError(f"{paths.ca_certificate} cannot be read: {error}", code="bad-certificate") from error


def _authority(paths: Paths) -> tuple[Certificate, EllipticCurvePrivateKey]:
    """The CA whose key is here; with two of them during a rotation, the one that fits."""
    if not paths.ca_key.exists():
        raise Refused(f"the CA key is not on this node ({paths.ca_key})", code="no-ca-key",
                      hint="do this where the key is kept: on any other hypervisor, unless ca = \"offline\"")
    key = issuing.private_key(paths.ca_key.read_bytes())
    for authority in issuing.load_all(paths.ca_certificate.read_bytes()):
        if authority.public_key() == key.public_key():
            return authority, key
    raise Refused(f"{paths.ca_key} is not the key of {paths.ca_certificate}", code="wrong-key")


__all__ = [
    "check_can_issue", "client_context", "hash_of", "identity_of", "init_ca", "install", "install_ca_key",
    "issue_user", "join_context", "make_key_and_request", "own_identity", "reload_certificate", "renew_own",
    "renewal_due", "request_hash", "server_context", "set_address", "sign_request", "verify_peer",
]

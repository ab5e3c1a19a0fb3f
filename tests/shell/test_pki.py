"""Certificates: what is issued, what is believed of them, and what is refused."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from agentd import certificate, membership, pki
from agentd.core.errors import Forbidden, InvalidRequest, NotFound, Refused
from agentd.identity import identity_of, is_name, verify_peer
from agentd.settings import Paths


@pytest.fixture
def hv1(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "hv1")
    pki.init_ca(paths, "prod", "hv1", "10.0.0.1")
    return paths


def facts(paths: Paths) -> certificate.Facts:
    return certificate.facts(certificate.der_of(paths.certificate.read_bytes()))


def test_a_new_cluster_has_a_ca_a_certificate_and_one_member(hv1: Paths) -> None:
    assert stat.S_IMODE(hv1.ca_key.stat().st_mode) == 0o400
    assert stat.S_IMODE(hv1.key.stat().st_mode) == 0o600
    assert pki.own_identity(hv1) == ("prod", "hypervisor", "hv1")
    cluster = membership.load(hv1)
    assert cluster is not None
    assert [(m.name, m.role, m.address, m.key_hash) for m in cluster.members] == [
        ("hv1", "hypervisor", "10.0.0.1:1216", facts(hv1).key_hash)]


def test_a_second_ca_is_refused_and_touches_nothing(hv1: Paths) -> None:
    before = hv1.ca_certificate.read_bytes()
    with pytest.raises(Refused, match="belongs to a cluster"):
        pki.init_ca(hv1, "other", "hv1")
    assert hv1.ca_certificate.read_bytes() == before


def test_half_a_cluster_does_not_stand_in_the_way(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.cluster_file.parent.mkdir(parents=True)
    paths.cluster_file.parent.rmdir()
    paths.cluster_file.parent.write_text("a file where the folder should be")
    with pytest.raises(Exception, match="cannot write"):
        pki.init_ca(paths, "prod", "hv1")
    assert not paths.ca_key.exists()
    paths.cluster_file.parent.unlink()
    pki.init_ca(paths, "prod", "hv1")
    assert paths.enrolled


def test_our_reading_of_a_certificate_agrees_with_the_library(hv1: Paths) -> None:
    known = x509.load_pem_x509_certificate(hv1.certificate.read_bytes())
    ours = facts(hv1)
    assert (ours.not_before, ours.not_after) == (known.not_valid_before_utc, known.not_valid_after_utc)
    assert ours.uris == ("encap://prod/hypervisor/hv1",)
    csr = pki.make_key_and_request(hv1, "hv1")
    assert ours.key_hash == pki.request_hash(csr) == pki.hash_of(hv1.certificate.read_bytes())


@pytest.mark.parametrize("cut", [0, 1, 2, 5, 40, 200, 400])
def test_a_damaged_certificate_is_told_and_never_half_read(hv1: Paths, cut: int) -> None:
    der = certificate.der_of(hv1.certificate.read_bytes())
    with pytest.raises(InvalidRequest):
        certificate.facts(der[:cut])


def test_guests_live_30_days_and_begin_48_hours_back(hv1: Paths) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    issued = pki.sign_request(hv1, pki.make_key_and_request(hv1, "vm1"), "guest", "vm1", now=now)
    found = certificate.facts(certificate.der_of(issued))
    assert (found.not_before, found.not_after) == (now - timedelta(hours=48), now + timedelta(days=30))


def test_no_certificate_outlives_its_ca(hv1: Paths) -> None:
    end = certificate.facts(certificate.der_of(hv1.ca_certificate.read_bytes())).not_after
    issued = pki.sign_request(hv1, pki.make_key_and_request(hv1, "vm1"), "guest", "vm1",
                              now=end - timedelta(days=1))
    assert certificate.facts(certificate.der_of(issued)).not_after == end


def test_only_the_key_of_a_request_is_believed(hv1: Paths) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    wish = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hv1")]))
    wish = wish.add_extension(x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("encap://prod/hypervisor/hv1")]), critical=False)
    csr = wish.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    found = certificate.facts(certificate.der_of(pki.sign_request(hv1, csr, "guest", "vm1")))
    assert found.uris == ("encap://prod/guest/vm1",)
    assert found.key_hash == pki.request_hash(csr)


def requests_that_are_not_sound() -> list[bytes]:
    weak = rsa.generate_private_key(65537, 2048)
    other = ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    made = [builder.sign(k, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) for k in (weak, other)]
    good = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    der = bytearray(good.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1

    forged = (b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(bytes(der))
              + b"-----END CERTIFICATE REQUEST-----\n")
    return [b"", b"\x00" * 100, b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            b"x" * (17 << 10), *made, forged]


@pytest.mark.parametrize("csr", requests_that_are_not_sound())
def test_requests_that_are_not_sound_are_refused(hv1: Paths, csr: bytes) -> None:
    with pytest.raises(InvalidRequest):
        pki.sign_request(hv1, csr, "guest", "vm1")


@pytest.mark.parametrize("name", ["", "*", "*.prod", "a/b", "../x", "VM1", "vm1\0", "a b", "x" * 64, "vm1.", "ä"])
def test_odd_names_get_no_certificate(hv1: Paths, name: str) -> None:
    assert not is_name(name)
    with pytest.raises(InvalidRequest):
        pki.sign_request(hv1, pki.make_key_and_request(hv1, "vm1"), "guest", name)


def certificate_with(*names: tuple[str, str]) -> dict[str, Any]:
    return {"subject": ((("commonName", "hv1"),),), "subjectAltName": names}


@pytest.mark.parametrize("shown", [
    None, {}, certificate_with(), certificate_with(("DNS", "hv1")),
    certificate_with(("URI", "encap://prod/hypervisor/hv1"), ("URI", "encap://prod/hypervisor/hv2")),
    certificate_with(("URI", "encap://prod/hypervisor/hv1"), ("URI", "https://example.org")),
    certificate_with(("URI", "encap://prod/hypervisor/*")),
    certificate_with(("URI", "encap://prod/root/hv1")),
    certificate_with(("URI", "encap://prod/hypervisor/hv1/x")),
    certificate_with(("URI", "encap://prod/hypervisor/HV1")),
    certificate_with(("URI", "encap://prod/hypervisor/hv1\n")),
    certificate_with(("URI", "encap://prod/hypervisor/hv1\x00.evil")),
    certificate_with(("URI", "ENCAP://prod/hypervisor/hv1")),
    certificate_with(("URI", "encap://other/hypervisor/hv1")),
])
def test_certificates_without_exactly_one_sound_identity_are_refused(shown: dict[str, Any] | None) -> None:
    with pytest.raises(Forbidden):
        identity_of(shown, "prod")


def test_a_server_must_be_the_node_that_was_meant() -> None:
    shown = certificate_with(("DNS", "vm1"), ("URI", "encap://prod/guest/vm1"))
    assert verify_peer(shown, "prod", "guest", "vm1").name == "vm1"
    for role, name in (("guest", "vm2"), ("hypervisor", "vm1")):
        with pytest.raises(Forbidden):
            verify_peer(shown, "prod", role, name)


def test_install_refuses_what_does_not_fit_and_keeps_the_old(hv1: Paths, tmp_path: Path) -> None:
    vm1, other = Paths(tmp_path / "vm1"), Paths(tmp_path / "other")
    pki.init_ca(other, "prod", "hv9")
    csr, ca = pki.make_key_and_request(vm1, "vm1"), hv1.ca_certificate.read_bytes()
    good = pki.sign_request(hv1, csr, "guest", "vm1")
    wrong_key = pki.sign_request(hv1, pki.make_key_and_request(other, "vm1"), "guest", "vm1")
    wrong_role = pki.sign_request(hv1, csr, "hypervisor", "vm1")
    for issued, authority in ((wrong_key, ca), (wrong_role, ca), (good, other.ca_certificate.read_bytes())):
        with pytest.raises(Refused):
            pki.install(vm1, issued, authority, "prod", "guest", "vm1")
        assert not vm1.certificate.exists()
    pki.install(vm1, good, ca, "prod", "guest", "vm1")
    assert vm1.enrolled
    assert sorted(p.name for p in vm1.pki_dir.iterdir()) == ["ca.crt", "node.crt", "node.key"]


def test_the_ca_key_is_only_accepted_if_it_is_ours(hv1: Paths, tmp_path: Path) -> None:
    hv2, other = Paths(tmp_path / "hv2"), Paths(tmp_path / "other")
    pki.init_ca(other, "prod", "hv9")
    hv2.pki_dir.mkdir(parents=True)
    hv2.ca_certificate.write_bytes(hv1.ca_certificate.read_bytes())
    with pytest.raises(Refused):
        pki.install_ca_key(hv2, other.ca_key.read_bytes())
    with pytest.raises(InvalidRequest):
        pki.install_ca_key(hv2, b"nonsense")
    with pytest.raises(Refused, match="CA key is not on this node"):
        pki.sign_request(hv2, pki.make_key_and_request(hv2, "vm1"), "guest", "vm1")
    pki.install_ca_key(hv2, hv1.ca_key.read_bytes())
    assert pki.sign_request(hv2, pki.make_key_and_request(hv2, "vm1"), "guest", "vm1")


def test_renewal_is_due_after_a_third_and_keeps_the_key(hv1: Paths) -> None:
    end = facts(hv1).not_after
    assert not pki.renewal_due(hv1)
    assert pki.renewal_due(hv1, end - timedelta(days=200))
    key = facts(hv1).key_hash
    pki.renew_own(hv1)
    assert facts(hv1).key_hash == key


def test_a_user_gets_three_files(hv1: Paths, tmp_path: Path) -> None:
    pki.issue_user(hv1, "alice", 30, tmp_path / "alice")
    assert sorted(p.name for p in (tmp_path / "alice").iterdir()) == ["ca.crt", "user.crt", "user.key"]
    assert stat.S_IMODE((tmp_path / "alice/user.key").stat().st_mode) == 0o600
    der = certificate.der_of((tmp_path / "alice/user.crt").read_bytes())
    assert certificate.facts(der).uris == ("encap://prod/user/alice",)
    with pytest.raises(InvalidRequest):
        pki.issue_user(hv1, "alice", 0, tmp_path / "alice")


def test_a_node_without_a_certificate_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no certificate") as caught:
        pki.server_context(Paths(tmp_path))
    assert "svc ca init" in caught.value.hint


@pytest.mark.real
def test_serving_does_not_load_the_cryptography_library(hv1: Paths) -> None:
    code = ("import sys; from pathlib import Path; from agentd import pki, server; from agentd.settings import Paths;"
            "p = Paths(Path(sys.argv[1])); pki.server_context(p); pki.client_context(p); pki.own_identity(p);"
            "print(sorted(m for m in sys.modules if m.split('.')[0] in ('cryptography', 'httpx')))")
    done = subprocess.run([sys.executable, "-c", code, str(hv1.root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

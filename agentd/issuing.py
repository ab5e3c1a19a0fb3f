"""Making keys, signing requests and certificates: the one place that needs `cryptography`.

Each function imports it when it is called, so a daemon that only serves never loads it.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agentd.core.errors import InvalidRequest, Refused
from agentd.identity import is_name

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

CA_LIFE = timedelta(days=3653)
BACKDATED = timedelta(hours=48)
"""How far back a certificate begins: clocks of hypervisors and guests differ."""
REQUEST_LIMIT = 16 << 10
"""Bytes of a signing request."""



def check_names(*names: str) -> None:
    for name in names:
        if not is_name(name):
            raise InvalidRequest(f"{name!r} cannot be a name", code="bad-name",
                                 hint="lower-case letters, digits, dot, dash and underscore, at most 63")


def new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _subject(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def make_ca(cluster: str) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    key, now = new_key(), datetime.now(UTC).replace(microsecond=0)
    made = (
        x509.CertificateBuilder(issuer_name=_subject(cluster), subject_name=_subject(cluster))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED).not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return key, made.sign(key, hashes.SHA256())


def sign(authority: x509.Certificate, authority_key: EllipticCurvePrivateKey, key: EllipticCurvePublicKey,
         uri: str, name: str, start: datetime, life: timedelta) -> bytes:
    """A leaf certificate (PEM) that never outlives its CA."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    builder = (
        x509.CertificateBuilder(issuer_name=authority.subject, subject_name=_subject(name))
        .public_key(key).serial_number(x509.random_serial_number())
        .not_valid_before(max(start - BACKDATED, authority.not_valid_before_utc))
        .not_valid_after(min(start + life, authority.not_valid_after_utc))
    )
    for extension, critical in _extensions(authority, key, uri, name):
        builder = builder.add_extension(extension, critical)
    return pem_of(builder.sign(authority_key, hashes.SHA256()))


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates, crl_sign=signs_certificates, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )


def _extensions(authority: x509.Certificate, key: EllipticCurvePublicKey, uri: str,
                name: str) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(name)]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage(both), False),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), False),
    )


def request(key: EllipticCurvePrivateKey, name: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    check_names(name)
    request = x509.CertificateSigningRequestBuilder(_subject(name)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def public_key(csr: bytes) -> EllipticCurvePublicKey:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    if len(csr) > REQUEST_LIMIT:
        raise InvalidRequest("a signing request is at most 16 KiB", code="bad-csr")
    try:
        request = x509.load_pem_x509_csr(csr)
        key = request.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) \
                and request.is_signature_valid:
            return key
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidRequest("this is no signing request in PEM form", code="bad-csr") from error
    raise InvalidRequest("the signing request is not signed by a P-256 key of its own", code="bad-csr")


def load_all(pem: bytes) -> list[x509.Certificate]:
    """Every certificate of a bundle. Raises InvalidRequest for what holds none."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidRequest("this is no certificate in PEM form", code="bad-certificate") from error


def check_signature(issued: bytes, authorities: bytes) -> None:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    leaf = x509.load_pem_x509_certificate(issued)
    for authority in load_all(authorities):
        try:
            leaf.verify_directly_issued_by(authority)
            return
        except (InvalidSignature, ValueError, TypeError):
            continue
    raise Refused("the certificate was not made by the CA that came with it", code="wrong-certificate")


def pem_of(made: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return made.public_bytes(Encoding.PEM)


def private_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def private_key(pem: bytes) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise InvalidRequest("this is no private key in PEM form", code="bad-key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidRequest("this is not a key that the product made", code="bad-key")
    return key


def public_hash(key: EllipticCurvePublicKey) -> str:
    """``sha256:<hex>`` of the subject public key info."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"


def common_name(made: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    return str(made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

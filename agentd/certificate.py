"""Reading a certificate without a cryptography library: the few facts that the daemon needs.

A guest's agent serves for months and issues nothing, so it should not carry the 6 MB that
issuing needs. This is a walk over the DER of a certificate (RFC 5280, section 4.1); it
verifies nothing: that is OpenSSL's work.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from agentd.core.errors import InvalidRequest

_SEQUENCE, _VERSION, _EXTENSIONS, _OCTETS, _URI, _UTC_TIME = 0x30, 0xA0, 0xA3, 0x04, 0x86, 0x17
_SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("0603551d11")
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Facts:
    """`key_hash`: ``sha256:<hex>`` over the subject public key info; times are UTC."""

    key_hash: str
    not_before: datetime
    not_after: datetime
    uris: tuple[str, ...]


def facts(der: bytes) -> Facts:
    """The facts of a certificate; InvalidRequest when it is none."""
    try:
        return _facts(der)
    except (IndexError, ValueError, StopIteration) as error:
        raise InvalidRequest("not a certificate", code="bad-certificate") from error


def key_hash(der: bytes) -> str:
    return facts(der).key_hash


def der_of(pem: str | bytes) -> bytes:
    """The first certificate of a PEM text."""
    return all_of(pem)[0]


def all_of(pem: str | bytes) -> tuple[bytes, ...]:
    """Every certificate of a PEM text, at least one; InvalidRequest otherwise."""
    try:
        text = pem.decode("ascii") if isinstance(pem, bytes) else pem
        blocks = [part.partition(_END)[0] for part in text.split(_BEGIN)[1:]]
        found = tuple(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{block}{_END}\n") for block in blocks)
    except ValueError as error:
        raise InvalidRequest("not a certificate in PEM form", code="bad-certificate") from error
    if not found:
        raise InvalidRequest("there is no certificate in this text", code="bad-certificate")
    return found


def _facts(der: bytes) -> Facts:
    fields = list(_items(_value(_value(der))))
    if fields[0][0] == _VERSION:
        del fields[0]
    # serial, algorithm, issuer, validity, subject, subject public key info, ...
    not_before, not_after = (_time(tag, body) for tag, body, _whole in _items(fields[3][1]))
    spki = fields[5][2]
    extensions = next((body for tag, body, _whole in fields[6:] if tag == _EXTENSIONS), b"")
    return Facts(f"sha256:{hashlib.sha256(spki).hexdigest()}", not_before, not_after,
                 tuple(_uris(extensions)) if extensions else ())


def _uris(extensions: bytes) -> Iterator[str]:
    for _tag, body, _whole in _items(_value(extensions)):
        if body.startswith(_SUBJECT_ALTERNATIVE_NAME):
            octets = next(value for tag, value, _ in _items(body) if tag == _OCTETS)
            for tag, name, _ in _items(_value(octets)):
                if tag == _URI:
                    yield name.decode("ascii")


def _value(data: bytes) -> bytes:
    """The content of the one sequence that `data` starts with."""
    tag, body, _whole = next(_items(data))
    if tag != _SEQUENCE:
        raise ValueError(f"tag {tag:#x} where a sequence is expected")
    return body


def _items(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(tag, content, whole) of each element, one after the other."""
    position = 0
    while position < len(data):
        start, tag, size = position, data[position], data[position + 1]
        position += 2
        if size & 0x80:
            width = size & 0x7F
            if not 1 <= width <= 4:
                raise ValueError("a length that is not DER")
            size = int.from_bytes(data[position:position + width], "big")
            position += width
        if position + size > len(data):
            raise ValueError("cut short")
        yield tag, data[position:position + size], data[start:position + size]
        position += size


def _time(tag: int, body: bytes) -> datetime:
    text = body.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)

"""Copies of configurations as nodes tell each other of them: values, strict reading, precedence.

Whatever comes from another node is a stranger's until it was read here: a guest may answer
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from agentd.core.config import Document
from agentd.core.dialect import TEXT_LIMIT
from agentd.core.errors import InvalidRequest
from agentd.core.model import Level
from agentd.core.names import is_node_name, is_service_name
from agentd.core.replication import content_hash
from agentd.core.reply import clean
from agentd.core.scoping import NOBODY, scope

HASH_LENGTH = len("sha256:") + 64
WORD_LIMIT = 256
"""Characters of an author or an origin."""
NAMES_LIMIT = 10_000
"""Services of one node, and nodes of one service."""
NUMBER_LIMIT = 1 << 53


@dataclass(frozen=True, slots=True)
class Version:
    """Which text of a service a node holds. `nodes`: its hypervisors, where that node told them."""

    revision: int
    hash: str
    nodes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[int, str]:
        return self.revision, self.hash


@dataclass(frozen=True, slots=True)
class Replica:
    """A text on its way. `base`: the hash that it was made from; `origin`: the node it was made on."""

    revision: int
    hash: str
    text: str
    base: str = ""
    author: str = ""
    origin: str = ""

    def document(self) -> dict[str, Any]:
        return {"revision": self.revision, "hash": self.hash, "base": self.base, "text": self.text,
                "author": self.author, "origin": self.origin}


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one node holds: service -> version, and the revisions at which it deleted others."""

    services: Mapping[str, Version] = field(default_factory=dict)
    deleted: Mapping[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        services = {name: {"revision": v.revision, "hash": v.hash, "nodes": list(v.nodes)}
                    for name, v in self.services.items()}
        return {"services": services, "deleted": dict(self.deleted)}


def read_replica(document: object) -> Replica:
    """A replica whose text is the one that its hash was made of. Raises InvalidRequest."""
    told = _object(document, "a replica")
    text = told.get("text")
    if not isinstance(text, str):
        _refuse("text is not a text")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        _refuse("text is not Unicode")
    if size > TEXT_LIMIT:
        raise InvalidRequest("a configuration is at most 1 MiB", code="too-large")
    version = read_version(told)
    if content_hash(text) != version.hash:
        raise InvalidRequest("the text is not the one that its hash was made of: it was cut short or changed"
                             " on its way", code="hash-mismatch")
    base = told.get("base", "")
    if base != "":
        base = _hash(base)
    origin = _word(told, "origin")
    if origin and not is_node_name(origin):
        _refuse("origin is no node name")
    return Replica(version.revision, version.hash, text, base, _word(told, "author"), origin)


def read_version(document: object) -> Version:
    """The version in an answer; what else is in it is ignored. Raises InvalidRequest."""
    told = _object(document, "a version")
    nodes = told.get("nodes", [])
    if not isinstance(nodes, list) or len(nodes) > NAMES_LIMIT:
        _refuse("nodes is no list of names")
    if not all(isinstance(node, str) and is_node_name(node) for node in nodes):
        _refuse("nodes is no list of names")
    return Version(_number(told.get("revision")), _hash(told.get("hash")), tuple(nodes))


def read_holdings(document: object) -> Holdings:
    """What a node says that it holds. Raises InvalidRequest."""
    told = _object(document, "a list of services")
    services, deleted = (_by_name(told.get(key, {})) for key in ("services", "deleted"))
    return Holdings({name: read_version(one) for name, one in services.items()},
                    {name: _number(one) for name, one in deleted.items()})


def precedence(document: Document, name: str, replica: Replica) -> tuple[int, str]:
    """Of two texts with one number the lesser counts: the one of the earlier node in its own
    `nodes`. It is made of the text alone, so that every node comes to the same answer."""
    order = listed(document, name)
    return (order.index(replica.origin) if replica.origin in order else len(order)), replica.hash


def listed(document: Document, name: str) -> tuple[str, ...]:
    """The hypervisors that a text names bare, in their order."""
    bare = scope(document, name, NOBODY)
    return tuple(dict.fromkeys((*bare.written_nodes, *bare.drpnodes)))


def is_hypervisor(document: Document, name: str, node: str) -> bool:
    """Whether `node` is a hypervisor of the service in this text, or in this view of it."""
    return bool(node) and scope(document, name, node).level is Level.HOST


def _object(document: object, what: str) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        _refuse(f"{what} is an object")
    return document


def _by_name(document: object) -> Mapping[str, Any]:
    told = _object(document, "what is listed by name")
    if len(told) > NAMES_LIMIT or not all(isinstance(n, str) and is_service_name(n) for n in told):
        _refuse("a service has no name, or there are too many")
    return told


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= NUMBER_LIMIT:
        _refuse("revision is no number of a revision")
    return value


def _hash(value: object) -> str:
    if not isinstance(value, str) or len(value) != HASH_LENGTH or not value.startswith("sha256:") \
            or not set(value[7:]) <= set("0123456789abcdef"):
        _refuse("hash is no hash")
    return value


def _word(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key, "")
    if not isinstance(value, str) or len(value) > WORD_LIMIT:
        _refuse(f"{key} is no text of at most {WORD_LIMIT} characters")
    return clean(value)


def _refuse(why: str) -> NoReturn:
    raise InvalidRequest(f"not the copy of a configuration: {why}", code="invalid-replica")

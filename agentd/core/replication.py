"""What travels between nodes: content hashes, and the view that a guest receives."""

from __future__ import annotations

import hashlib

from agentd.core.config import Document, parse
from agentd.core.scoping import LISTS, is_encap, is_resource, scope


def content_hash(text: str) -> str:
    """``sha256:`` and 64 hex digits over the UTF-8 bytes."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def view(document: Document, name: str, guest: str) -> Document:
    """The text that the guest receives: DEFAULT reduced to the node lists, topology and what
    its sections refer to; its own sections whole; comments kept."""
    seen = scope(document, name, guest)
    reduced = document
    mine = {s for s in document.sections if is_resource(s) and (is_encap(seen.raw[s]) or s == "app")}
    used = " ".join(e.value for e in document.entries if e.section in mine or e.key in LISTS)
    keep = {s for s in document.sections
            if s in mine or s == "DEFAULT" or s.startswith("subset#") or f"{{{s}." in used}
    for section in document.sections:
        if section not in keep:
            reduced = reduced.without(section)
    if any(f"{{{s}." in used for s in keep - mine - {"DEFAULT"}):
        reduced = _only_used(reduced, keep - mine, used)
    for entry in document.options("DEFAULT"):
        if not (entry.key in (*LISTS, "topology", "orchestrate", "flex_min", "flex_max", "flex_target")
                or f"{{{entry.key}}}" in used or f"{{DEFAULT.{entry.key}" in used):
            reduced = reduced.unset("DEFAULT", entry.option)
    return parse(str(reduced))[0]


def _only_used(document: Document, foreign: set[str], used: str) -> Document:
    """Of a section that the guest only refers to, the keys it refers to."""
    for section in foreign - {"DEFAULT"}:
        for entry in document.options(section):
            if f"{{{section}.{entry.key}" not in used and not section.startswith("subset#"):
                document = document.unset(section, entry.option)
    return document

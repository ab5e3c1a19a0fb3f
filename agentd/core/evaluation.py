"""The `config eval` document: what is written, as one node reads it, as strings."""

from __future__ import annotations

from typing import Any

from agentd.core.config import Document
from agentd.core.model import Level
from agentd.core.scoping import scope


def evaluate(document: Document, name: str, node: str) -> dict[str, Any]:
    """``{"node", "level", "nodes", "sections": {section: {keyword: value}}}``.

    Only sections of the node's level and keywords written in them, after scoping and
    references; DEFAULT.nodes is the effective list. A value that cannot be resolved is
    given as written: `config validate` says why. A node in no list sees nothing.
    """
    view = scope(document, name, node)
    resolver = view.resolver()
    sections: dict[str, dict[str, str]] = {}
    for section, keywords in view.sections.items():
        sections[section] = {}
        for key, text in keywords.items():
            try:
                sections[section][key] = resolver.resolve(section, text, key)
            except ValueError:
                sections[section][key] = text
    if "DEFAULT" in sections and view.nodes:
        sections["DEFAULT"]["nodes"] = " ".join(view.nodes)
    return {
        "node": view.node,
        "level": view.level.value,
        "nodes": list(view.nodes) if view.level is not Level.NONE else [],
        "sections": sections,
    }

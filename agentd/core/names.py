"""Which names are accepted for services, nodes and resources: they end up in paths."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_RID = re.compile(r"[a-z]+#[A-Za-z0-9_.-]{1,32}")


def is_service_name(text: str) -> bool:
    """Also the rule for node names."""
    return _NAME.fullmatch(text) is not None and ".." not in text


is_node_name = is_service_name


def is_rid(text: str) -> bool:
    """``<group>#<id>``, or the bare group name ``app``."""
    return text == "app" or _RID.fullmatch(text) is not None

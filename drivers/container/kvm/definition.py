"""What may be handed to libvirt as the definition of a guest."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from agentd.core.errors import InvalidRequest

FILE = "domain.xml"
LARGEST = 256 << 10


def check(text: str, name: str) -> None:
    """Raise InvalidRequest unless it defines the guest `name`. Its devices are libvirt's affair."""
    if len(text) > LARGEST:
        raise InvalidRequest(f"the definition of {name} is larger than {LARGEST >> 10} KiB")
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise InvalidRequest(f"the definition of {name} declares a document type or entities")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 no entities: refused above
    except ElementTree.ParseError as error:
        raise InvalidRequest(f"the definition of {name} is not XML: {error}") from error
    found = (root.findtext("name") or "").strip()
    if root.tag != "domain" or found != name:
        raise InvalidRequest(f"the definition is of {root.tag} {found or '(none)'}, not of domain {name}")

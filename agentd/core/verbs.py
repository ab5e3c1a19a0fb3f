"""The verbs of the product: which it has, which come later, and what each one takes."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from agentd.core.errors import InvalidRequest, NotSupported
from agentd.core.plan import Request

GROUPS = ("ip", "disk", "fs", "share", "container", "app")
"""Groups that a verb can be limited to: ``startfs``, ``stopcontainer``."""

ACTING = ("start", "stop", "restart", "shutdown")
TELLING = ("freeze", "thaw", "clear")
EDITING = ("enable", "disable")

LATER = frozenset((
    "migrate", "switch", "takeover", "giveback", "provision", "unprovision", "run", "boot",
    "startstandby", "stopstandby", "syncnodes", "syncdrp", "syncall", "syncupdate", "syncresync",
    "syncrestore", "syncbreak", "syncquiesce", "syncsplit", "syncestablish", "syncfullsync",
    "sync_nodes", "sync_drp", "sync_all", "sync_update", "sync_resync", "sync_restore", "sync_break",
    "sync_quiesce", "sync_split", "sync_establish", "sync_full",
))
"""Verbs that are decided and not made yet."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb as it was read. `name`: start, stop, ...; `group`: "" for the whole service."""

    name: str
    group: str = ""


_VERBS = {
    **{name: Verb(name) for name in (*ACTING, *TELLING, *EDITING, "delete")},
    **{f"{name}{group}": Verb(name, group) for name in ("start", "stop") for group in GROUPS},
}


def shown(text: str) -> str:
    """A caller's word in a sentence: quoted, escaped, and never long."""
    return repr(text if len(text) <= 64 else text[:61] + "...")


def read_verb(action: str) -> Verb:
    """Raises NotSupported for a verb of later work, InvalidRequest for one that is none."""
    verb = _VERBS.get(action)
    if verb is not None:
        return verb
    if action in LATER:
        raise NotSupported(f"{action} is not yet supported", hint="This version cannot do it.")
    near = get_close_matches(action[:64].lower(), _VERBS, 1, 0.6)
    hint = f"Did you mean {near[0]}?" if near else "The actions are " + ", ".join(sorted(_VERBS)) + "."
    raise InvalidRequest(f"{shown(action)} is not an action", hint=hint)


def check(verb: Verb, request: Request) -> None:
    """Refuse options that the verb does not take. Raises InvalidRequest."""
    if verb.name in EDITING and not request.selective:
        raise InvalidRequest(f"{verb.name} needs --rid", hint=f"For example: {verb.name} --rid fs#1")
    if verb.name in (*TELLING, "delete") and request.selective:
        raise InvalidRequest(f"{verb.name} acts on the whole service: it takes no --rid, --tags or --subsets")
    if request.to and verb.name not in ("start", "stop", "shutdown"):
        raise InvalidRequest(f"{verb.name} takes no --to or --downto")


def parse_tags(text: str) -> tuple[tuple[str, ...], ...]:
    """``a,b+c`` -> (("a",), ("b", "c")): a, or both b and c. "" -> (). Raises InvalidRequest."""
    if not text:
        return ()
    alternatives = tuple(tuple(tag.strip() for tag in part.split("+")) for part in text.split(","))
    if any(not tag for alternative in alternatives for tag in alternative):
        raise InvalidRequest(f"--tags {shown(text)}: a tag is missing",
                             hint="a,b+c means: a, or both b and c")
    return alternatives

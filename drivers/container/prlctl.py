"""What prlctl of Virtuozzo says: its list of containers and virtual machines, and of one whether it exists.

Where it differs from vzctl, `drivers.container.openvz` uses it in its place.
"""

from __future__ import annotations

import json
import re

from drivers.base import ContainerState, Result
from drivers.container.tools import Seen, refused, usable

QUERY = ("prlctl", "list", "-a", "-j", "-o", "uuid,status,name,ip_configured")

_WORDS = {
    ContainerState.UP: "running",
    ContainerState.DOWN: "stopped",
    ContainerState.PAUSED: "paused pausing",
    ContainerState.SAVED: "suspended",
    ContainerState.STARTING: "starting restoring resuming continuing resetting",
    ContainerState.STOPPING: "stopping suspending mounted",
    ContainerState.MIGRATING: "migrating",
}
_STATES = {word: state for state, words in _WORDS.items() for word in words.split()}
_STATUS = re.compile(r"(?:VM|CT) \S+ (?:(deleted)|exist (\S+))\s*")


def read(answer: Result) -> dict[str, Seen]:
    """By name and by UUID; one that is compacted, snapshot or invalid is in a state that tells nothing."""
    found: dict[str, Seen] = {}
    try:
        for row in json.loads(answer.out):
            uuid, word, name = (str(row[key]) for key in ("uuid", "status", "name"))
            addresses = usable(str(row.get("ip_configured", "")).split())
            seen = Seen(state_of(word), word, uuid, addresses=addresses)
            found[uuid] = seen
            found.setdefault(name, seen)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise refused("prlctl list", answer) from error
    if answer.code:
        raise refused("prlctl list", answer)
    return found


def state_of(word: str) -> ContainerState:
    return _STATES.get(word, ContainerState.UNKNOWN)


def status(answer: Result) -> Seen:
    """The answer of ``prlctl status NAME``: exit 0 also for one that does not exist."""
    said = _STATUS.fullmatch(answer.out)
    if answer.code or not said:
        raise refused("prlctl status", answer)
    return Seen(ContainerState.ABSENT) if said[1] else Seen(state_of(said[2]), said[2])

"""Services that were deleted here, so that a node that missed it does not bring them back.

Owns the node's flags ``deleted NAME``: the revision at which the service was deleted. A text
with that revision or an older one is not taken; one made after it has a greater number.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agentd.store import Store
from agentd.timers import Clock, stamp

KEPT = 1000
"""The oldest are forgotten when there are more."""
_FLAG = "deleted "


class Tombstones:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._revisions: dict[str, int] = {}

    async def load(self) -> None:
        """Read those that an earlier daemon kept."""
        flags = (await self._store.flags.all()).get("", {})
        found = [(str(value["at"]), key.removeprefix(_FLAG), int(value["revision"]))
                 for key, value in flags.items() if key.startswith(_FLAG)]
        self._revisions = {name: revision for _at, name, revision in sorted(found)}

    def revision(self, name: str) -> int:
        """The revision at which `name` was deleted; 0 when it was not."""
        return self._revisions.get(name, 0)

    def all(self) -> Mapping[str, int]:
        return MappingProxyType(self._revisions)

    async def bury(self, name: str, revision: int) -> None:
        """On disk when the call returns; one of a later delete stays."""
        if revision <= self.revision(name):
            return
        value = {"revision": revision, "at": stamp(self._clock.wall())}
        await self._store.flags.set("", f"{_FLAG}{name}", value, durable=True)
        self._revisions.pop(name, None)
        self._revisions[name] = revision
        while len(self._revisions) > KEPT:
            await self.lift(next(iter(self._revisions)))

    async def lift(self, name: str) -> None:
        """The service was made anew."""
        if self._revisions.pop(name, None) is not None:
            await self._store.flags.clear("", f"{_FLAG}{name}", durable=True)

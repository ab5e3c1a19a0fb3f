"""Which resources are started again by themselves, and how often. Pure.

Only what was proven down is restarted: what is not known is left alone. Only where the
instance is expected up, and not while it is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentd.core.known import IS_DOWN
from agentd.core.model import Resource, Service
from agentd.core.status import Status

STARTED = ("container", "ip", "disk", "fs", "share", "app")
"""Groups whose resources are started at all."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of a resource's tries. `not_before`: monotonic seconds of the next one,
    None while the resource was not seen down."""

    left: int
    of: int
    not_before: float | None = None


def fresh(resource: Resource) -> Budget:
    return Budget(resource.restart, resource.restart)


def watched(service: Service) -> tuple[Resource, ...]:
    """The resources that have tries at all."""
    return tuple(r for r in service.resources if r.restart > 0 and r.group in STARTED
                 and not r.disable and "noaction" not in r.tags)


def look(service: Service, status: Mapping[str, Status], budgets: Mapping[str, Budget],
         now: float) -> tuple[dict[str, Budget], tuple[str, ...]]:
    """The budgets after a look, and the rids to start now.

    A resource that is found down waits for its ``restart_delay`` first. A try counts when it
    is begun, whatever comes of it; one whose number changed in the configuration begins anew.
    """
    after: dict[str, Budget] = {}
    due: list[str] = []
    for resource in watched(service):
        budget = budgets.get(resource.rid) or fresh(resource)
        if budget.of != resource.restart:
            budget = fresh(resource)
        if status.get(resource.rid, Status.UNDEF) not in IS_DOWN:
            after[resource.rid] = Budget(budget.left, budget.of)
        elif budget.left <= 0:
            after[resource.rid] = budget
        elif budget.not_before is None:
            after[resource.rid] = Budget(budget.left, budget.of, now + resource.restart_delay)
        else:
            after[resource.rid] = budget
        waits = after[resource.rid].not_before
        if waits is not None and waits <= now and after[resource.rid].left > 0:
            due.append(resource.rid)
            after[resource.rid] = Budget(budget.left - 1, budget.of)
    return after, tuple(due)

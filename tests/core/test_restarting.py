"""Restarts of resources: when, how often, and when not."""

from __future__ import annotations

import pytest

from agentd.core.model import Level, Resource, Service
from agentd.core.restarting import Budget, look
from agentd.core.status import Status

APP = Resource("app#1", "simple", restart=2, restart_delay=5.0)


def service(*resources: Resource) -> Service:
    return Service("web", "hv1", Level.HOST, ("hv1",), resources=resources)


def test_two_tries_each_after_its_delay_and_then_no_more() -> None:
    budgets: dict[str, Budget] = {}
    tried = []
    for now in range(40):
        budgets, due = look(service(APP), {"app#1": Status.DOWN}, budgets, float(now))
        tried += [now] if due else []
    assert tried == [5, 11]
    assert budgets["app#1"] == Budget(0, 2)


def test_a_resource_that_came_up_again_keeps_what_is_left_of_its_tries() -> None:
    budgets, _ = look(service(APP), {"app#1": Status.DOWN}, {}, 0.0)
    budgets, due = look(service(APP), {"app#1": Status.DOWN}, budgets, 6.0)
    assert due == ("app#1",)
    budgets, due = look(service(APP), {"app#1": Status.UP}, budgets, 7.0)
    assert (budgets["app#1"], due) == (Budget(1, 2), ())
    budgets, due = look(service(APP), {"app#1": Status.DOWN}, budgets, 8.0)
    assert (budgets["app#1"].not_before, due) == (13.0, ())


def test_a_resource_that_came_up_during_its_delay_is_left_alone() -> None:
    budgets, _ = look(service(APP), {"app#1": Status.DOWN}, {}, 0.0)
    budgets, due = look(service(APP), {"app#1": Status.UP}, budgets, 6.0)
    assert (budgets["app#1"], due) == (Budget(2, 2), ())


@pytest.mark.parametrize("status", [Status.UP, Status.UNDEF, Status.WARN, Status.NA, Status.STDBY_UP])
def test_what_is_not_proven_down_is_never_restarted(status: Status) -> None:
    budgets, due = look(service(APP), {"app#1": status}, {}, 0.0)
    assert look(service(APP), {"app#1": status}, budgets, 100.0)[1] == due == ()


def test_what_was_never_probed_is_not_restarted() -> None:
    assert look(service(APP), {}, {"app#1": Budget(2, 2, 0.0)}, 100.0)[1] == ()


@pytest.mark.parametrize("resource", [
    Resource("app#1", "simple"), Resource("app#1", "simple", restart=2, disable=True),
    Resource("app#1", "simple", restart=2, tags=frozenset({"noaction"})),
    Resource("sync#1", "rsync", restart=2), Resource("task#1", "host", restart=2),
], ids=["no tries", "disabled", "noaction", "sync", "task"])
def test_who_is_not_watched_at_all(resource: Resource) -> None:
    assert look(service(resource), {resource.rid: Status.DOWN}, {}, 0.0) == ({}, ())


def test_another_number_in_the_configuration_begins_anew() -> None:
    more = Resource("app#1", "simple", restart=3)
    budgets, due = look(service(more), {"app#1": Status.DOWN}, {"app#1": Budget(0, 2)}, 0.0)
    assert (budgets["app#1"], due) == (Budget(2, 3), ("app#1",))

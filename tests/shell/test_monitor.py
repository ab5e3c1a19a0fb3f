"""What happens by itself, second by second: starts at boot, guests that rebooted, restarts, the end of a freeze."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.chaining import Caller
from agentd.core.errors import ActionFailed, Busy, EncapError, HeldElsewhere, Silent, StorageTrouble
from agentd.core.known import Known
from agentd.core.model import Guest, Level, Resource, Service
from agentd.core.plan import Request
from agentd.core.status import Status
from agentd.monitor import Monitor
from agentd.subscription import GuestReport

GUEST = Guest("container#0", "vm1", (Resource("fs#1", "flag", encap=True),))
CONTAINER = Resource("container#0", "process")


def service(name: str = "web", *, restart: int = 0, restart_delay: float = 0.0, **more: Any) -> Service:
    own = Resource("app#1", "simple", restart=restart, restart_delay=restart_delay)
    return Service(name, "hv1", more.pop("level", Level.HOST), more.pop("nodes", ("hv1", "hv2")),
                   resources=(CONTAINER, own), guests=(GUEST,), **more)


@dataclass
class World:
    """One node whose clock stands still; these are the doors of the monitor. `disk`: what is kept
    over a restart of the daemon; `refusals`: errors of the next actions, and of the next plans."""

    services: list[Service]
    disk: dict[str, dict[str, Any]] = field(default_factory=dict)
    boot: str = "boot 1"
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.held = [SimpleNamespace(name=each.name, service=each) for each in self.services]
        self.acts: list[tuple[str, str, dict[str, Any]]] = []
        self.refusals: list[EncapError | None] = []
        self.plan_refusals: list[EncapError | None] = []
        self.busy: set[str] = set()
        self.seen: dict[str, Status] = {}
        self.report_of_guest: GuestReport | None = None
        self.inside: dict[str, Status] = {}
        self.facts = {name: dict(values) for name, values in self.disk.items()}
        means = SimpleNamespace(clock=self, facts=self.facts, store=SimpleNamespace(flags=self), guests=self,
                                knowledge=self, inspector=self)
        self.monitor = Monitor(self.held, self, self, means, self.boot)  # type: ignore[arg-type]

    async def again(self, boot: str = "") -> World:
        """The daemon is started again; in another boot of the machine, if said."""
        found = World(self.services, self.disk, boot or self.boot, self.now)
        await found.monitor.begin()
        return found

    async def seconds(self, count: int) -> None:
        for _ in range(count):
            self.now += 1
            await self.monitor.look()

    # the doors

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime(2026, 11, 23, 16, tzinfo=UTC) + timedelta(seconds=self.now - 1000)

    async def set(self, service: str, key: str, value: Any) -> None:
        self.disk.setdefault(service, {})[key] = value

    async def clear(self, service: str, key: str = "") -> None:
        self.disk.get(service, {}).pop(key, None)

    def running(self, name: str) -> Any:
        return object() if name in self.busy else None

    async def plan(self, name: str, request: Request) -> None:
        error = self.plan_refusals.pop(0) if self.plan_refusals else None
        if error is not None:
            raise error

    async def act(self, name: str, request: Request, caller: Caller) -> None:
        assert caller.by_itself
        error = self.refusals.pop(0) if self.refusals else None
        options = {key: getattr(request, key) for key in ("nodes", "rids", "slave") if getattr(request, key)}
        self.acts.append((name, request.action, options))
        if error is not None:
            raise error

    def report(self, service: str, container: str) -> GuestReport | None:
        return self.report_of_guest

    def here(self, held: Any) -> Known:
        return Known(states={"container#0": "up"}, guests={"container#0": self.inside})

    def status(self, name: str) -> dict[str, Status]:
        return self.seen

    def tell(self, name: str) -> None: ...

    # what happens

    def guest_tells(self, status: Status, *, frozen: bool = False) -> None:
        self.inside = {"fs#1": status}
        document = {"frozen": {"by": "alice"} if frozen else None}
        self.report_of_guest = GuestReport("answering", document, self.now, received=self.now)

    def starts(self) -> list[str]:
        return [name for name, action, _options in self.acts if action == "start"]


async def world(*services: Service, expected: bool = True) -> World:
    """A node that has been up for long."""
    found = World(list(services) or [service()])
    found.disk[""] = {"boot": "boot 1"}
    for each in found.services:
        found.disk[each.name] = {"expected": expected, "boot vm1": "guest boot 1"}
    return await found.again()


# --- at boot


async def test_the_start_of_the_daemon_starts_nothing() -> None:
    found = await world(service(orchestrate="start"))
    await found.seconds(30)
    assert found.acts == []


async def test_the_first_run_ever_is_no_boot() -> None:
    found = await World([service(orchestrate="start")]).again()
    await found.seconds(3)
    assert found.acts == []


@pytest.mark.parametrize(("which", "begun"), [
    (service(orchestrate="start"), [("web", "start", {})]),
    (service(orchestrate="start", nodes=("hv2", "hv1")), []),
    (service(orchestrate="no"), []),
    (service(orchestrate="start", nodes=("hv2", "hv1"), topology="flex"), [("web", "start", {"nodes": ("hv1",)})]),
    (service(orchestrate="start", level=Level.ENCAP), []),
])
async def test_a_boot_starts_what_is_to_start_here(which: Service, begun: list[Any]) -> None:
    found = await (await world(which, expected=False)).again("boot 2")
    await found.seconds(30)
    assert found.acts == begun


async def test_a_start_at_boot_waits_visibly_and_tries_every_ten_seconds() -> None:
    found = await (await world(service(orchestrate="start"))).again("boot 2")
    error = HeldElsewhere("whether web is up on hv2 is not known", holder="hv2")
    found.plan_refusals = [error, error]
    await found.seconds(1)
    assert "waiting for hv2" in found.monitor.notes(found.held[0])[0].text
    await found.seconds(9)
    assert (found.starts(), len(found.plan_refusals)) == ([], 1)
    await found.seconds(15)
    assert found.starts() == ["web"]
    assert found.monitor.notes(found.held[0]) == ()


async def test_waiting_for_a_silent_node_makes_no_operations() -> None:
    found = await (await world(service(orchestrate="start"))).again("boot 2")
    found.plan_refusals = [HeldElsewhere("hv2 is silent", holder="hv2") for _ in range(1000)]
    await found.seconds(600)
    assert found.acts == []


@pytest.mark.parametrize("error", [
    HeldElsewhere("no claim: hv2 says: no", node="hv2"), Silent("hv2 does not answer"), Busy("web is busy"),
    StorageTrouble("the disk is full"),
])
async def test_what_may_pass_is_tried_again(error: EncapError) -> None:
    found = await (await world(service(orchestrate="start"))).again("boot 2")
    found.refusals = [error]
    await found.seconds(15)
    assert found.starts() == ["web", "web"]


async def test_what_cannot_be_done_is_not_tried_again_and_keeps_nothing_else() -> None:
    found = await (await world(service("a", orchestrate="start"), service("b", orchestrate="start"))).again("boot 2")
    found.refusals = [ActionFailed("no")]
    await found.seconds(30)
    assert found.starts() == ["a", "b"]


async def test_a_user_who_acts_ends_the_wait() -> None:
    found = await (await world(service(orchestrate="start"))).again("boot 2")
    found.plan_refusals = [HeldElsewhere("hv2 is silent", holder="hv2")]
    await found.seconds(2)
    found.monitor.begun("web")
    await found.seconds(30)
    assert found.acts == []
    again = await found.again()
    await again.seconds(30)
    assert again.acts == [], "also when the daemon is started again"


async def test_a_wait_outlives_the_daemon() -> None:
    found = await (await world(service(orchestrate="start"))).again("boot 2")
    found.plan_refusals = [HeldElsewhere("hv2 is silent", holder="hv2")]
    await found.seconds(2)
    again = await found.again()
    await again.seconds(2)
    assert again.starts() == ["web"]
    last = await again.again()
    await last.seconds(30)
    assert last.acts == []


async def test_a_frozen_service_is_not_started_at_boot_before_it_is_thawed() -> None:
    found = await (await world(service(orchestrate="start"))).again("boot 2")
    found.facts["web"]["frozen"] = {"by": "alice", "until": None}
    await found.seconds(30)
    assert found.acts == []
    del found.facts["web"]["frozen"]
    await found.seconds(1)
    assert found.starts() == ["web"]


# --- guests that booted anew


async def test_a_guest_that_booted_anew_is_started_in_again_once_it_told_what_is_down() -> None:
    found = await world()
    await found.monitor.reboots.introduced("vm1", "guest boot 2")
    await found.seconds(5)
    assert found.acts == [], "it has told nothing yet"
    found.guest_tells(Status.DOWN)
    await found.seconds(5)
    assert found.acts == [("web", "start", {"slave": ("vm1",)})]


@pytest.mark.parametrize("what", ["up", "not expected", "first met", "same boot", "frozen", "frozen inside", "busy"])
async def test_a_guest_is_left_alone(what: str) -> None:
    found = await world(expected=what != "not expected")
    if what == "first met":
        del found.facts["web"]["boot vm1"]
    if what == "frozen":
        found.facts["web"]["frozen"] = {"by": "alice", "until": None}
    if what == "busy":
        found.busy.add("web")
    await found.monitor.reboots.introduced("vm1", "guest boot 1" if what == "same boot" else "guest boot 2")
    await found.seconds(1)
    found.guest_tells(Status.UP if what == "up" else Status.DOWN, frozen=what == "frozen inside")
    await found.seconds(30)
    assert found.acts == []


async def test_a_guest_that_was_frozen_is_started_in_again_once_it_is_thawed() -> None:
    found = await world()
    await found.monitor.reboots.introduced("vm1", "guest boot 2")
    await found.seconds(1)
    found.guest_tells(Status.DOWN, frozen=True)
    await found.seconds(5)
    found.guest_tells(Status.DOWN)
    await found.seconds(1)
    assert found.starts() == ["web"]


async def test_a_guests_boot_that_nothing_was_done_about_yet_outlives_the_daemon() -> None:
    found = await world()
    await found.monitor.reboots.introduced("vm1", "guest boot 2")
    await found.seconds(1)
    again = await found.again()
    await again.monitor.reboots.introduced("vm1", "guest boot 2")
    await again.seconds(1)
    again.guest_tells(Status.DOWN)
    await again.seconds(1)
    assert again.starts() == ["web"]
    last = await again.again()
    await last.monitor.reboots.introduced("vm1", "guest boot 2")
    await last.seconds(1)
    last.guest_tells(Status.DOWN)
    await last.seconds(5)
    assert last.acts == []


async def test_a_start_that_met_the_guest_does_what_its_boot_asks_for() -> None:
    found = await world()
    await found.monitor.reboots.met("web", "vm1", "guest boot 2")
    found.guest_tells(Status.DOWN)
    await found.seconds(5)
    await found.monitor.reboots.introduced("vm1", "guest boot 2")
    await found.seconds(5)
    assert found.acts == []


async def test_a_guest_that_was_busy_gets_its_turn() -> None:
    found = await world()
    found.refusals = [Busy("web is busy")]
    await found.monitor.reboots.introduced("vm1", "guest boot 2")
    await found.seconds(1)
    found.guest_tells(Status.DOWN)
    await found.seconds(60)
    assert found.starts() == ["web", "web"]


async def test_a_guest_whose_boots_flap_is_not_started_in_all_the_time() -> None:
    found = await world()
    for number in range(600):
        await found.monitor.reboots.introduced("vm1", f"lie {number}")
        await found.seconds(1)
        found.guest_tells(Status.DOWN)
    assert len(found.acts) <= 21
    assert sum(key.startswith("boot ") for key in found.disk["web"]) == 1


# --- restarts of resources


async def test_a_resource_is_restarted_as_often_as_it_may_and_no_more() -> None:
    found = await world(service(restart=2, restart_delay=5.0))
    found.seen = {"app#1": Status.UP}
    await found.seconds(3)
    found.seen = {"app#1": Status.DOWN}
    await found.seconds(60)
    assert found.acts == [("web", "start", {"rids": ("app#1",)})] * 2
    assert found.monitor.budgets(found.held[0]) == {"app#1": {"left": 0, "of": 2}}
    found.monitor.begun("web")
    await found.seconds(60)
    assert len(found.acts) == 4, "a user gave it all its tries again"


@pytest.mark.parametrize("what", ["not expected", "frozen", "busy", "undef", "up"])
async def test_a_resource_is_not_restarted(what: str) -> None:
    found = await world(service(restart=2), expected=what != "not expected")
    found.seen = {"app#1": {"undef": Status.UNDEF, "up": Status.UP}.get(what, Status.DOWN)}
    if what == "frozen":
        found.facts["web"]["frozen"] = {"by": "alice", "until": None}
    if what == "busy":
        found.busy.add("web")
    await found.seconds(30)
    assert found.acts == []


async def test_a_boot_restarts_no_resource_before_the_service_was_started_again() -> None:
    found = await (await world(service(restart=2))).again("boot 2")
    found.seen = {"app#1": Status.DOWN}
    await found.seconds(30)
    assert found.acts == []
    again = await found.again()
    again.seen = {"app#1": Status.DOWN}
    await again.seconds(30)
    assert again.acts == [], "also when the daemon is started again in that boot"


# --- the end of a freeze, and one service beside another


async def test_a_freeze_with_an_end_is_thawed_then() -> None:
    found = await world()
    found.facts["web"]["frozen"] = {"by": "alice", "until": "2026-11-23T16:00:20.000Z"}
    await found.seconds(19)
    assert found.acts == []
    await found.seconds(1)
    assert [action for _name, action, _options in found.acts] == ["thaw"]


async def test_an_error_of_the_program_about_one_service_keeps_no_other_from_its_turn() -> None:
    found = await (await world(service("a", orchestrate="start"), service("b", orchestrate="start"))).again("boot 2")
    found.plan_refusals = [KeyError("an error of the program"), None]  # type: ignore[list-item]
    await found.seconds(1)
    assert found.starts() == ["b"]

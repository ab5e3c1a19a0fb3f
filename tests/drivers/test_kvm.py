"""What is particular to KVM: the meaning of libvirt's numbers, addresses, definitions, one list for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from agentd.core.errors import ActionFailed, InvalidRequest, NotFound, Silent
from agentd.core.status import Status
from drivers.base import ContainerState, StateUnknown
from drivers.container.kvm.calls import Seen
from drivers.container.kvm.driver import Kvm, local_uri
from drivers.container.kvm.states import state_of

from .memory import MemoryHost, make
from .worlds.kvm import DEFINITION, URI, KvmWorld

T = TypeVar("T")


@pytest.fixture
def world() -> Iterator[KvmWorld]:
    made = KvmWorld()
    yield made
    made.connection.close()


# --- what libvirt's numbers mean


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (None, ContainerState.ABSENT),
        (Seen(1, 1), ContainerState.UP),
        (Seen(1, 10), ContainerState.MIGRATING),
        (Seen(1, 11), ContainerState.STUCK),
        (Seen(2, 0), ContainerState.UP),
        (Seen(3, 1), ContainerState.PAUSED),
        (Seen(3, 2), ContainerState.MIGRATING),
        (Seen(3, 3), ContainerState.STOPPING),
        (Seen(3, 5), ContainerState.PAUSED),
        (Seen(3, 10), ContainerState.CRASHED),
        (Seen(3, 11), ContainerState.STARTING),
        (Seen(3, 13), ContainerState.STUCK),
        (Seen(4, 1), ContainerState.STOPPING),
        (Seen(5, 1), ContainerState.DOWN),
        (Seen(5, 3), ContainerState.DOWN),
        (Seen(5, 4), ContainerState.DOWN),
        (Seen(5, 5, saved=True), ContainerState.SAVED),
        (Seen(5, 0, saved=True), ContainerState.SAVED),
        (Seen(5, 5), ContainerState.DOWN),
        (Seen(6, 1), ContainerState.CRASHED),
        (Seen(7, 0), ContainerState.PAUSED),
    ],
    ids=str,
)
def test_a_state_and_its_reason(seen: Seen | None, state: ContainerState) -> None:
    assert state_of(seen) is state


@pytest.mark.parametrize("number", [0, 8, 42, -1])
def test_a_number_that_is_not_known_is_no_state(number: int) -> None:
    with pytest.raises(StateUnknown, match=f"state {number}, reason 0"):
        state_of(Seen(number, 0))


class Pretended(MemoryHost):
    """A host whose libvirt tells of c1 what the test says."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    async def work(self, call: Callable[[], T], *, key: str, timeout: float = 30, limit: int = 4) -> Any:
        assert key == "libvirt qemu:///system"
        return {"c1": self.seen}


async def test_a_guest_paused_by_its_storage_says_so() -> None:
    found = await make("container#1", "kvm", Pretended(Seen(3, 5)), name="c1").probe()
    assert (found.status, found.state) == (Status.WARN, "paused")
    assert "an error of its storage" in found.log[1].text
    assert found.log[1].text.endswith("virsh -c qemu:///system resume c1")


async def test_a_guest_whose_process_was_killed_is_down_and_says_so() -> None:
    found = await make("container#1", "kvm", Pretended(Seen(5, 3)), name="c1").probe()
    assert (found.status, found.state) == (Status.DOWN, "down")
    assert "crashed, or its process was killed" in found.log[0].text


# --- what it does with the real library


async def test_autostart_is_warned_of_with_the_command_that_mends_it(world: KvmWorld) -> None:
    world.domain.create()
    world.autostart = True
    found = await world.driver().probe()
    assert found.status is Status.UP
    assert found.log[0].text.endswith(f"mend: virsh -c {URI} autostart --disable c1")


GUESTS = "/etc/systemd/system/multi-user.target.wants/libvirt-guests.service"
SCRIPT = "/usr/lib/libvirt/libvirt-guests.sh"


@pytest.mark.parametrize(
    ("files", "says", "where"),
    [
        ({}, "", ""),
        ({"/etc/default/libvirt-guests": "ON_BOOT=start\n"}, "", ""),
        ({GUESTS: ""}, "starts guests at boot", "/etc/default/libvirt-guests"),
        ({GUESTS: "", "/etc/sysconfig": ""}, "saves guests", "/etc/sysconfig/libvirt-guests"),
        ({GUESTS: "", SCRIPT: 'ON_BOOT="ignore"\nON_SHUTDOWN="shutdown"\n'}, "", ""),
        ({GUESTS: "", SCRIPT: 'ON_BOOT="ignore"\nON_SHUTDOWN="shutdown"\n',
          "/etc/default/libvirt-guests": "#ON_BOOT=ignore\nON_BOOT=start\n"},
         "starts guests at boot", "/etc/default/libvirt-guests"),
        ({GUESTS: "", "/etc/default/libvirt-guests": "ON_BOOT=start\nON_BOOT=ignore\nON_SHUTDOWN=shutdown\n"}, "", ""),
    ],
    ids=["not there", "disabled", "upstream", "red hat", "debian", "changed", "mended"],
)  # fmt: skip
async def test_the_service_that_saves_and_starts_guests_is_warned_of(
    world: KvmWorld, files: dict[str, str], says: str, where: str
) -> None:
    world.files |= files
    world.domain.create()
    log = (await world.driver().probe()).log
    assert bool(log) is bool(says)
    if says:
        assert says in log[0].text
        assert log[0].text.endswith(rf"printf 'ON_BOOT=ignore\nON_SHUTDOWN=shutdown\n' >> {where}")


async def test_an_absent_guest_is_not_warned_about(world: KvmWorld) -> None:
    world.files[GUESTS] = ""
    world.domain.undefine()
    assert (await world.driver().probe()).log == ()
    with pytest.raises(NotFound, match="c1 is not defined here") as caught:
        await world.driver().start()
    assert caught.value.hint == f"virsh -c {URI} define FILE"


async def test_without_the_library_the_reason_says_how_to_get_it(world: KvmWorld) -> None:
    world.missing = True
    found = await world.driver().probe()
    assert (found.status, found.state) == (Status.UNDEF, "unknown")
    assert found.log[0].text.endswith("libvirt-python is not installed: pip install 'encap[libvirt]'")


async def test_a_libvirt_that_is_not_there_is_unknown(world: KvmWorld) -> None:
    world.options = {"uri": "qemu+unix:///system?socket=/nonexistent/libvirt-sock"}  # type: ignore[misc]
    found = await world.driver().probe()
    assert (found.status, found.state) == (Status.UNDEF, "unknown")
    assert "/nonexistent/libvirt-sock" in found.log[0].text


async def test_a_start_that_libvirt_refuses_says_why(world: KvmWorld) -> None:
    driver = world.driver()
    await driver.state()
    world.domain.undefine()
    with pytest.raises(NotFound, match="c1"):
        await driver.start_guest()


@pytest.mark.parametrize(("operation", "migrates"), [(5, True), (4, True), (9, False), (0, False)])
async def test_a_guest_that_migrates_is_not_stopped_and_one_with_another_job_is(
    world: KvmWorld, monkeypatch: pytest.MonkeyPatch, operation: int, migrates: bool
) -> None:
    world.put(ContainerState.UP)
    monkeypatch.setattr(world.libvirt.virDomain, "jobStats", lambda *_: {"operation": operation})
    if migrates:
        with pytest.raises(ActionFailed, match="c1 is migrating") as caught:
            await world.driver().stop()
        assert caught.value.hint.endswith(f"virsh -c {URI} domjobabort c1")
    else:
        await world.driver().stop()
    assert world.running() is migrates


async def test_a_request_that_is_ignored_is_repeated(world: KvmWorld) -> None:
    world.put(ContainerState.UP)
    world.ignores_shutdown = True
    driver = make("container#1", "kvm", world, name="c1", stop_timeout=40, uri=URI)
    await driver.stop()
    assert [call for call in world.calls if call.startswith("stop")] == ["stop 1"] * 3 + ["stop by force"]
    assert 41 <= world.clock < 43


async def test_an_agent_that_does_not_answer_is_followed_by_the_power_button(
    world: KvmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(ContainerState.UP)

    def refuse(_domain: object, flags: int) -> int:
        world.calls.append(f"asked {flags}")
        if flags == world.libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT:
            raise world.libvirt.libvirtError("Guest agent is not responding")
        world.domain.shutdown()
        return 0

    monkeypatch.setattr(world.libvirt.virDomain, "shutdownFlags", refuse)
    await make("container#1", "kvm", world, name="c1", qga="true", uri=URI).stop()
    assert [call for call in world.calls if call.startswith("asked")] == ["asked 2", "asked 1"]
    assert not world.running()


async def test_a_forced_stop_that_libvirt_gives_up_on_is_stuck_with_its_reason(
    world: KvmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(ContainerState.UP)
    world.ignores_shutdown = True

    def fail(_domain: object, _flags: int) -> int:
        raise world.libvirt.libvirtError(
            "Failed to terminate process 4711 with SIGKILL: Device or resource busy"
        )

    monkeypatch.setattr(world.libvirt.virDomain, "destroyFlags", fail)
    with pytest.raises(
        ActionFailed, match=r"c1 is stuck: it survived .*Failed to terminate process 4711"
    ) as caught:
        await world.driver().stop()
    assert caught.value.code == "stuck"
    assert (await world.driver().probe()).state == "stuck"


NEIGHBOURS = """[
  {"dst": "fe80::5054:ff:fe77:65", "dev": "br0", "lladdr": "52:54:00:77:00:65", "state": ["STALE"]},
  {"dst": "10.0.0.7", "dev": "br0", "lladdr": "52:54:00:77:00:66", "state": ["REACHABLE"]},
  {"dst": "10.0.0.8", "dev": "br0", "state": ["FAILED"]},
  {"dst": "10.0.0.5", "dev": "br0", "lladdr": "52:54:00:77:00:65", "state": ["REACHABLE"]}]"""


@pytest.mark.parametrize("qga", ["false", "true"])
async def test_without_leases_a_guest_is_the_neighbour_with_its_network_card(
    world: KvmWorld, monkeypatch: pytest.MonkeyPatch, qga: str
) -> None:
    world.domain.create()
    world.neighbours = NEIGHBOURS
    asked: list[int] = []

    def told(_domain: object, source: int, _flags: int) -> dict[str, Any]:
        asked.append(source)
        raise world.libvirt.libvirtError("no leases in a network of this kind")

    monkeypatch.setattr(world.libvirt.virDomain, "interfaceAddresses", told)
    assert await driver_of(world, qga=qga).addresses() == ("10.0.0.5",)
    assert asked == [0], "the agent in the guest is never asked where it is"


async def test_a_guest_that_nobody_has_met_has_no_address(world: KvmWorld) -> None:
    assert await driver_of(world).addresses() == ()


@pytest.mark.parametrize(
    "said", ["", "nonsense", "{}", "null", "[1]", "[{}]", '[{"lladdr": "52:54:00:77:00:65"}]']
)
async def test_neighbours_that_cannot_be_read_are_an_error(world: KvmWorld, said: str) -> None:
    world.neighbours = said
    if said in ("{}", "[{}]"):
        assert await driver_of(world).addresses() == ()
        return
    with pytest.raises(StateUnknown, match="ip neigh"):
        await driver_of(world).addresses()


def driver_of(world: KvmWorld, **options: str) -> Kvm:
    found = make("container#1", "kvm", world, name="c1", uri=URI, **options)
    assert isinstance(found, Kvm)
    return found


async def test_a_definition_goes_out_and_comes_in_again(world: KvmWorld) -> None:
    driver = driver_of(world)
    files = await driver.export()
    world.domain.undefine()
    assert await driver.state() is ContainerState.ABSENT
    await driver.define(files)
    assert await driver.state() is ContainerState.DOWN
    assert await driver.export() == files
    await driver.define(files)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"config": ""}, "has one file, domain.xml, and not config"),
        ({"domain.xml": "<domain"}, "is not XML"),
        ({"domain.xml": DEFINITION.format(name="other")}, "is of domain other, not of domain c1"),
        ({"domain.xml": "<network><name>c1</name></network>"}, "is of network c1"),
        ({"domain.xml": "<domain/>"}, "(none)"),
        ({"domain.xml": "<!DOCTYPE x [<!ENTITY a 'b'>]>" + DEFINITION.format(name="c1")}, "entities"),
        ({"domain.xml": DEFINITION.format(name="c1") + " " * (256 << 10)}, "larger than 256 KiB"),
    ],
)
async def test_what_is_no_definition_of_the_guest_is_refused(
    world: KvmWorld, files: dict[str, str], why: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await driver_of(world).define(files)
    assert why in caught.value.text
    assert not any(call.startswith("work") for call in world.calls)


async def test_what_libvirt_refuses_is_told(world: KvmWorld) -> None:
    with pytest.raises(ActionFailed, match="libvirt test:///default: "):
        await driver_of(world).define({"domain.xml": "<domain type='test'><name>c1</name></domain>"})


# --- where its libvirt is


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:///system",
        "qemu:///session",
        "qemu+unix:///system",
        "qemu+unix:///system?socket=/run/x/virt-sock",
    ],
)
def test_a_libvirt_of_this_machine(uri: str) -> None:
    assert local_uri(f" {uri} ") == uri


@pytest.mark.parametrize(
    "uri",
    ["qemu+ssh://root@hv2/system", "qemu://hv2/system", "qemu+tcp:///system", "qemu+ext:///system?command=/bin/sh",
     "qemu:///embed?root=/tmp", "qemu:///system?command=x", "xen:///system", "test:///etc/passwd", "", "system",
     "qemu+unix:///system?socket=/a&command=/bin/sh", "qemu:///system\nx"],
)  # fmt: skip
def test_any_other_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="is no libvirt of this machine"):
        local_uri(uri)


# --- one list for all


async def test_the_probes_of_two_hundred_guests_are_one_question(world: KvmWorld) -> None:
    world.crowd(200)
    drivers = [make("container#1", "kvm", world, name=f"g{number}", uri=URI) for number in range(200)]
    began = time.monotonic()
    found = await asyncio.gather(*(driver.probe() for driver in drivers))
    taken = time.monotonic() - began
    assert {probe.status for probe in found} == {Status.UP}
    assert world.calls == [f"work libvirt {URI}"]
    assert taken < 2, "far above what it takes (some 30 ms), so that a busy machine does not matter"


async def test_an_answer_is_shared_for_a_moment_and_not_after_a_change(world: KvmWorld) -> None:
    driver = driver_of(world)
    assert await driver.state() is ContainerState.DOWN
    world.domain.create()
    assert await driver.state() is ContainerState.DOWN, "within a moment"
    world.clock += 0.3
    assert await driver.state() is ContainerState.UP
    await driver.pause()
    assert await driver.state() is ContainerState.PAUSED, "at once after a change of our own"


@pytest.mark.parametrize("verb", ["start", "stop"])
async def test_an_action_looks_for_itself(world: KvmWorld, verb: str) -> None:
    driver = driver_of(world)
    assert await driver.state() is ContainerState.DOWN
    world.domain.create()  # by somebody else, in the same moment
    await getattr(driver, verb)()
    assert world.created == 0
    assert world.running() is (verb == "start")


async def test_a_guest_that_is_saved_while_it_is_asked_to_stop_is_down_in_the_end(
    world: KvmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(ContainerState.UP)

    def save(_domain: object, _flags: int) -> int:
        world.domain.managedSave(0)
        return 0

    monkeypatch.setattr(world, "shutdown", lambda _real, it, flags: save(it, flags))
    driver = driver_of(world)
    await driver.stop()
    assert (await driver.probe()).state == "down"
    assert world.clock < 10


async def test_an_error_is_not_kept(world: KvmWorld) -> None:
    driver = driver_of(world)
    world.hanging = True
    with pytest.raises(Silent):
        await driver.state()
    world.hanging, world.clock = False, 0.0
    assert await driver.state() is ContainerState.DOWN

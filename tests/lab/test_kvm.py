"""KVM guests of a real libvirtd: QEMU runs them, and fails as it does in life."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .commands import Result
from .daemon import Daemon
from .hypervisor import Hypervisor
from .image import ROOT
from .kernel import Kernel
from .libvirt import Libvirt
from .machines import opened
from .namespaces import until

URI = "qemu:///system"
ADDRESS = "10.77.0.101"
GUEST = "[DEFAULT]\nnodes = hv1\n[container#0]\ntype = kvm\nname = {name}\nstart_timeout = 60\nstop_timeout = {stop}\n"
OTHER = "[DEFAULT]\nnodes = hv1\n[fs#1]\ntype = flag\n"
DEADLINE = 10.0
"""Seconds after which libvirt counts as silent: `drivers.container.kvm.client.QUERY_SECONDS`."""


class Machine:
    """hv1 with libvirtd and agentd; the services g1, deaf and other. hv2 has a libvirtd only."""

    def __init__(self, hv1: Hypervisor, hv2: Hypervisor, kernel: Kernel) -> None:
        self.hv1, self.libvirt, self.other = hv1, Libvirt(hv1, kernel), Libvirt(hv2, kernel)
        self.libvirt.define("g1", ADDRESS)
        self.libvirt.define("deaf", "10.77.0.102", "deaf")
        settings = 'node = "hv1"\nstatus_interval = 1\n'
        (hv1.root / "etc/encap").mkdir(parents=True)
        (hv1.root / "etc/encap/agentd.toml").write_text(settings)
        self.daemon: Daemon = hv1.daemon().start()
        for name, text in (("g1", GUEST.format(name="g1", stop=30)), ("deaf", GUEST.format(name="deaf", stop=3)),
                           ("other", OTHER)):  # fmt: skip
            file = hv1.disk / f"{name}.conf"
            file.write_text(text)
            hv1.svc("create", name, "--config", str(file), check=True)

    def ok(self, *words: str) -> Result:
        found = self.hv1.svc(*words)
        assert found.returncode == 0, f"{words}: {found.stdout}{found.stderr}{self.daemon.log[-3000:]}"
        return found

    def container(self, name: str = "g1", *words: str) -> dict[str, Any]:
        document = json.loads(self.ok("status", name, "--json", *(words or ("--refresh",))).stdout)
        return next(row for row in document["resources"] if row["rid"] == "container#0")

    def says(self, name: str = "g1") -> str:
        return "\n".join(line["text"] for line in self.container(name)["log"])

    def driver(self, verb: str, hypervisor: Hypervisor | None = None) -> str:
        """What a verb of the driver gives, called by hand in a machine."""
        code = (
            "import asyncio; from pathlib import Path; from agentd.host import LocalHost\n"
            "from drivers.base import Setting; from drivers.container.kvm.driver import Kvm\n"
            "class Resource: options = {'name': 'g1', 'uri': 'qemu:///system', 'qga': False, 'shutdown_mode': '',"
            " 'start_timeout': 60.0, 'stop_timeout': 30.0}\n"
            "async def main():\n"
            "    host = LocalHost(Path('/tmp'))\n"
            "    kvm = Kvm(Resource(), host, Setting('g1', 'hv1', '/tmp', '/tmp'))\n"
            f"    print(await {verb})\n"
            "asyncio.run(main())\n"
        )
        return (hypervisor or self.hv1).run(["python3", "-c", code]).stdout.strip()


def both(result: Result) -> str:
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def machine(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    # No image: nothing here is a container with the product in it.
    with opened(ROOT / "build" / "lab", f"enc{os.getpid()}-kvm", Path("/nonexistent")) as lab:
        yield Machine(lab.hypervisor("hv1"), lab.hypervisor("hv2"), kernel)


@pytest.fixture
def down(machine: Machine) -> Machine:
    """The machine with its guests down, whatever the test before left."""
    for name in ("g1", "deaf"):
        machine.libvirt.virsh("managedsave-remove", name, check=False)
        machine.libvirt.virsh("destroy", name, check=False)
        # An answer is shared for a moment, so it may be of before.
        until(lambda n=name: machine.container(n)["status"] == "down", f"{name} is down", 10)
    return machine


@pytest.fixture
def up(down: Machine) -> Machine:
    down.ok("start", "g1")
    return down


def test_a_guest_is_started_is_reached_and_shuts_down_when_asked(down: Machine) -> None:
    assert "shut off" in down.libvirt.state("g1")
    down.ok("start", "g1")
    assert down.libvirt.state("g1") == "running (booted)"
    assert (down.container()["status"], down.container()["log"]) == ("up", [])
    down.libvirt.wait_for_boot("g1")
    down.hv1.run(["ping", "-c1", "-W2", ADDRESS])
    assert down.driver("kvm.addresses()") == f"('{ADDRESS}',)"
    began = time.monotonic()
    down.ok("stop", "g1")
    assert time.monotonic() - began < 25, "it did not wait for the end of its patience"
    assert down.libvirt.state("g1") == "shut off (shutdown)"
    assert down.container()["status"] == "down"


def test_a_start_of_what_runs_and_a_stop_of_what_is_down_are_nothing(down: Machine) -> None:
    down.ok("stop", "g1")
    down.libvirt.virsh("start", "g1")  # by somebody else
    number = down.libvirt.virsh("domid", "g1").stdout
    down.ok("start", "g1")
    assert down.libvirt.virsh("domid", "g1").stdout == number


def test_a_guest_that_hears_no_request_is_stopped_by_force(down: Machine) -> None:
    down.ok("start", "deaf")
    down.libvirt.wait_for_boot("deaf")
    began = time.monotonic()
    down.ok("stop", "deaf")
    assert time.monotonic() - began >= 3, "it waited for what it had asked for"
    assert down.libvirt.state("deaf") == "shut off (destroyed)"
    assert down.container("deaf")["status"] == "down"


def test_a_paused_guest_is_neither_up_nor_down_and_is_stopped_by_waking_it(up: Machine) -> None:
    up.libvirt.wait_for_boot("g1")
    up.libvirt.virsh("suspend", "g1")
    until(lambda: up.container()["status"] == "warn", "g1 is paused", 10)
    assert up.says() == "g1 is paused"
    assert "g1 is paused" in both(up.hv1.svc("start", "g1"))
    up.ok("stop", "g1")
    assert up.libvirt.state("g1") == "shut off (shutdown)"


def test_a_guest_whose_qemu_was_killed_is_down_and_says_why(up: Machine) -> None:
    up.libvirt.kill_guest("g1")
    until(lambda: up.container()["status"] == "down", "it is seen", 20)
    assert up.libvirt.state("g1") == "shut off (crashed)"
    assert "it crashed, or its process was killed" in up.says()
    up.ok("start", "g1")
    assert up.libvirt.state("g1") == "running (booted)"


def test_a_saved_guest_is_not_woken_up_and_a_stop_throws_its_memory_away(up: Machine) -> None:
    up.libvirt.virsh("managedsave", "g1")
    until(lambda: up.container()["status"] == "warn", "g1 is saved", 10)
    assert up.says() == "g1 is saved"
    assert "g1 is saved" in both(up.hv1.svc("start", "g1"))
    assert up.libvirt.state("g1") == "shut off (saved)", "it is never woken up"
    up.libvirt.virsh("start", "g1")
    assert up.libvirt.state("g1") == "running (restored)"
    until(lambda: up.container()["status"] == "up", "g1 is up", 10)
    up.libvirt.virsh("managedsave", "g1")
    up.ok("stop", "g1")
    assert "Managed save:   no" in up.libvirt.virsh("dominfo", "g1").stdout
    assert up.container()["status"] == "down"


def test_a_guest_that_starts_at_boot_is_warned_of_and_the_command_mends_it(up: Machine) -> None:
    up.libvirt.virsh("autostart", "g1")
    until(lambda: "starts by itself at boot" in up.says(), "the warning", 10)
    assert up.container()["status"] == "up"
    up.hv1.run(up.says().partition("mend: ")[2].split())
    until(lambda: up.says() == "", "no warning", 10)


def test_a_hung_libvirtd_is_unknown_in_time_and_delays_nobody_else(up: Machine) -> None:
    up.ok("start", "other")
    up.libvirt.send("STOP")
    try:
        began = time.monotonic()
        until(lambda: up.container("g1", "--json")["status"] == "undef", "g1 is undef", DEADLINE + 10, every=0.2)
        assert time.monotonic() - began < DEADLINE + 5
        assert f"libvirt {URI}: no answer" in up.container("g1", "--json")["log"][0]["text"]
        for _ in range(5):
            began = time.monotonic()
            assert json.loads(up.ok("status", "other", "--refresh", "--json").stdout)["avail"] == "up"
            assert up.container("g1")["status"] == "undef", "told at once: nothing waits for it again"
            assert time.monotonic() - began < 3
        assert len(list(Path(f"/proc/{up.daemon.pid}/task").iterdir())) < 20
        refused = up.hv1.svc("start", "g1")
        assert refused.returncode != 0, "nothing is done to a guest of which nothing is known"
    finally:
        up.libvirt.send("CONT")
    until(lambda: up.container()["status"] == "up", "it answers again", 20)
    assert up.libvirt.state("g1") == "running (booted)"


def test_a_dead_libvirtd_leaves_the_guest_running_and_unknown(up: Machine) -> None:
    up.libvirt.send("KILL")
    until(lambda: up.container()["status"] == "undef", "g1 is undef", 20)
    assert "Failed to connect socket" in up.says()
    assert up.hv1.svc("start", "g1").returncode != 0
    up.libvirt.wait_for_boot("g1")
    up.hv1.run(["ping", "-c1", "-W2", ADDRESS])
    up.libvirt.start()
    until(lambda: up.container()["status"] == "up", "g1 is up", 20)


def test_a_guest_that_migrates_is_left_alone_on_both_sides(up: Machine) -> None:
    up.libvirt.wait_for_boot("g1")
    there, log = up.other.hypervisor.address, up.hv1.disk / "migrate.log"
    slowly = "--live --p2p --persistent --undefinesource --unsafe --bandwidth 1"
    way = f"{slowly} g1 qemu+tcp://{there}/system --migrateuri tcp://{there}"
    up.hv1.run(["sh", "-c", f"virsh -q -c {URI} migrate {way} > {log} 2>&1 &"])
    arriving = ("domstate", "--reason", "g1")
    until(lambda: "paused (migrating)" in up.other.virsh(*arriving, check=False).stdout, "it comes", 20)
    refused = up.hv1.svc("stop", "g1")
    assert refused.returncode != 0
    assert "g1 is migrating, so it is not stopped" in both(refused)
    assert up.libvirt.state("g1") == "running (booted)"
    assert up.driver("kvm.state()", up.other.hypervisor) == "migrating"
    up.libvirt.virsh("domjobabort", "g1")
    until(lambda: up.other.virsh("domstate", "g1", check=False).returncode != 0, "it is gone over there", 20)
    up.ok("stop", "g1")
    assert up.libvirt.state("g1") == "shut off (shutdown)"


def test_the_guest_outlives_the_agent(up: Machine) -> None:
    number = up.libvirt.virsh("domid", "g1").stdout
    up.daemon.kill()
    up.daemon.start()
    assert up.container()["status"] == "up"
    assert up.libvirt.virsh("domid", "g1").stdout == number


def test_a_definition_goes_out_and_comes_in_again(down: Machine) -> None:
    before = down.libvirt.virsh("dumpxml", "--inactive", "g1").stdout
    files = down.driver("kvm.export()")
    down.libvirt.virsh("undefine", "g1")
    until(lambda: down.libvirt.virsh("dominfo", "g1", check=False).returncode != 0, "g1 is gone")
    until(lambda: "is not defined here" in both(down.hv1.svc("start", "g1")), "a start says why it cannot", 10)
    down.driver(f"kvm.define({files})")
    assert down.libvirt.virsh("dumpxml", "--inactive", "g1").stdout == before

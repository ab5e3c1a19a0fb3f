"""The lab does what the tests on it rely on: separate machines, real boots, real failures."""

from __future__ import annotations

import os
from pathlib import Path

from .machines import Lab
from .namespaces import group_folders, until


def test_machines_have_names_networks_and_processes_of_their_own(lab: Lab) -> None:
    hv1, hv2 = lab.hypervisor("hv1"), lab.hypervisor("hv2")
    assert hv1.run(["hostname"]).stdout == "hv1\n"
    assert hv2.run(["hostname"]).stdout == "hv2\n"
    assert hv1.run(["cat", "/proc/1/cmdline"]).stdout.count("first_process.py") == 1
    hv1.run(["touch", "/run/of-hv1", "/var/lib/lxc/of-hv1"])
    assert hv2.run(["ls", "/run/of-hv1", "/var/lib/lxc/of-hv1"], check=False).returncode == 2
    assert "10.77.0.11/24" in hv1.run(["ip", "addr"]).stdout
    assert hv1.run(["ls", "/sys/class/net"]).stdout.split() == ["br0", "lo", "up0"]
    hv1.run(["ping", "-c1", "-W1", hv2.address])


def test_a_cut_and_healed_network(lab: Lab) -> None:
    hv1, hv2, hv3 = (lab.hypervisor(name) for name in ("hv1", "hv2", "hv3"))

    def hears(machine: str) -> bool:
        return hv1.run(["ping", "-c1", "-W1", machine], check=False).returncode == 0

    assert hears(hv2.address)
    hv2.cut()
    assert not hears(hv2.address)
    assert hv2.run(["hostname"]).stdout == "hv2\n"
    hv2.heal()
    until(lambda: hears(hv2.address), "hv2 heard again")
    lab.network.part("hv1", "hv2")
    assert not hears(hv2.address)
    assert hears(hv3.address)
    lab.network.join()
    until(lambda: hears(hv2.address), "hv2 heard again")


def test_a_guest_boots_with_systemd_and_answers_from_outside(lab: Lab) -> None:
    vm1 = lab.guest("vm1", on="hv1")
    assert vm1.state() == "STOPPED"
    vm1.start()
    assert vm1.state() == "RUNNING"
    assert vm1.run(["cat", "/proc/1/comm"]).stdout == "systemd\n"
    assert vm1.run(["hostname"]).stdout == "vm1\n"
    assert vm1.interfaces()["eth0"][0] == vm1.address
    lab.network.client(["ping", "-c1", "-W1", vm1.address])
    vm1.write("/etc/mark", "of vm1\n")
    assert (vm1.changes / "etc/mark").read_text() == "of vm1\n"
    assert not (lab.image / "etc/mark").exists()
    vm1.stop()
    assert vm1.state() == "STOPPED"


def test_guests_of_one_image_and_one_name_do_not_meet(lab: Lab) -> None:
    one, two = lab.guest("vm1", on="hv1"), lab.guest("vm2", on="hv2")
    one.start()
    two.start()
    one.write("/etc/mark", "one\n")
    assert two.run(["test", "-e", "/etc/mark"], check=False).returncode == 1
    one.run(["ping", "-c1", "-W1", two.address])


def test_a_guest_moves_to_another_hypervisor_with_its_disk(lab: Lab) -> None:
    vm1 = lab.guest("vm1", on=("hv1", "hv2"))
    hv1, hv2 = lab.hypervisor("hv1"), lab.hypervisor("hv2")
    vm1.start(hv1)
    vm1.write("/etc/mark", "kept\n", on=hv1)
    assert vm1.running_on() == ["hv1"]
    vm1.stop(hv1)
    vm1.start(hv2)
    assert vm1.running_on() == ["hv2"]
    assert vm1.run(["cat", "/etc/mark"], on=hv2).stdout == "kept\n"


def test_a_power_failure_leaves_no_process_and_the_disk(lab: Lab) -> None:
    hv1, vm1 = lab.hypervisor("hv1"), lab.guest("vm1", on="hv1")
    vm1.start()
    vm1.write("/etc/mark", "written\n")
    running = hv1.processes()
    assert len(running) > 5
    hv1.power_off()
    assert [pid for pid in running if Path(f"/proc/{pid}").exists()] == []
    hv1.power_on()
    assert vm1.state() == "STOPPED"
    vm1.start()
    assert vm1.run(["cat", "/etc/mark"]).stdout == "written\n"


def test_nothing_is_left_when_a_lab_ends(image: Path, tmp_path: Path) -> None:
    folder = tmp_path / f"enc{os.getpid()}-closing"
    folder.mkdir()
    with Lab(folder, image) as lab:
        hypervisor = lab.hypervisor("hv1")
        group, processes = hypervisor.group, {hypervisor.machine.pid, lab.network.switch.pid}
        assert group_folders(group) != []
    assert group_folders(group) == []
    assert [pid for pid in processes if Path(f"/proc/{pid}").exists()] == []


def test_the_programs_are_installed_in_the_image(lab: Lab) -> None:
    vm1 = lab.guest("vm1", on="hv1")
    vm1.start()
    for package in ("agentd", "api", "cli", "drivers"):
        where = f"import {package}; print({package}.__file__)"
        found = vm1.run(["/opt/encap/bin/python", "-I", "-c", where]).stdout
        assert found == f"/opt/encap/lib/python3.11/site-packages/{package}/__init__.py\n"
    version = "import importlib.metadata as m; print(m.version('encap'))"
    assert vm1.run(["/opt/encap/bin/python", "-I", "-c", version]).stdout == "0.1.0\n"

"""A hypervisor's libvirtd, and virtual machines on it; QEMU emulates them, so that no KVM is needed."""

from __future__ import annotations

import uuid
from pathlib import Path

from .commands import Result
from .hypervisor import Hypervisor
from .kernel import Kernel
from .namespaces import until

FOLDERS = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
PID_FILE = "/run/libvirtd.pid"
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
unix_sock_group = "root"
auth_unix_ro = "none"
auth_unix_rw = "none"
"""
DEFINITION = """\
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>160</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 address={address} {words}</cmdline></os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface type='bridge'><mac address='{mac}'/><source bridge='br0'/><model type='virtio'/>
      <rom enabled='no'/></interface>
    <serial type='file'><source path='{console}'/><target port='0'/></serial>
    <controller type='usb' model='none'/><memballoon model='none'/>
  </devices>
</domain>
"""


class Libvirt:
    """libvirtd in one hypervisor, with its state on that machine's disk."""

    def __init__(self, hypervisor: Hypervisor, kernel: Kernel) -> None:
        self.hypervisor, self.kernel = hypervisor, kernel
        self.disk = hypervisor.disk / "libvirt"
        for place in FOLDERS:
            folder = self.disk / place.replace("/", "-")
            folder.mkdir(parents=True)
            hypervisor.run(["mkdir", "-p", place])
            hypervisor.run(["mount", "--bind", folder, place])
        (self.disk / "-etc-libvirt/qemu.conf").write_text(QEMU_CONF)
        (self.disk / "-etc-libvirt/libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=uuid.uuid4()))
        if Path("/dev/kvm").exists():
            # One that is there and does not work would be tried again and again; a file on a
            # read-only mount is one that libvirt may not use.
            (self.disk / "no-kvm").touch()
            hypervisor.run(["mount", "--bind", self.disk / "no-kvm", "/dev/kvm"])
            hypervisor.run(["mount", "-o", "remount,bind,ro", "/dev/kvm"])
        self.start()

    def start(self) -> None:
        self.hypervisor.run(["libvirtd", "--daemon", "--listen", "--pid-file", PID_FILE])
        until(lambda: self.virsh("version", check=False).returncode == 0, "libvirtd answers", 30)

    def send(self, signal: str) -> None:
        """Signal libvirtd: STOP for one that hangs, CONT, KILL."""
        self.hypervisor.run(["kill", f"-{signal}", self.hypervisor.run(["cat", PID_FILE]).stdout.strip()])

    def virsh(self, *words: str, check: bool = True) -> Result:
        return self.hypervisor.run(["virsh", "-q", "-c", "qemu:///system", *words], check=check)

    def define(self, name: str, address: str, words: str = "") -> None:
        """A guest that answers to pings at `address` and to its power button, not when `words` are deaf."""
        numbers = ":".join(f"{int(part):02x}" for part in address.split("."))
        file = self.disk / f"{name}.xml"
        file.write_text(DEFINITION.format(
            name=name, address=address, words=words, mac=f"52:54:{numbers}", console=self.console(name),
            kernel=self.kernel.kernel, initrd=self.kernel.initrd))  # fmt: skip
        self.virsh("define", str(file))

    def console(self, name: str) -> Path:
        return self.disk / f"{name}.console"

    def wait_for_boot(self, name: str, timeout: float = 60) -> None:
        """Until it says that it is up: only then does anything in it hear the power button."""
        until(lambda: "guest is up" in self.said(name), f"boot of {name}", timeout, every=0.1)

    def said(self, name: str) -> str:
        file = self.console(name)
        return file.read_text(errors="replace") if file.exists() else ""

    def state(self, name: str) -> str:
        """As ``virsh domstate --reason`` says it: ``running (booted)``."""
        return self.virsh("domstate", "--reason", name).stdout.strip()

    def kill_guest(self, name: str) -> None:
        """SIGKILL to its QEMU, behind the back of everybody."""
        pid = self.hypervisor.run(["cat", f"/run/libvirt/qemu/{name}.pid"]).stdout.strip()
        self.hypervisor.run(["kill", "-KILL", pid])

"""The lab as a test uses it: hypervisors and guests by name, and everything gone at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .guest import Guest
from .hypervisor import Hypervisor
from .namespaces import remove_group
from .network import PREFIX, Network

TOOLS = {
    "lxc-start": "lxc", "mmdebstrap": "mmdebstrap", "ip": "iproute2", "nft": "nftables",
    "arping": "iputils-arping", "ping": "iputils-ping", "mke2fs": "e2fsprogs",
    "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux",
}  # fmt: skip
VIRTUAL_TOOLS = {
    "libvirtd": "libvirt-daemon-system", "virsh": "libvirt-clients", "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static", "cpio": "cpio",
}  # fmt: skip
"""What the tests with virtual machines need besides."""


def missing(tools: dict[str, str] = TOOLS) -> str:
    """Why there can be no lab here, "" when there can."""
    if os.geteuid() != 0:
        return "real machines need root"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = sorted({package for tool, package in tools.items() if not shutil.which(tool, path=path)})
    if packages:
        return f"real machines need {' '.join(packages)}: make lab-packages"
    return ""


class Lab:
    """Machines joined by one switch. Use it as a context: at its end nothing is left.

    ``lab.hypervisor("hv1")`` makes hv1 on first use (10.77.0.11; hv2: .12 ...), and
    ``lab.guest("vm1", on="hv1")`` an LXC guest on it (10.77.0.101 ...).
    """

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self.image = image
        self.hypervisors: dict[str, Hypervisor] = {}
        self.guests: dict[str, Guest] = {}
        self.life = contextlib.ExitStack()
        self.network = Network(folder)
        self.life.callback(self.network.close)

    def hypervisor(self, name: str) -> Hypervisor:
        if name not in self.hypervisors:
            address = f"{PREFIX}.{11 + len(self.hypervisors)}"
            group = f"{self.folder.name}-{name}"
            hypervisor = Hypervisor(name, address, self.network, self.folder / name, group)
            self.life.callback(hypervisor.close)
            self.hypervisors[name] = hypervisor
        return self.hypervisors[name]

    def guest(self, name: str, *, on: str | tuple[str, ...] = "hv1", address: str = "") -> Guest:
        """The guest `name`; on first use it is defined (and not started) on each of `on`."""
        if name not in self.guests:
            hosts = tuple(self.hypervisor(each) for each in ((on,) if isinstance(on, str) else on))
            address = address or f"{PREFIX}.{101 + len(self.guests)}"
            self.guests[name] = Guest(name, hosts, address, self.image, self.folder / f"guest-{name}")
        return self.guests[name]

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.life.close()


def sweep(build: Path) -> None:
    """Remove what labs of killed test runs left in ``build`` and in the cgroups."""
    for folder in build.glob("enc*-*"):
        owner = folder.name.removeprefix("enc").partition("-")[0]
        if not Path("/proc", owner).exists() and "KEEP_LAB" not in os.environ:
            for machine in folder.iterdir():
                remove_group(f"{folder.name}-{machine.name}")
            shutil.rmtree(folder)


@contextlib.contextmanager
def opened(build: Path, name: str, image: Path) -> Iterator[Lab]:
    """A lab in ``build/name``; the folder goes too, except when KEEP_LAB is set in the environment."""
    folder = build / name
    folder.mkdir(parents=True)
    try:
        with Lab(folder, image) as lab:
            yield lab
    finally:
        if "KEEP_LAB" not in os.environ:
            shutil.rmtree(folder)

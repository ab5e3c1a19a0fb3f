"""What a virtual machine of the lab boots: Debian's kernel for clouds, and busybox as all there is.

Both are folders under ``build/lab`` named by what they were made from, as in `image`.
"""

from __future__ import annotations

import gzip
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from .commands import CommandFailed, run
from .image import cached, locked

META = "linux-image-cloud-amd64"
"""The package that depends on the newest kernel."""

MODULES = ("virtio_pci", "virtio_net", "evdev", "button")
INIT = """\
#!/bin/busybox sh
# The first process of a guest: an address, and an ear for the power button unless it is deaf.
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
while read module; do $b insmod /modules/$module; done < /modules/order
for word in $($b cat /proc/cmdline); do
    case $word in address=*) address=${word#address=};; deaf) deaf=yes;; esac
done
$b ip link set eth0 up; $b ip addr add $address/24 dev eth0
echo guest is up > /dev/console
for each in /sys/class/input/event*; do
    read name < $each/device/name
    [ "$name" = "Power Button" ] && button=/dev/input/${each##*/}
done
if [ -z "$deaf" ]; then $b dd if=$button of=/dev/null bs=24 count=1; $b poweroff -f; fi
while :; do $b sleep 1000; done
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What QEMU is given to boot."""

    kernel: Path
    initrd: Path


def guest_kernel(build: Path) -> Kernel:
    build.mkdir(parents=True, exist_ok=True)
    with locked(build / "lock"):
        package = newest()
        tree = cached(build, "kernel", [package], lambda folder: unpack(package, folder))

        def make(folder: Path) -> None:
            make_initrd(tree, folder)

        initrd = cached(build, "initrd", [tree.name, INIT, *MODULES], make)
    return Kernel(next((tree / "boot").glob("vmlinuz-*")), initrd / "initrd.gz")


def newest() -> str:
    """The name of the newest kernel's package."""
    found = re.search(r"Depends: (linux-image-\S+)", run(["apt-cache", "depends", META]).stdout)
    if found is None:  # a machine whose lists of packages are not there yet
        run(["apt-get", "update", "-qq"], timeout=300)
        found = re.search(r"Depends: (linux-image-\S+)", run(["apt-cache", "depends", META]).stdout)
    assert found, f"no {META} in the package sources"
    return found[1]


def unpack(package: str, folder: Path) -> None:
    """Fetch it and take its files out; it is not installed."""
    fetch = ["apt-get", "download", "-qq", package]
    try:
        run(fetch, cwd=folder, timeout=300)
    except CommandFailed:  # the lists are older than the sources
        run(["apt-get", "update", "-qq"], timeout=300)
        run(fetch, cwd=folder, timeout=300)
    (archive,) = folder.glob("*.deb")
    run(["dpkg-deb", "-x", archive, folder])
    archive.unlink()


def make_initrd(tree: Path, folder: Path) -> None:
    root = folder / "root"
    for name in ("bin", "dev", "proc", "sys", "modules"):
        (root / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, root / "bin/busybox")
    files = in_order(tree)
    for file in files:
        shutil.copy(file, root / "modules" / file.name)
    (root / "modules/order").write_text("".join(f"{file.name}\n" for file in files))
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    packed = folder / "initrd"
    run(["cpio", "--quiet", "-o", "-H", "newc", "-F", packed], cwd=root, input=f"{names}\n")
    (folder / "initrd.gz").write_bytes(gzip.compress(packed.read_bytes(), 1))
    packed.unlink()
    shutil.rmtree(root)


def in_order(tree: Path) -> list[Path]:
    """The modules' files, each after those that it needs."""
    known = {path.stem.replace("-", "_"): path for path in tree.rglob("*.ko")}
    found: list[Path] = []

    def add(name: str) -> None:
        path = known.get(name.replace("-", "_"))
        if path is None or path in found:  # built in, or there already
            return
        needs = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for each in (needs[1].decode().split(",") if needs else []):
            add(each)
        found.append(path)

    for name in MODULES:
        add(name)
    return found

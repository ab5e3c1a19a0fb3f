"""The guests' root file system: Debian with systemd, and the product installed as it is shipped.

Three layers, each a folder under ``build/lab`` whose name carries a hash of what it was made
from, so that a second run finds them and a changed source remakes only the last:

- ``debian-HASH``: the distribution, by mmdebstrap;
- ``wheels-HASH``: the locked dependencies, fetched on this machine; guests have no way out;
- ``guest-HASH``: Debian, plus ``/opt/encap`` from a wheel of this tree, plus the shipped unit.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .commands import run

ROOT = Path(__file__).parent.parent.parent
SUITE = "bookworm"
PACKAGES = (
    "ca-certificates", "dbus", "e2fsprogs", "iproute2", "iputils-arping", "iputils-ping", "procps", "python3",
    "python3-venv", "systemd", "systemd-sysv", "udev",
)
PYTHON = "3.11"  # that of the suite
RECIPE = "1"  # raised when this module makes something else of the same ingredients
KEPT = 3  # guest images that are left from earlier sources


def guest_image(build: Path = ROOT / "build" / "lab") -> Path:
    """The root file system with the product of this tree in it; minutes at first, then milliseconds."""
    build.mkdir(parents=True, exist_ok=True)
    with locked(build / "lock"):
        debian = cached(build, "debian", [SUITE, *PACKAGES], make_debian)
        lock = ROOT / "requirements.lock"
        wheels = cached(build, "wheels", [PYTHON, platform.machine(), lock.read_bytes()], fetch_wheels)

        def make(folder: Path) -> None:
            make_guest(folder, debian, wheels)

        guest = cached(build, "guest", [debian.name, wheels.name, *product_sources()], make)
        os.utime(guest)
        prune(build)
    return guest


def product_sources() -> Iterator[bytes]:
    """Everything of this tree that ends in a guest: names and contents."""
    trees = ("agentd", "api", "drivers", "cli", "systemd")
    files = [path for tree in trees for path in (ROOT / tree).rglob("*")]
    for path in sorted([*files, ROOT / "pyproject.toml"]):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(ROOT)).encode()
            yield path.read_bytes()


def cached(build: Path, name: str, ingredients: Iterable[str | bytes], make: Callable[[Path], None]) -> Path:
    """``build/name-HASH``, made by `make` in a folder beside it that takes the name only when complete."""
    digest = hashlib.sha256(RECIPE.encode())
    for item in ingredients:
        raw = item if isinstance(item, bytes) else item.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    folder = build / f"{name}-{digest.hexdigest()[:12]}"
    if not folder.exists():
        unfinished = Path(tempfile.mkdtemp(prefix=f"unfinished-{name}-", dir=build))
        try:
            make(unfinished)
            unfinished.chmod(0o755)
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return folder


def make_debian(folder: Path) -> None:
    """A small Debian with systemd; what belongs to one machine only is taken out."""
    run(
        [
            "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            '--dpkgopt=path-exclude=/usr/share/doc/*', '--dpkgopt=path-exclude=/usr/share/man/*',
            '--dpkgopt=path-exclude=/usr/share/locale/*', SUITE, folder, *sources(),
        ],
        timeout=600,
    )  # fmt: skip
    (folder / "etc/hostname").unlink(missing_ok=True)
    (folder / "etc/resolv.conf").unlink(missing_ok=True)
    (folder / "etc/machine-id").write_text("")
    shutil.rmtree(folder / "var/lib/apt/lists")
    shutil.rmtree(folder / "var/cache/apt")


def sources() -> list[Path]:
    """This machine's own package sources, when they are of the same suite; else mmdebstrap's default."""
    release = Path("/etc/os-release").read_text()
    found = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    usable = [path for path in found if path.exists() and path.read_text().strip()]
    return usable[:1] if f"VERSION_CODENAME={SUITE}" in release else []


def fetch_wheels(folder: Path) -> None:
    """The locked dependencies as wheels for the guests' Python, whatever Python runs this."""
    tags = [f"--platform=manylinux_2_{minor}_{platform.machine()}" for minor in (36, 34, 28, 17)]
    foreign = ["--implementation=cp", f"--python-version={PYTHON}", *tags]
    foreign += [f"--platform=manylinux2014_{platform.machine()}"]
    same = f"{sys.version_info.major}.{sys.version_info.minor}" == PYTHON
    run(
        [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps",
            "--require-hashes", "--only-binary=:all:", *([] if same else foreign),
            "-d", folder, "-r", ROOT / "requirements.lock",
        ],
        timeout=600,
    )  # fmt: skip


def make_guest(folder: Path, debian: Path, wheels: Path) -> None:
    """Install the product as its administrator would: an environment in /opt, and the unit enabled."""
    run(["cp", "-a", "--reflink=auto", f"{debian}/.", folder], timeout=300)
    baggage = folder / "tmp" / "install"
    shutil.copytree(wheels, baggage)
    run(
        [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps",
            "--no-build-isolation", "-w", baggage, ROOT,
        ],
        timeout=300,
    )  # fmt: skip
    names = [f"/tmp/install/{path.name}" for path in sorted(baggage.glob("*.whl"))]
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    inside: list[str | Path] = ["chroot", folder, "/usr/bin/env", "-i", path, "LC_ALL=C.UTF-8"]
    run([*inside, "python3", "-m", "venv", "/opt/encap"], timeout=120)
    pip = ["/opt/encap/bin/python", "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    run([*inside, *pip, "install", "--quiet", "--no-index", "--no-deps", *names], timeout=300)
    shutil.rmtree(baggage)
    for program in ("svc", "svcmgr", "agentd"):
        (folder / "usr/bin" / program).symlink_to(f"/opt/encap/bin/{program}")
    for unit in sorted((ROOT / "systemd").glob("*.service")):
        shutil.copy(unit, folder / "etc/systemd/system" / unit.name)
        run([*inside, "systemctl", "enable", "--quiet", unit.name])


def prune(build: Path) -> None:
    """Drop guest images of sources long gone, never one that a running test may use."""
    images = sorted(build.glob("guest-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    newest = images[0].stat().st_mtime
    for image in images[KEPT:]:
        if newest - image.stat().st_mtime > 1800:
            shutil.rmtree(image)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Two test runs at a time make one image, one after the other."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

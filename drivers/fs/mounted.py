"""File systems that are mounted: of a device, in memory, or a folder seen in a second place."""

from __future__ import annotations

import re
from typing import ClassVar

from agentd.core.converters import absolute_path, duration
from agentd.core.errors import ActionFailed, NotFound, Silent
from agentd.core.keywords import Keyword
from agentd.core.status import Probe, Status
from drivers.base import CommandFailed, Driver, warning
from drivers.fs.mountinfo import Mount, mounted_on


def source(text: str) -> str:
    """A device, or a tag of one."""
    if re.fullmatch(r"(UUID|LABEL|PARTUUID|PARTLABEL)=[\w.:-]+", text):
        return text
    return absolute_path(text)


def mount_options(text: str) -> str:
    if re.search(r"\s", text) or text.startswith("-"):
        raise ValueError(f"{text!r} is not a list of mount options with commas between them")
    return text


MNT = Keyword(
    "mnt", "Mount point; made when it is not there.", absolute_path, required=True, example="/srv/data"
)
DEV = Keyword("dev", "Device, or UUID=, LABEL=.", source, required=True, example="/dev/vg/lv")
OPTIONS = Keyword("mnt_opt", "Mount options.", mount_options, "", example="rw,relatime")
STAT_TIMEOUT = Keyword(
    "stat_timeout",
    "How long it may take to answer before it counts as sick.",
    duration,
    5.0,
    inheritable=True,
)


class Mounted(Driver):
    """A file system on a block device, or in an image file."""

    KEYWORDS: ClassVar[tuple[Keyword, ...]] = (MNT, DEV, OPTIONS, STAT_TIMEOUT)
    LABEL = "{dev}@{mnt}"

    @property
    def point(self) -> str:
        return str(self.options["mnt"]).rstrip("/") or "/"

    @property
    def device(self) -> str:
        return str(self.options["dev"])

    async def probe(self) -> Probe:
        mount = await self._mount()
        if mount is None:
            return Probe(Status.DOWN)
        try:
            if not await self.is_ours(mount):
                return warning(f"{mount.source} is mounted on {self.point}, not {self.device}")
            patience = float(self.options["stat_timeout"])
            answer = await self.host.probe("stat", "-f", "-c", "%T", "--", self.point, timeout=patience)
        except Silent:
            return warning(f"{self.point} does not answer within {self.options['stat_timeout']:g} s")
        if answer.code:
            return warning(f"{self.point} cannot be read: {answer.err.strip()[:200]}")
        if mount.read_only and "ro" not in str(self.options["mnt_opt"]).split(","):
            return warning(f"{self.point} is read-only, which was not asked for")
        return Probe(Status.UP)

    async def start(self) -> None:
        if not await self.host.exists(self.point):
            await self.host.make_directory(self.point)
        await self.host.run("mount", *self.mount_words(), timeout=120)

    async def stop(self) -> None:
        if await self._mount() is None:
            return
        try:
            await self.host.run("umount", "--", self.point, timeout=120)
        except CommandFailed as error:
            if await self._mount() is None:
                return
            raise ActionFailed(
                f"cannot unmount {self.point}: {await self._who_holds_it()}",
                hint="stop what uses it, and try again",
            ) from error

    def mount_words(self) -> tuple[str, ...]:
        """The arguments of mount(8)."""
        options = str(self.options["mnt_opt"])
        return (
            "-t",
            self.resource.type,
            *(("-o", options) if options else ()),
            "--",
            self.device,
            self.point,
        )

    async def is_ours(self, mount: Mount) -> bool:
        """Whether what is mounted is what the configuration names."""
        if mount.source == self.device:
            return True
        wanted = await self._real(self.device)
        if mount.source.startswith("/dev/loop"):
            backing = f"/sys/block/{mount.source.removeprefix('/dev/')}/loop/backing_file"
            return (await self.host.read(backing)).strip() == wanted
        return wanted == await self._real(mount.source)

    async def _real(self, device: str) -> str:
        """A device without links; of a tag, the device that carries it."""
        tool = ("readlink", "-m", "--") if device.startswith("/") else ("findfs",)
        return (await self.host.probe(*tool, device, timeout=10)).out.strip() or device

    async def _mount(self) -> Mount | None:
        table = await self.host.read("/proc/self/mountinfo", 16 << 20)
        found = mounted_on(table, self.point)
        if found is None:  # the kernel lists the place without links on the way
            real = (await self.host.probe("readlink", "-m", "--", self.point, timeout=10)).out.strip()
            found = mounted_on(table, real) if real and real != self.point else None
        return found

    async def _who_holds_it(self) -> str:
        try:
            answer = await self.host.probe("fuser", "-M", "-m", self.point, timeout=10)
        except NotFound:
            return "it is busy, and the tool fuser, which would tell who holds it, is missing"
        except Silent:
            return "it is busy, and does not answer"
        holders = []
        for pid in re.findall(r"\d+", answer.out)[:10]:
            try:
                name = (await self.host.read(f"/proc/{pid}/comm")).strip()
            except NotFound:
                continue
            holders.append(f"{pid} ({name})")
        return (
            f"held by {', '.join(holders)}" if holders else "it is busy; maybe something is mounted below it"
        )


class Tmpfs(Mounted):
    """A file system in memory: empty after each start."""

    KEYWORDS = (
        MNT,
        Keyword("dev", "A name for the list of mounts.", str, "tmpfs"),
        OPTIONS,
        STAT_TIMEOUT,
    )

    def mount_words(self) -> tuple[str, ...]:
        options = str(self.options["mnt_opt"])
        return ("-t", "tmpfs", *(("-o", options) if options else ()), "--", "tmpfs", self.point)

    async def is_ours(self, mount: Mount) -> bool:
        return mount.type == "tmpfs"


class Bind(Mounted):
    """A folder seen in a second place (mount --bind)."""

    KEYWORDS = (
        MNT,
        Keyword("dev", "The folder.", absolute_path, required=True, example="/srv/data/www"),
        OPTIONS,
        STAT_TIMEOUT,
    )

    def mount_words(self) -> tuple[str, ...]:
        own = [word for word in str(self.options["mnt_opt"]).split(",") if word not in ("", "bind")]
        return ("-o", ",".join(("bind", *own)), "--", self.device, self.point)

    async def is_ours(self, mount: Mount) -> bool:
        patience = float(self.options["stat_timeout"])
        words = ("stat", "-L", "-c", "%d:%i", "--", self.device, self.point)
        found = (await self.host.probe(*words, timeout=patience)).out.split()
        return len(found) == 2 and found[0] == found[1]

"""The catalogue of resource types: which exist, their keywords, and their drivers.

A table name -> "module:Class" says where each driver is; a module is imported when its
type is first needed. Third parties add types through the entry point group
``encap.drivers`` (name ``group.type``, value ``module:Class``). Types of later versions are
known without a driver, so that their configurations can be checked, planned and shown.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import isclass

from agentd.core.keywords import TypeInfo
from agentd.core.model import GROUPS
from agentd.core.rows import GROUP_ROWS
from drivers.base import Driver

BUILTIN: dict[str, str] = {
    "container.kvm": "drivers.container.kvm.driver:Kvm",
    "container.lxc": "drivers.container.lxc:Lxc",
    "container.process": "drivers.container.process:Process",
    "container.xen": "drivers.container.xen:Xen",
    "container.zone": "drivers.container.zone:Zone",
    "container.jail": "drivers.container.jail:Jail",
    "container.openvz": "drivers.container.openvz:Openvz",
    "container.vbox": "drivers.container.vbox:Vbox",
    "container.ldom": "drivers.container.ldom:Ldom",
    "container.hpvm": "drivers.container.hpvm:Hpvm",
    "container.srp": "drivers.container.srp:Srp",
    "ip.host": "drivers.ip.host:Address",
    **{f"fs.{name}": "drivers.fs.mounted:Mounted" for name in ("ext2", "ext3", "ext4", "xfs", "btrfs")},
    "fs.tmpfs": "drivers.fs.mounted:Tmpfs",
    "fs.bind": "drivers.fs.mounted:Bind",
    "fs.none": "drivers.fs.mounted:Bind",
    "fs.directory": "drivers.fs.directory:Directory",
    "fs.flag": "drivers.fs.flag:Flag",
    "app.forking": "drivers.app.forking:Forking",
    "app.simple": "drivers.app.simple:Simple",
    "app.systemd": "drivers.app.systemd:Systemd",
    **{f"{group}.fake": "drivers.fake:Fake" for group in GROUPS},
    "container.fake": "drivers.fake:FakeContainer",
}

LATER: dict[str, tuple[str, ...]] = {
    "container": ("esx", "ovm", "openstack", "vcloud"),
    "disk": ("vg", "lv", "loop", "md", "zpool", "drbd", "raw", "disk"),
    "fs": ("zfs", "nfs", "vxfs"),
    "ip": ("netns", "route", "cni"),
    "share": ("nfs",),
    "sync": ("rsync", "btrfs", "btrfssnap", "zfs", "zfssnap", "docker"),
    "task": ("host",),
    "hb": ("etcd", "external", "openha", "linuxha", "ovm", "rhcs", "sg", "vcs"),
}

DEFAULTS = {
    "ip": "host",
    "app": "forking",
    "disk": "vg",
    "share": "nfs",
    "sync": "rsync",
    "task": "host",
    "hb": "etcd",
}
SYNONYMS = {"vz": "openvz"}
LABELS = {
    "container": "{name}",
    "ip": "{ipname}@{ipdev}",
    "fs": "{dev}@{mnt}",
    "disk": "{name}",
    "sync": "{src}",
    "share": "{path}",
}
FAKE_LABELS = {"container": "fake {name}", "ip": "fake {ipname}@{ipdev}", "fs": "fake {dev}@{mnt}"}


class Catalogue:
    """Types by group and name; implements `agentd.core.keywords.Types`."""

    def __init__(self, drivers: dict[str, str], later: dict[str, tuple[str, ...]]) -> None:
        self._drivers, self._later = drivers, later
        self._found: dict[tuple[str, str], TypeInfo | None] = {}

    def find(self, group: str, type: str) -> TypeInfo | None:
        key = (group, SYNONYMS.get(type, type))
        if key not in self._found:
            self._found[key] = self._make(*key)
        return self._found[key]

    def names(self, group: str) -> Iterable[str]:
        mine = {name.partition(".")[2] for name in self._drivers if name.startswith(f"{group}.")}
        return sorted(mine | set(self._later.get(group, ())))

    def default(self, group: str) -> str:
        return DEFAULTS.get(group, "")

    def driver(self, group: str, type: str) -> builtins.type[Driver] | None:
        """The driver's class; None when there is none for this type.

        Raises ImportError, AttributeError or TypeError for a third party's that is broken.
        """
        where = self._drivers.get(f"{group}.{SYNONYMS.get(type, type)}")
        if where is None:
            return None
        module, _, name = where.partition(":")
        found = getattr(import_module(module), name)
        if not (isclass(found) and issubclass(found, Driver)):
            raise TypeError(f"{where} is not a Driver")
        driver: builtins.type[Driver] = found
        return driver

    def _make(self, group: str, type: str) -> TypeInfo | None:
        rows = GROUP_ROWS.get(group, {})
        label = LABELS.get(group, "{rid}")
        try:
            driver = self.driver(group, type)
        except Exception as error:  # noqa: BLE001 a stranger's module: whatever it raises, only its type is lost
            return TypeInfo(
                group, type, rows, label, driver=False, help=f"its driver cannot be loaded: {error}"
            )
        if driver is not None:
            own = {row.name: row for row in driver.KEYWORDS}
            if type == "fake":
                label = FAKE_LABELS.get(group, "fake {rid}")
            elif driver.LABEL != Driver.LABEL:
                label = driver.LABEL
            return TypeInfo(group, type, {**rows, **own}, label, help=(driver.__doc__ or "").strip())
        if type in self._later.get(group, ()):
            return TypeInfo(group, type, rows, label, driver=False)
        return None


@cache
def catalogue() -> Catalogue:
    """The built-in types and those that installed packages add."""
    added = {entry.name: entry.value for entry in entry_points(group="encap.drivers")}
    return Catalogue({**added, **BUILTIN}, LATER)

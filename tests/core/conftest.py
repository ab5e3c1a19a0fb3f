"""A small catalogue of types, so that the core is tested without a driver."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from agentd.core import converters as to
from agentd.core.keywords import Keyword, TypeInfo
from agentd.core.rows import table


class SmallCatalogue:
    """Types of each group with a few keywords; container.ovm is known and has no driver."""

    def __init__(self) -> None:
        fs = table(
            Keyword("mnt", "Mount point.", to.absolute_path, required=True, example="/srv/data"),
            Keyword("dev", "Device.", required=True, example="/dev/vg/lv"),
            Keyword("size", "Size.", to.size),
        )
        app = table(
            Keyword("start", "Command.", to.command), Keyword("stop", "Command.", to.command),
            Keyword("check", "Command.", to.command),
            Keyword("timeout", "Time.", to.duration, inheritable=True),
        )
        infos = [
            TypeInfo("container", "lxc", label="{name}"), TypeInfo("container", "kvm", label="{name}"),
            TypeInfo("container", "ovm", label="{name}", driver=False),
            TypeInfo("fs", "ext4", fs, "{dev}@{mnt}"), TypeInfo("fs", "xfs", fs, "{dev}@{mnt}"),
            TypeInfo("fs", "flag"), TypeInfo("ip", "host", label="{ipname}@{ipdev}"),
            TypeInfo("app", "forking", app), TypeInfo("disk", "vg", label="{name}"),
            TypeInfo("sync", "rsync", label="{src}", driver=False), TypeInfo("task", "host"),
            TypeInfo("share", "nfs"), TypeInfo("hb", "external"),
        ]
        self._infos = {(info.group, info.type): info for info in infos}

    def find(self, group: str, type: str) -> TypeInfo | None:
        return self._infos.get((group, type))

    def names(self, group: str) -> Iterable[str]:
        return [type_ for group_, type_ in self._infos if group_ == group]

    def default(self, group: str) -> str:
        return {"ip": "host", "app": "forking", "disk": "vg", "sync": "rsync", "task": "host"}.get(group, "")


@pytest.fixture(scope="session")
def types() -> SmallCatalogue:
    return SmallCatalogue()

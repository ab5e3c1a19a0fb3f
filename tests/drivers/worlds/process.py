"""A process table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import ClassVar

from agentd.core.errors import NotFound, Silent
from drivers.base import ContainerState, Result

from ..memory import SETTING  # noqa: TID252 of the same tests
from .base import World


class ProcessWorld(World):
    """A process table; its guest is process 4711."""

    type = "process"
    states = (
        ContainerState.ABSENT,
        ContainerState.DOWN,
        ContainerState.UP,
        ContainerState.PAUSED,
        ContainerState.CRASHED,
    )
    address = "127.0.0.1:7000"
    ROOT: ClassVar = f"{SETTING.state}/container.1.root"

    def __init__(self) -> None:
        super().__init__()
        self.letter, self.started = "", 0
        self.left = False  # process 4712 of a guest whose agent died
        self.files["/proc/sys/kernel/random/boot_id"] = "5e1f\n"
        self.files[f"{self.ROOT}/etc/encap/agentd.toml"] = 'node = "c1"\n'

    def put(self, state: ContainerState) -> None:
        record = f"{SETTING.run}/container.1.pid"
        if state is ContainerState.ABSENT:
            self.files.clear()
        elif state in (ContainerState.UP, ContainerState.PAUSED):
            self.files[f"{self.ROOT}/run/encap/listen"] = f"{self.address}\n"
            self.letter = "T" if state is ContainerState.PAUSED else "S"
            self.files[record] = "4711 1000 5e1f\n"
        elif state is ContainerState.CRASHED:
            self.letter, self.left = "", True
            self.files[record] = "4711 1000 5e1f\n"
        elif state is ContainerState.DOWN:
            self.letter = ""
            self.files.pop(record, None)

    def running(self) -> bool:
        return bool(self.letter) or self.left

    def starts(self) -> int:
        return self.started

    async def read(self, path: str, limit: int = 1 << 20) -> str:
        if self.hanging:
            self.clock += 30
            raise Silent(f"cannot read {path}: no answer within 30 s")
        if path.endswith(".pid") and self.garbage:
            return "nonsense"
        if path == "/proc/4711/stat":
            if not self.letter or self.missing:  # its agent has died, so that a tool looks for what is left
                raise NotFound(f"{path} does not exist")
            return f"4711 (agentd) ) x) {self.letter}{' 0' * 18} 1000 0 0"
        return await super().read(path, limit)

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        log: str,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        user: str = "",
        umask: int | None = None,
    ) -> int:
        assert shlex.join(argv).endswith(f"run --root {self.ROOT}")
        assert env is not None
        assert env.keys() == {"ENCAP_ROOT", "ENCAP_BOOT"}
        assert env["ENCAP_ROOT"] == self.ROOT
        self.letter, self.started = "S", self.started + 1
        return 4711

    async def kill(self, pid: int, signal: int, *, group: bool = True) -> bool:
        if pid == 4712:
            self.left = False
            return True
        assert pid == 4711
        if signal in (18, 19):
            self.letter = "S" if signal == 18 else "T"
        elif not (self.ignores_shutdown if signal == 15 else self.survives_kill):
            self.letter = ""
        return True

    async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        if argv[0] == "printf":
            return self.inside(argv, stdin)
        assert argv[-1] == self.ROOT
        assert argv[-2].endswith("leftovers.py")
        if self.left:
            return Result(0, "4712")
        return Result(0, "4711" if self.letter and self.survives_kill else "")

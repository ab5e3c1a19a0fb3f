"""A folder in memory."""

from __future__ import annotations

from typing import ClassVar

from drivers.base import ContainerState

from ..memory import SETTING  # noqa: TID252 of the same tests
from .base import World


class FakeWorld(World):
    """A folder in memory."""

    type = "fake"
    states = tuple(state for state in ContainerState if state is not ContainerState.UNKNOWN)
    executes = False
    discards = True
    FOLDER: ClassVar = f"{SETTING.state}/container.1.fake"

    def put(self, state: ContainerState) -> None:
        self.files[f"{self.FOLDER}/state"] = f"{state}\n"

    def running(self) -> bool:
        return self.files.get(f"{self.FOLDER}/state", "down").strip() not in ("down", "absent")

    def starts(self) -> int:
        return int(self.files.get("starts", "0"))

    async def write(self, path: str, text: str, mode: int = 0o600) -> None:
        if path == f"{self.FOLDER}/state" and text == "up\n":
            self.files["starts"] = str(self.starts() + 1)
        await super().write(path, text, mode)

    async def read(self, path: str, limit: int = 1 << 20) -> str:
        if path == f"{self.FOLDER}/orders":
            orders = {
                "ignore shutdown": self.ignores_shutdown,
                "ignore kill": self.survives_kill,
                "garbage": self.garbage,
                "hang probe": self.hanging,
                "missing": self.missing,
            }
            return "\n".join(order for order, given in orders.items() if given)
        state = await super().read(path, limit)
        if state == "starting\n" and self.clock >= 3:
            return "up\n"
        return state

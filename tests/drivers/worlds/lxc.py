"""The lxc-* tools."""

from __future__ import annotations

from typing import ClassVar

from drivers.base import ContainerState, Result

from .base import World


class LxcWorld(World):
    """Answers as the lxc-* tools do."""

    type = "lxc"
    states = (*World.states, ContainerState.STOPPING, ContainerState.STUCK)
    WORDS: ClassVar = {
        "STOPPED": ContainerState.DOWN,
        "RUNNING": ContainerState.UP,
        "FROZEN": ContainerState.PAUSED,
        "STOPPING": ContainerState.STOPPING,
        "ABORTING": ContainerState.STUCK,
    }
    address = "10.77.0.201"
    export = "config"
    autostarts = True

    def __init__(self) -> None:
        super().__init__()
        self.word, self.ready_at = "STOPPED", 0.0
        self.files["/var/lib/lxc/c1/config"] = "lxc.uts.name = c1\n"

    def put(self, state: ContainerState) -> None:
        if state is ContainerState.ABSENT:
            self.files.pop("/var/lib/lxc/c1/config")
        elif state is ContainerState.STARTING:
            self.word, self.ready_at = "RUNNING", self.clock + 3
        else:
            self.word = next(word for word, known in self.WORDS.items() if known is state)

    def running(self) -> bool:
        return self.word != "STOPPED"

    def starts(self) -> int:
        return sum(call.startswith("lxc-start") for call in self.calls)

    async def tool(self, argv: tuple[str, ...], stdin: bytes | None) -> Result:
        assert argv[1:3] == ("-n", "c1")
        tool, arguments = argv[0], argv[3:]
        if tool == "lxc-info" and self.garbage:
            return Result(0, "\x00\xff State? maybe\n")
        if tool == "lxc-info":
            if "/var/lib/lxc/c1/config" not in self.files:
                return Result(1, "", "c1 doesn't exist\n")
            word = "STARTING" if self.running() and self.clock < self.ready_at else self.word
            if arguments == ("-iH",):
                return Result(0, f"127.0.0.1\n{self.address}\n")
            return Result(0, f"State:          {word}\nlxc.start.auto = {int(self.autostart)}\n")
        if tool == "lxc-attach":
            return self.attach(arguments, stdin)
        return self.change(tool, arguments)

    def attach(self, arguments: tuple[str, ...], stdin: bytes | None) -> Result:
        if self.word == "STOPPED":
            return Result(1, "", "lxc-attach: c1: Connection refused - Failed to get init pid\n")
        return self.inside(arguments[arguments.index("--") + 1 :], stdin)

    def change(self, tool: str, arguments: tuple[str, ...]) -> Result:
        if tool == "lxc-start":
            if self.somebody_was_faster:
                self.word = "RUNNING"
                return Result(1, "", "lxc-start: c1: Container is already running\n")
            self.word, self.ready_at = "RUNNING", self.clock + self.starting_takes
        elif tool in ("lxc-freeze", "lxc-unfreeze"):
            self.word = "FROZEN" if tool == "lxc-freeze" else "RUNNING"
        elif tool == "lxc-stop" and arguments[0] == "--nokill":
            if self.ignores_shutdown:
                self.clock += float(arguments[2])
                return Result(1)
            self.word = "STOPPED"
        elif tool == "lxc-stop" and arguments == ("-k",) and not self.survives_kill:
            self.word = "STOPPED"
        return Result(0)

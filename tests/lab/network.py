"""The cables between the machines: one switch in a network namespace of its own.

Addresses are always 10.77.0.0/24; nothing of it can be seen from outside, so any number of
labs run side by side. The switch itself has 10.77.0.254: the client outside of all machines.
"""

from __future__ import annotations

from pathlib import Path

from .commands import Argv, Result
from .namespaces import Namespaces

PREFIX = "10.77.0"
CLIENT = f"{PREFIX}.254"


class Network:
    """A switch; each machine has a port on it under the machine's name."""

    def __init__(self, folder: Path) -> None:
        self.switch = Namespaces(["sleep", "infinity"], ("net",), folder / "switch.log")
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "sw0", "type", "bridge")
        self.ip("addr", "add", f"{CLIENT}/24", "dev", "sw0")
        self.ip("link", "set", "sw0", "up")

    def ip(self, *words: str, check: bool = True) -> Result:
        return self.switch.run(["ip", *words], check=check)

    def client(self, argv: Argv, *, check: bool = True, timeout: float = 10) -> Result:
        """Run `argv` outside of every machine, with an address in their network."""
        return self.switch.run(argv, check=check, timeout=timeout)

    def plug(self, name: str, machine: Namespaces, address: str) -> None:
        """A cable from port `name` to the machine's bridge br0, which gets `address` (/24)."""
        self.ip("link", "del", name, check=False)  # the stump of a cable whose machine lost power
        self.ip("link", "add", name, "type", "veth", "peer", "name", "up0", "netns", str(machine.pid))
        self.ip("link", "set", name, "master", "sw0", "up")
        inside: tuple[tuple[str, ...], ...] = (
            ("link", "set", "lo", "up"),
            ("link", "add", "br0", "type", "bridge"),
            ("link", "set", "up0", "master", "br0", "up"),
            ("addr", "add", f"{address}/24", "dev", "br0"),
            ("link", "set", "br0", "up"),
        )
        for words in inside:
            machine.run(["ip", *words])

    def cut(self, name: str) -> None:
        """Pull the cable of machine `name`: from now on it hears nobody, and goes on running."""
        self.ip("link", "set", name, "down")

    def heal(self, name: str) -> None:
        self.ip("link", "set", name, "up")

    def part(self, one: str, other: str) -> None:
        """`one` and `other` no longer hear each other; everybody else hears both."""
        chain = "add chain bridge lab between { type filter hook forward priority 0; }"
        rules = ["add table bridge lab", chain]
        for source, target in ((one, other), (other, one)):
            rules.append(f'add rule bridge lab between iifname "{source}" oifname "{target}" drop')
        self.switch.run(["nft", "-f", "-"], input="\n".join(rules) + "\n")

    def join(self) -> None:
        """Take back every `part`."""
        self.switch.run(["nft", "delete", "table", "bridge", "lab"], check=False)

    def close(self) -> None:
        self.switch.kill()

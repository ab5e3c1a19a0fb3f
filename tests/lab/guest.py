"""An LXC guest: the image underneath, its own changes above, systemd as its first process."""

from __future__ import annotations

import json
from pathlib import Path

from .commands import Argv, Result
from .hypervisor import Hypervisor
from .namespaces import until

CONFIG = """\
lxc.include = /usr/share/lxc/config/common.conf
lxc.rootfs.path = overlay:{image}:{changes}
lxc.uts.name = {name}
lxc.apparmor.profile = unconfined
lxc.autodev = 1
lxc.net.0.type = veth
lxc.net.0.link = br0
lxc.net.0.flags = up
lxc.net.0.name = eth0
lxc.net.0.hwaddr = {mac}
lxc.net.0.ipv4.address = {address}/24
"""


class Guest:
    """A container defined on one or more hypervisors, as on shared storage: the same disk on each.

    `start` and `stop` drive LXC by hand; the product drives it by the container's `name`. The
    hypervisor on which something happens is the first one unless `on` says otherwise.
    """

    def __init__(
        self, name: str, on: tuple[Hypervisor, ...], address: str, image: Path, folder: Path
    ) -> None:
        self.name = name
        self.on = on
        self.address = address
        self.changes = folder / "changes"
        self.changes.mkdir(parents=True)
        numbers = [int(part) for part in address.split(".")]
        mac = "02:00:" + ":".join(f"{number:02x}" for number in numbers)
        text = CONFIG.format(name=name, image=image, changes=self.changes, mac=mac, address=address)
        for hypervisor in on:
            place = hypervisor.disk / "lxc" / name
            place.mkdir()
            (place / "config").write_text(text)

    def lxc(self, tool: str, *words: str, on: Hypervisor | None = None, check: bool = True) -> Result:
        """``lxc-TOOL -n NAME WORDS`` in a hypervisor."""
        return (on or self.on[0]).run([f"lxc-{tool}", "-n", self.name, *words], check=check)

    def start(self, on: Hypervisor | None = None) -> None:
        """Start and wait until systemd inside says that boot has ended."""
        place = (on or self.on[0]).disk / "lxc" / self.name
        self.lxc("start", "-l", "INFO", "-o", str(place / "lxc.log"), on=on)
        self.wait_for_boot(on)

    def stop(self, on: Hypervisor | None = None, timeout: int = 10) -> None:
        """Ask it to shut down; LXC kills it after `timeout` seconds."""
        self.lxc("stop", "-t", str(timeout), on=on)

    def kill(self, on: Hypervisor | None = None) -> None:
        self.lxc("stop", "-k", on=on)

    def state(self, on: Hypervisor | None = None) -> str:
        """RUNNING, STOPPED, FROZEN ... as LXC on that hypervisor says."""
        return self.lxc("info", "-s", "-H", on=on).stdout.strip()

    def running_on(self) -> list[str]:
        """Names of the hypervisors on which it runs: more than one is the worst that can happen."""
        return [host.name for host in self.on if host.powered and self.state(host) == "RUNNING"]

    def run(self, argv: Argv, *, on: Hypervisor | None = None, check: bool = True, timeout: float = 30,
            input: str | None = None) -> Result:  # fmt: skip
        """Run `argv` in the guest, as root."""
        variables = ["-v", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "-v", "LC_ALL=C.UTF-8"]
        attach = ["lxc-attach", "-n", self.name, "--clear-env", *variables, "--", *argv]
        return (on or self.on[0]).run(attach, check=check, timeout=timeout, input=input)

    def wait_for_boot(self, on: Hypervisor | None = None, timeout: float = 30) -> str:
        """Wait for systemd to end booting and return how it ended: running or degraded."""

        def answer() -> str:
            word = self.run(["systemctl", "is-system-running"], on=on, check=False).stdout.strip()
            return word if word in ("running", "degraded") else ""

        return until(answer, f"boot of {self.name}", timeout, every=0.1)

    def unit(self, name: str = "agentd.service", on: Hypervisor | None = None) -> dict[str, str]:
        """What systemd knows of a unit: ActiveState, SubState, Result, StatusText, MainPID, NRestarts ..."""
        text = self.run(["systemctl", "show", name], on=on).stdout
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def journal(self, unit: str = "agentd.service", on: Hypervisor | None = None) -> str:
        return self.run(["journalctl", "--no-pager", "-o", "cat", "-u", unit], on=on).stdout

    def write(self, path: str, text: str, on: Hypervisor | None = None) -> None:
        """Write a file in the running guest."""
        self.run(["tee", path], on=on, input=text)

    def interfaces(self, on: Hypervisor | None = None) -> dict[str, list[str]]:
        """Name of each interface in the guest -> its addresses."""
        found = json.loads(self.run(["ip", "-j", "addr"], on=on).stdout)
        return {link["ifname"]: [address["local"] for address in link["addr_info"]] for link in found}

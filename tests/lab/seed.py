"""The seed's service on real machines: two hypervisors that joined by the product's own ways, an LXC guest."""

from __future__ import annotations

import json
from typing import Any

from .commands import Result
from .daemon import Daemon
from .guest import Guest
from .hypervisor import Hypervisor
from .machines import Lab
from .namespaces import until

NAME = "deb1"
ADDRESS = "10.77.0.150"
CONFIG = f"""\
[DEFAULT]
nodes = hv1 hv2
encapnodes = vm1
nodes@encapnodes = vm1
topology = failover

[container#0]
type = lxc
name = vm1
start_timeout = 120
stop_timeout = 20
halt_signal = SIGRTMIN+3

[fs#0]
type = flag

[ip#1]
type = host
ipname = {ADDRESS}
ipdev = eth0
netmask = 24
tags = encap

[fs#1]
type = tmpfs
mnt = /srv/data
tags = encap

[app#1]
type = simple
start = /usr/bin/python3 -c "import signal; signal.pause()"
tags = encap

[app]
"""
INTERVALS = {"status_interval": "1", "sync_interval": "3", "guest_silence": "6", "peer_timeout": "2"}


class Seed:
    """hv1, hv2 and vm1 with their daemons; the service is there, and down."""

    def __init__(self, lab: Lab, config: str = CONFIG) -> None:
        self.lab = lab
        self.hv1, self.hv2 = lab.hypervisor("hv1"), lab.hypervisor("hv2")
        self.vm1: Guest = lab.guest("vm1", on=("hv1", "hv2"))
        for hypervisor in (self.hv1, self.hv2):
            hypervisor.settings(**INTERVALS)
        self.hv1.svc("ca", "init", "--cluster", "lab", "--node", "hv1", check=True)
        self.daemon1: Daemon = self.hv1.daemon().start()
        token = self.hv1.svc("node", "token", "hv2", check=True).stdout.strip()
        self.hv2.svc("node", "join", token, "--listen", f"{self.hv2.address}:1216", check=True)
        self.daemon2: Daemon = self.hv2.daemon().start()
        self.create(config)

    def create(self, config: str, name: str = NAME) -> None:
        file = self.hv1.disk / f"{name}.conf"
        file.write_text(config)
        self.ok(self.hv1, "create", name, "--config", str(file))
        until(lambda: self.hv2.svc("status", name).returncode == 0, "hv2 has the service", 20)

    def ok(self, hypervisor: Hypervisor, *words: str) -> str:
        """`svc WORDS`, which has to succeed; what it printed."""
        found = hypervisor.svc(*words)
        log = self.daemon1.log[-3000:] if found.returncode else ""
        assert found.returncode == 0, f"{words}: {found.returncode}\n{found.stdout}{found.stderr}\n{log}"
        return found.stdout

    def status(self, hypervisor: Hypervisor | None = None, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok(hypervisor or self.hv1, "status", NAME, "--json", *words))
        return found

    def inside(self) -> dict[str, Any]:
        """The status document of the agent in the guest."""
        found: dict[str, Any] = json.loads(self.vm1.run(["svc", "status", NAME, "--json"]).stdout)
        return found

    def in_guest(self, *words: str, check: bool = True) -> Result:
        return self.vm1.run(list(words), check=check)

    def idle(self) -> None:
        """Wait for the end of what a hypervisor does with the service, also by itself."""
        for hypervisor in (self.hv1, self.hv2):
            until(lambda hv=hypervisor: self.status(hv)["operation"] is None, "no operation", 60)  # type: ignore[misc]

    def stopped(self) -> Seed:
        """The same with the service down, whatever the test before left."""
        self.vm1.run(["systemctl", "kill", "-s", "CONT", "agentd"], check=False)
        self.idle()
        self.ok(self.hv1, "thaw", NAME)
        self.ok(self.hv1, "stop", NAME)
        return self

    def started(self) -> Seed:
        self.stopped()
        self.ok(self.hv1, "start", NAME)
        return self


def rows(document: dict[str, Any]) -> dict[str, str]:
    """rid -> status; resources of the guest under ``guest rid``."""
    found = {r["rid"]: r["status"] for r in document["resources"]}
    for row in document["resources"]:
        guest = row.get("guest") or {"resources": []}
        found |= {f"{guest['node']} {r['rid']}": r["status"] for r in guest["resources"]}
    return found


def guest_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(r["guest"] for r in document["resources"] if r.get("guest"))
    return found

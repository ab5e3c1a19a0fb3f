"""A guest of a command-line type, end to end: simulated tools of zones, and a real agent in the zone.

What `zlogin` is told runs in the guest's own root, so the certificate goes in through the
driver's exec, quoted for the shell that zlogin would start there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Machine, free_ports, guest_of, machines, rows, until

pytestmark = pytest.mark.socket

TOOLS = '''\
#!{python} -I
"""zoneadm, zonecfg and zlogin over a folder: `state` holds the zone's state, `orders` what goes wrong."""
import os, shlex, signal, subprocess, sys, time
from pathlib import Path

HERE = Path({folder!r})
ROOT = HERE / "zone"
AGENT = [sys.executable, "-I", "-m", "agentd"]
ENVIRONMENT = {{**os.environ, "ENCAP_ROOT": str(ROOT)}}
tool, words = Path(sys.argv[0]).name, sys.argv[1:]
orders = (HERE / "orders").read_text().split()
state = (HERE / "state").read_text()

def become(word):
    (HERE / "state").write_text(word)

def end(number):
    os.kill(int((HERE / "pid").read_text()), number)
    become("installed")

if "garbage" in orders:
    print("zoneadm: ?")
    sys.exit(0)
if words == ["list", "-cp"]:
    print("0:global:running:/::ipkg:shared")
    print(f"-:vm1:{{state}}:/zones/vm1:uuid:ipkg:excl")
elif tool == "zonecfg":
    print("autoboot: false")
elif tool == "zlogin":
    if state != "running":
        print(f"zlogin: login allowed only to running zones (vm1 is '{{state}}').", file=sys.stderr)
        sys.exit(1)
    inside = shlex.split(" ".join(words[1:]))
    if inside[0] == "/sbin/init":
        if "ignore" not in orders:
            end(signal.SIGTERM)
    elif inside[0] == "agentd":
        sys.exit(subprocess.run([*AGENT, *inside[1:], "--root", str(ROOT)], env=ENVIRONMENT).returncode)
    else:
        sys.exit(subprocess.run(inside, env=ENVIRONMENT).returncode)
elif words[2] == "boot":
    with open(HERE / "log", "ab") as log:
        agent = subprocess.Popen([*AGENT, "run", "--root", str(ROOT)], stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, start_new_session=True,
                                 env={{**ENVIRONMENT, "ENCAP_BOOT": str(time.time())}})
    (HERE / "pid").write_text(str(agent.pid))
    with open(HERE / "boots", "a") as boots:
        boots.write("boot ")
    become("running")
else:
    assert words[2] == "halt"
    end(signal.SIGKILL)
'''

CONFIG = """\
[DEFAULT]
nodes = hv1
encapnodes = vm1

[container#0]
type = zone
name = vm1
tools_dir = {tools}
address = 127.0.0.1:{port}
start_timeout = 60
stop_timeout = {patience}

[fs#1]
type = flag
tags = encap
"""


class Zone:
    """The folder of a simulated zone."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        (folder / "zone/etc/encap").mkdir(parents=True)
        settings = f'node = "vm1"\nlisten = ["127.0.0.1:{port}"]\n'
        (folder / "zone/etc/encap/agentd.toml").write_text(settings)
        (folder / "state").write_text("installed")
        self.order("")
        for tool in ("zoneadm", "zonecfg", "zlogin"):
            (folder / tool).write_text(TOOLS.format(python=sys.executable, folder=str(folder)))
            (folder / tool).chmod(0o755)

    def order(self, words: str) -> None:
        (self.folder / "orders").write_text(words)

    @property
    def boots(self) -> int:
        return len((self.folder / "boots").read_text().split())

    @property
    def state(self) -> str:
        return (self.folder / "state").read_text()


@pytest.fixture
def hypervisor() -> Iterator[tuple[Machine, Zone]]:
    with machines("hv1", started=False) as (machine,):
        machine.ok("ca", "init", "--cluster", "test", "--node", "hv1")
        machine.start()
        folder = machine.root / "sim"
        folder.mkdir()
        zone = Zone(folder, *free_ports(1))
        machine.create(CONFIG.format(tools=folder, port=zone.port, patience=1))
        yield machine, zone


def test_a_start_goes_into_the_zone_and_a_stop_back(hypervisor: tuple[Machine, Zone]) -> None:
    machine, zone = hypervisor
    told = machine.ok("start", "web")
    for phase in ("reachable", "agent", "config", "vm1 fs#1"):
        assert phase in told
    document = machine.status()
    assert rows(document)["container#0"] == rows(document)["vm1 fs#1"] == "up"
    assert guest_of(document)["agent"] == "answering"
    machine.ok("stop", "web")
    assert zone.state == "installed"
    assert rows(machine.status())["container#0"] == "down"


def test_a_zone_that_ignores_init_is_halted(hypervisor: tuple[Machine, Zone]) -> None:
    machine, zone = hypervisor
    machine.ok("start", "web")
    zone.order("ignore")
    machine.ok("stop", "web")
    assert zone.state == "installed"
    assert rows(machine.status())["container#0"] == "down"


def test_garbage_of_a_tool_is_not_down_and_nothing_is_started(hypervisor: tuple[Machine, Zone]) -> None:
    machine, zone = hypervisor
    machine.ok("start", "web")
    zone.order("garbage")
    until(lambda: rows(machine.status())["container#0"] == "undef", "the state is not known")
    assert machine.svc("start", "web").returncode != 0
    zone.order("")
    until(lambda: rows(machine.status())["container#0"] == "up", "the tool answers again")
    assert zone.boots == 1

"""How long the status of a service with fifty containers and their guests takes inside the daemon.

A whole daemon in this process, its containers of type fake and up; what the guests told is
put into memory, as their streams would. Timed: the status document alone, and with its JSON,
in milliseconds. No peer: the limit is absolute. For comparison: the whole request over the
Unix socket, as `svc status NAME` makes it, is in cli_status.py.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _measuring import Figure, folder, median, quick, show

from agentd.daemon import Daemon
from agentd.settings import load

RESOURCES = 4
"""Resources in each guest."""


def service(guests: int) -> str:
    names = " ".join(f"vm{n}" for n in range(guests))
    containers = "".join(f"[container#{n}]\ntype = fake\nname = vm{n}\nmachine = {{env.root}}/m{n}\n"
                         for n in range(guests))
    inside = "".join(f"[fs#{n}]\ntype = flag\ntags = encap\n" for n in range(RESOURCES))
    return (f"[DEFAULT]\nnodes = hv1\nencapnodes = {names}\ntopology = flex\ntopology@encapnodes = flex\n"
            f"nodes@encapnodes = {names}\n[env]\nroot = ROOT\n{containers}{inside}")


def told(number: int) -> dict[str, Any]:
    """What the guest says of itself."""
    row = {"group": "fs", "type": "flag", "label": "flag", "status": "up", "monitor": False, "disable": False,
           "optional": False, "encap": False, "standby": False, "last_status": None, "provisioned": "n/a",
           "restart": {"left": 0, "of": 0}, "log": [], "age": 0.1, "observed_at": "2026-01-01T00:00:00.000Z",
           "source": "probe", "stale": False}
    return {"schema": "encap.status/1", "service": "web", "node": f"vm{number}", "level": "encap",
            "revision": 1, "hash": "sha256:0", "topology": "flex", "orchestrate": "no", "frozen": None,
            "operation": None, "provisioned": "n/a", "avail": "up", "overall": "up", "optional": "n/a",
            "groups": {}, "observed_at": "2026-01-01T00:00:00.000Z", "log": [],
            "resources": [{**row, "rid": f"fs#{n}"} for n in range(RESOURCES)]}


async def measure(root: Path, guests: int, rounds: int) -> list[Figure]:
    (root / "etc/encap/services").mkdir(parents=True)
    (root / "etc/encap/agentd.toml").write_text('node = "hv1"\nlisten = ["127.0.0.1:0"]\n')
    (root / "etc/encap/services/web.conf").write_text(service(guests).replace("ROOT", str(root)))
    for number in range(guests):
        (root / f"m{number}").mkdir()
        (root / f"m{number}/state").write_text("up\n")
    for each in ("var/lib/encap", "run/encap"):
        (root / each).mkdir(parents=True)
    async with AsyncExitStack() as stack:
        node = (await Daemon.open(load(root), stack)).node
        parts = node._parts  # what the streams of guests fill has no other door
        await parts.inspector.refresh("web")
        parts.guests.look()
        for number in range(guests):
            parts.subscriptions.heard(f"vm{number}")
            parts.subscriptions.take_in(f"vm{number}", "web", told(number))
        document = node.status("web")
        assert document is not None
        assert (document["avail"], len(document["resources"])) == ("up", guests + 1), document["avail"]
        assert all(len(r["guest"]["resources"]) == RESOURCES for r in document["resources"] if r.get("guest"))
        alone, whole = [], []
        for _ in range(rounds):
            began = time.perf_counter()
            document = node.status("web")
            made = time.perf_counter()
            json.dumps(document)
            alone.append(made - began)
            whole.append(time.perf_counter() - began)
            await asyncio.sleep(0)
    return [Figure(f"status of {guests} guests, from memory", 1000 * median(alone), 5, "ms"),
            Figure("the same with its JSON", 1000 * median(whole), None, "ms")]


def main() -> None:
    guests, rounds = (3, 3) if quick(__doc__) else (50, 200)
    with folder() as root:
        show(asyncio.run(measure(root, guests, rounds)))


if __name__ == "__main__":
    main()

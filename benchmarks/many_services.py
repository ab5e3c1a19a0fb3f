"""How a daemon with 500 services of 10 resources starts, and what it takes then.

Resources are of the types flag and fake. READY is what systemd is told; *served* is the
first answer that holds all services, asked for from READY on, and the first snapshot on
disk (its probes may be pending). Seconds from the start of the process; memory is the
proportional set size in MiB, once the first round of probes has ended. No peer.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _measuring import Daemon, Figure, folder, median, private_memory, quick, show, until

RESOURCES = 10


def service() -> str:
    rows = (f"[fs#{n}]\ntype = {'flag' if n % 2 else 'fake'}\n" for n in range(RESOURCES))
    return "[DEFAULT]\nnodes = hv1\n" + "".join(rows)


def all_probed(served: Daemon, services: int) -> bool:
    try:
        documents = json.loads((served.root / "run/encap/status.json").read_text())["services"]
    except FileNotFoundError:
        return False
    rows = [row for document in documents for row in document["resources"]]
    return len(documents) == services and all(row["status"] != "undef" for row in rows)


def run(served: Daemon, services: int) -> tuple[float, float, float, float]:
    """Seconds to READY, to the first whole answer, to the first round of probes; MiB after it."""
    (served.root / "run/encap/status.json").unlink(missing_ok=True)
    began = time.perf_counter()
    served.start()
    try:
        listed = served.get("/v1/services")["services"]
        answered = time.perf_counter() - began
        assert len(listed) == services
        until(lambda: all_probed(served, services), "every resource is probed")
        return served.ready_after, answered, time.perf_counter() - began, private_memory(served.pid)
    finally:
        served.stop()


def main() -> None:
    rounds, services = (1, 5) if quick(__doc__) else (5, 500)
    with folder() as root:
        served = Daemon(root / "hv1")
        for number in range(services):
            served.write(f"s{number:03}", service())
        first, *_ = run(served, services)  # it numbers every text, which happens once
        found = [run(served, services) for _ in range(rounds)]
    ready, answered, probed, memory = (median([one[place] for one in found]) for place in range(4))
    show([
        Figure(f"READY with {services} services", ready, 2, "s"),
        Figure("the list of them answered", answered, 2, "s"),
        Figure("the first round of probes ended, snapshot on disk", probed, None, "s"),
        Figure("PSS after it", memory, 150, "MiB"),
        Figure("READY at the very first start, where every text is new", first, None, "s"),
    ])


if __name__ == "__main__":
    main()

"""How long the chained start of ten trivial applications in a guest takes that is up already.

The guest is of type process; each application is a `forking` one that makes, removes and
looks for a file, so that a step is three processes. Timed: the whole process `svc start`, in
seconds, and what the chain adds: the time of the operation less the sum of the guest's steps,
both from the operation's own events, in milliseconds. No peer: the limits are absolute.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _measuring import Daemon, Figure, daemon, median, process_time, quick, show, until

APPS = 10


def service(folder: Path) -> str:
    apps = "".join(
        f"[app#{n}]\ntype = forking\nstart = /usr/bin/touch {folder}/{n}\nstop = /bin/rm -f {folder}/{n}\n"
        f"check = /usr/bin/test -e {folder}/{n}\ntags = encap\n" for n in range(APPS))
    return ("[DEFAULT]\nnodes = hv1\nencapnodes = vm1\n[container#0]\ntype = process\nname = vm1\n"
            f"start_timeout = 60\n{apps}")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def parts(served: Daemon) -> tuple[float, float]:
    """Seconds of the newest operation, and of the guest's steps in it."""
    operation = served.operation()
    events = served.events(f"/v1/operations/{operation['id']}/events")
    begun: dict[str, float] = {}
    steps = 0.0
    for event in events:
        if event["where"] != "vm1" or not event["what"].startswith("app#"):
            continue
        if event["kind"] == "started":
            begun[event["what"]] = moment(event["at"])
        elif event["kind"] in ("done", "skipped"):
            steps += moment(event["at"]) - begun.pop(event["what"])
    return moment(operation["ended_at"]) - moment(operation["created_at"]), steps


def main() -> None:
    rounds = 2 if quick(__doc__) else 15
    whole, operations, chains = [], [], []
    with daemon(cluster=True) as served:
        marks = served.root / "marks"
        marks.mkdir()
        served.write("web", service(marks))
        until(lambda: served.get("/v1/services")["services"], "the service is known")
        served.svc("start", "web")
        for _ in range(rounds):
            served.svc("stop", "web", "--slaves")
            whole.append(process_time(served.command("start", "web"), dict(os.environ)))
            assert len(list(marks.iterdir())) == APPS
            operation, steps = parts(served)
            operations.append(operation)
            chains.append(operation - steps)
        served.svc("stop", "web")
    show([
        Figure(f"svc start, {APPS} applications in a guest", median(whole), 0.5, "s"),
        Figure("of it the chain, beside the guest's steps", 1000 * median(chains), 300, "ms"),
        Figure("the operation, without the command line", median(operations), None, "s"),
    ])


if __name__ == "__main__":
    main()

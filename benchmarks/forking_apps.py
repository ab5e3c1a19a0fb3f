"""How long the start of fifty trivial `app.forking` resources of one service takes.

Each one's start, stop and check are a command that comes back at once (touch, rm, test), so
that a start is many processes: besides the one that acts, the checks before and after it.
Timed is the operation, in seconds, from its own times: one after the other, and in a subset
with ``parallel = true``. For comparison: the same fifty starts by subprocess.run alone, one
after the other, without any check.
"""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _measuring import Daemon, Figure, daemon, interleaved, quick, show, until


def service(folder: Path, apps: int, *, parallel: bool) -> str:
    subset = "[subset#app:all]\nparallel = true\n" if parallel else ""
    member = "subset = all\n" if parallel else ""
    return "[DEFAULT]\nnodes = hv1\n" + subset + "".join(
        f"[app#{n}]\ntype = forking\nstart = /usr/bin/touch {folder}/{n}\nstop = /bin/rm -f {folder}/{n}\n"
        f"check = /usr/bin/test -e {folder}/{n}\n{member}" for n in range(apps))


def started(served: Daemon, name: str, marks: Path, apps: int) -> float:
    served.svc("start", name)
    assert len(list(marks.iterdir())) == apps
    operation = served.operation()
    taken = datetime.fromisoformat(operation["ended_at"]) - datetime.fromisoformat(operation["created_at"])
    served.svc("stop", name)
    assert not list(marks.iterdir())
    return taken.total_seconds()


def bare(marks: Path, apps: int) -> float:
    began = time.perf_counter()
    for n in range(apps):
        subprocess.run(["/usr/bin/touch", f"{marks}/{n}"], check=True, capture_output=True)
    taken = time.perf_counter() - began
    for each in marks.iterdir():
        each.unlink()
    return taken


def main() -> None:
    rounds, apps = (1, 5) if quick(__doc__) else (9, 50)
    with daemon() as served:
        marks = served.root / "marks"
        marks.mkdir()
        served.write("serial", service(marks, apps, parallel=False))
        served.write("parallel", service(marks, apps, parallel=True))
        until(lambda: len(served.get("/v1/services")["services"]) == 2, "the services are known")
        serial, parallel, alone = interleaved(
            rounds, lambda: started(served, "serial", marks, apps),
            lambda: started(served, "parallel", marks, apps), lambda: bare(marks, apps))
    show([
        Figure(f"start of {apps} app.forking, one after the other", serial, 1.5, "s"),
        Figure(f"start of {apps} app.forking, in a parallel subset", parallel, 0.6, "s"),
        Figure(f"{apps} times touch by subprocess.run, no checks", alone, None, "s"),
    ])


if __name__ == "__main__":
    main()

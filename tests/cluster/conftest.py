"""A whole daemon in a folder of its own, as a process, and `svc` against it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class Machine:
    """One node: `agentd run --root` and the command line that talks to it."""

    def __init__(self, root: Path, node: str) -> None:
        self.root, self.process = root, None
        (root / "etc/encap").mkdir(parents=True)
        (root / "etc/encap/agentd.toml").write_text(f'node = "{node}"\nstatus_interval = 1\n')
        self.environment = {**os.environ, "ENCAP_ROOT": str(root)}

    process: subprocess.Popen[bytes] | None

    def start(self) -> None:
        with (self.root / "log").open("ab") as log:
            command = [sys.executable, "-m", "agentd", "run", "--root", str(self.root)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        until = time.monotonic() + 20
        while self.svc("daemon", "status").returncode != 0:
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError((self.root / "log").read_text())
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def svc(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main())", *words]
        return subprocess.run(command, input=text, env=self.environment, capture_output=True, text=True,
                              timeout=60)

    def file(self, name: str, text: str) -> str:
        path = self.root / name
        path.write_text(text)
        return str(path)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="enc") as folder:
        found = Machine(Path(folder), "hv1")
        found.start()
        yield found
        if found.process is not None and found.process.poll() is None:
            found.svc("stop", "web")
            found.end()

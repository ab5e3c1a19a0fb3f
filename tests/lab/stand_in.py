#!/usr/bin/python3
"""Started as ``agentd run --root DIR``: says what a daemon says to systemd, and nothing more."""

import os
import signal
import socket
import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(sys.argv[sys.argv.index("--root") + 1])
    if (root / "fail").exists():
        sys.exit("told to fail")
    print("up on", os.uname().nodename, flush=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"STATUS=ready\nREADY=1", os.environ["NOTIFY_SOCKET"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pause()

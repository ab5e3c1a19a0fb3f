"""Telling systemd how the daemon is: sd_notify without a library, and a watchdog that is honest."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger("encap.notify")


class Notify:
    """Messages to the service manager; silently nothing where there is none.

    `environment`: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read from it.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        values = os.environ if environment is None else environment
        address = values.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._environment = values

    def send(self, **fields: str) -> bool:
        """One datagram of ``NAME=value`` lines; whether it was delivered."""
        if not self._address:
            return False
        lines = (f"{name}={value.replace(chr(10), ' ')}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError as error:
            log.warning("systemd was not told %s: %s", ", ".join(fields), error)
            return False
        return True

    def ready(self, status: str = "") -> bool:
        return self.send(READY="1", STATUS=status)

    def reloading(self) -> bool:
        """Before a reload; `ready` ends it. The time is what Type=notify-reload compares with."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self.send(RELOADING="1", MONOTONIC_USEC=str(now))

    def stopping(self, status: str = "") -> bool:
        return self.send(STOPPING="1", STATUS=status)

    def status(self, text: str) -> bool:
        return self.send(STATUS=text)

    @property
    def watchdog_interval(self) -> float:
        """Seconds between two pings that systemd expects of this process; 0 for none."""
        try:
            microseconds = int(self._environment.get("WATCHDOG_USEC", "0"))
            pid = int(self._environment.get("WATCHDOG_PID", "") or os.getpid())
        except ValueError:
            return 0.0
        return microseconds / 1e6 if microseconds > 0 and pid == os.getpid() else 0.0


class Watchdog:
    """Pings while the daemon is healthy. It runs on the very loop that it vouches for, so a
    loop that hangs does not ping; `interval` is the time after which systemd gives up."""

    def __init__(self, notify: Notify, interval: float) -> None:
        self._notify, self._interval = notify, interval

    async def run(self, healthy: Callable[[], bool]) -> None:
        """Until cancelled. Returns at once when no watchdog is wanted."""
        while self._interval > 0:
            if healthy():
                self._notify.send(WATCHDOG="1")
            else:
                log.error("not healthy: the watchdog is not pinged")
            await asyncio.sleep(self._interval / 3)

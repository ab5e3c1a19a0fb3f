"""Sockets that listen: TCP by address, and the Unix socket by its directory.

A Unix socket's path is at most 108 bytes, and a root folder may be longer: it is bound
and reached through an open descriptor of its directory.
"""

from __future__ import annotations

import fcntl
import grp
import logging
import os
import socket
from pathlib import Path

from agentd.core.errors import ActionFailed, Refused
from agentd.settings import Address, show_address

BACKLOG = 512
log = logging.getLogger("encap.server")


def listen_tcp(address: Address) -> list[socket.socket]:
    """One listening socket for each family that the host name stands for."""
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP,
                                   flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ActionFailed(f"cannot listen on {show_address(address)}: {error}",
                           code="cannot-listen") from error
    sockets: list[socket.socket] = []
    for family, kind, protocol, _name, where in dict.fromkeys(found):
        made = socket.socket(family, kind, protocol)
        sockets.append(made)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted connections inherit it; without it every small answer waits 40 ms.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setblocking(False)
            made.bind(where)
            made.listen(BACKLOG)
        except OSError as error:
            for each in sockets:
                each.close()
            raise ActionFailed(f"cannot listen on {show_address(address)}: {error.strerror}",
                               code="cannot-listen", hint="`listen` in the settings says where") from error
    return sockets


class LocalSocket:
    """The Unix socket of the API and the lock on its directory: one daemon a root."""

    def __init__(self, path: Path, group: str) -> None:
        self._name = path.name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock(path)
            self.socket = self._bind(path, group)
        except BaseException:
            os.close(self._directory)
            raise

    def close(self) -> None:
        """Also gives the lock back. The socket itself is closed by the server that took it."""
        self.socket.close()
        try:
            os.unlink(self._name, dir_fd=self._directory)
        except FileNotFoundError:
            pass
        os.close(self._directory)

    def _lock(self, path: Path) -> None:
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"another agentd runs here: it holds {path.parent}", code="already-running",
                          hint="systemctl status agentd") from error

    def _bind(self, path: Path, group: str) -> socket.socket:
        try:
            os.unlink(self._name, dir_fd=self._directory)  # a killed daemon left it: we hold the lock
        except FileNotFoundError:
            pass
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            made.setblocking(False)
            made.bind(f"/proc/self/fd/{self._directory}/{self._name}")
            self._open_to(group)
            made.listen(BACKLOG)
        except OSError as error:
            made.close()
            raise ActionFailed(f"cannot listen on {path}: {error.strerror}", code="cannot-listen") from error
        finally:
            os.umask(old)
        return made

    def _open_to(self, group: str) -> None:
        """Root's socket is open to a group; anybody else's is their own."""
        if os.geteuid() != 0:
            return
        try:
            number = grp.getgrnam(group).gr_gid
        except KeyError:
            log.info("there is no group %s: only root can use the local API", group)
            return
        os.chown(self._name, 0, number, dir_fd=self._directory)
        os.chmod(self._name, 0o660, dir_fd=self._directory)

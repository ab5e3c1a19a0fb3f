"""The way to a daemon on another machine: TLS 1.3 with a user's certificate.

Loaded only for `--server`: ssl alone costs more than a whole local command.
"""

from __future__ import annotations

import os
import socket
import ssl

from cli.exits import REFUSED, UNREACHABLE, USAGE, Trouble
from cli.transport import CONNECT_TIMEOUT, Daemon

PORT = 1216
DEFAULT_DIRECTORY = "~/.config/encap"
ROLES = ("hypervisor", "guest")


def remote(url: str, directory: str = "") -> Daemon:
    """The daemon at `url` (``https://host[:port]`` or ``host[:port]``).

    `directory` holds user.crt, user.key and ca.crt.
    """
    host, port = parse(url)
    context = _context(os.path.expanduser(directory or DEFAULT_DIRECTORY))
    return Daemon(lambda: _connect(host, port, context), f"{host}:{port}")


def parse(url: str) -> tuple[str, int]:
    """Host and port of an endpoint."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit("https://"), None
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.username:
        raise Trouble(
            f"{url!r} is not an endpoint",
            USAGE,
            hint="For example: --server https://hv1:1216",
            code="invalid-request",
        )
    return parts.hostname, PORT if port is None else port


def _context(directory: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # A daemon is known by its URI, not by the name under which it was reached.
    context.check_hostname = False
    try:
        context.load_verify_locations(os.path.join(directory, "ca.crt"))
        context.load_cert_chain(os.path.join(directory, "user.crt"), os.path.join(directory, "user.key"))
    except OSError as error:  # ssl.SSLError is one
        raise Trouble(
            f"no usable certificate in {directory}: {error.strerror or error}",
            USAGE,
            code="invalid-request",
            hint="It needs user.crt, user.key and ca.crt: svc ca user NAME --out DIR makes them.",
        ) from None
    return context


def _connect(host: str, port: int, context: ssl.SSLContext) -> socket.socket:
    try:
        plain = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT)
    except OSError as error:
        raise Trouble(
            f"{host}:{port} is not reachable: {error.strerror or error}",
            UNREACHABLE,
            code="unreachable",
            hint="Is agentd running there, and listening on that address?",
        ) from None
    try:
        connection = context.wrap_socket(plain)
    except (ssl.SSLError, OSError) as error:
        plain.close()
        raise Trouble(
            f"{host}:{port} is not trusted, or does not trust us: {error}",
            REFUSED,
            code="forbidden",
            hint="Does the certificate belong to this cluster?",
        ) from None
    try:
        check(connection.getpeercert() or {}, f"{host}:{port}")
    except Trouble:
        connection.close()
        raise
    return connection


def check(certificate: object, where: str) -> None:
    """The server has to be a daemon of the cluster, not any holder of a certificate of it."""
    names = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
    uris = [value for kind, value in names if kind == "URI"]
    parts = uris[0].split("/") if len(uris) == 1 else []
    if len(parts) == 5 and parts[0] == "encap:" and parts[3] in ROLES and parts[4]:
        return
    raise Trouble(
        f"what answers at {where} is not a daemon of this cluster",
        REFUSED,
        code="forbidden",
        hint="Its certificate names neither a hypervisor nor a guest.",
    )

"""The settings of this node, ``etc/encap/agentd.toml``, and where everything lies under the root.

Strict: an unknown key or a bad value is an error with a line and a suggestion, and all
errors are told at once. Every value knows where it came from.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agentd.core.errors import InvalidConfig, StorageTrouble
from agentd.identity import is_name

PORT, JOIN_PORT = 1216, 1217
USER_ROLES = ("viewer", "operator", "editor", "admin")
"""From the least to the most; each may do what those before it may."""
SIZE_LIMIT = 256 << 10
"""Bytes of the settings file."""
MEMBERS_LIMIT = 8 << 20
"""Bytes of the list of members, which is longer than any settings."""

Address = tuple[str, int]
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Paths:
    """Every path of the product; nothing else joins file names to the root."""

    def __init__(self, root: Path) -> None:
        self.root = Path.cwd() / root
        etc, lib, run = self.root / "etc/encap", self.root / "var/lib/encap", self.root / "run/encap"
        self.settings_file = etc / "agentd.toml"
        self.services_dir = etc / "services"
        self.cluster_file = etc / "cluster.toml"
        self.state_dir = lib
        self.pki_dir = lib / "pki"
        self.ca_certificate = self.pki_dir / "ca.crt"
        self.ca_key = self.pki_dir / "ca.key"
        self.certificate = self.pki_dir / "node.crt"
        self.key = self.pki_dir / "node.key"
        self.tokens_file = lib / "tokens.json"
        self.database = lib / "encap.db"
        self.run_dir = run
        self.socket = run / "agentd.sock"
        self.status_snapshot = run / "status.json"
        self.listen_file = run / "listen"

    def service_file(self, name: str) -> Path:
        return self.services_dir / f"{name}.conf"

    def service_state(self, name: str) -> Path:
        return self.state_dir / "services" / name

    def service_run(self, name: str) -> Path:
        return self.run_dir / "services" / name

    @property
    def enrolled(self) -> bool:
        """Whether this node has a certificate, so that others can talk to it."""
        return self.certificate.exists() and self.key.exists() and self.ca_certificate.exists()

    def __repr__(self) -> str:
        return f"Paths({str(self.root)!r})"


@lru_cache(maxsize=8)
def _paths(root: Path) -> Paths:
    """Asked for several times a second, and always the same."""
    return Paths(root)


@dataclass(frozen=True, slots=True)
class User:
    """What a user certificate may do here; `services`: shell patterns of service names."""

    role: str
    services: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force. `origins`: key -> where its value came from. Times are in seconds."""

    root: Path
    node: str
    cluster: str = ""
    listen: tuple[Address, ...] = (("127.0.0.1", PORT),)
    join_listen: tuple[Address, ...] = ()
    socket_group: str = "encap"
    users: Mapping[str, User] = field(default_factory=lambda: NOTHING)
    status_interval: float = 10.0
    sync_interval: float = 60.0
    guest_silence: float = 15.0
    peer_timeout: float = 3.0
    ca: str = "online"
    workers: int = 8
    origins: Mapping[str, str] = field(default_factory=lambda: NOTHING, compare=False, repr=False)

    @property
    def paths(self) -> Paths:
        return _paths(self.root)

    def explain(self) -> list[tuple[str, Any, str]]:
        """(key, value as it would be written, where it came from), in the order of this class."""
        return [(f.name, _written(f.name, getattr(self, f.name)), self.origins.get(f.name, "default"))
                for f in fields(self) if f.name != "origins"]

    def restart_needed(self, new: Settings) -> tuple[str, ...]:
        """Keys that differ in `new` and are only read when the daemon starts."""
        return tuple(key for key in ("node", "cluster", "socket_group", "workers")
                     if getattr(self, key) != getattr(new, key))

    def after_joining(self, fresh: Settings) -> Settings:
        """These settings with the cluster and the addresses of `fresh`, when this node had no cluster.

        A guest gets both from its hypervisor while its daemon runs, and nothing was served to
        anybody else before: this needs no restart. Everything else stays as it is.
        """
        if self.cluster or not fresh.cluster:
            return self
        taken = {key: getattr(fresh, key) for key in ("cluster", "listen", "join_listen")}
        origins = {key: where for key, where in self.origins.items() if key not in taken}
        origins |= {key: where for key, where in fresh.origins.items() if key in taken}
        return replace(self, origins=MappingProxyType(origins), **taken)


def load(root: Path) -> Settings:
    """The settings under `root`; InvalidConfig with every problem of the file."""
    paths = Paths(root)
    text = _read(paths.settings_file)
    given = _parse(paths.settings_file, text)
    problems: list[dict[str, Any]] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, raw in given.items():
        line = _line_of(text, key)
        try:
            values[key] = _reader(key)(raw)
            origins[key] = f"{paths.settings_file}:{line}" if line else str(paths.settings_file)
        except ValueError as error:
            words, hint = (*map(str, error.args), "")[:2]
            problems.append({"section": "", "option": key, "line": line, "text": words, "hint": hint})
    _own_names(paths, values, origins, problems)
    if problems:
        first = problems[0]
        where = f"{paths.settings_file}:{first['line']}" if first["line"] else str(paths.settings_file)
        raise InvalidConfig(f"{where}: {first['option']}: {first['text']}", problems, hint=first["hint"])
    listen = values.get("listen", Settings.__dataclass_fields__["listen"].default)
    values.setdefault("join_listen", tuple((host, JOIN_PORT) for host, _port in listen))
    origins.setdefault("root", "the command line")
    return Settings(root=paths.root, origins=MappingProxyType(origins), **values)


def _own_names(paths: Paths, values: dict[str, Any], origins: dict[str, str],
               problems: list[dict[str, Any]]) -> None:
    """The node's name falls back to the host's, the cluster's to the one in cluster.toml."""
    if "node" not in values and not any(p["option"] == "node" for p in problems):
        values["node"], origins["node"] = socket.gethostname().lower(), "the host name"
        if not is_name(values["node"]):
            problems.append({"section": "", "option": "node", "line": 0,
                             "text": f"the host name {values['node']!r} cannot be a node name",
                             "hint": f"write node = \"...\" into {paths.settings_file}"})
    name = _parse(paths.cluster_file, _read(paths.cluster_file, MEMBERS_LIMIT)).get("name", "")
    if not name:
        return
    if values.setdefault("cluster", name) != name:
        problems.append({"section": "", "option": "cluster", "line": 0, "hint": "remove the setting",
                         "text": f"this node is a member of cluster {name}, not {values['cluster']}"})
    origins.setdefault("cluster", str(paths.cluster_file))


def _read(path: Path, limit: int = SIZE_LIMIT) -> str:
    try:
        if not path.exists():
            return ""
        if not path.is_file():  # opening a FIFO would wait for ever
            raise InvalidConfig(f"{path} is not a regular file", ())
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise StorageTrouble(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > limit:
        raise InvalidConfig(f"{path}: more than {limit >> 10} KiB", ())
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[:error.start].count(b"\n") + 1
        raise InvalidConfig(f"{path}:{line}: not UTF-8", ()) from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else 0
        finding = {"section": "", "option": "", "line": line, "text": str(error), "hint": ""}
        hint = 'the file is TOML: key = "value"'
        raise InvalidConfig(f"{path}:{line}: {error}", [finding], hint=hint) from error


def _line_of(text: str, key: str) -> int:
    """The line that gives a top-level key or opens its table; 0 when it cannot be found."""
    wanted = re.compile(rf'\s*(?:\[\s*)?["\']?{re.escape(key)}["\']?\s*[\].=]')
    return next((n for n, line in enumerate(text.splitlines(), 1) if wanted.match(line)), 0)


def parse_address(text: Any, port: int = PORT) -> Address:
    """``host``, ``host:port``, ``[v6]:port`` or a bare v6 address; ValueError otherwise."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not an address", "write \"10.0.0.1:1216\"")
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?|([A-Za-z0-9._-]+)(?::(\d{1,5}))?", text)
    if match is None and text.count(":") > 1:
        match = re.fullmatch(r"([0-9A-Fa-f:.]+)(\d{0})", text)
    if match is None:
        raise ValueError(f"{text!r} is not an address", "write \"10.0.0.1:1216\" or \"[fd00::1]:1216\"")
    groups = [part for part in match.groups() if part]
    number = int(groups[1]) if len(groups) > 1 else port
    if number > 65535:
        raise ValueError(f"{text!r}: a port is at most 65535")
    if ":" in groups[0]:
        ipaddress.IPv6Address(groups[0])
    return groups[0], number


def show_address(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _addresses(port: int) -> Callable[[Any], tuple[Address, ...]]:
    def read(raw: Any) -> tuple[Address, ...]:
        if not isinstance(raw, list):
            raise ValueError("must be a list of addresses", 'as in ["127.0.0.1:1216"]')
        return tuple(dict.fromkeys(parse_address(item, port) for item in raw))

    return read


def _name(raw: Any) -> str:
    if not isinstance(raw, str) or not is_name(raw.lower()):
        raise ValueError(f"{raw!r} is not a name",
                         "lower-case letters, digits, dot, dash, underscore; at most 63; not an address")
    return raw.lower()


def _group(raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", raw):
        raise ValueError(f"{raw!r} is not the name of a group")
    return raw


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def read(raw: Any) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
            raise ValueError(f"{raw!r} is not a number of seconds")
        if not least <= raw <= most:
            raise ValueError(f"{raw:g} s is outside {least:g} to {most:g} s")
        return float(raw)

    return read


def _workers(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not 1 <= raw <= 64:
        raise ValueError(f"{raw!r} is not a number of threads from 1 to 64")
    return raw


def _ca(raw: Any) -> str:
    if raw not in ("online", "offline"):
        raise ValueError(f"{raw!r} is neither \"online\" nor \"offline\"")
    return str(raw)


def _users(raw: Any) -> Mapping[str, User]:
    if not isinstance(raw, dict):
        raise ValueError("must be a table", '[users] and lines like alice = "operator"')
    return MappingProxyType({_name(name): _user(name, given) for name, given in raw.items()})


def _user(name: str, given: Any) -> User:
    table = {"role": given} if isinstance(given, str) else given
    if not isinstance(table, dict) or not table.keys() <= {"role", "services"}:
        raise ValueError(f"{name}: expected a role, or {{role = ..., services = \"web*\"}}")
    role, services = table.get("role"), table.get("services", "*")
    if role not in USER_ROLES:
        near = difflib.get_close_matches(str(role), USER_ROLES, 1)
        raise ValueError(f"{name}: {role!r} is not a role", f"did you mean {near[0]}?" if near
                         else f"one of {', '.join(USER_ROLES)}")
    patterns = services.split() if isinstance(services, str) else services
    if not isinstance(patterns, list) or not patterns or not all(isinstance(p, str) and p for p in patterns):
        raise ValueError(f"{name}: services must be patterns of service names", 'as in "web* db1"')
    return User(role, tuple(patterns))


_READERS: dict[str, Callable[[Any], Any]] = {
    "node": _name, "cluster": _name, "listen": _addresses(PORT), "join_listen": _addresses(JOIN_PORT),
    "socket_group": _group, "users": _users, "status_interval": _seconds(0.1, 3600),
    "sync_interval": _seconds(1, 86400), "guest_silence": _seconds(1, 3600),
    "peer_timeout": _seconds(0.1, 60), "ca": _ca, "workers": _workers,
}


def _reader(key: str) -> Callable[[Any], Any]:
    if key not in _READERS:
        near = difflib.get_close_matches(key, _READERS, 1)
        raise ValueError("unknown setting", f"did you mean {near[0]}?" if near
                         else f"known: {', '.join(_READERS)}")
    return _READERS[key]


def _written(key: str, value: Any) -> Any:
    if key in ("listen", "join_listen"):
        return [show_address(address) for address in value]
    if key == "users":
        return {name: {"role": u.role, "services": " ".join(u.services)} for name, u in value.items()}
    return str(value) if isinstance(value, Path) else value

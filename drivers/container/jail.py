"""FreeBSD jails through jls, jail and jexec (FreeBSD 11 and later: jls speaks JSON)."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping

from agentd.core.converters import absolute_path
from agentd.core.errors import NotFound
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine
from drivers.base import ContainerState, Result
from drivers.container.tools import Listed, Seen, refused, usable

_STATES = {"ACTIVE": ContainerState.UP, "DYING": ContainerState.STOPPING}


def addresses_of(text: str) -> tuple[str, ...]:
    found = tuple(text.replace(",", " ").split())
    for word in found:
        ipaddress.ip_address(word)
    return found


class Jail(Listed):
    """A jail of FreeBSD, made by its own configuration or, with jailroot, by these keywords."""

    KEYWORDS = (
        *Listed.KEYWORDS,
        Keyword(
            "cf",
            "Configuration of the jail; /etc/jail.conf.d/NAME.conf, or /etc/jail.conf, when absent.",
            absolute_path,
            "",
            example="/usr/local/etc/jails/vm1.conf",
        ),
        Keyword(
            "jailroot",
            "Its root, for a jail without a configuration.",
            absolute_path,
            "",
            example="/jails/vm1",
        ),
        Keyword(
            "ips", "IPv4 addresses of a jail without a configuration.", addresses_of, (), example="192.0.2.7"
        ),
        Keyword("ip6s", "The same for IPv6.", addresses_of, (), example="2001:db8::7"),
    )
    QUERY = ("jls", "-d", "--libxo", "json", "-v")
    DIES_WITHIN = 90.0
    """A jail without a process stays `dying` until its connections are forgotten."""

    @classmethod
    def read(cls, answer: Result) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        try:
            for jail in json.loads(answer.out)["jail-information"]["jail"]:
                name, word = str(jail["name"]), str(jail["state"])
                if found.get(name, Seen(ContainerState.STOPPING)).state is ContainerState.UP:
                    continue  # the same name once more, of a jail that is dying
                given = [str(ip) for ip in (*jail.get("ipv4_addrs", ()), *jail.get("ipv6_addrs", ()))]
                found[name] = Seen(_STATES.get(word, ContainerState.UNKNOWN), word, addresses=usable(given))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise refused("jls", answer) from error
        if answer.code:
            raise refused("jls", answer)
        return found

    async def unlisted(self, listed: Mapping[str, Seen]) -> Seen:
        return Seen(ContainerState.DOWN if await self._defined() else ContainerState.ABSENT)

    async def _defined(self) -> bool:
        if self.options["jailroot"]:
            return await self.host.exists(self.options["jailroot"])
        if await self.host.exists(self._config):
            return True
        if self.options["cf"] or not await self.host.exists("/etc/jail.conf"):
            return False
        block = rf"^\s*\"?{re.escape(self.name)}\"?\s*\{{"
        return bool(re.search(block, await self.host.read("/etc/jail.conf"), re.MULTILINE))

    async def start_guest(self) -> None:
        if not await self._defined():
            raise NotFound(
                f"{self.name} is not defined here: neither {self._config} nor /etc/jail.conf tells of it",
                hint="copy its configuration here, or say where it is: cf, jailroot",
            )
        await self.change("jail", *await self._told("-c"), timeout=float(self.options["start_timeout"]))

    async def shutdown_guest(self, seconds: float) -> None:
        if self.options["jailroot"]:  # without a configuration nothing else would end its services
            await self.change("jexec", self.name, "/bin/sh", "/etc/rc.shutdown", "jail", timeout=seconds)
            await self.change("jail", "-r", self.name, timeout=seconds)
        else:
            await self.change("jail", *await self._told("-r"), timeout=seconds)

    async def kill_guest(self) -> None:
        await self.change("jail", "-R", self.name)

    async def notes(self) -> tuple[LogLine, ...]:
        if self.options["cf"] or self.options["jailroot"]:
            return ()  # of these the boot scripts know nothing
        answer = await self.look("sysrc", "-e", "jail_enable", "jail_list")
        found = dict(re.findall(r"^(\w+)[=:] ?\"?([^\"\n]*)", answer.out, re.MULTILINE))
        if answer.code or "jail_enable" not in found:
            raise refused("sysrc", answer)
        listed = found.get("jail_list", "").split()
        enabled = found["jail_enable"].upper() in ("YES", "TRUE", "ON", "1")
        if not enabled or (listed and self.name not in listed):
            return ()
        return (self.autostart(f"sysrc jail_list-={self.name}" if listed[1:] else "sysrc jail_enable=NO"),)

    async def execute(self, *argv: str, stdin: bytes | None = None, timeout: float = 30) -> Result:
        result = await self.host.probe(
            self.tool(self.options, "jexec"), "-l", self.name, *argv, stdin=stdin, timeout=timeout
        )
        if result.code and f'jail "{self.name}" not found' in result.err:
            raise self.not_running()
        return result

    async def addresses(self) -> tuple[str, ...]:
        await self.state()
        return self.seen.addresses

    async def export(self) -> Mapping[str, str]:
        return {"jail.conf": await self.host.read(self._config)}

    async def define(self, files: Mapping[str, str]) -> None:
        await self.host.write(self._config, self.only(files, "jail.conf"), 0o644)

    async def _told(self, verb: str) -> tuple[str, ...]:
        """The words that make jail(8) do it to this jail."""
        if self.options["jailroot"]:
            host = self.options.get("hostname") or self.name
            words = [f"name={self.name}", f"path={self.options['jailroot']}", f"host.hostname={host}"]
            for version, key in ((4, "ips"), (6, "ip6s")):
                if self.options[key]:
                    words.append(f"ip{version}.addr={','.join(self.options[key])}")
            return (verb, *words, "persist", "command=/bin/sh", "/etc/rc")
        own = await self.host.exists(self._config)
        return (*(("-f", self._config) if own else ()), verb, self.name)

    @property
    def _config(self) -> str:
        return str(self.options["cf"] or f"/etc/jail.conf.d/{self.name}.conf")

"""jls, jail, jexec and sysrc of FreeBSD: the JSON is that of the source of jls."""

from __future__ import annotations

import json

from drivers.base import Result

from .base import S, ToolWorld

CONFIG = "/etc/jail.conf.d/c1.conf"


class JailWorld(ToolWorld):
    """A FreeBSD. A jail that nothing runs in any more may be `dying` for a while."""

    type = "jail"
    states = (S.ABSENT, S.DOWN, S.UP, S.STOPPING)
    address = "192.0.2.7"
    export = "jail.conf"

    def reset(self) -> None:
        self.files[CONFIG] = "c1 {\n  path = /jails/c1;\n}\n"

    def defined(self) -> bool:
        return CONFIG in self.files

    def forget(self) -> None:
        del self.files[CONFIG]

    async def answer(self, tool: str, words: tuple[str, ...], stdin: bytes | None) -> Result:
        missing = Result(1, "", f'{tool}: jail "c1" not found\n')
        if tool == "jls":
            return self.listed()
        if tool == "sysrc":
            return Result(0, f'jail_enable="{"YES" if self.autostart else "NO"}"\njail_list=""\n')
        if tool == "jexec":
            assert words[:2] == ("-l", "c1")
            return self.inside_if_up(words[2:], stdin, missing)
        assert words[-1] == "c1"
        if words == ("-f", CONFIG, "-c", "c1"):
            return self.begin(Result(1, "", 'jail: "c1" already exists\n'))
        if not self.running():
            return Result(1, "", 'jail: "c1" not found\n')
        if words == ("-f", CONFIG, "-r", "c1"):
            self.shut()
            return Result(0)
        assert words == ("-R", "c1")
        self.slay()
        return Result(0)

    def listed(self) -> Result:
        if self.garbage:
            return Result(0, '{"__version": "2", "jail-information": {"jail": [{"jid":')
        jails = [
            {
                "jid": number,
                "hostname": f"{name}.example.com",
                "path": f"/jails/{name}",
                "name": name,
                "state": "DYING" if state is S.STOPPING else "ACTIVE",
                "cpusetid": number,
                "ipv4_addrs": [self.address],
                **({} if self.old else {"ipv6_addrs": []}),
            }
            for number, (name, state) in enumerate(self.rows().items(), 3)
            if state is not S.DOWN
        ]
        return Result(0, json.dumps({"__version": "2", "jail-information": {"jail": jails}}) + "\n")

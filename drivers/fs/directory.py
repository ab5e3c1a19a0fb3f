"""A directory with the owner and the permissions it should have."""

from __future__ import annotations

import re

from agentd.core.converters import absolute_path
from agentd.core.errors import ActionFailed
from agentd.core.keywords import Keyword
from agentd.core.status import LogLine, Probe, Status
from drivers.base import Driver


def permissions(text: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3,4}", text):
        raise ValueError(f"{text!r} is not a number of permissions such as 750")
    return text.lstrip("0") or "0"


def account(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", text):
        raise ValueError(f"{text!r} is not the name or the number of an account")
    return text


class Directory(Driver):
    """A directory. Made by a start and left by a stop, so it is n/a where all is well."""

    KEYWORDS = (
        Keyword(
            "path", "The directory.", absolute_path, required=True, example="/srv/data/www", aliases=("mnt",)
        ),
        Keyword("user", "Its owner.", account, "", example="www-data"),
        Keyword("group", "Its group.", account, "", example="www-data"),
        Keyword("perm", "Its permissions.", permissions, "", example="750"),
    )
    LABEL = "{path}"

    async def probe(self) -> Probe:
        answer = await self.host.probe("stat", "-L", "-c", "%F|%U|%u|%G|%g|%a", "--", self._path, timeout=10)
        if answer.code:
            if "No such file" in answer.err:
                return Probe(Status.DOWN)
            return Probe(Status.UNDEF, (LogLine("warn", answer.err.strip()[:200]),))
        kind, user, uid, group, gid, mode = answer.out.strip().split("|")
        wanted = (("user", (user, uid)), ("group", (group, gid)), ("perm", (mode,)))
        wrong = [
            f"{self._path}: {keyword} is {found[0]}, not {self.options[keyword]}"
            for keyword, found in wanted
            if self.options[keyword] and self.options[keyword] not in found
        ]
        if kind != "directory":
            wrong = [f"{self._path} is a {kind}, not a directory"]
        return Probe(Status.WARN if wrong else Status.NA, tuple(LogLine("warn", line) for line in wrong))

    async def start(self) -> None:
        found = await self.probe()
        if any("not a directory" in line.text for line in found.log):
            raise ActionFailed(found.log[0].text)
        words = {word: str(self.options[word]) for word in ("user", "group", "perm") if self.options[word]}
        if found.status is Status.DOWN:
            await self.host.run("mkdir", "-p", "--", self._path)
        for keyword, tool in (("user", "chown"), ("group", "chgrp"), ("perm", "chmod")):
            if keyword in words:
                await self.host.run(tool, "--", words[keyword], self._path)

    async def stop(self) -> None:
        """Nothing: what is in a directory belongs to the user."""

    @property
    def _path(self) -> str:
        return str(self.options["path"])

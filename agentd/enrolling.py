"""Giving a guest its certificate through its container's driver: no network, no token.

The guest makes its key and keeps it; only a signing request comes out of the pipe, and a
certificate for exactly the guest that was meant goes in.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from agentd import joining, pki
from agentd.core.errors import ActionFailed, InvalidRequest, Refused
from agentd.core.model import Resource
from agentd.membership import Cluster, Member
from agentd.settings import PORT, Paths, parse_address, show_address
from drivers.base import Executing, Result

log = logging.getLogger("encap.guests")

TIMEOUT = 30.0
LISTEN = ("0.0.0.0",)
"""Where a guest's agent listens when its driver does not say otherwise: on all its addresses."""


class Members(Protocol):
    """The list of members, as this module needs it."""

    def cluster(self) -> Cluster | None: ...
    async def admit(self, member: Member) -> Cluster: ...


class Enrolling:
    """Certificates for guests. `paths`: this hypervisor's."""

    def __init__(self, paths: Paths, members: Members) -> None:
        self._paths, self._members = paths, members
        self._looked_at: set[str] = set()

    async def needed(self, node: str, driver: Executing, *, late: bool) -> bool:
        """Whether a guest has no certificate of ours. `late`: it should have answered by now,
        so the key that it holds is compared with the one it joined with, once."""
        member = self._refuse_removed(node)
        if member is None or not member.key_hash:
            return True
        if not late or node in self._looked_at:
            return False
        self._looked_at.add(node)
        return await asyncio.to_thread(pki.request_hash, await self._request(node, driver)) != member.key_hash

    async def enrol(self, node: str, driver: Executing, container: Resource) -> None:
        """Sign the key of a guest and hand the certificate in. Raises Refused without the CA key."""
        csr = await self._request(node, driver)
        listen = tuple(getattr(driver, "LISTEN", LISTEN))
        address = str(container.options.get("address") or "")
        port = parse_address(address)[1] if address else PORT
        where = [show_address(parse_address(each, port)) for each in listen]
        bundle = await asyncio.to_thread(joining.guest_bundle, self._paths, csr, node, where)
        _checked(node, await driver.execute("agentd", "join", "--pipe", "--install", stdin=bundle,
                                            timeout=TIMEOUT))
        self._refuse_removed(node)  # it may have been removed meanwhile
        await self._members.admit(await asyncio.to_thread(joining.guest_member, csr, node))
        self._looked_at.discard(node)
        log.info("%s got its certificate through its driver", node)

    def _refuse_removed(self, node: str) -> Member | None:
        """The guest as a member, None when it is none yet. Raises Refused for one that was removed."""
        cluster = self._members.cluster()
        member = cluster.member(node) if cluster else None
        if member is not None and member.revoked:
            raise Refused(f"{node} was removed from the cluster, so it gets no certificate", code="revoked",
                          hint=f"to take it in again: svc node token {node} --guest")
        return member

    async def _request(self, node: str, driver: Executing) -> bytes:
        answer = await driver.execute("agentd", "join", "--pipe", "--request", "--name", node,
                                      timeout=TIMEOUT)
        _checked(node, answer)
        if not answer.out.startswith("-----BEGIN CERTIFICATE REQUEST-----"):
            raise InvalidRequest(f"{node} gave no signing request: {answer.out[:60]!r}", code="invalid-reply")
        return answer.out.encode()


def _checked(node: str, answer: Result) -> None:
    if answer.code:
        said = (answer.err.strip() or answer.out.strip()).splitlines()
        raise ActionFailed(f"agentd join in {node}: exit {answer.code}{': ' + said[0][:300] if said else ''}",
                           hint="is the product installed in the guest, with agentd on its PATH?")

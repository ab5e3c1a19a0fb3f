"""The members of the cluster at run time: the list in force, what each node is known to do, who is told.

Only hypervisors hold the list; on a guest there is none. A change is saved here first and
then told to every other hypervisor; whoever is silent learns it when the lists are compared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentd import identity, membership, pki
from agentd.audit import Audit
from agentd.core.errors import EncapError, Forbidden, InvalidConfig, Refused
from agentd.files import storage_trouble
from agentd.identity import Identity
from agentd.membership import MEMBER_LIMIT, Cluster, Member
from agentd.peers import Answer, Peer, Peers, Silence
from agentd.settings import Paths, Settings
from agentd.timers import Clock

if TYPE_CHECKING:
    from agentd.joinlistener import JoinListener

log = logging.getLogger("encap.members")

ROUTE = "/v1/cluster/members"
SLICE = 2_000
"""Members in one call: more would not fit the body of a request. Lists merge member by member,
so a part of one is as good as the whole."""
TRIES = 3
"""How often a removal is made again when the others turn out to know a newer change."""
REVISION_LIMIT = 1 << 52
"""A list that claims more changes is not believed: it would leave no number for the next one."""


class MemberList:
    """``cluster.toml``: read again when the file changed, changed by one caller at a time."""

    def __init__(self, paths: Callable[[], Paths]) -> None:
        self._paths = paths
        self._stamp: tuple[int, ...] | None = ()
        self._good: Cluster | None = None
        self._trouble = ""
        self._one_at_a_time = asyncio.Lock()

    def read(self) -> Cluster | None:
        """The list, None where there is none. A file that went bad leaves the last good list in
        force; InvalidConfig when there never was one."""
        stamp = _stamp(self._paths())
        if stamp != self._stamp:
            self._stamp = stamp
            self._load()
        if self._trouble and self._good is None:
            raise InvalidConfig(self._trouble, (), hint="copy the file from another hypervisor")
        return self._good

    def held(self) -> Cluster:
        """The list; Refused on a node that holds none."""
        found = self.read()
        if found is None:
            raise Refused("this node holds no list of members", code="not-enrolled",
                          hint="hypervisors do: svc ca init on the first, svc node join TOKEN on others")
        return found

    async def change(self, change: Callable[[Cluster], Cluster],
                     first: Callable[[], Any] | None = None) -> tuple[Cluster, Cluster]:
        """(the list before, the list after), which is on disk by then. `first` is awaited before
        anything is saved, and only when the members change."""
        async with self._one_at_a_time:
            before = self.held()
            after = change(before)
            if len(after.members) > MEMBER_LIMIT:
                raise Refused(f"a cluster has at most {MEMBER_LIMIT} members", code="too-many-members")
            if first is not None and after.members != before.members:
                await first()
            if after != before:
                self._stamp, self._good = await asyncio.to_thread(_save, self._paths(), after)
                self._trouble = ""
            return before, after

    def _load(self) -> None:
        file = self._paths().cluster_file
        try:
            found = membership.load(self._paths())
            self._trouble = f"{file} is gone" if found is None and self._good is not None else ""
            self._good = found or self._good
        except InvalidConfig as error:
            self._trouble = error.text
        if self._trouble:
            log.error("%s; %s", self._trouble,
                      "the last good list stays in force" if self._good else "no member is let in")


class Members:
    """Who belongs to the cluster, for the whole daemon.

    `list`: what is on disk. `dropped`: called when a revocation became known. `guest_states`:
    guest -> (state of its agent, address), of the guests of this node. Set `joining` once the
    join listener is made.
    """

    def __init__(
        self, settings: Callable[[], Settings], peers: Peers, clock: Clock, audit: Audit,
        dropped: Callable[[], object], guest_states: Callable[[], Mapping[str, tuple[str, str]]],
        version: str = "",
    ) -> None:
        self._settings, self._peers, self._clock, self._audit = settings, peers, clock, audit
        self._dropped, self._guest_states, self._version = dropped, guest_states, version
        self.list = MemberList(lambda: settings().paths)
        self._telling: set[asyncio.Task[None]] = set()
        self.joining: JoinListener | None = None

    # --- what is known

    def cluster(self) -> Cluster | None:
        """The list in force, None on a guest. Costs one stat while the file is the same."""
        return self.list.read()

    def find(self, node: str) -> Peer | None:
        """Where another hypervisor is."""
        cluster = self.cluster()
        member = cluster.member(node) if cluster else None
        if member is None or member.role != "hypervisor" or member.revoked or not member.address:
            return None
        return Peer(member.address, ("hypervisor",)) if node != self._settings().node else None

    def others(self) -> list[str]:
        """The other hypervisors by name."""
        cluster, here = self.cluster(), self._settings().node
        return [m.name for m in cluster.hypervisors() if m.name != here] if cluster else []

    def refuses(self, peer: identity.Peer) -> str:
        """Why this peer is refused although its certificate is good, "" when it is not."""
        if not isinstance(peer, Identity):
            return ""
        try:
            cluster = self.cluster()
        except InvalidConfig as error:  # who was removed is not known, so nobody is let in
            return f"the list of members cannot be read: {error.text}"
        return cluster.refuses(peer) if cluster else ""

    async def nodes(self) -> list[dict[str, Any]]:
        """Every member and every guest of this node with what it does now; hypervisors are asked."""
        cluster, settings, guests = self.cluster(), self._settings(), self._guest_states()
        if cluster is None:
            return [await asyncio.to_thread(_alone, settings, self._version)]
        asked = await self._peers.fan_out(self.others(), "GET", "/v1/node")
        members = {m.name: m for m in cluster.members}
        members = {name: Member(name, "guest") for name in guests} | members
        members.setdefault(settings.node, Member(settings.node, "hypervisor"))
        rows = []
        for name, member in sorted(members.items()):
            if name == settings.node:
                rows.append(_row(member, "answering", version=self._version))
            elif member.role == "guest":
                state, address = guests.get(name, ("unknown", ""))
                rows.append(_row(replace(member, address=address or member.address), state))
            else:
                rows.append(_row(member, **_heard(asked.get(name), self._clock.monotonic())))
        return rows

    # --- changes

    async def admit(self, member: Member) -> Cluster:
        """Take a member in, or in again; what the list is then. The others are told in the
        background. Audited before it is saved: nobody is let in unseen."""
        before, after = await self.list.change(lambda ours: ours.admit(member), lambda: self._audit.append(
            self._settings().node, "admit", member.name, role=member.role, key_hash=member.key_hash))
        if after != before:
            task = asyncio.create_task(_told(self.compare()))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        return after

    async def remove(self, node: str, who: str) -> dict[str, Any]:
        """Revoke a member here and on every hypervisor that answers; `told` are those that are
        known to have it. NotFound for a stranger, Refused for this very node."""
        if node == self._settings().node:
            raise Refused(f"{node} is this node, and does not remove itself", code="own-node",
                          hint=f"svc node remove {node} on another hypervisor")
        heard: dict[str, Cluster] = {}
        for number in range(TRIES):
            before, after = await self.list.change(lambda ours: ours.revoke(node))
            await self._cut(before, after, who)
            if number == 0:  # after the fact: a removal is not put off by a full disk
                await self._audit.append(who, "remove", node)
            heard = await self.compare()
            if _has_revoked(self.cluster(), node):
                break
        told = [name for name, theirs in heard.items() if _has_revoked(theirs, node)]
        return {"node": node, "told": told, "not_told": [n for n in self.others() if n not in told]}

    async def receive(self, document: object, who: str) -> dict[str, Any]:
        """Merge the list of another hypervisor with ours; what is known together is the answer."""
        return (await self._learn(membership.from_document(document), who)).document()

    async def compare(self) -> dict[str, Cluster]:
        """Exchange lists with every other hypervisor; what each one that answered knows now.

        Also how a change is told. A peer that is silent, or answers nonsense, fails nobody.
        """
        cluster, asked = self.cluster(), self.others()
        answers: dict[str, Answer | Silence] = {}
        for part in _parts(cluster) if cluster and asked else ():
            answers |= await self._peers.fan_out(asked, "POST", ROUTE, body=part)
            asked = [node for node in asked if _heard_well(answers[node])]
        heard: dict[str, Cluster] = {}
        for node, answer in answers.items():
            try:
                if isinstance(answer, Answer):
                    theirs = _list_in(answer)
                    await self._learn(theirs, f"{node} (hypervisor)")
                    heard[node] = theirs
            except EncapError as error:
                log.warning("no list of members from %s: %.300s", node, error.text)
        return heard

    async def _learn(self, theirs: Cluster, who: str) -> Cluster:
        if theirs.revision > REVISION_LIMIT:
            raise Refused(f"a list of {theirs.revision} changes is not believed", code="bad-members")
        before, after = await self.list.change(lambda ours: ours.merge(theirs))
        await self._cut(before, after, who)
        changed = sorted(m.name for m in {*after.members} - {*before.members})
        if changed:
            log.info("%s told of changes of %s", who, ", ".join(changed[:20]))
            await self._audit.append(who, "members", changed=changed[:100], count=len(changed))
        return after

    async def _cut(self, before: Cluster, after: Cluster, who: str) -> None:
        """What follows from revocations: open connections end, and tokens that were made before."""
        names = {m.name for m in after.members if m.revoked} - {m.name for m in before.members if m.revoked}
        if self._settings().node in names:
            log.error("THIS NODE, %s, WAS REMOVED from cluster %s, says %s: the other members refuse it now. "
                      "Its services go on running; `svc node token` on another hypervisor takes it in again",
                      self._settings().node, after.name, who)
        if names:
            log.warning("removed from the cluster by %s: %s", who, ", ".join(sorted(names)[:20]))
            self._dropped()
            if self.joining is not None:
                await self.joining.withdraw(names)

    # --- what is handed out

    async def token(self, name: str, role: str, who: str) -> dict[str, Any]:
        """A token for a node that is to join here; also for one that was removed, which it lets back in."""
        if name == self._settings().node:
            raise Refused(f"{name} is this node: another with its name would lock it out", code="own-node",
                          hint="every node has a name of its own")
        if self.joining is None or self.cluster() is None:
            raise Refused("nodes join at a hypervisor, and this is none", code="not-enrolled",
                          hint="run svc node token on a hypervisor of the cluster")
        await self.compare()  # an admission by an old list would lose against a newer removal
        issued = await self.joining.token(name, role)
        await self._audit.append(who, "token", name, role=role, expires_at=issued.expires_at)
        return {"token": issued.token, "expires_at": issued.expires_at, "name": name, "role": role}

    async def ca_key(self, node: str, who: str) -> str:
        """The key of the CA (PEM) for another hypervisor, `node`, that is in the list and not revoked."""
        settings, cluster = self._settings(), self.cluster()
        member = cluster.member(node) if cluster else None
        if member is None or member.role != "hypervisor" or member.revoked:
            raise Forbidden(f"{node} is no hypervisor in the list of members of {settings.node}",
                            code="not-a-member", hint="svc node ls shows the list")
        if settings.ca == "offline":
            raise Refused("the CA key is kept off the hypervisors: ca = \"offline\"", code="no-ca-key")
        try:
            key = await asyncio.to_thread(settings.paths.ca_key.read_text, "ascii")
        except FileNotFoundError as error:
            raise Refused(f"the CA key is not on {settings.node}", code="no-ca-key",
                          hint="ask the hypervisor where the cluster was made") from error
        except OSError as error:
            raise storage_trouble(f"cannot read {settings.paths.ca_key}", error) from error
        await self._audit.append(who, "ca-key", node)
        return key

    async def close(self) -> None:
        """Finish telling what was not told yet. The peers are closed after this."""
        await asyncio.gather(*self._telling)


async def _told(comparing: Awaitable[object]) -> None:
    try:
        await comparing
    except EncapError as error:
        log.error("the other hypervisors are not told of a new member yet: %s", error.text)


def _save(paths: Paths, cluster: Cluster) -> tuple[tuple[int, ...] | None, Cluster | None]:
    membership.save(paths, cluster)
    return _stamp(paths), membership.load(paths)


def _stamp(paths: Paths) -> tuple[int, ...] | None:
    """What tells two versions of the file apart; None when it is not there."""
    try:
        found = paths.cluster_file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _parts(cluster: Cluster) -> Iterator[dict[str, Any]]:
    for start in range(0, max(1, len(cluster.members)), SLICE):
        yield replace(cluster, members=cluster.members[start:start + SLICE]).document()


def _heard_well(answer: Answer | Silence) -> bool:
    return isinstance(answer, Answer) and answer.error is None


def _list_in(answer: Answer) -> Cluster:
    if answer.error is not None:
        raise answer.error
    return membership.from_document(answer.value)


def _has_revoked(cluster: Cluster | None, node: str) -> bool:
    member = cluster.member(node) if cluster else None
    return member is not None and member.revoked


def _heard(answer: Answer | Silence | None, now: float) -> dict[str, Any]:
    """What a hypervisor said of itself. `age`: seconds since it was last heard, None for never."""
    if isinstance(answer, Answer):
        told = answer.value.get("version") if isinstance(answer.value, dict) else ""
        why = {"why": answer.error.text} if answer.error else {}
        return {"state": "answering", "version": told[:64] if isinstance(told, str) else "", **why}
    since = answer.since if answer else None
    age = None if since is None else round(max(0.0, now - since), 1)
    return {"state": "silent", "why": answer.why if answer else "it was not asked", "age": age}


def _row(member: Member, state: str, version: str = "", **more: Any) -> dict[str, Any]:
    return {"name": member.name, "role": member.role, "address": member.address, "revoked": member.revoked,
            "state": "revoked" if member.revoked else state, "version": version, **more}


def _alone(settings: Settings, version: str) -> dict[str, Any]:
    """This node where there is no list: its role is in its certificate, if it has one."""
    role = pki.own_identity(settings.paths)[1] if settings.paths.enrolled else ""
    return _row(Member(settings.node, role), "answering", version=version)

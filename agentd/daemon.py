"""The composition root: builds the daemon, runs it, and takes it down. Signals only set an event."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentd import pki
from agentd.__main__ import own_version
from agentd.acting import Actions
from agentd.boot import boot_id
from agentd.bus import Bus
from agentd.chaining import Means
from agentd.claiming import Claims
from agentd.configurations import Configurations
from agentd.core.claims import order
from agentd.core.errors import EncapError
from agentd.enrolling import Enrolling
from agentd.files import write_atomically
from agentd.guests import Guests
from agentd.host import LocalHost
from agentd.inspector import Inspector, Sights
from agentd.joinlistener import JoinListener
from agentd.knowing import Knowledge
from agentd.members import Members
from agentd.monitor import Monitor
from agentd.node import Identification, Node, Parts
from agentd.notify import Notify, Watchdog
from agentd.operations import Operations, state_of
from agentd.peers import Peer, Peers
from agentd.probing import Looking
from agentd.readiness import Readiness
from agentd.registry import Registry
from agentd.replicator import Replicator
from agentd.resolving import Resolving
from agentd.server import Server
from agentd.settings import Settings, load
from agentd.store import Store
from agentd.subscription import Subscriptions
from agentd.timers import SystemClock, periodic, stamp
from agentd.tokens import Tokens
from api.app import create_app
from api.auth import Access
from drivers import catalogue

CERTIFICATE_SECONDS = 5
"""How often the certificate in use is looked at: every so many seconds."""

log = logging.getLogger("encap.daemon")


async def serve(root: Path) -> int:
    """Run until SIGTERM or SIGINT; 0 when it ended well. SIGHUP reads the settings again."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every single call
    settings, notify = load(root), Notify()
    _make_directories(settings)
    async with AsyncExitStack() as stack:
        daemon = await Daemon.open(settings, stack)
        await daemon.run(notify)
        notify.stopping()
    return 0


@dataclass(slots=True)
class InForce:
    """The settings in force; a reload puts others here."""

    settings: Settings

    def __call__(self) -> Settings:
        return self.settings


@dataclass(slots=True)
class Machinery:
    """What runs beside the parts of the node."""

    parts: Parts
    monitor: Monitor
    resolving: Resolving
    joining: JoinListener


class Daemon:
    """The parts that live as long as the process."""

    def __init__(self, force: InForce, node: Node, server: Server, machinery: Machinery) -> None:
        self._force, self.node, self.server = force, node, server
        self._parts, self._monitor = machinery.parts, machinery.monitor
        self._resolving, self._joining = machinery.resolving, machinery.joining
        self._stop, self._reload = asyncio.Event(), asyncio.Event()
        self._seconds = 0

    @classmethod
    async def open(cls, settings: Settings, stack: AsyncExitStack) -> Daemon:
        """Build everything, the store first and the server last; `stack` takes it down again."""
        force, clock = InForce(settings), SystemClock()
        store = await Store.open(settings.paths.database, lambda: stamp(clock.wall()), stand_in=True)
        stack.push_async_callback(store.close)
        host = LocalHost(settings.paths.root)
        stack.push_async_callback(host.close)
        server: list[Server] = []
        machinery = _assemble(force, store, host, await store.flags.all(),
                              lambda: server[0].drop_refused() if server else 0)
        parts = machinery.parts
        for closing in (parts.peers.close, parts.members.close, parts.replicator.close, parts.claims.close,
                        parts.subscriptions.close, parts.operations.close):
            stack.push_async_callback(closing)
        await parts.configurations.load()
        await parts.replicator.load()
        await parts.claims.load()
        await parts.operations.load()
        await parts.claims.recover(lambda instance: _order_of(parts.registry, instance))
        await machinery.monitor.begin()
        node = Node(force, Identification(own_version(), uuid.uuid4().hex, stamp(clock.wall())), parts,
                    lambda: server[0].listening if server else ())
        server.append(Server(create_app(node, Access(force), own_version()), settings, parts.members.refuses))
        await server[0].start()
        stack.push_async_callback(server[0].stop)
        stack.callback(parts.bus.close)
        stack.push_async_callback(machinery.joining.stop)
        return cls(force, node, server[0], machinery)

    async def run(self, notify: Notify) -> None:
        """Serve until told to stop. READY is sent once the API answers; probes may be pending."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        watchdog = Watchdog(notify, notify.watchdog_interval)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.settle()),
                group.create_task(watchdog.run(lambda: not self._stop.is_set())),
                group.create_task(periodic(1.0, 0.2, self._look, _report,
                                           sleep=self._interval("status_interval"))),
                group.create_task(periodic(1.0, 0.0, self._each_second, _report)),
                group.create_task(periodic(1.0, 0.2, self._compare, _report, first=0.05,
                                           sleep=self._interval("sync_interval"))),
                group.create_task(self._reloads(notify)),
            ]
            notify.ready(f"{len(self.node.names())} services")
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    def _interval(self, key: str) -> Callable[[float], Awaitable[None]]:
        """A pause of a share of the interval in force, which a reload may have changed."""
        return lambda share: asyncio.sleep(share * float(getattr(self._force.settings, key)))

    async def settle(self) -> None:
        """Open the join door; name the results of what an earlier run left behind."""
        for each in (self._joining.refresh, self._resolving.all):
            try:
                await each()
            except Exception as error:  # noqa: BLE001 - told, and no reason for the daemon to end
                _report(error)

    async def _look(self) -> None:
        await self._parts.inspector.refresh_all()
        await self._parts.knowledge.look(self._parts.registry)
        documents = [self.node.status(name) for name in self.node.names()]
        _save_snapshot(self._force.settings, documents)

    async def _each_second(self) -> None:
        """Texts changed by an editor, a certificate that arrived, and what is due by itself."""
        self._seconds += 1
        # A first certificate is waited for; a renewed one has time.
        if not self.server.certified or self._seconds % CERTIFICATE_SECONDS == 0:
            await self._follow_certificate()
        await self._parts.configurations.look()
        self._parts.guests.look()
        await self._monitor.look()

    async def _follow_certificate(self) -> None:
        settings = self._force.settings
        if not settings.cluster and settings.paths.enrolled:
            # The first certificate came with the cluster's name and an address to listen on.
            self._force.settings = settings.after_joining(load(settings.root))
        if await self.server.refresh(self._force.settings):
            self._parts.peers.renew_context()

    async def _compare(self) -> None:
        await self._parts.members.compare()
        await self._parts.replicator.compare()

    async def _reloads(self, notify: Notify) -> None:
        while await self._reload.wait():
            self._reload.clear()
            notify.reloading()
            try:
                fresh = load(self._force.settings.root)
                settings = self._force.settings.after_joining(fresh)
                needed = settings.restart_needed(fresh)
                # What only a start can change stays as it was, and is named.
                self._force.settings = replace(fresh, **{key: getattr(settings, key) for key in needed})
                await self.server.refresh(self._force.settings)
                notify.ready("restart needed for " + ", ".join(needed) if needed else "reloaded")
            except EncapError as error:
                log.error("the settings are not taken: %s", error.text)
                notify.ready("the old settings stay in force")


def _assemble(force: InForce, store: Store, host: LocalHost, facts: dict[str, dict[str, Any]],
              drop_refused: Callable[[], object]) -> Machinery:
    """Every part with the others that it needs. Some need one another: those are reached late."""
    settings, clock, bus, types = force.settings, SystemClock(), Bus(), catalogue()
    paths = settings.paths
    registry = Registry(paths.services_dir, lambda: force.settings.node, types)
    inspector = Inspector(registry, host, settings, clock, bus, types, facts)
    operations = Operations(store, clock, bus, settings.node)
    guests: Guests
    members: Members
    monitor: Monitor

    def find(node: str) -> Peer | None:
        return members.find(node) or guests.find(node)

    peers = Peers(find, lambda: pki.client_context(paths), lambda: force.settings.cluster,
                  settings.peer_timeout)
    members = Members(force, peers, clock, store.audit, drop_refused, lambda: guests.states(), own_version())
    joining = JoinListener(force, Tokens(paths.tokens_file), members.admit)
    members.joining = joining
    subscriptions = Subscriptions(
        peers, clock, lambda: force.settings.guest_silence, lambda service, node: guests.part(service, node),
        lambda node: guests.locate(node), inspector.tell,
        lambda node, boot: monitor.reboots.introduced(node, boot))
    replicator = Replicator(
        lambda: force.settings.node, registry, store, peers, types,
        lambda service, rid: guests.running(service, rid),
        lambda node: subscriptions.agent(node) == "answering", clock, inspector.refresh)
    guests = Guests(registry, inspector, subscriptions)
    enrolling = Enrolling(paths, members)
    readiness = Readiness(guests, peers, subscriptions, enrolling, replicator.into_guest,
                          lambda service, node, boot: monitor.reboots.met(service, node, boot), clock)
    knowledge = Knowledge(inspector, peers, facts)
    claims = Claims(lambda: force.settings.node, store.claims, store.audit, peers,
                    Looking(registry, inspector, knowledge, peers, subscriptions),
                    lambda number: state_of(operations, number))
    configurations = Configurations(registry, store, inspector, replicator, knowledge, members.others, bus,
                                    types)
    means = Means(force, inspector, host, store, clock, facts, knowledge, guests, readiness, subscriptions,
                  peers, claims, configurations, lambda service: monitor.begun(service))
    actions = Actions(registry, operations, means)
    monitor = Monitor(registry, operations, actions, means, boot_id())
    inspector.sights = Sights(
        guests.reports, replicator.in_step, monitor.budgets,
        lambda held: (*monitor.notes(held), *replicator.notes(held)), knowledge.chosen)
    parts = Parts(registry, store, bus, clock, inspector, operations, peers, subscriptions, guests, knowledge,
                  replicator, members, claims, configurations, actions)
    return Machinery(parts, monitor, Resolving(registry, operations, means), joining)


def _order_of(registry: Registry, instance: str) -> tuple[str, ...]:
    """Whom to ask for the claim on an instance."""
    held = registry.find(instance.partition("/")[0])
    return order(held.service) if held is not None else ()


def _make_directories(settings: Settings) -> None:
    paths = settings.paths
    for each, mode in ((paths.services_dir, 0o755), (paths.state_dir, 0o700), (paths.run_dir, 0o755)):
        each.mkdir(parents=True, exist_ok=True)
        each.chmod(mode)


def _save_snapshot(settings: Settings, documents: list[dict[str, Any] | None]) -> None:
    text = json.dumps({"schema": "encap.snapshot/1", "services": documents})
    # It lies below run, in memory, which ends with the machine: no thread, and no sync.
    write_atomically(settings.paths.status_snapshot, text.encode(), 0o640, synced=False)


def _report(error: BaseException) -> None:
    log.error("%s: %s", type(error).__name__, error)

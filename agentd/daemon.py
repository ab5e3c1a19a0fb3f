"""The composition root: builds the daemon, runs it, and takes it down. Signals only set an event."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentd import membership
from agentd.__main__ import own_version
from agentd.bus import Bus
from agentd.core.errors import EncapError
from agentd.files import write_atomically
from agentd.host import LocalHost
from agentd.identity import Identity, Peer
from agentd.inspector import Inspector
from agentd.node import Node
from agentd.notify import Notify, Watchdog
from agentd.operations import Operations
from agentd.registry import Registry
from agentd.server import Server
from agentd.settings import Settings, load
from agentd.store import Store
from agentd.timers import SystemClock, periodic, stamp
from api.app import create_app
from api.auth import Access
from drivers import catalogue

log = logging.getLogger("encap.daemon")


async def serve(root: Path) -> int:
    """Run until SIGTERM or SIGINT; 0 when it ended well. SIGHUP reads the settings again."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings, notify = load(root), Notify()
    _make_directories(settings)
    async with AsyncExitStack() as stack:
        daemon = await Daemon.open(settings, stack)
        await daemon.run(notify)
        notify.stopping()
    return 0


class Daemon:
    """The parts that live as long as the process."""

    def __init__(self, settings: Settings, node: Node, server: Server, store: Store) -> None:
        self.settings, self.node, self.server, self._store = settings, node, server, store
        self._stop, self._reload = asyncio.Event(), asyncio.Event()

    @classmethod
    async def open(cls, settings: Settings, stack: AsyncExitStack) -> Daemon:
        """Build everything, the store first and the server last; `stack` takes it down again."""
        clock, bus, paths = SystemClock(), Bus(), settings.paths
        store = await Store.open(paths.database, lambda: stamp(clock.wall()), stand_in=True)
        stack.push_async_callback(store.close)
        host = LocalHost(paths.root)
        stack.push_async_callback(host.close)
        facts: dict[str, dict[str, Any]] = await store.flags.all()
        registry = Registry(paths.services_dir, lambda: settings.node, catalogue())
        await _take_in(registry, store)
        inspector = Inspector(registry, host, settings, clock, bus, catalogue(), facts)
        operations = Operations(store, clock, bus, settings.node)
        stack.push_async_callback(operations.close)
        await operations.load()
        node = Node(settings, own_version(), uuid.uuid4().hex, registry, inspector, operations, store, clock,
                    catalogue(), facts)
        server = Server(create_app(node, Access(lambda: node.settings), own_version()), settings,
                        lambda peer: _refuses(settings, peer))
        daemon = cls(settings, node, server, store)
        await server.start()
        stack.push_async_callback(server.stop)
        return daemon

    async def run(self, notify: Notify) -> None:
        """Serve until told to stop. READY is sent once the API answers; probes may be pending."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        watchdog = Watchdog(notify, notify.watchdog_interval)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.node.resolve_interrupted()),
                group.create_task(watchdog.run(lambda: not self._stop.is_set())),
                group.create_task(periodic(1.0, 0.2, self._look, _report, sleep=self._pause)),
                group.create_task(periodic(1.0, 0.0, self._each_second, _report, first=1.0)),
                group.create_task(self._reloads(notify)),
            ]
            notify.ready(f"{len(list(self.node.registry))} services")
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    async def _pause(self, share: float) -> None:
        """A share of the interval in force, which a reload may have changed."""
        await asyncio.sleep(share * self.settings.status_interval)

    async def _look(self) -> None:
        await self.node.inspector.refresh_all()
        documents = [self.node.status(held.name) for held in self.node.registry]
        await asyncio.to_thread(_save_snapshot, self.settings, documents)

    async def _each_second(self) -> None:
        """One stat a file: texts changed by an editor, and a certificate that arrived."""
        fresh, gone = self.node.registry.changed()
        numbers = await self._store.revisions.numbers() if fresh else {}
        for name in fresh:
            held = self.node.registry.load(name, lambda service, hash_: numbers.get((service, hash_), 0))
            if held is not None and held.revision == 0:
                await _number(self.node.registry, self._store, name, "file")
            if held is not None:
                await self.node.inspector.refresh(name)
        for name in gone:
            log.warning("the file of %s is gone; its last text is in force until a restart", name)
        await self.server.refresh()

    async def _reloads(self, notify: Notify) -> None:
        while await self._reload.wait():
            self._reload.clear()
            notify.reloading()
            try:
                fresh = load(self.settings.root)
                needed = self.settings.restart_needed(fresh)
                # What only a start can change stays as it was, and is named.
                self.settings = replace(fresh, **{key: getattr(self.settings, key) for key in needed})
                self.node.settings = self.settings
                await self.server.refresh(self.settings)
                notify.ready("restart needed for " + ", ".join(needed) if needed else "reloaded")
            except EncapError as error:
                log.error("the settings are not taken: %s", error.text)
                notify.ready("the old settings stay in force")


async def _take_in(registry: Registry, store: Store) -> None:
    """Load every configuration; one that is not good is reported and keeps nobody else out."""
    numbers = await store.revisions.numbers()
    fresh, _ = registry.changed()
    for name in fresh:
        held = registry.load(name, lambda service, hash_: numbers.get((service, hash_), 0))
        if held is not None and held.revision == 0:
            await _number(registry, store, name, "file")


async def _number(registry: Registry, store: Store, name: str, author: str) -> None:
    held = registry.get(name)
    newest = await store.revisions.newest(name)
    number = await store.revisions.append(name, held.hash, held.text, origin=held.service.node, author=author,
                                          base=str(newest["hash"]) if newest else "")
    registry.renumber(name, number)


def _refuses(settings: Settings, peer: Peer) -> str:
    cluster = membership.load(settings.paths) if isinstance(peer, Identity) else None
    return cluster.refuses(peer) if cluster is not None and isinstance(peer, Identity) else ""


def _make_directories(settings: Settings) -> None:
    paths = settings.paths
    for each, mode in ((paths.services_dir, 0o755), (paths.state_dir, 0o700), (paths.run_dir, 0o755)):
        each.mkdir(parents=True, exist_ok=True)
        each.chmod(mode)


def _save_snapshot(settings: Settings, documents: list[dict[str, Any]]) -> None:
    text = json.dumps({"schema": "encap.snapshot/1", "services": documents})
    write_atomically(settings.paths.status_snapshot, text.encode(), 0o640)


def _report(error: BaseException) -> None:
    log.error("%s: %s", type(error).__name__, error)

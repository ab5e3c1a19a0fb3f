"""A hypervisor in memory: what the suite for all types of container asks of each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from drivers.base import ContainerState
from drivers.container.base import Container

from .memory import MemoryHost, make


class World(MemoryHost, ABC):
    """A hypervisor in memory with one guest, c1. The guest may ignore what it is told."""

    type: ClassVar[str]
    states: ClassVar[tuple[ContainerState, ...]] = (
        ContainerState.ABSENT,
        ContainerState.DOWN,
        ContainerState.STARTING,
        ContainerState.UP,
        ContainerState.PAUSED,
    )
    options: ClassVar[dict[str, str]] = {}
    starting_takes = 0.0
    ignores_shutdown = False
    survives_kill = False
    garbage = False

    def driver(self) -> Container:
        found = make("container#1", self.type, self, name="c1", start_timeout=20, stop_timeout=10, **self.options)
        assert isinstance(found, Container)
        return found

    @abstractmethod
    def put(self, state: ContainerState) -> None:
        """Bring the guest into a state behind the driver's back."""

    @abstractmethod
    def running(self) -> bool: ...

    @abstractmethod
    def starts(self) -> int:
        """How often a guest was started."""

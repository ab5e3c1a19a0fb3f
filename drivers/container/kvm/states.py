"""What the numbers of libvirt mean here. They are a part of its stable interface."""

from __future__ import annotations

from drivers.base import ContainerState, StateUnknown
from drivers.container.kvm.calls import Seen

RUNNING, PAUSED, SHUTOFF, SLEEPS = 1, 3, 5, 7

_STATES = {
    RUNNING: ContainerState.UP,
    2: ContainerState.UP,  # blocked: waits for a device
    PAUSED: ContainerState.PAUSED,
    4: ContainerState.STOPPING,
    SHUTOFF: ContainerState.DOWN,
    6: ContainerState.CRASHED,  # it panicked, and its process is kept
    SLEEPS: ContainerState.PAUSED,  # sleeps by its own power management
}
_BY_REASON = {
    (RUNNING, 10): ContainerState.MIGRATING,  # post-copy
    (RUNNING, 11): ContainerState.STUCK,  # post-copy broke: a half on each side
    (PAUSED, 2): ContainerState.MIGRATING,
    (PAUSED, 3): ContainerState.STOPPING,  # its memory is being saved
    (PAUSED, 8): ContainerState.STOPPING,
    (PAUSED, 10): ContainerState.CRASHED,
    (PAUSED, 11): ContainerState.STARTING,
    (PAUSED, 12): ContainerState.MIGRATING,
    (PAUSED, 13): ContainerState.STUCK,
}
_REMARKS = {
    (PAUSED, 5): "an error of its storage paused it: look whether the storage is full or gone, then "
    "virsh -c {uri} resume {name}",
    (PAUSED, 6): "its watchdog paused it",
    (SLEEPS, 0): "it sleeps by its own power management",
    (SHUTOFF, 3): "it did not shut down: it crashed, or its process was killed",
    (SHUTOFF, 6): "libvirt could not start or restore it the last time",
}


def state_of(seen: Seen | None) -> ContainerState:
    """The state by what the list of guests says; None: it is not in the list."""
    if seen is None:
        return ContainerState.ABSENT
    state = _BY_REASON.get((seen.state, seen.reason)) or _STATES.get(seen.state)
    if state is None:
        raise StateUnknown(f"libvirt tells state {seen.state}, reason {seen.reason}, which is not known")
    if state is ContainerState.DOWN and seen.saved:
        return ContainerState.SAVED
    return state


def known_state(seen: Seen) -> ContainerState:
    """The same, with unknown for what is not known: one guest's number spoils no list."""
    try:
        return state_of(seen)
    except StateUnknown:
        return ContainerState.UNKNOWN


def remark(seen: Seen, uri: str, name: str) -> str:
    """What an administrator has to know of a state, "" when there is nothing."""
    return _REMARKS.get((seen.state, seen.reason), "").format(uri=uri, name=name)

"""The states of a resource and how they merge."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Status(enum.StrEnum):
    """`undef`: not known. It never becomes down."""

    UP = "up"
    DOWN = "down"
    WARN = "warn"
    NA = "n/a"
    UNDEF = "undef"
    STDBY_UP = "stdby up"
    STDBY_DOWN = "stdby down"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line under a resource. `level`: info, warn, error; warn and error degrade overall."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Probe:
    """What a driver found out about its resource.

    `state`: a container's exact state (`ContainerState`), "" for others. `label`: a better
    label than the one from the keywords, "" to keep that one.
    """

    status: Status
    log: tuple[LogLine, ...] = ()
    state: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """A probe with the moment it was made.

    `observed`: seconds on this daemon's monotonic clock; `observed_at`: RFC 3339 UTC, for
    people. `source`: probe, event, config, guest, last-known. `last`: the last known
    status when `probe.status` is undef, and `last_observed` when that was seen.
    """

    probe: Probe
    observed: float
    observed_at: str
    source: str = "probe"
    last: Status | None = None
    last_observed: float | None = None

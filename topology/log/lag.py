"""How far behind the tick log a role is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class ProgressError(Exception):
    """Somebody can't be asked how far he is; one line says why."""


class FramePosition(NamedTuple):
    """The position of a frame, and its clock in milliseconds since the epoch."""

    position: int
    clock_ms: int


class TickRange(NamedTuple):
    """The tick frames of a partition: the position of the first that is kept, and the newest; None where none is."""

    first: int
    newest: FramePosition | None


class PartitionLag(msgspec.Struct, frozen=True):
    """A partition: the position that is reached there, that of the newest tick frame, and what lies between.

    Positions are None where there is no frame. ``behind_s`` is in seconds of the log's clock, None where unknown.
    """

    partition: int
    position: int | None
    end: int | None
    behind_frames: int
    behind_s: float | None


class TopicLag(msgspec.Struct, frozen=True, omit_defaults=True):
    """A topic as a role has reached it: all partitions together, then each; or the ``problem`` with asking."""

    role: str
    stage: str = ""
    behind_frames: int | None = None
    behind_s: float | None = None
    places: list[PartitionLag] = []
    problem: str = ""


def compare(role: str, stage: str, *, ticks: Mapping[int, TickRange], reached: Mapping[int, FramePosition]) -> TopicLag:
    """Compare what is reached in each partition with the tick frames there are."""
    places = [_partition_lag(partition, held, reached.get(partition)) for partition, held in sorted(ticks.items())]
    seconds = [lag.behind_s for lag in places if lag.end is not None]
    measured = [s for s in seconds if s is not None]
    return TopicLag(
        role,
        stage,
        behind_frames=sum(lag.behind_frames for lag in places),
        behind_s=None if len(measured) < len(seconds) else max(measured, default=0.0),
        places=places,
    )


def _partition_lag(partition: int, held: TickRange, reached: FramePosition | None) -> PartitionLag:
    position = None if reached is None else reached.position
    if held.newest is None:
        return PartitionLag(partition, position, None, 0, None)
    end, clock_ms = held.newest
    if reached is None:
        return PartitionLag(partition, None, end, end + 1 - held.first, None)
    behind_ms = max(0, clock_ms - reached.clock_ms)
    return PartitionLag(partition, position, end, max(0, end - reached.position), behind_ms / 1000)

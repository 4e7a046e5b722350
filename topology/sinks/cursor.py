"""How far a sink has read each of its sources, and which frames it has not applied yet.

Exceptions::

    SinkError
    +-- PositionError         frames are missing before the given one
    +-- ForeignFrameError     a frame belongs to another log: the role has to learn anew which one this is
    +-- SinkRefusedError      to try again would not help
    |   +-- ForeignLogError   what the sink holds belongs to another log, or to a later run
    |   +-- SharedServerError (mirror)
    +-- SinkAwayError         it isn't there yet, or doesn't answer: later it may
    |   +-- MirrorAwayError   (mirror)
    +-- MirrorEmptiedError    (mirror)
    +-- ArchiveError          (archive) ArchiveLockedError, ArchiveFullError
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from topology.log.frames import TICKS, CandleFrame, IndicatorFrame, TickFrame, TimeframeFrame
from topology.log.lag import FramePosition, ProgressError
from topology.log.sequencer import Order, order

AnyFrame = TickFrame | CandleFrame | TimeframeFrame | IndicatorFrame
Source = tuple[str, int]
"""A stage's topic (``"candles_1s"``) and a partition of it."""


class SinkError(ProgressError):
    """A sink can't take what it was given, or say how far it is."""


class PositionError(SinkError):
    """A frame is further on than the next one: those between must come first."""


class ForeignFrameError(SinkError):
    """A frame belongs to another log than the role has learnt of when it started: it has to be started again."""


class SinkRefusedError(SinkError):
    """A sink can't be used as it is: to try again would fail in the same way."""


class SinkAwayError(SinkError):
    """A sink isn't there yet, or doesn't answer now."""


class ForeignLogError(SinkRefusedError):
    """What the sink holds belongs to another log, or to a later run of this one."""


class SinkCursor(NamedTuple):
    """The last frame position that a sink holds of a source, and the offset of the last record it has read there.

    Reading goes on at ``offset + 1``. ``clock_ms`` is the clock there.
    """

    position: int
    offset: int
    clock_ms: int = 0


NO_CURSOR = SinkCursor(position=-1, offset=-1)


class StoredFrame(NamedTuple):
    """A frame as it lies in the log: a record of the topic ``stage``."""

    stage: str
    partition: int
    offset: int
    frame: AnyFrame

    @property
    def source(self) -> Source:
        """Where it was read."""
        return self.stage, self.partition

    @property
    def position(self) -> int:
        """The offset of the tick frame that caused it; for a tick frame its own."""
        return self.offset if isinstance(self.frame, TickFrame) else self.frame.position


class Written(NamedTuple):
    """What became of a batch: rows written, and frames dropped as duplicates or as those of another run."""

    rows: int
    duplicates: int


class Unapplied(NamedTuple):
    """What a batch holds for a sink: the frames to apply, how far it is afterwards, and how many frames it dropped."""

    frames: list[StoredFrame]
    applied: SinkCursor
    duplicates: int


def frame_positions(cursors: Mapping[Source, SinkCursor]) -> dict[Source, FramePosition]:
    """Return what cursors tell to whoever asks how far a sink is."""
    return {source: FramePosition(cursor.position, cursor.clock_ms) for source, cursor in cursors.items()}


def run_of(stage: str, run: int) -> int:
    """The run that the positions of a stage belong to: ticks are the same in every run of their log, called 0."""
    return 0 if stage == TICKS else run


def by_source(frames: Iterable[StoredFrame]) -> Iterator[tuple[Source, Iterator[StoredFrame]]]:
    """Group frames by their source; those of one stay in the order in which they are."""
    source = attrgetter("source")
    return groupby(sorted(frames, key=source), key=source)


def source_text(source: Source) -> str:
    """Write a source as sinks keep it: ``candles_1s:0``."""
    return f"{source[0]}:{source[1]}"


def source_of(text: str) -> Source:
    """Read what `source_text` has written.

    >>> source_of(source_text(("candles_1s", 0)))
    ('candles_1s', 0)
    """
    stage, _, partition = text.rpartition(":")
    return stage, int(partition)


def unapplied(applied: SinkCursor, batch: Iterable[StoredFrame], *, log: str, run: int) -> Unapplied:
    """Of frames of one source, in the order of their offsets, those that are new to a sink.

    A frame at or below the applied position is a duplicate: the first one wins. Frames of another run are ignored.
    Both still move the offset on. A sink that holds nothing applies any first position.

    Raises PositionError where frames are missing, ForeignFrameError for a frame of another log.
    """
    fresh: list[StoredFrame] = []
    duplicates = 0
    for stored in batch:
        frame, position = stored.frame, stored.position
        if frame.log != log:
            raise ForeignFrameError(f"{_described(stored)} belongs to log {frame.log}, not to {log}: restart this role")
        offset = max(stored.offset, applied.offset)
        its_order = order(applied.position if applied.position >= 0 else None, position)
        if its_order is Order.DUPLICATE or not (isinstance(frame, TickFrame) or frame.run == run):
            duplicates += 1
            applied = applied._replace(offset=offset)
            continue
        if its_order is Order.AHEAD:
            raise PositionError(
                f"{_described(stored)} has position {position} after {applied.position}: frames are missing"
            )
        applied = SinkCursor(position, offset, max(applied.clock_ms, frame.clock_ms))
        fresh.append(stored)
    return Unapplied(fresh, applied, duplicates)


def is_mine(log: str, run: int, *, held_log: str, held_run: int, remedy: str) -> bool:
    """Whether what a sink holds belongs to this run of this log; False for an earlier run, which a rebuild replaces.

    Raises ForeignLogError for another log or a later run; ``remedy`` says what the user can do.
    """
    if held_log != log:
        raise ForeignLogError(f"{remedy}: it holds log {held_log}, this is log {log}")
    if held_run > run:
        raise ForeignLogError(f"{remedy}: it holds run {held_run} of this log, this is run {run}")
    return held_run == run


def _described(stored: StoredFrame) -> str:
    return f"{stored.stage}[{stored.partition}] offset {stored.offset}"

"""What a role shows of itself while it runs: Prometheus metrics, and its progress per partition.

Where the system that this one re-imagines had a metric of the same meaning, ours has its name.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Any

import msgspec
from prometheus_client import Counter, Gauge

from topology.log.frames import CandleFrame, Frame, IndicatorFrame, TimeframeFrame

FRAMES = Counter("mdengine_frames_total", "Frames applied", ["stage"])
CANDLES = Counter("mdengine_candles_total", "Closed 1-second candles")
TF_CANDLES = Counter("mdengine_tf_candles_total", "Closed candles of longer timeframes", ["tf"])
INDICATORS = Counter("mdengine_indicators_total", "Confirmed values of indicators")
LIVE = Counter("mdengine_live_rows_total", "Values of what is still forming", ["stage"])
DUPLICATES = Counter("mdengine_duplicate_frames_total", "Frames dropped by position", ["stage"])
GAPS = Counter("mdengine_gap_frames_total", "Tick frames that could not be used", ["stage"])
POSITION = Gauge("mdengine_position", "The newest position applied", ["stage", "partition"])
SAVED = Gauge("mdengine_checkpoint_offset", "Input offset of the newest checkpoint", ["stage", "partition"])
LAG = Gauge("mdengine_lag_frames", "Records between a reader and the end of its topic", ["stage", "partition"])
TICKS = Counter("mdengine_ticks_total", "Ticks accepted")
LATE = Counter("mdengine_late_ticks_total", "Ticks that came after their second had closed")
OUTSIDE = Counter("mdengine_out_of_session_ticks_total", "Ticks outside their session")

STILL_S = 15.0  # a reader with lag that has not moved for this long stands still


class PartitionProgress(msgspec.Struct):
    """How far a reader is in one partition: newest position, its offset in the topic read, the clock there."""

    position: int | None
    offset: int
    clock_ms: int
    moved_s: float


class Progress(msgspec.Struct, frozen=True):
    """One line of `/health`: a reader and partition, its lag in records and whether it stands still."""

    stage: str
    partition: int
    position: int | None
    lag: int
    clock_ms: int
    still: bool


class StageMetrics:
    """The metrics of one reader of the log. ``lag`` counts the records from an offset to the end, per partition."""

    def __init__(self, stage: str, lag: Callable[[int, int], int]) -> None:
        self.stage = stage
        self.partitions: dict[int, PartitionProgress] = {}
        self.duplicates = DUPLICATES.labels(stage)
        self._frames, self._live, self._gaps = FRAMES.labels(stage), LIVE.labels(stage), GAPS.labels(stage)
        self._lag = lag

    def opened(self, partition: int, position: int | None, offset: int) -> None:
        """Note where reading a partition starts."""
        self.partitions[partition] = PartitionProgress(position, offset, 0, time.monotonic())

    def read(self, partition: int, offset: int, position: int | None, clock_ms: int) -> None:
        """Note that a record has been used."""
        reader = self.partitions.get(partition)
        if reader is not None:
            reader.offset, reader.position, reader.moved_s = offset, position, time.monotonic()
            reader.clock_ms = max(reader.clock_ms, clock_ms)

    def closed(self, partition: int) -> None:
        """Forget a partition that was revoked."""
        self.partitions.pop(partition, None)
        for gauge in (POSITION, SAVED, LAG):
            gauge.remove(self.stage, partition)

    def applied(self, frame: Frame[Any]) -> None:
        """Count what a frame brought."""
        self._frames.inc()
        self._live.inc(len(frame.live))
        if frame.unusable:
            self._gaps.inc()
        match frame:
            case CandleFrame():
                TICKS.inc(frame.accepted)
                LATE.inc(len(frame.late))
                OUTSIDE.inc(frame.out_of_session)
                CANDLES.inc(len(frame.rows))
            case TimeframeFrame():
                for timeframe_s, count in collections.Counter(row.timeframe_s for row in frame.rows).items():
                    TF_CANDLES.labels(timeframe_s).inc(count)
            case IndicatorFrame():
                INDICATORS.inc(len(frame.rows))

    def saved(self, partition: int, offset: int) -> None:
        """Note a checkpoint."""
        SAVED.labels(self.stage, partition).set(offset)

    def progress(self) -> list[Progress]:
        """Return where this reader is, and set the gauges that are only worth setting when somebody looks."""
        lines = []
        for partition, reader in sorted(self.partitions.items()):
            lag = self._lag(partition, reader.offset)
            still = lag > 0 and time.monotonic() - reader.moved_s > STILL_S
            LAG.labels(self.stage, partition).set(lag)
            if reader.position is not None:
                POSITION.labels(self.stage, partition).set(reader.position)
            lines.append(Progress(self.stage, partition, reader.position, lag, reader.clock_ms, still))
        return lines

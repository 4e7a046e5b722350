"""The state of a stage: one row per partition, so that a checkpoint is atomic.

A row is written in a fixed order: into the local store, then into the changelog. A crash in between leaves a local
row that is newer than the changelog's; both are whole, so whichever survives only decides where reading starts again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

import faust
import msgspec
from faust.types import TP

from topology.log.candle_stage import CandlesCore
from topology.log.frames import VERSION, FrameError, encode
from topology.log.indicator_stage import IndicatorSeriesState
from topology.log.stage import StageState
from topology.market.timeframe_candles import TimeframeCandlesState

MAX_RECORD_BYTES = 16 * 1024 * 1024

Core = TypeVar("Core")


class Row(msgspec.Struct, Generic[Core], array_like=True, frozen=True):
    """A row: the state, and the offset in the input topic up to which every record has been used."""

    version: int
    offset: int
    state: StageState[Core]


class Sender(Protocol):
    """Sends a record and returns its offset once the broker has it."""

    def __call__(self, topic: str, value: bytes, *, partition: int, key: bytes) -> Awaitable[int]:
        """Send to one partition; a record that can't be delivered raises."""
        ...


class StateTable(Generic[Core]):
    """The table of one stage. ``load`` and ``save`` take the partition; Faust recovers the rest."""

    def __init__(self, app: faust.App, name: str, row: Any, *, partitions: int) -> None:
        self._decode: Callable[[bytes], Row[Core]] = msgspec.msgpack.Decoder(row).decode
        self._table = app.Table(
            name,
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            options={"write_buffer_size": 32 << 20, "block_cache_size": 16 << 20, "max_open_files": 256},
            # Compacted eagerly, since only the newest row of a partition matters and recovery reads the others too.
            extra_topic_configs={
                "max.message.bytes": str(MAX_RECORD_BYTES),
                "min.cleanable.dirty.ratio": "0.01",
                "segment.bytes": str(4 * MAX_RECORD_BYTES),
                "segment.ms": "60000",
                "max.compaction.lag.ms": "120000",
            },
        )

    def load(self, partition: int) -> Row[Core] | None:
        """Return the row of a partition, None where there is none; raise FrameError for one of another format."""
        record = self._store(partition).get(_key(partition))
        if record is None:
            return None
        try:
            row = self._decode(record)
        except msgspec.DecodeError as error:
            raise FrameError(f"the row of partition {partition} in table {self._table.name}: {error}") from error
        if row.version != VERSION:
            raise FrameError(f"a row of version {row.version} in table {self._table.name}, where {VERSION} is read")
        return row

    async def save(self, partition: int, row: Row[Core], send: Sender) -> None:
        """Put a row into the local store, then into the changelog, and wait until it is delivered."""
        record, key = encode(row), _key(partition)
        self._store(partition).put(key, record)
        topic = self._table.changelog_topic.get_topic_name()
        offset = await send(topic, record, partition=partition, key=key)
        self._all.set_persisted_offset(TP(topic, partition), offset)

    @property
    def _all(self) -> Any:
        return self._table.data

    def _store(self, partition: int) -> Any:
        # Faust reaches a partition's store only through the current event; a checkpoint at a clean stop has none.
        return self._all._db_for_partition(partition)


def changelog_of(app_id: str, table: str) -> str:
    """Return the topic that Faust gives a table for its changelog."""
    return f"{app_id}-{table}-changelog"


def _key(partition: int) -> bytes:
    return b"%d" % partition


CandlesRow = Row[CandlesCore]
TimeframesRow = Row[TimeframeCandlesState | None]
IndicatorsRow = Row[list[IndicatorSeriesState]]

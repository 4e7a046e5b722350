"""The history of a timeframe that is new, out of the archive's candles of shorter ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from topology.indicators import KEPT_CLOSES
from topology.log.frames import Configure
from topology.log.partition import partition_of
from topology.market import Calendar, Candle
from topology.market.history import History, resampled_history
from topology.market.instruments import default_class
from topology.market.times import Interval

MOST_PARTS = 50_000  # shorter candles that are read of an instrument for a timeframe that is new


class CandleArchive(Protocol):
    """What is asked of the archive, in threads: :class:`topology.sinks.archive.history.ArchiveHistory` is one."""

    def clock_ms(self, timeframe_s: int, partition: int) -> int:
        """Return the log's clock up to which the candles of a partition are there, 0 for none."""
        ...

    def candles(self, instrument: str, timeframe_s: int, limit: int) -> list[Candle]:
        """Return the newest candles of an instrument and timeframe, up to ``limit``, the oldest first."""
        ...


OpenArchive = Callable[[str], AbstractContextManager[CandleArchive]]
"""Opens the archive of the log with this id."""


class ArchivedHistory:
    """Makes history of timeframes that come out of what is archived of those there were before."""

    def __init__(self, archive: CandleArchive, before: Configure, partitions: int) -> None:
        self._archive, self._before, self._partitions = archive, before, partitions
        self._calendar = Calendar.parse(before.calendar)

    def histories(self, timeframes: Iterable[int], instruments: Sequence[str]) -> Iterator[History]:
        """Yield the history of each timeframe and instrument of which anything is archived."""
        for timeframe_s in timeframes:
            # Seconds are always there, and divide everything.
            shorter = [each for each in (1, *self._before.timeframes) if timeframe_s % each == 0]
            for instrument in instruments:
                history = self._history(instrument, timeframe_s, max(shorter))
                if history is not None:
                    yield history

    def _history(self, instrument: str, timeframe_s: int, part_s: int) -> History | None:
        clock_ms = self._archive.clock_ms(part_s, partition_of(instrument, self._partitions))
        limit = min(KEPT_CLOSES * timeframe_s // part_s, MOST_PARTS)
        parts = self._archive.candles(instrument, part_s, limit) if clock_ms else []
        if not parts:
            return None
        archived = Interval(parts[0].start_ms if len(parts) == limit else 0, clock_ms - self._before.lateness_ms)
        of_class = self._before.classes.get(instrument) or default_class(instrument)
        history = resampled_history(parts, self._calendar, of_class, History(instrument, timeframe_s, [], 0), archived)
        return msgspec.structs.replace(history, candles=history.candles[-KEPT_CLOSES:])

"""The candles of an archive, read while another process writes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Self

from topology.log.frames import CANDLES, TIMEFRAMES
from topology.market.candle import Candle
from topology.sinks.archive.archive import explained, read_only, read_positions
from topology.sinks.cursor import NO_CURSOR
from topology.sinks.values import split

_TIMEFRAME = """
SELECT ts, open, high, low, close, volume, count, marks FROM candles_tf
WHERE exchange = ? AND token = ? AND tf = ? ORDER BY ts DESC LIMIT ?"""
_SECONDS = """
SELECT ts, open, high, low, close, volume, ticks_count, marks FROM candles_1s
WHERE exchange = ? AND token = ? ORDER BY ts DESC LIMIT ?"""


class ArchiveHistory:
    """What the SQLite file at ``path`` holds of a log; nothing where there is no file. ``with`` opens and closes it.

    Calls block: make them from threads, one after the other. Raises ForeignLogError for the file of another log,
    ArchiveError for one that can't be read.
    """

    def __init__(self, path: Path, log: str) -> None:
        self._path, self._log = path, log
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Open the file, and take over how far it is."""
        # The clocks first: what has closed up to them is there when the candles are read.
        self._positions = read_positions(self._path, log=self._log, run=0)
        if self._positions:
            with explained(self._path):
                self._connection = read_only(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def clock_ms(self, timeframe_s: int, partition: int) -> int:
        """Return the log's clock up to which the candles of a partition are there, 0 for none."""
        stage = CANDLES if timeframe_s == 1 else TIMEFRAMES
        return self._positions.get((stage, partition), NO_CURSOR).clock_ms

    def candles(self, instrument: str, timeframe_s: int, limit: int) -> list[Candle]:
        """Return the newest candles of an instrument and timeframe, up to ``limit``, the oldest first."""
        if self._connection is None:
            return []
        query = (_SECONDS, split(instrument)) if timeframe_s == 1 else (_TIMEFRAME, (*split(instrument), timeframe_s))
        with explained(self._path):
            rows = self._connection.execute(query[0], (*query[1], limit)).fetchall()
        return [Candle(instrument, timeframe_s, ts * 1000, *values) for ts, *values in reversed(rows)]

"""Reading the archive while another process writes it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from topology.market.candle import BROKER, EXTREME, PARTIAL
from topology.market.times import Interval
from topology.sinks.archive.archive import explained, read_only
from topology.sinks.archive.rows import Counts
from topology.sinks.values import CandleJson, GapJson, IndicatorJson, SecondCandleJson, split

_CANDLE = "open, high, low, close, volume"
_CAUSE = "partition, position, marks"
_OF_INSTRUMENT = "WHERE exchange = :exchange AND token = :token"
_SECONDS = f"SELECT ts, {_CANDLE}, ticks_count, {_CAUSE}, 0 FROM candles_1s {_OF_INSTRUMENT}"
_TIMEFRAMES = f"SELECT ts, {_CANDLE}, count, {_CAUSE}, revision FROM candles_tf {_OF_INSTRUMENT} AND tf = :tf"
_VALUES = f"""
SELECT ts, value, partition, position FROM indicators {_OF_INSTRUMENT} AND name = :name AND tf = :tf"""
_NEWEST = " AND ts >= :since AND ts < :before AND position > :after ORDER BY ts DESC LIMIT :limit"
_HAS_GAPS = "SELECT 1 FROM sqlite_master WHERE name = 'gaps'"  # an archive of before has none until it is written to
_GAPS = f"""
SELECT from_ms, to_ms, broken, partition, position FROM gaps {_OF_INSTRUMENT}
AND from_ms < :to AND (to_ms IS NULL OR to_ms > :from) ORDER BY from_ms"""
_COUNTS = "SELECT total(row_count), total(gaps), total(accepted), total(late), total(out_of_session) FROM positions"
_END_OF_TIME_S = 1 << 62


class PageQuery(msgspec.Struct, frozen=True):
    """Which rows of a series are wanted: at most ``limit``, the newest of those with ``since_s <= ts < before_s``.

    With ``after`` only those that a frame at a later position has caused. Times are epoch seconds.
    """

    limit: int
    before_s: int = _END_OF_TIME_S
    since_s: int = 0
    after: int = -1


class ArchiveReader:
    """The archive at ``path``; one that isn't there yet holds nothing, one that is replaced is opened anew.

    Calls block for some milliseconds: make them from threads. They raise ArchiveError for a file that can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = threading.local()

    def candles(self, instrument: str, timeframe_s: int, wanted: PageQuery) -> list[CandleJson | SecondCandleJson]:
        """Return closed candles, the newest first."""
        exchange, token = split(instrument)
        query, shape = (_SECONDS, SecondCandleJson) if timeframe_s == 1 else (_TIMEFRAMES, CandleJson)
        rows = self._rows(query + _NEWEST, wanted, exchange=exchange, token=token, tf=timeframe_s)
        return [_candle(shape, token, exchange, timeframe_s, *row) for row in rows]

    def values(self, instrument: str, name: str, timeframe_s: int, wanted: PageQuery) -> list[IndicatorJson]:
        """Return confirmed values of an indicator, the newest first."""
        exchange, token = split(instrument)
        rows = self._rows(_VALUES + _NEWEST, wanted, exchange=exchange, token=token, name=name, tf=timeframe_s)
        return [
            IndicatorJson(name, token, exchange, timeframe_s, round(value, 4), ts, True, False, position, partition)
            for ts, value, partition, position in rows
        ]

    def instruments(self) -> list[str]:
        """Return the instruments that there are candles of, in the order of their names."""
        with self._connection() as connection:
            names = {name for table in ("candles_1s", "candles_tf") for name in _instruments(connection, table)}
        return sorted(names)

    def reached_ms(self, stage: str, partition: int) -> int | None:
        """Return the clock of the last frame that was applied of a stage's partition; None where there is none."""
        with self._connection() as connection:
            row = (
                connection
                and connection.execute(
                    "SELECT clock_ms FROM positions WHERE stage = ? AND partition = ?", [stage, partition]
                ).fetchone()
            )
        return row[0] if row else None

    def gaps(self, instrument: str, interval: Interval) -> list[GapJson]:
        """Return the gaps that overlap with an interval of time, the oldest first. They may overlap with each other."""
        exchange, token = split(instrument)
        of = {"exchange": exchange, "token": token, "from": interval.from_ms, "to": interval.to_ms}
        with self._connection() as connection:
            if connection is None or not connection.execute(_HAS_GAPS).fetchone():
                return []
            rows = connection.execute(_GAPS, of).fetchall()
        return [GapJson(token, exchange, begin, end, bool(broken), *cause) for begin, end, broken, *cause in rows]

    def counts(self) -> Counts:
        """Return what became of all ticks so far, and the frames that could not be used."""
        with self._connection() as connection:
            row = connection and connection.execute(_COUNTS).fetchone()
        return Counts(*map(int, row)) if row else Counts()

    def positions(self, stage: str) -> dict[int, int]:
        """Return the position up to which it holds all of a stage, by partition."""
        with self._connection() as connection:
            rows = (
                connection.execute("SELECT partition, position FROM positions WHERE stage = ?", [stage]).fetchall()
                if connection is not None
                else []
            )
        return dict(rows)

    def _rows(self, query: str, wanted: PageQuery, **of: str | int) -> list[tuple[int, ...]]:
        with self._connection() as connection:
            if connection is None:
                return []
            parameters = {
                "since": wanted.since_s, "before": wanted.before_s, "after": wanted.after, "limit": wanted.limit
            }  # fmt: skip
            return connection.execute(query, parameters | of).fetchall()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection | None]:
        """The connection of this thread; None where there is no archive yet."""
        with explained(self._path):
            yield self._reopened()

    def _reopened(self) -> sqlite3.Connection | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        current: tuple[tuple[int, int], sqlite3.Connection] | None = getattr(self._opened, "current", None)
        file = stat.st_dev, stat.st_ino
        if current is None or current[0] != file:
            if current is not None:
                current[1].close()
            current = self._opened.current = file, read_only(self._path)
        ready = current[1].execute("SELECT 1 FROM sqlite_master WHERE name = 'positions'").fetchone()
        return current[1] if ready else None


def _instruments(connection: sqlite3.Connection | None, table: str) -> Iterator[str]:
    """Go from one instrument to the next by the primary key: to read all rows would take minutes."""
    exchange, token = "", ""
    while connection is not None:
        row = connection.execute(
            f"SELECT min(token) FROM {table} WHERE exchange = ? AND token > ?", [exchange, token]
        ).fetchone()
        if row[0] is not None:
            token = row[0]
            yield f"{exchange}:{token}"
            continue
        (exchange,) = connection.execute(f"SELECT min(exchange) FROM {table} WHERE exchange > ?", [exchange]).fetchone()
        token = ""
        if exchange is None:
            return


def _candle(
    shape: type[CandleJson] | type[SecondCandleJson], token: str, exchange: str, timeframe_s: int, *row: int
) -> CandleJson | SecondCandleJson:
    ts, opened, high, low, close, volume, count, partition, position, marks, revision = row
    partial, extreme = bool(marks & PARTIAL) or msgspec.UNSET, bool(marks & EXTREME) or msgspec.UNSET
    fields = (token, exchange, timeframe_s, ts, opened, high, low, close, volume, count, False, position, partition)
    if shape is SecondCandleJson or not marks & BROKER:
        return shape(*fields, partial, extreme)
    return CandleJson(*fields, partial, extreme, "broker", revision)

"""What frames become in SQLite: rows of the archive's tables, and counts."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from topology.log.frames import CandleFrame, IndicatorFrame, TimeframeFrame
from topology.market.candle import BROKER, Candle
from topology.market.gaps import Gap
from topology.sinks.cursor import SinkCursor, Source, StoredFrame
from topology.sinks.values import split

SELECT_POSITIONS = """
SELECT stage, partition, log, run, position, "offset", clock_ms, row_count, gaps, accepted, late, out_of_session
FROM positions"""
_MOVE = "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# REPLACE: after a rebuild the rows come again, and what the later run found stands.
_INSERT_SECONDS = """
INSERT OR REPLACE INTO candles_1s
(exchange, token, ts, open, high, low, close, volume, ticks_count, marks, partition, position)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_TIMEFRAMES = """
INSERT OR REPLACE INTO candles_tf
(exchange, token, tf, ts, open, high, low, close, volume, count, marks, partition, position, source)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# What history tells, with its revision: it fills in what is missing, and corrects from revision 1 on.
_FILL = """
INSERT INTO candles_tf
(exchange, token, tf, ts, open, high, low, close, volume, count, marks, partition, position, source, revision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO"""
_FILL_IN = f"{_FILL} NOTHING"
_CORRECT = f"""{_FILL} UPDATE SET
(open, high, low, close, volume, count, marks, partition, position, source, revision) =
(excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.count, excluded.marks,
excluded.partition, excluded.position, excluded.source, excluded.revision)"""
_INSERT_INDICATORS = """
INSERT OR REPLACE INTO indicators (exchange, token, name, tf, ts, value, partition, position)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

# Gaps, with the same parameters. What one tells when it ends is not always what it told when it began, so that its end
# is also that of whatever else has begun. What an older frame tells again changes nothing.
_END_GAPS = """
UPDATE gaps SET to_ms = ?4, position = ?7
WHERE exchange = ?1 AND token = ?2 AND from_ms < ?4 AND to_ms IS NULL AND position <= ?7"""
_TELL_GAP = """
INSERT INTO gaps (exchange, token, from_ms, to_ms, broken, partition, position) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO UPDATE SET
(to_ms, broken, position) = (excluded.to_ms, max(broken, excluded.broken), excluded.position)
WHERE position <= excluded.position"""

Row = tuple[str | int | float | None, ...]


@dataclass(slots=True)
class Counts:
    """What the frames of a source held: rows; and, of candle frames, what became of the ticks.

    ``gaps`` counts those that say that their tick frame was unusable.
    """

    rows: int = 0
    gaps: int = 0
    accepted: int = 0
    late: int = 0
    out_of_session: int = 0


@dataclass(slots=True)
class RowBatch:
    """The statements' parameters for a batch of frames."""

    seconds: list[Row] = field(default_factory=list)
    timeframes: list[Row] = field(default_factory=list)
    filled_in: list[Row] = field(default_factory=list)
    corrected: list[Row] = field(default_factory=list)
    indicators: list[Row] = field(default_factory=list)
    gaps: list[tuple[Gap, list[Row]]] = field(default_factory=list)
    moves: list[Row] = field(default_factory=list)

    def add(self, stored: StoredFrame, counts: Counts) -> None:
        """Add the rows of a frame, and count them."""
        partition, position = stored.partition, stored.position
        match stored.frame:
            case CandleFrame() as frame:
                self.seconds += _seconds(frame, partition, position)
                counts.rows += len(frame.rows)
                counts.gaps += bool(frame.unusable)
                counts.accepted += frame.accepted
                counts.late += len(frame.late)
                counts.out_of_session += frame.out_of_session
                self.gaps += [(gap, _missed(gap, partition, position)) for gap in frame.gaps]
            case TimeframeFrame() as frame:
                self.timeframes += _timeframes(frame.rows, partition, position)
                counts.rows += len(frame.rows)
                for history in frame.history:
                    rows = [(*row, history.revision) for row in _timeframes(history.candles, partition, position)]
                    (self.corrected if history.revision else self.filled_in).extend(rows)
            case IndicatorFrame() as frame:
                self.indicators += _indicators(frame, partition, position)
                counts.rows += len(frame.rows)

    def move(self, source: Source, applied: SinkCursor, counts: Counts, *, log: str, run: int) -> None:
        """Note how far a source has been applied."""
        tally = (counts.rows, counts.gaps, counts.accepted, counts.late, counts.out_of_session)
        self.moves.append((*source, log, run, applied.position, applied.offset, applied.clock_ms, *tally))

    def insert(self, connection: sqlite3.Connection) -> int:
        """Execute the statements within the transaction that is open. Returns the number of rows, without positions."""
        connection.executemany(_INSERT_SECONDS, self.seconds)
        connection.executemany(_INSERT_TIMEFRAMES, self.timeframes)
        # After the candles that ticks made: history is only of such as had closed before.
        connection.executemany(_FILL_IN, self.filled_in)
        connection.executemany(_CORRECT, self.corrected)
        connection.executemany(_INSERT_INDICATORS, self.indicators)
        for gap, missed in self.gaps:  # in the order in which they came
            if gap.to_ms is not None:
                connection.executemany(_END_GAPS, missed)
            connection.executemany(_TELL_GAP, missed)
        connection.executemany(_MOVE, self.moves)
        written = (self.seconds, self.timeframes, self.filled_in, self.corrected, self.indicators)
        return sum(map(len, written)) + sum(len(missed) for _, missed in self.gaps)


def _seconds(frame: CandleFrame, partition: int, position: int) -> list[Row]:
    return [(*split(c.instrument), c.start_ms // 1000, *_traded(c), partition, position) for c in frame.rows]


def _timeframes(candles: list[Candle], partition: int, position: int) -> list[Row]:
    return [
        (*split(c.instrument), c.timeframe_s, c.start_ms // 1000, *_traded(c), partition, position, _source(c))
        for c in candles
    ]


def _source(candle: Candle) -> str:
    return "broker" if candle.marks & BROKER else "live"


def _traded(candle: Candle) -> tuple[int, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume, candle.count, candle.marks


def _missed(gap: Gap, partition: int, position: int) -> list[Row]:
    return [(*split(name), gap.from_ms, gap.to_ms, gap.broken, partition, position) for name in gap.instruments]


def _indicators(frame: IndicatorFrame, partition: int, position: int) -> list[Row]:
    return [
        (*split(v.instrument), v.name, v.timeframe_s, v.start_ms // 1000, v.value, partition, position)
        for v in frame.rows
    ]

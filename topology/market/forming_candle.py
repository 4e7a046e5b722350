"""A candle while it forms out of shorter ones."""

from __future__ import annotations

import msgspec

from topology.market.candle import PARTIAL, Candle


class FormingCandle(msgspec.Struct, array_like=True, gc=False):
    """A candle that seconds still go into; it ends at ``end_ms``, where the session may have cut it.

    All is known of it from ``since_ms`` on; where that is after its start its timeframe came when it had begun.
    """

    instrument: str
    timeframe_s: int
    start_ms: int
    end_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    count: int
    marks: int = 0
    since_ms: int = 0

    def add(self, second: Candle) -> None:
        """Add the next second."""
        if second.high > self.high:
            self.high = second.high
        if second.low < self.low:
            self.low = second.low
        self.close = second.close
        self.volume += second.volume
        self.count += second.count
        self.marks |= second.marks

    def precede(self, part: Candle) -> None:
        """Add what comes before all that is in it."""
        self.open = part.open
        self.high = max(self.high, part.high)
        self.low = min(self.low, part.low)
        self.volume += part.volume
        self.count += part.count
        self.marks |= part.marks

    def candle(self) -> Candle:
        """Return the candle as it stands."""
        return Candle(
            self.instrument,
            self.timeframe_s,
            self.start_ms,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.count,
            self.marks | PARTIAL if self.since_ms > self.start_ms else self.marks,
        )


Part = Candle | FormingCandle


def candle_start(time_ms: int, session_ms: int, timeframe_s: int) -> int:
    """Return the start of the candle that a time lies in, counted from the session's open."""
    span_ms = timeframe_s * 1000
    return session_ms + (time_ms - session_ms) // span_ms * span_ms


def begin_candle(part: Part, timeframe_s: int, session_ms: int, close_ms: int) -> FormingCandle:
    """Return the candle that a shorter candle is the first part of, in a session from open to close."""
    start_ms = candle_start(part.start_ms, session_ms, timeframe_s)
    return FormingCandle(
        part.instrument,
        timeframe_s,
        start_ms,
        min(start_ms + timeframe_s * 1000, close_ms),
        part.open,
        part.high,
        part.low,
        part.close,
        part.volume,
        part.count,
        part.marks,
    )

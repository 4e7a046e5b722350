"""The state of one instrument on its way to 1-second candles: its open candles, its volume, its newest gap."""

from __future__ import annotations

from copy import copy

import msgspec

from topology.market.calendar import Session, Span
from topology.market.candle import EXTREME, PARTIAL, Candle
from topology.market.gaps import Gap
from topology.market.ticks import Tick
from topology.market.times import LONG_AGO, SECOND_MS


class OpenCandle(msgspec.Struct, array_like=True, gc=False):
    """A 1-second candle that ticks still go into. Open and close are the first and last by time, then by arrival."""

    start_ms: int
    first_ms: int
    last_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    count: int
    marks: int = 0

    @classmethod
    def of(cls, tick: Tick, volume: int) -> OpenCandle:
        """Open a candle with its first tick and the quantity traded."""
        start_ms, price = tick.time_ms - tick.time_ms % SECOND_MS, tick.price
        candle = cls(start_ms, tick.time_ms, tick.time_ms, price, price, price, price, volume, 1)
        candle.extend(tick)
        return candle

    def add(self, tick: Tick, volume: int) -> None:
        """Add a tick of this second and the quantity traded."""
        price, time_ms = tick.price, tick.time_ms
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        if time_ms >= self.last_ms:
            self.last_ms, self.close = time_ms, price
        elif time_ms < self.first_ms:
            self.first_ms, self.open = time_ms, price
        self.volume += volume
        self.count += 1
        if tick.high is not None or tick.low is not None:
            self.extend(tick)

    def extend(self, tick: Tick) -> None:
        """Widen it by the extremes that a tick has beside its price."""
        if tick.high is not None and tick.high > self.high:
            self.high, self.marks = tick.high, self.marks | EXTREME
        if tick.low is not None and tick.low < self.low:
            self.low, self.marks = tick.low, self.marks | EXTREME

    def candle(self, instrument: str) -> Candle:
        """Return the candle as it stands."""
        return Candle(
            instrument, 1, self.start_ms, self.open, self.high, self.low, self.close, self.volume, self.count,
            self.marks,
        )  # fmt: skip


class InstrumentState(msgspec.Struct, array_like=True, frozen=True):
    """The state of one instrument as a value (see :class:`InstrumentCandles`)."""

    instrument: str
    newest_ms: int
    closed_ms: int
    session_ms: int
    volume: int | None
    open: list[OpenCandle]
    gap_from_ms: int = LONG_AGO
    gap_to_ms: int = LONG_AGO
    resumed: bool = False


class InstrumentCandles:
    """The state of one instrument: its newest tick, its day volume so far and its open candles, oldest first."""

    __slots__ = (
        "closed_ms", "closes_at_ms", "gap_from_ms", "gap_to_ms", "instrument", "instrument_class", "newest_ms", "open",
        "resumed", "session_ms", "span", "volume",
    )  # fmt: skip

    def __init__(self, instrument: str, instrument_class: str) -> None:
        self.instrument = instrument
        self.instrument_class = instrument_class
        self.span = Span(0, 0, None)
        self.session_ms = LONG_AGO  # the open of the session that `volume` belongs to
        self.newest_ms = LONG_AGO
        self.closed_ms = LONG_AGO  # seconds up to here closed under an earlier lateness; a higher one opens none again
        self.closes_at_ms = LONG_AGO  # a tick at or after this time closes the oldest open candle
        self.volume: int | None = None  # cumulative day volume seen so far
        self.open: list[OpenCandle] = []
        self.gap_from_ms = self.gap_to_ms = LONG_AGO  # the newest gap
        self.resumed = False  # after a gap, until there is a volume again

    def enter(self) -> Session:
        """Return the session of `span`, which the series is in from now on; it starts without a volume."""
        session = self.span.session
        assert session is not None
        if session.open_ms > self.session_ms:
            self.session_ms, self.volume = session.open_ms, None
        return session

    def interrupt(self, gap: Gap) -> None:
        """Note a gap, or its end."""
        self.gap_from_ms, self.gap_to_ms = gap.from_ms, gap.end_ms
        self.resumed = self.resumed or gap.broken
        for candle in self.open:
            candle.marks |= self.misses(candle.start_ms)

    def traded(self, day_volume: int) -> int:
        """Return the quantity traded since the volume before; the first time in a session is only the baseline."""
        before, self.volume = self.volume, max(self.volume or 0, day_volume)
        return 0 if before is None else self.volume - before

    def misses(self, start_ms: int) -> int:
        """Return ``PARTIAL`` for a second that a gap overlaps with, 0 for another."""
        return PARTIAL if self.gap_from_ms < start_ms + SECOND_MS and start_ms < self.gap_to_ms else 0

    def state(self) -> InstrumentState:
        """Return the state, as a value for :meth:`restore`; the open candles are copies."""
        return InstrumentState(
            self.instrument, self.newest_ms, self.closed_ms, self.session_ms, self.volume, list(map(copy, self.open)),
            self.gap_from_ms, self.gap_to_ms, self.resumed,
        )  # fmt: skip

    def restore(self, state: InstrumentState) -> None:
        """Take over all that :meth:`state` returned but the open candles."""
        self.newest_ms, self.closed_ms = state.newest_ms, state.closed_ms
        self.session_ms, self.volume = state.session_ms, state.volume
        self.gap_from_ms, self.gap_to_ms, self.resumed = state.gap_from_ms, state.gap_to_ms, state.resumed

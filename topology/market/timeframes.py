"""1-second candles to candles of longer timeframes, for any number of instruments.

A candle is counted from the open of its session (09:15, not a multiple of the epoch) and cut at the session's close.
It closes when all its seconds have: when the clock has passed its end by the lateness that seconds are allowed, or
when a later second of the same instrument arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from heapq import heappop, heappush

import msgspec

from topology.market.calendar import Calendar, NotCovered, Span
from topology.market.candle import PARTIAL, Candle
from topology.market.gaps import Gap
from topology.market.instruments import default_class
from topology.market.series import LONG_AGO, SECOND_MS


class FormingCandle(msgspec.Struct, array_like=True, gc=False):
    """A candle that still takes seconds; it ends at ``end_ms``, where the session may have cut it."""

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

    def add(self, second: Candle) -> None:
        """Take the next second."""
        if second.high > self.high:
            self.high = second.high
        if second.low < self.low:
            self.low = second.low
        self.close = second.close
        self.volume += second.volume
        self.count += second.count
        self.marks |= second.marks

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
            self.marks,
        )


class TimeframesState(msgspec.Struct, array_like=True, frozen=True):
    """Everything that :class:`TimeframeCandles` knows, as a value."""

    clock_ms: int
    forming: list[FormingCandle]
    gaps: dict[str, tuple[int, int]] = {}


class TimeframeCandles:
    """Folds closed 1-second candles, each instrument's in order, into candles of each of ``timeframes_s``."""

    def __init__(
        self,
        calendar: Calendar,
        timeframes_s: Sequence[int],
        *,
        classes: Mapping[str, str] | None = None,
        lateness_ms: int = 1000,
    ):
        self.clock_ms = LONG_AGO
        self._forming: dict[tuple[str, int], FormingCandle] = {}
        self._ends: list[int] = []  # a heap of the keys of `_ending`
        self._ending: dict[int, list[FormingCandle]] = {}  # candles by their end; some may have closed before it
        self._spans: dict[str, Span] = {}
        self._gaps: dict[str, tuple[int, int]] = {}  # start and end of the newest one of each instrument
        self.configure(calendar, timeframes_s, classes=classes, lateness_ms=lateness_ms)

    def configure(
        self,
        calendar: Calendar,
        timeframes_s: Sequence[int],
        *,
        classes: Mapping[str, str] | None = None,
        lateness_ms: int,
    ) -> None:
        """Change timeframes, sessions and lateness from here on. Forming candles of a timeframe that goes are lost."""
        self.calendar, self.classes, self.lateness_ms = calendar, dict(classes or {}), lateness_ms
        self.timeframes_s = sorted(timeframes_s)
        self._spans = {}
        self._rebuild([candle for key, candle in self._forming.items() if key[1] in self.timeframes_s])

    def apply(self, seconds: Iterable[Candle], clock_ms: int | None = None) -> list[Candle]:
        """Apply closed 1-second candles in order, then the clock. Returns the candles that closed, in order."""
        closed: list[Candle] = []
        for second in seconds:
            self._add(second, closed)
        if clock_ms is not None and clock_ms > self.clock_ms:
            self.clock_ms = clock_ms
            self._close_by_clock(closed)
        return closed

    def interrupt(self, gap: Gap) -> None:
        """Note a gap, or its end: before the seconds that come after it."""
        for instrument in gap.instruments:
            self._gaps[instrument] = gap.from_ms, gap.end_ms
            for timeframe_s in self.timeframes_s:
                if (candle := self._forming.get((instrument, timeframe_s))) is not None:
                    self._mark(candle)

    def _mark(self, candle: FormingCandle) -> FormingCandle:
        gap = self._gaps.get(candle.instrument)
        if gap is not None and gap[0] < candle.end_ms and candle.start_ms < gap[1]:
            candle.marks |= PARTIAL
        return candle

    def forming(self, open_seconds: Iterable[Candle]) -> list[Candle]:
        """Return the forming candles that these open seconds belong to, as if the seconds had closed now."""
        found: dict[tuple[str, int, int], FormingCandle] = {}
        for second in open_seconds:
            session_ms, close_ms = self._session(second)
            for timeframe_s in self.timeframes_s:
                start_ms = start_of(second.start_ms, session_ms, timeframe_s)
                key = (second.instrument, timeframe_s, start_ms)
                candle = found.get(key)
                if candle is None and (kept := self._forming.get(key[:2])) and kept.start_ms == start_ms:
                    candle = found[key] = copy(kept)
                if candle is None:
                    found[key] = self._mark(_first(second, timeframe_s, start_ms, close_ms))
                else:
                    candle.add(second)
        return [candle.candle() for candle in found.values()]

    def has_ended(self, candle: Candle) -> bool:
        """Say whether a candle that was made elsewhere is one of a session, and all has closed here up to its end."""
        session_ms, close_ms = self._session(candle)
        span_ms = candle.timeframe_s * 1000
        forming = self._forming.get((candle.instrument, candle.timeframe_s))
        return (
            close_ms - session_ms > SECOND_MS  # a time outside of the sessions stands alone
            and (candle.start_ms - session_ms) % span_ms == 0
            and min(candle.start_ms + span_ms, close_ms) <= self.clock_ms - self.lateness_ms
            and (forming is None or candle.start_ms < forming.start_ms)
        )

    def _add(self, second: Candle, closed: list[Candle]) -> None:
        session_ms, close_ms = self._session(second)
        for timeframe_s in self.timeframes_s:
            start_ms = start_of(second.start_ms, session_ms, timeframe_s)
            key = (second.instrument, timeframe_s)
            candle = self._forming.get(key)
            if candle is not None and candle.start_ms == start_ms:
                candle.add(second)
                continue
            if candle is not None:
                closed.append(candle.candle())
            self._keep(self._mark(_first(second, timeframe_s, start_ms, close_ms)))

    def _session(self, second: Candle) -> tuple[int, int]:
        """Return open and close of the session that a second lies in."""
        name = second.instrument
        span = self._spans.get(name)
        if span is None or not span.from_ms <= second.start_ms < span.until_ms:
            instrument_class = self.classes.get(name) or default_class(name)
            try:
                span = self._spans[name] = self.calendar.span(instrument_class, second.start_ms)
            except NotCovered:
                span = Span(second.start_ms, second.start_ms + SECOND_MS, None)
        if span.session is None:
            # The calendar changed while this second was open: it was in a session when it opened, so keep it alone.
            return second.start_ms, second.start_ms + SECOND_MS
        return span.session.open_ms, span.session.close_ms

    def _keep(self, candle: FormingCandle) -> None:
        self._forming[candle.instrument, candle.timeframe_s] = candle
        ending = self._ending.get(candle.end_ms)
        if ending is None:
            heappush(self._ends, candle.end_ms)
            ending = self._ending[candle.end_ms] = []
        ending.append(candle)

    def _close_by_clock(self, closed: list[Candle]) -> None:
        """Close what the clock has passed, by end, timeframe and instrument: the same order in any replay."""
        limit_ms = self.clock_ms - self.lateness_ms
        while self._ends and self._ends[0] <= limit_ms:
            for candle in sorted(self._ending.pop(heappop(self._ends)), key=_by_timeframe):
                key = (candle.instrument, candle.timeframe_s)
                if self._forming.get(key) is candle:
                    del self._forming[key]
                    closed.append(candle.candle())

    def _rebuild(self, candles: Iterable[FormingCandle]) -> None:
        self._forming, self._ends, self._ending = {}, [], {}
        for candle in candles:
            self._keep(candle)

    def state(self) -> TimeframesState:
        """Return everything that is known, as a value for :meth:`restore`."""
        return TimeframesState(self.clock_ms, [copy(candle) for candle in self._forming.values()], dict(self._gaps))

    def restore(self, state: TimeframesState) -> None:
        """Take over what :meth:`state` returned, in place of what is known."""
        self.clock_ms, self._gaps = state.clock_ms, dict(state.gaps)
        self._rebuild(copy(candle) for candle in state.forming)


def start_of(time_ms: int, session_ms: int, timeframe_s: int) -> int:
    """Return the start of the candle that a time lies in, counted from the session's open."""
    span_ms = timeframe_s * 1000
    return session_ms + (time_ms - session_ms) // span_ms * span_ms


def _first(second: Candle, timeframe_s: int, start_ms: int, close_ms: int) -> FormingCandle:
    return FormingCandle(
        second.instrument,
        timeframe_s,
        start_ms,
        min(start_ms + timeframe_s * 1000, close_ms),
        second.open,
        second.high,
        second.low,
        second.close,
        second.volume,
        second.count,
        second.marks,
    )


def _by_timeframe(candle: FormingCandle) -> tuple[int, str]:
    return candle.timeframe_s, candle.instrument

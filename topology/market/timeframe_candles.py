"""1-second candles to candles of longer timeframes, for any number of instruments.

A candle is counted from the open of its session (09:15, not a multiple of the epoch) and cut at the session's close.
It closes when all its seconds have: when the clock has passed its end by the lateness that seconds are allowed, or
when a later second of the same instrument arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec

from topology.market.calendar import Calendar, NotCovered, Span
from topology.market.candle import PARTIAL, Candle
from topology.market.forming_candle import FormingCandle, Part, begin_candle, candle_start
from topology.market.gaps import Gap
from topology.market.instruments import default_class
from topology.market.times import LONG_AGO, SECOND_MS, Interval


class Arrival(NamedTuple):
    """When a timeframe came: all had closed up to ``limit_ms``, and ``part_s`` was the longest that divides it then.

    That is 0 where there was none.
    """

    limit_ms: int
    part_s: int


class TimeframeCandlesState(msgspec.Struct, array_like=True, frozen=True):
    """The whole state of :class:`TimeframeCandles`, as a value."""

    clock_ms: int
    forming: list[FormingCandle]
    gaps: dict[str, Interval] = {}
    arrivals: dict[int, Arrival] = {}


class TimeframeCandles:
    """Resamples closed 1-second candles, each instrument's in order, into candles of each of ``timeframes_s``."""

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
        self._gaps: dict[str, Interval] = {}  # the newest one of each instrument
        self._arrivals: dict[int, Arrival] = {}
        self.calendar, self.classes, self.lateness_ms = calendar, dict(classes or {}), lateness_ms
        self.timeframes_s: list[int] = []
        self.configure(calendar, timeframes_s, classes=classes, lateness_ms=lateness_ms)

    def configure(
        self,
        calendar: Calendar,
        timeframes_s: Sequence[int],
        *,
        classes: Mapping[str, str] | None = None,
        lateness_ms: int,
    ) -> None:
        """Change timeframes, sessions and lateness from here on. Forming candles of a timeframe that goes are lost.

        The first candle of one that comes starts with those of the longest there is that divides it. Where that isn't
        its beginning it is ``PARTIAL``, until `complete` gives it that.
        """
        before, before_s, limit_ms = list(self._forming.values()), self.timeframes_s, self.clock_ms - self.lateness_ms
        same_sessions = (calendar.text, dict(classes or {})) == (self.calendar.text, self.classes)
        self.calendar, self.classes, self.lateness_ms = calendar, dict(classes or {}), lateness_ms
        self.timeframes_s = sorted(timeframes_s)
        self._spans = {}
        self._rebuild([candle for candle in before if candle.timeframe_s in self.timeframes_s])
        self._arrivals = {each: arrival for each, arrival in self._arrivals.items() if each in self.timeframes_s}
        for timeframe_s in self.timeframes_s:
            if timeframe_s in before_s or self.clock_ms == LONG_AGO:
                continue
            parts_s = [each for each in before_s if timeframe_s % each == 0] if same_sessions else []
            arrival = self._arrivals[timeframe_s] = Arrival(limit_ms, max(parts_s, default=0))
            for candle in before:
                if candle.timeframe_s == arrival.part_s:
                    self._add_forming(
                        self._started(candle, timeframe_s, since_ms=max(candle.start_ms, candle.since_ms))
                    )

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
            self._gaps[instrument] = Interval(gap.from_ms, gap.end_ms)
            for timeframe_s in self.timeframes_s:
                if (candle := self._forming.get((instrument, timeframe_s))) is not None:
                    self._mark(candle)

    def _mark(self, candle: FormingCandle) -> FormingCandle:
        gap = self._gaps.get(candle.instrument)
        if gap is not None and gap.from_ms < candle.end_ms and candle.start_ms < gap.to_ms:
            candle.marks |= PARTIAL
        return candle

    def forming(self, open_seconds: Iterable[Candle]) -> list[Candle]:
        """Return the forming candles that these open seconds belong to, as if the seconds had closed now."""
        forming: dict[tuple[str, int, int], FormingCandle] = {}
        for second in open_seconds:
            session_ms, _ = self._session(second)
            for timeframe_s in self.timeframes_s:
                start_ms = candle_start(second.start_ms, session_ms, timeframe_s)
                key = (second.instrument, timeframe_s, start_ms)
                candle = forming.get(key)
                if candle is None and (newest := self._forming.get(key[:2])) and newest.start_ms == start_ms:
                    candle = forming[key] = copy(newest)
                if candle is None:
                    forming[key] = self._started(second, timeframe_s)
                else:
                    candle.add(second)
        return [candle.candle() for candle in forming.values()]

    def has_ended(self, candle: Candle) -> bool:
        """Say whether a candle that was made elsewhere is one of a session, and all has closed here up to its end."""
        session_ms, close_ms = self._session(candle)
        span_ms = candle.timeframe_s * 1000
        forming = self._forming.get((candle.instrument, candle.timeframe_s))
        return (
            close_ms - session_ms > SECOND_MS  # a time outside of the sessions stands alone
            and (candle.start_ms - session_ms) % span_ms == 0
            and self._is_over(min(candle.start_ms + span_ms, close_ms))
            and (forming is None or candle.start_ms < forming.start_ms)
        )

    def complete(self, instrument: str, timeframe_s: int, begun: Sequence[Candle], until_ms: int) -> None:
        """Give the forming candle of a timeframe that came when it had begun its beginning, where that is whole.

        ``begun`` are shorter candles that divide it, in order, all that closed up to ``until_ms``.
        """
        forming = self._forming.get((instrument, timeframe_s))
        candle = forming or (self._started(begun[-1], timeframe_s) if begun else None)
        if candle is None or not candle.start_ms < candle.since_ms <= until_ms or self._is_over(candle.end_ms):
            return
        parts = [part for part in begun if candle.start_ms <= part.start_ms < candle.since_ms]
        if any(part.start_ms + part.timeframe_s * 1000 > candle.since_ms for part in parts):
            return
        if forming is None and parts:
            candle = self._started(parts.pop(), timeframe_s)
            self._add_forming(candle)
        for part in reversed(parts):
            candle.precede(part)
        candle.since_ms = candle.start_ms

    def _is_over(self, end_ms: int) -> bool:
        return end_ms <= self.clock_ms - self.lateness_ms

    def _add(self, second: Candle, closed: list[Candle]) -> None:
        session_ms, _ = self._session(second)
        for timeframe_s in self.timeframes_s:
            start_ms = candle_start(second.start_ms, session_ms, timeframe_s)
            key = (second.instrument, timeframe_s)
            candle = self._forming.get(key)
            if candle is not None and candle.start_ms == start_ms:
                candle.add(second)
                continue
            if candle is not None:
                closed.append(candle.candle())
            self._add_forming(self._started(second, timeframe_s))

    def _started(self, part: Part, timeframe_s: int, *, since_ms: int = 0) -> FormingCandle:
        """Return the candle that a second, or a shorter candle, is the first part of."""
        session_ms, close_ms = self._session(part)
        candle = begin_candle(part, timeframe_s, session_ms, close_ms)
        candle.since_ms = since_ms
        arrival = self._arrivals.get(timeframe_s)
        if arrival is not None and not since_ms and candle.start_ms < arrival.limit_ms:
            # Had anything closed since the last shorter candle began, it would have been taken over.
            candle.since_ms = (
                candle_start(arrival.limit_ms, session_ms, arrival.part_s) if arrival.part_s else candle.end_ms
            )
        return self._mark(candle)

    def _session(self, second: Part) -> tuple[int, int]:
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

    def _add_forming(self, candle: FormingCandle) -> None:
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
            self._add_forming(candle)

    def state(self) -> TimeframeCandlesState:
        """Return the state, as a value for :meth:`restore`."""
        forming = [copy(candle) for candle in self._forming.values()]
        return TimeframeCandlesState(self.clock_ms, forming, dict(self._gaps), dict(self._arrivals))

    def restore(self, state: TimeframeCandlesState) -> None:
        """Take over what :meth:`state` returned."""
        self.clock_ms, self._gaps, self._arrivals = state.clock_ms, dict(state.gaps), dict(state.arrivals)
        self._rebuild(copy(candle) for candle in state.forming)


def _by_timeframe(candle: FormingCandle) -> tuple[int, str]:
    return candle.timeframe_s, candle.instrument

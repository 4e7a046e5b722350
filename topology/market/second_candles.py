"""Ticks to 1-second candles, for any number of instruments.

A candle ``[s, s+1)`` closes when the clock, or a newer tick of the same instrument, passes its end by the allowed
lateness. Until then ticks go into it in any order; after that a tick of its second is late and changes nothing. One
instrument's ticks never make another's late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from heapq import heappop, heappush

import msgspec

from topology.market.calendar import Calendar, Span
from topology.market.candle import Candle
from topology.market.gaps import Baseline, Gap
from topology.market.instrument_candles import InstrumentCandles, InstrumentState, OpenCandle
from topology.market.instruments import default_class
from topology.market.ticks import Tick
from topology.market.times import LONG_AGO, SECOND_MS


class LateTick(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A tick that came after its second had closed: it is ``late_by_ms`` older than the newest time."""

    instrument: str
    time_ms: int
    late_by_ms: int


class SecondCandlesState(msgspec.Struct, array_like=True, frozen=True):
    """The whole state of :class:`SecondCandles`, as a value."""

    clock_ms: int
    series: list[InstrumentState]


class SecondCandles:
    """Builds 1-second candles out of ticks. ``calendar`` and ``classes`` say when which instrument trades.

    ``classes`` maps instruments to instrument classes where :func:`default_class` is not enough.
    """

    def __init__(self, calendar: Calendar, *, classes: Mapping[str, str] | None = None, lateness_ms: int = 1000):
        self.clock_ms, self.lateness_ms = LONG_AGO, lateness_ms
        self.series: dict[str, InstrumentCandles] = {}
        self._seconds: list[int] = []  # a heap of the keys of `_opened`
        self._opened: dict[int, list[InstrumentCandles]] = {}  # the series that opened a candle at this second
        self._gap_volumes: dict[str, int] = {}
        self.configure(calendar, classes=classes, lateness_ms=lateness_ms)

    def configure(self, calendar: Calendar, *, classes: Mapping[str, str] | None = None, lateness_ms: int) -> None:
        """Change sessions and lateness from here on; candles that are open stay open, closed ones closed."""
        for series in self.series.values():
            series.closed_ms = max(series.closed_ms, self._newest_ms(series) - self.lateness_ms)
        self.calendar, self.classes, self.lateness_ms = calendar, dict(classes or {}), lateness_ms
        for series in self.series.values():
            series.instrument_class = self._class(series.instrument)
            series.span = Span(0, 0, None)
            self._schedule(series)

    def _class(self, instrument: str) -> str:
        return self.classes.get(instrument) or default_class(instrument)

    def apply(
        self, ticks: Iterable[Tick], clock_ms: int | None = None
    ) -> tuple[list[Candle], list[LateTick], int, int]:
        """Apply ticks in order, then the clock (which never goes back).

        Returns the candles that closed, in order; the late ticks; and how many ticks were accepted and how many lay
        outside their session. Raises :class:`CalendarError` for a time or instrument that the calendar lacks.
        """
        closed: list[Candle] = []
        late: list[LateTick] = []
        accepted = outside = 0
        instruments = self.series
        for tick in ticks:
            series = instruments.get(tick.instrument) or self._add(tick.instrument)
            time_ms = tick.time_ms
            if series.open and 0 <= time_ms - series.open[-1].start_ms < SECOND_MS and time_ms < series.closes_at_ms:
                # The way of nearly all ticks: into the newest open candle, closing nothing.
                series.open[-1].add(tick, self._traded(series, tick))
                if time_ms > series.newest_ms:
                    series.newest_ms = time_ms
                accepted += 1
            elif not self._in_session(series, time_ms):
                outside += 1
            elif (late_tick := self._late(series, time_ms)) is not None:
                late.append(late_tick)
            else:
                self._process(series, tick, closed)
                accepted += 1
        if clock_ms is not None and clock_ms > self.clock_ms:
            self.clock_ms = clock_ms
            self._close_by_clock(closed)
        return closed, late, accepted, outside

    def interrupt(self, gap: Gap) -> None:
        """Note a gap, or its end: before the ticks that come after it."""
        for instrument in gap.instruments:
            series = self.series.get(instrument) or self._add(instrument)
            series.interrupt(gap)

    def rebase(self, baseline: Baseline) -> None:
        """Take over the volume of a snapshot. What was traded since the last tick is a gap's, no candle's."""
        series = self.series.get(baseline.instrument) or self._add(baseline.instrument)
        if self._in_session(series, baseline.time_ms):
            series.enter()
            series.resumed = True
            self._volume(series, baseline.day_volume)

    def gap_volumes(self) -> dict[str, int]:
        """Return the quantities found to have been traded in gaps since this was last asked, by instrument."""
        volumes, self._gap_volumes = self._gap_volumes, {}
        return volumes

    def _traded(self, series: InstrumentCandles, tick: Tick) -> int:
        return 0 if tick.day_volume is None else self._volume(series, tick.day_volume)

    def _volume(self, series: InstrumentCandles, day_volume: int) -> int:
        """Return what is a candle's of the quantity traded since the volume before."""
        traded = series.traded(day_volume)
        if not series.resumed:
            return traded
        series.resumed = False
        if traded:
            self._gap_volumes[series.instrument] = self._gap_volumes.get(series.instrument, 0) + traded
        return 0

    def forming(self, instruments: Iterable[str]) -> list[Candle]:
        """Return the open candles of these instruments, oldest first each."""
        return [
            candle.candle(name) for name in instruments if (series := self.series.get(name)) for candle in series.open
        ]

    def _add(self, instrument: str) -> InstrumentCandles:
        series = self.series[instrument] = InstrumentCandles(instrument, self._class(instrument))
        return series

    def _in_session(self, series: InstrumentCandles, time_ms: int) -> bool:
        span = series.span
        if not span.from_ms <= time_ms < span.until_ms:
            span = series.span = self.calendar.span(series.instrument_class, time_ms)
        return span.session is not None

    def _late(self, series: InstrumentCandles, time_ms: int) -> LateTick | None:
        newest_ms = self._newest_ms(series)
        end_ms = time_ms - time_ms % SECOND_MS + SECOND_MS
        if end_ms > max(newest_ms - self.lateness_ms, series.closed_ms):
            return None
        return LateTick(series.instrument, time_ms, newest_ms - time_ms)

    def _newest_ms(self, series: InstrumentCandles) -> int:
        return max(self.clock_ms, series.newest_ms)

    def _process(self, series: InstrumentCandles, tick: Tick, closed: list[Candle]) -> None:
        """Process a tick that may close older candles, open one, or belong to one that isn't the newest."""
        session = series.enter()
        if tick.time_ms > series.newest_ms:
            series.newest_ms = tick.time_ms
            self._close_until(series, tick.time_ms - self.lateness_ms, closed)
        # A tick of the session before, after the next has begun, says nothing about the volume of either.
        volume = self._traded(series, tick) if session.close_ms > series.session_ms else 0
        start_ms = tick.time_ms - tick.time_ms % SECOND_MS
        for index, candle in enumerate(series.open):
            if candle.start_ms == start_ms:
                candle.add(tick, volume)
                break
            if candle.start_ms > start_ms:
                self._open(series, index, OpenCandle.of(tick, volume))
                break
        else:
            self._open(series, len(series.open), OpenCandle.of(tick, volume))

    def _open(self, series: InstrumentCandles, index: int, candle: OpenCandle) -> None:
        candle.marks |= series.misses(candle.start_ms)
        series.open.insert(index, candle)
        self._schedule(series)
        opened = self._opened.get(candle.start_ms)
        if opened is None:
            heappush(self._seconds, candle.start_ms)
            opened = self._opened[candle.start_ms] = []
        opened.append(series)

    def _close_until(self, series: InstrumentCandles, limit_ms: int, closed: list[Candle]) -> None:
        """Close the candles of an instrument that end at or before ``limit_ms``."""
        while series.open and series.open[0].start_ms + SECOND_MS <= limit_ms:
            closed.append(series.open.pop(0).candle(series.instrument))
        self._schedule(series)

    def _schedule(self, series: InstrumentCandles) -> None:
        if series.open:
            series.closes_at_ms = series.open[0].start_ms + SECOND_MS + self.lateness_ms

    def _close_by_clock(self, closed: list[Candle]) -> None:
        """Close what the clock has passed, by second and instrument, so that the order is the same in any replay."""
        limit_ms = self.clock_ms - self.lateness_ms
        while self._seconds and self._seconds[0] + SECOND_MS <= limit_ms:
            start_ms = heappop(self._seconds)
            for series in sorted(self._opened.pop(start_ms), key=_by_instrument):
                # A newer tick may have closed it before: then there is nothing to close here.
                self._close_until(series, start_ms + SECOND_MS, closed)

    def state(self) -> SecondCandlesState:
        """Return the state, as a value for :meth:`restore`."""
        return SecondCandlesState(self.clock_ms, [series.state() for series in self.series.values()])

    def restore(self, state: SecondCandlesState) -> None:
        """Take over what :meth:`state` returned."""
        self.clock_ms = state.clock_ms
        self.series, self._seconds, self._opened = {}, [], {}
        for one in state.series:
            series = self._add(one.instrument)
            series.restore(one)
            for candle in one.open:
                self._open(series, len(series.open), copy(candle))


def _by_instrument(series: InstrumentCandles) -> str:
    return series.instrument

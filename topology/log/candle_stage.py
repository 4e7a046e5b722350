"""The first stage: tick frames to closed 1-second candles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec

from topology import indicators
from topology.log.frames import VERSION, CandleFrame, Configure, FrameError, Poison, TickFrame
from topology.log.stage import PartitionConfiguration, StageState, stage_state
from topology.market.calendar import Calendar, CalendarError
from topology.market.candle import Candle
from topology.market.gaps import Baseline
from topology.market.history import History
from topology.market.instruments import Instrument, InstrumentError, default_class
from topology.market.second_candles import SecondCandles, SecondCandlesState
from topology.market.ticks import LARGEST, Tick
from topology.market.times import LONG_AGO, midnight_ms


class CandlesCore(msgspec.Struct, array_like=True, frozen=True):
    """The state of the stage: the newest frame of the feed, and the candles (None before a configuration)."""

    epoch: int
    sequence: int
    clock_ms: int
    candles: SecondCandlesState | None


class CandleStage:
    """Turns the tick frames of one partition into candle frames; the position is the tick frame's offset."""

    def __init__(self, log: str, run: int) -> None:
        self.log, self.run = log, run
        self.position: int | None = None
        self._newest = (-1, -1)  # epoch and sequence of the feed's newest frame
        self._clock_ms = LONG_AGO
        self._configured = PartitionConfiguration()
        self._candles: SecondCandles | None = None
        self._touched: set[str] = set()

    def apply(self, position: int, frame: TickFrame | Poison, *, live: bool) -> CandleFrame:
        """Apply a tick frame. One that can't be used becomes an empty frame whose ``unusable`` says why."""
        self.position = position
        if isinstance(frame, Poison):
            return self._empty(frame.reason)
        try:
            self._check(frame)
        except FrameError as error:
            return self._empty(str(error))
        if (frame.epoch, frame.sequence) <= self._newest:
            return self._empty("")
        return self._apply(position, frame, live)

    def _apply(self, position: int, frame: TickFrame, live: bool) -> CandleFrame:
        self._newest = (frame.epoch, frame.sequence)
        self._clock_ms = max(self._clock_ms, frame.clock_ms)
        if (configuration := self._configured.apply(frame.commands)) is not None:
            self._configure(configuration)
        if self._candles is None:  # an empty frame: `_check` refuses ticks before a configuration
            return self._frame(frame.commands)
        for gap in frame.gaps:
            self._candles.interrupt(gap)
        for baseline in frame.baselines:
            self._candles.rebase(baseline)
        closed, late, accepted, outside = self._candles.apply(frame.ticks, self._clock_ms)
        self._touched.update([tick.instrument for tick in frame.ticks])
        forming = []
        if live:
            forming = self._candles.forming(sorted(self._touched))
            self._touched.clear()
        return CandleFrame(
            VERSION, self.log, self.run, position, self._clock_ms, frame.commands, "",
            rows=closed, live=forming, accepted=accepted, out_of_session=outside, late=late, gaps=frame.gaps,
            gap_volumes=self._candles.gap_volumes(), history=frame.history,
        )  # fmt: skip

    def _check(self, frame: TickFrame) -> None:
        """Raise :class:`FrameError` before anything is changed where a frame breaks what the stage relies on."""
        if frame.log != self.log:
            raise FrameError(f"the frame belongs to log {frame.log}, not to {self.log}")
        configuration = self._configured.newest(frame.commands)
        if configuration is None:
            if frame.ticks or frame.gaps or frame.baselines or frame.history:
                raise FrameError("the log holds no configuration before these ticks")
            return
        calendar = self._calendar(configuration)
        instruments = self._candles.series if self._candles is not None else {}
        if configuration is not self._configured.configuration:
            check_configuration(configuration, calendar, instruments)
        for history in frame.history:
            _check_history(history, configuration, calendar)
        first_ms, end_ms = midnight_ms(calendar.first_day), midnight_ms(calendar.last_day + timedelta(days=1))
        timed: Sequence[Tick | Baseline] = [*frame.ticks, *frame.baselines] if frame.baselines else frame.ticks
        for row in timed:
            if not first_ms <= row.time_ms < end_ms:
                raise FrameError(f"the calendar does not cover the time {row.time_ms} of {row.instrument}")
            if row.instrument not in instruments:
                _check_instrument(row.instrument, configuration, calendar)
        for instrument in (name for gap in frame.gaps for name in gap.instruments):
            if instrument not in instruments:
                _check_instrument(instrument, configuration, calendar)

    def _calendar(self, configuration: Configure) -> Calendar:
        if self._candles is not None and self._candles.calendar.text == configuration.calendar:
            return self._candles.calendar
        try:
            return Calendar.parse(configuration.calendar)
        except CalendarError as error:
            raise FrameError(f"the calendar of command {configuration.id}: {error}") from error

    def _configure(self, configuration: Configure) -> None:
        calendar = self._calendar(configuration)
        if self._candles is None:
            self._candles = SecondCandles(calendar)
        self._candles.configure(calendar, classes=configuration.classes, lateness_ms=configuration.lateness_ms)

    def _empty(self, unusable: str) -> CandleFrame:
        return self._frame([], unusable)

    def _frame(self, commands: list[Configure], unusable: str = "") -> CandleFrame:
        assert self.position is not None
        return CandleFrame(VERSION, self.log, self.run, self.position, self._clock_ms, commands, unusable, [], [])

    def state(self) -> StageState[CandlesCore]:
        """Return the state of this partition."""
        candles = None if self._candles is None else self._candles.state()
        core = CandlesCore(*self._newest, self._clock_ms, candles)
        return stage_state(self.log, self.run, self.position, self._configured.configuration, core)

    def restore(self, state: StageState[CandlesCore]) -> None:
        """Replace the state of this partition."""
        self.position = state.position
        core = state.core
        self._newest, self._clock_ms = (core.epoch, core.sequence), core.clock_ms
        self._configured.configuration = state.configuration
        if state.configuration is not None:
            self._configure(state.configuration)
        if self._candles is not None and core.candles is not None:
            self._candles.restore(core.candles)


def check_configuration(configuration: Configure, calendar: Calendar, instruments: Iterable[str]) -> None:
    """Refuse what a stage further on could not apply, and a calendar without sessions for a known instrument.

    ``calendar`` is that of the configuration. Raises FrameError.
    """
    try:
        for specs in configuration.timeframes.values():
            for spec in specs:
                indicators.name(spec)
    except indicators.IndicatorError as error:
        raise FrameError(f"command {configuration.id}: {error}") from error
    for instrument in instruments:
        _check_instrument(instrument, configuration, calendar)


def _check_instrument(instrument: str, configuration: Configure, calendar: Calendar) -> None:
    try:
        canonical = str(Instrument.parse(instrument))
        calendar.sessions(configuration.classes.get(instrument) or default_class(instrument), calendar.first_day)
    except InstrumentError as error:
        raise FrameError(str(error)) from error
    except CalendarError as error:
        raise FrameError(f"{instrument}: {error}") from error
    if instrument != canonical:
        raise FrameError(f"instrument {instrument!r} must be written {canonical!r}: both would be kept apart")


def _check_history(history: History, configuration: Configure, calendar: Calendar) -> None:
    """Refuse history that isn't in order, or is not of what it says."""
    _check_instrument(history.instrument, configuration, calendar)
    part_s = history.begun[0].timeframe_s if history.begun else 1
    whole = 0 < part_s < history.timeframe_s and history.timeframe_s % part_s == 0
    for candles, timeframe_s in ((history.candles, history.timeframe_s), (history.begun, part_s if whole else None)):
        before_ms = LONG_AGO
        for candle in candles:
            named = candle.instrument == history.instrument and candle.timeframe_s == timeframe_s
            if not (named and before_ms < candle.start_ms and _can_be(candle)):
                raise FrameError(f"history of {history.instrument}, {history.timeframe_s} s: it can't hold {candle}")
            before_ms = candle.start_ms


def _can_be(candle: Candle) -> bool:
    """Say whether prices, volume and count are such as a candle can have."""
    prices = candle.open, candle.close
    within = 0 < candle.low <= min(prices) and max(prices) <= candle.high <= LARGEST
    return within and 0 <= candle.volume <= LARGEST and 0 <= candle.count <= LARGEST

"""The third stage: closed candles to the values of indicators, and their live peek."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from topology import indicators
from topology.indicators import KEPT_CLOSES, Indicator
from topology.log.closes_buffer import ClosesBuffer, ClosesState
from topology.log.frames import VERSION, Configure, IndicatorFrame, IndicatorValue, TimeframeFrame
from topology.log.stage import PartitionConfiguration, StageState, stage_state
from topology.market.candle import Candle
from topology.market.history import History


class IndicatorSeriesState(msgspec.Struct, array_like=True, frozen=True):
    """The closes and indicators of an instrument's timeframe."""

    instrument: str
    timeframe_s: int
    closes: ClosesState
    indicators: dict[str, tuple[float, ...]]


class IndicatorSeries:
    """The newest closes of one instrument and timeframe, and the indicators over them by their spec."""

    __slots__ = ("closes", "indicators")

    def __init__(self, closes: ClosesBuffer) -> None:
        self.closes = closes
        self.indicators: dict[str, tuple[str, Indicator]] = {}

    def configure(self, specs: Sequence[str]) -> None:
        """Leave the indicators that stay as they are; compute new ones over the buffered closes."""
        self.closes.cut()
        self.indicators = {spec: self.indicators.get(spec) or self._computed(spec) for spec in specs}

    def _computed(self, spec: str) -> tuple[str, Indicator]:
        return indicators.name(spec), indicators.restore(spec, (), self.closes.closes)

    def merge(self, history: History) -> None:
        """Merge the closes of history; where that changes the buffered ones, all is computed anew over them.

        Closes further back than those count too, this once: an average that never forgets starts there.
        """
        before = self.closes.after(history.candles[-1]) if history.reset else self.closes
        merged = before.merged(history.candles, correcting=history.revision > 0)
        if history.reset or list(merged)[-KEPT_CLOSES:] != list(before):
            self.closes = merged
            self.indicators = {spec: self._computed(spec) for spec in self.indicators}
            merged.cut()


class IndicatorStage:
    """Turns the timeframe frames of one partition into indicator frames."""

    def __init__(self, log: str, run: int) -> None:
        self.log, self.run = log, run
        self.position: int | None = None
        self._configured = PartitionConfiguration()
        self._series: dict[tuple[str, int], IndicatorSeries] = {}

    def apply(self, position: int, frame: TimeframeFrame, *, live: bool) -> IndicatorFrame:
        """Apply a timeframe frame: commands, candles in order, then history, at whose candles no value is published."""
        self.position = position
        if (configuration := self._configured.apply(frame.commands)) is not None:
            self._configure(configuration)
        rows = self._update(frame.rows)
        for history in frame.history:
            self._find(history.instrument, history.timeframe_s).merge(history)
        return IndicatorFrame(
            VERSION, self.log, self.run, position, frame.clock_ms, frame.commands, frame.unusable,
            rows=rows, live=self._peek(frame.live) if live else [],
        )  # fmt: skip

    def _update(self, candles: Sequence[Candle]) -> list[IndicatorValue]:
        rows = []
        for candle in candles:
            series = self._find(candle.instrument, candle.timeframe_s)
            series.closes.append(candle)
            for name, indicator in series.indicators.values():
                value = indicator.update(candle)
                if value is not None:
                    rows.append(IndicatorValue(candle.instrument, name, candle.timeframe_s, candle.start_ms, value))
        return rows

    def _peek(self, forming: Sequence[Candle]) -> list[IndicatorValue]:
        rows = []
        for candle in forming:
            for name, indicator in self._find(candle.instrument, candle.timeframe_s).indicators.values():
                value = indicator.peek(candle)
                if value is not None:
                    rows.append(IndicatorValue(candle.instrument, name, candle.timeframe_s, candle.start_ms, value))
        return rows

    def _find(self, instrument: str, timeframe_s: int) -> IndicatorSeries:
        series = self._series.get((instrument, timeframe_s))
        if series is None:
            series = self._series[instrument, timeframe_s] = IndicatorSeries(ClosesBuffer(timeframe_s))
            series.configure(self._configured.required().timeframes.get(timeframe_s, []))
        return series

    def _configure(self, configuration: Configure) -> None:
        """Series of a timeframe that goes are dropped; others keep the indicators that stay."""
        timeframes = configuration.timeframes
        self._series = {key: series for key, series in self._series.items() if key[1] in timeframes}
        for (_, timeframe_s), series in self._series.items():
            series.configure(timeframes[timeframe_s])

    def state(self) -> StageState[list[IndicatorSeriesState]]:
        """Return the state of this partition."""
        core = [_packed(*key, series) for key, series in self._series.items()]
        return stage_state(self.log, self.run, self.position, self._configured.configuration, core)

    def restore(self, state: StageState[list[IndicatorSeriesState]]) -> None:
        """Replace the state of this partition."""
        self.position = state.position
        self._configured.configuration = state.configuration
        self._series = {(row.instrument, row.timeframe_s): _unpacked(row) for row in state.core}


def _packed(instrument: str, timeframe_s: int, series: IndicatorSeries) -> IndicatorSeriesState:
    states = {spec: indicator.state() for spec, (_, indicator) in series.indicators.items()}
    return IndicatorSeriesState(instrument, timeframe_s, series.closes.state(), states)


def _unpacked(row: IndicatorSeriesState) -> IndicatorSeries:
    series = IndicatorSeries(ClosesBuffer.restored(row.timeframe_s, row.closes))
    series.indicators = {
        spec: (indicators.name(spec), indicators.restore(spec, state, series.closes.closes))
        for spec, state in row.indicators.items()
    }
    return series

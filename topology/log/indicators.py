"""The third stage: closed candles to the values of indicators, and their live peek."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec

from topology import indicators
from topology.indicators import KEPT_CLOSES, Indicator
from topology.log.frames import VERSION, Configure, IndicatorFrame, IndicatorValue, TimeframeFrame
from topology.log.stage import Commanded, StageState, kept
from topology.market.candle import Candle


class SeriesState(msgspec.Struct, array_like=True, frozen=True):
    """The closes (paise, packed as machine integers of ``typecode``) and indicators of an instrument's timeframe."""

    instrument: str
    timeframe_s: int
    typecode: str
    closes: bytes
    indicators: dict[str, tuple[float, ...]]


class Series:
    """The newest closes of one instrument and timeframe, oldest first, and the indicators over them by their spec.

    Closes nearly always fit 32 bits: then they take half the room in the largest row of the system.
    """

    __slots__ = ("closes", "indicators")

    def __init__(self, closes: array[int]) -> None:
        self.closes = closes
        self.indicators: dict[str, tuple[str, Indicator]] = {}

    def configure(self, specs: Sequence[str]) -> None:
        """Keep the indicators that stay, as they are; compute new ones over the closes that are kept."""
        self.indicators = {spec: self.indicators.get(spec) or self._computed(spec) for spec in specs}

    def _computed(self, spec: str) -> tuple[str, Indicator]:
        return indicators.name(spec), indicators.restore(spec, (), self.closes[-KEPT_CLOSES:])

    def add(self, close: int) -> None:
        """Keep a close. The array grows to twice what is kept before it is cut, so that cutting stays cheap."""
        try:
            self.closes.append(close)
        except OverflowError:
            self.closes = array("q", [*self.closes, close])
        if len(self.closes) >= 2 * KEPT_CLOSES:
            del self.closes[:-KEPT_CLOSES]


class IndicatorStage:
    """Turns the timeframe frames of one partition into indicator frames."""

    def __init__(self, log: str, run: int) -> None:
        self.log, self.run = log, run
        self.position: int | None = None
        self._commanded = Commanded()
        self._series: dict[tuple[str, int], Series] = {}

    def apply(self, position: int, frame: TimeframeFrame, *, live: bool) -> IndicatorFrame:
        """Apply a timeframe frame: its commands, then its candles in order."""
        self.position = position
        if (configuration := self._commanded.news(frame.commands)) is not None:
            self._configure(configuration)
        return IndicatorFrame(
            VERSION, self.log, self.run, position, frame.clock_ms, frame.commands, frame.gap,
            rows=self._update(frame.rows),
            live=self._peek(frame.live) if live else [],
        )  # fmt: skip

    def _update(self, candles: Sequence[Candle]) -> list[IndicatorValue]:
        rows = []
        for candle in candles:
            series = self._find(candle)
            series.add(candle.close)
            for name, indicator in series.indicators.values():
                value = indicator.update(candle)
                if value is not None:
                    rows.append(IndicatorValue(candle.instrument, name, candle.timeframe_s, candle.start_ms, value))
        return rows

    def _peek(self, forming: Sequence[Candle]) -> list[IndicatorValue]:
        rows = []
        for candle in forming:
            for name, indicator in self._find(candle).indicators.values():
                value = indicator.peek(candle)
                if value is not None:
                    rows.append(IndicatorValue(candle.instrument, name, candle.timeframe_s, candle.start_ms, value))
        return rows

    def _find(self, candle: Candle) -> Series:
        series = self._series.get((candle.instrument, candle.timeframe_s))
        if series is None:
            series = self._series[candle.instrument, candle.timeframe_s] = Series(array("i"))
            series.configure(self._commanded.required().timeframes.get(candle.timeframe_s, []))
        return series

    def _configure(self, configuration: Configure) -> None:
        """Series of a timeframe that goes are dropped; others keep the indicators that stay."""
        wanted = configuration.timeframes
        self._series = {key: series for key, series in self._series.items() if key[1] in wanted}
        for (_, timeframe_s), series in self._series.items():
            series.configure(wanted[timeframe_s])

    def state(self) -> StageState[list[SeriesState]]:
        """Return what is known of this partition."""
        core = [_packed(*key, series) for key, series in self._series.items()]
        return kept(self.log, self.run, self.position, self._commanded.configuration, core)

    def restore(self, state: StageState[list[SeriesState]]) -> None:
        """Take over a state in place of what is known."""
        self.position = state.position
        self._commanded.configuration = state.configuration
        self._series = {(row.instrument, row.timeframe_s): _unpacked(row) for row in state.core}


def _packed(instrument: str, timeframe_s: int, series: Series) -> SeriesState:
    closes = series.closes[-KEPT_CLOSES:]
    states = {spec: indicator.state() for spec, (_, indicator) in series.indicators.items()}
    return SeriesState(instrument, timeframe_s, closes.typecode, closes.tobytes(), states)


def _unpacked(row: SeriesState) -> Series:
    closes = array(row.typecode)
    closes.frombytes(row.closes)
    series = Series(closes)
    series.indicators = {
        spec: (indicators.name(spec), indicators.restore(spec, state, closes)) for spec, state in row.indicators.items()
    }
    return series

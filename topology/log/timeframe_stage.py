"""The second stage: 1-second candles to candles of every timeframe."""

from __future__ import annotations

import msgspec

from topology.log.frames import VERSION, CandleFrame, Configure, TimeframeFrame
from topology.log.stage import PartitionConfiguration, StageState, stage_state
from topology.market.calendar import Calendar
from topology.market.history import History
from topology.market.timeframe_candles import TimeframeCandles, TimeframeCandlesState


class TimeframeStage:
    """Turns the candle frames of one partition into timeframe frames."""

    def __init__(self, log: str, run: int) -> None:
        self.log, self.run = log, run
        self.position: int | None = None
        self._configured = PartitionConfiguration()
        self._candles: TimeframeCandles | None = None

    def apply(self, position: int, frame: CandleFrame, *, live: bool) -> TimeframeFrame:
        """Apply a candle frame: its commands, its candles, then its clock."""
        self.position = position
        if (configuration := self._configured.apply(frame.commands)) is not None:
            self._configure(configuration)
        candles = self._candles
        if candles is not None:
            for gap in frame.gaps:
                candles.interrupt(gap)
        return TimeframeFrame(
            VERSION, self.log, self.run, position, frame.clock_ms, frame.commands, frame.unusable,
            rows=[] if candles is None else candles.apply(frame.rows, frame.clock_ms),
            live=[] if candles is None or not live else candles.forming(frame.live),
            history=[] if candles is None else [usable for each in frame.history if (usable := _usable(each, candles))],
        )  # fmt: skip

    def _configure(self, configuration: Configure) -> None:
        calendar = Calendar.parse(configuration.calendar)
        if self._candles is None:
            self._candles = TimeframeCandles(calendar, [])
        self._candles.configure(
            calendar,
            list(configuration.timeframes),
            classes=configuration.classes,
            lateness_ms=configuration.lateness_ms,
        )

    def state(self) -> StageState[TimeframeCandlesState | None]:
        """Return the state of this partition."""
        core = None if self._candles is None else self._candles.state()
        return stage_state(self.log, self.run, self.position, self._configured.configuration, core)

    def restore(self, state: StageState[TimeframeCandlesState | None]) -> None:
        """Replace the state of this partition."""
        self.position = state.position
        self._configured.configuration = state.configuration
        if state.configuration is not None:
            self._configure(state.configuration)
        if self._candles is not None and state.core is not None:
            self._candles.restore(state.core)


def _usable(history: History, candles: TimeframeCandles) -> History | None:
    """Return what is usable of it, None where nothing is: the rest is still forming, or of another timeframe."""
    if history.timeframe_s not in candles.timeframes_s:
        return None
    ended = [candle for candle in history.candles if candles.has_ended(candle)]
    if history.until_ms:
        candles.complete(history.instrument, history.timeframe_s, history.begun, history.until_ms)
    return msgspec.structs.replace(history, candles=ended, begun=[], until_ms=0) if ended else None

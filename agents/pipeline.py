"""The runners of the market stages, in the order of a tick's way: ticks to candles to timeframes to indicators."""

from __future__ import annotations

from agents.stage_runner import StageRunner
from agents.stage_wiring import StageWiring
from tables.state import CandlesRow, IndicatorsRow, TimeframesRow
from topology.log.candle_stage import CandlesCore, CandleStage
from topology.log.frames import CANDLE_FRAME, CANDLES, INDICATORS, TICKS, TIMEFRAME_FRAME, TIMEFRAMES
from topology.log.indicator_stage import IndicatorSeriesState, IndicatorStage
from topology.log.timeframe_stage import TimeframeStage
from topology.market.timeframe_candles import TimeframeCandlesState


def candles(wiring: StageWiring) -> StageRunner[CandlesCore]:
    """Attach the first stage: tick frames become closed 1-second candles."""
    return wiring.attach("candles", source=TICKS, output=CANDLES, stage=CandleStage, decode=None, row=CandlesRow)


def timeframes(wiring: StageWiring) -> StageRunner[TimeframeCandlesState | None]:
    """Attach the second stage: 1-second candles become candles of every timeframe."""
    return wiring.attach(
        "timeframes", source=CANDLES, output=TIMEFRAMES, stage=TimeframeStage, decode=CANDLE_FRAME, row=TimeframesRow
    )


def indicators(wiring: StageWiring) -> StageRunner[list[IndicatorSeriesState]]:
    """Attach the third stage: closed candles become values of indicators."""
    return wiring.attach(
        "indicators", source=TIMEFRAMES, output=INDICATORS, stage=IndicatorStage, decode=TIMEFRAME_FRAME,
        row=IndicatorsRow,
    )  # fmt: skip

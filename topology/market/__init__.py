"""Ticks, candles, timeframes and sessions: pure, and usable without the rest of the project."""

from topology.market.calendar import Calendar, CalendarError
from topology.market.candle import Candle
from topology.market.gaps import Baseline, Gap
from topology.market.instruments import Instrument, InstrumentError
from topology.market.quotes import Quote
from topology.market.second_candles import LateTick, SecondCandles
from topology.market.ticks import Tick
from topology.market.timeframe_candles import TimeframeCandles

__all__ = [
    "Baseline",
    "Calendar",
    "CalendarError",
    "Candle",
    "Gap",
    "Instrument",
    "InstrumentError",
    "LateTick",
    "Quote",
    "SecondCandles",
    "Tick",
    "TimeframeCandles",
]

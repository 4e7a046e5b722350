"""Ticks, candles, timeframes and sessions: pure, and usable without the rest of the project."""

from topology.market.calendar import Calendar, CalendarError
from topology.market.candle import Candle
from topology.market.instruments import Instrument, InstrumentError
from topology.market.seconds import LateTick, SecondCandles
from topology.market.ticks import Tick
from topology.market.timeframes import TimeframeCandles

__all__ = [
    "Calendar",
    "CalendarError",
    "Candle",
    "Instrument",
    "InstrumentError",
    "LateTick",
    "SecondCandles",
    "Tick",
    "TimeframeCandles",
]

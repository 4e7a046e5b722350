"""A candle: open, high, low, close and volume of one instrument over ``[start, end)``."""

from __future__ import annotations

import msgspec

PARTIAL = 1  # a mark: the feed saw nothing for a part of the candle, or the timeframe came when it had begun
EXTREME = 2  # a mark: high or low is one of the day that no tick has shown
BROKER = 4  # a mark: it, or a part of it, was not made of ticks: the broker's history has it


class Candle(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A candle of ``timeframe_s`` seconds, named by its start; the close of the session may cut it short.

    Prices are in the exchange's minor unit (paise), ``start_ms`` in milliseconds since the epoch, UTC.
    ``volume`` is the quantity traded, 0 for an index; ``count`` is the number of ticks, 0 where there are
    none. ``marks`` says what is special about it: the sum of ``PARTIAL``, ``EXTREME`` and ``BROKER`` as they apply.
    """

    instrument: str
    timeframe_s: int
    start_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    count: int
    marks: int = 0

"""A candle: open, high, low, close and volume of one instrument over ``[start, end)``."""

from __future__ import annotations

import msgspec


class Candle(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A candle of ``timeframe_s`` seconds, named by its start; the close of the session may cut it short.

    Prices are in the exchange's minor unit (paise), ``start_ms`` in milliseconds since the epoch, UTC.
    ``volume`` is the quantity traded, 0 for an index; ``count`` is the number of ticks.
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

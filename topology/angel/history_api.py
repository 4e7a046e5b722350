"""The broker's candles of the past (``getCandleData``): the calls that bring an interval, and what they answer. Pure.

A call names an interval and two Indian times, and both a candle that starts at the first and one that starts at the
second are in its answer. Prices are rupees. Source: the broker's API documentation and forum.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from topology.market import Candle
from topology.market.candle import BROKER
from topology.market.instruments import Instrument, price_divisor
from topology.market.ticks import LARGEST
from topology.market.times import IST, Interval

MINUTE_S, DAY_MS = 60, 86_400_000
INTERVALS = {
    60: ("ONE_MINUTE", 30), 180: ("THREE_MINUTE", 60), 300: ("FIVE_MINUTE", 100), 600: ("TEN_MINUTE", 100),
    900: ("FIFTEEN_MINUTE", 200), 1800: ("THIRTY_MINUTE", 200), 3600: ("ONE_HOUR", 400),
}  # fmt: skip
"""Names by the seconds of a candle, and how many days a call may ask for. Whole days are not used: their close is the
official one, no last price."""

_NAMES = {"CDE": "CDS", "NCX": "NCDEX"}  # where the broker's name is another than ours


class HistoryCall(NamedTuple):
    """One question: candles of ``width_s`` seconds that start in ``interval``."""

    width_s: int
    interval: Interval

    def parameters(self, instrument: Instrument) -> dict[str, str]:
        """Return what to send."""
        return {
            "exchange": _NAMES.get(instrument.exchange, instrument.exchange),
            "symboltoken": instrument.token,
            "interval": INTERVALS[self.width_s][0],
            "fromdate": _indian(self.interval.from_ms),
            "todate": _indian(self.interval.to_ms - 1),
        }


def width_s(timeframe_s: int, interval: Interval) -> int | None:
    """Return the seconds of the candles to ask for, which divide the timeframe; None where there are none such.

    Those of a minute where one call brings them, since candles of a timeframe are made of them best; else the widest.
    """
    widths = [width for width in INTERVALS if timeframe_s % width == 0]
    fitting = [width for width in widths if interval.to_ms - interval.from_ms <= INTERVALS[width][1] * DAY_MS]
    return min(fitting, default=max(widths, default=None))


def calls(width: int, interval: Interval) -> Iterator[HistoryCall]:
    """Cut an interval into calls, oldest first."""
    longest_ms = INTERVALS[width][1] * DAY_MS
    for from_ms in range(interval.from_ms, interval.to_ms, longest_ms):
        yield HistoryCall(width, Interval(from_ms, min(from_ms + longest_ms, interval.to_ms)))


class HistoryAnswer(NamedTuple):
    """Candles in order, and how many rows could not be used."""

    candles: list[Candle]
    refused: int


def read(data: object, instrument: Instrument, call: HistoryCall) -> HistoryAnswer:
    """Read the ``data`` of an answer: rows of time, open, high, low, close and volume. None at all is no error.

    A row that is no candle, or one outside of the call's interval, is left out.
    """
    rows = data if isinstance(data, list) else []
    units = price_divisor(instrument.exchange)
    by_start: dict[int, Candle] = {}
    for row in rows:
        candle = _candle(row, str(instrument), call.width_s, units)
        if candle is not None and call.interval.from_ms <= candle.start_ms < call.interval.to_ms:
            by_start[candle.start_ms] = candle
    return HistoryAnswer([by_start[start_ms] for start_ms in sorted(by_start)], len(rows) - len(by_start))


class _Row(msgspec.Struct, array_like=True):
    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int


def _candle(row: object, instrument: str, width: int, units: int) -> Candle | None:
    try:
        parsed = msgspec.convert(row, _Row, strict=False)
        start_ms = round(parsed.start.timestamp() * 1000)
        open_, high, low, close = (
            round(price * units) for price in (parsed.open, parsed.high, parsed.low, parsed.close)
        )
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None
    timely = parsed.start.tzinfo is not None and start_ms % (MINUTE_S * 1000) == 0
    usable = 0 < low <= min(open_, close) <= max(open_, close) <= high <= LARGEST
    if not timely or not usable or not 0 <= parsed.volume <= LARGEST:
        return None
    return Candle(instrument, width, start_ms, open_, high, low, close, parsed.volume, 0, BROKER)


def _indian(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, IST):%Y-%m-%d %H:%M}"

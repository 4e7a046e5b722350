"""The broker's candles (``getCandleData``), made of what a source has printed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from topology.market import Calendar, Candle
from topology.market.instruments import default_class
from topology.market.times import DAY_MS, IST, MINUTE_MS, last_midnight_ms
from topology.simulator.source import Source, candles_until

INTERVALS = {
    "ONE_MINUTE": (1, 30), "THREE_MINUTE": (3, 60), "FIVE_MINUTE": (5, 100), "TEN_MINUTE": (10, 100),
    "FIFTEEN_MINUTE": (15, 200), "THIRTY_MINUTE": (30, 200), "ONE_HOUR": (60, 400), "ONE_DAY": (1_440, 2_000),
}  # fmt: skip
"""Minutes of a candle, and how many days one call may ask for."""

Row = tuple[str, float, float, float, float, int]


class HistoryError(ValueError):
    """A question that the broker refuses; the message is what it says."""


def rows(source: Source, index: int, *, interval: str, from_text: str, to_text: str, now_ms: int) -> list[Row]:
    """Answer a question: rows of time, open, high, low, close (rupees) and volume, oldest first.

    ``from_text`` and ``to_text`` are Indian times such as ``2022-11-22 09:15``; a candle that starts at either is
    among the answer. Nothing that is printed after ``now_ms``, a market time, is known yet: the last candle may still
    be forming. Candles are counted from the session's open. Raises HistoryError.
    """
    minutes, days = _interval(interval)
    from_ms, to_ms = _time_ms(from_text), _time_ms(to_text)
    if to_ms < from_ms:
        raise HistoryError("todate is before fromdate")
    if to_ms - from_ms > days * DAY_MS:
        raise HistoryError(f"{interval} is given for at most {days} days in one request")
    wide_ms = minutes * MINUTE_MS
    instrument_class = default_class(source.listings[index].instrument)
    early_ms = last_midnight_ms(from_ms) if minutes > 1 else from_ms
    late_ms = min(to_ms + wide_ms, now_ms + 1)
    made = _wider(candles_until(source, index, early_ms, late_ms), wide_ms, source.calendar, instrument_class)
    return [_row(candle) for candle in made if from_ms <= candle.start_ms <= to_ms]


def _interval(name: str) -> tuple[int, int]:
    try:
        return INTERVALS[name]
    except KeyError:
        raise HistoryError(f"interval must be one of {', '.join(INTERVALS)}") from None


def _time_ms(text: str) -> int:
    try:
        at = datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=IST)
    except ValueError:
        raise HistoryError("fromdate and todate must be written as 2022-11-22 09:15") from None
    return round((at - _EPOCH) / timedelta(milliseconds=1))


_EPOCH = datetime.fromtimestamp(0, IST)


def _wider(minutes: Iterable[Candle], wide_ms: int, calendar: Calendar, instrument_class: str) -> list[Candle]:
    made: list[Candle] = []
    for candle in minutes:
        start_ms = _start_ms(candle.start_ms, wide_ms, calendar, instrument_class)
        if made and made[-1].start_ms == start_ms:
            old = made.pop()
            high, low = max(old.high, candle.high), min(old.low, candle.low)
            volume, count = old.volume + candle.volume, old.count + candle.count
            wider = Candle(old.instrument, wide_ms // 1000, start_ms, old.open, high, low, candle.close, volume, count)
        else:
            prices = (candle.open, candle.high, candle.low, candle.close)
            wider = Candle(candle.instrument, wide_ms // 1000, start_ms, *prices, candle.volume, candle.count)
        made.append(wider)
    return made


def _start_ms(time_ms: int, wide_ms: int, calendar: Calendar, instrument_class: str) -> int:
    if wide_ms == MINUTE_MS:
        return time_ms
    if wide_ms == DAY_MS:
        return last_midnight_ms(time_ms)
    session = calendar.span(instrument_class, time_ms).session
    open_ms = session.open_ms if session is not None else last_midnight_ms(time_ms)
    return open_ms + (time_ms - open_ms) // wide_ms * wide_ms


def _row(candle: Candle) -> Row:
    at = datetime.fromtimestamp(candle.start_ms / 1000, IST).isoformat()
    prices = (candle.open / 100, candle.high / 100, candle.low / 100, candle.close / 100)
    return (at, *prices, candle.volume)

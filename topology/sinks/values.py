"""The JSON of a tick, a candle and an indicator value, as clients of Redis, REST and WebSocket read it.

Prices are in paise, ``ts`` is in epoch seconds at the candle's start, ``tick_ts`` is exchange time in epoch
milliseconds. ``position`` and ``partition`` name the tick frame that caused the value.
"""

from __future__ import annotations

import msgspec

from topology.log.frames import IndicatorValue
from topology.market.candle import Candle
from topology.market.ticks import Tick

_encode = msgspec.json.Encoder().encode


class TickJson(msgspec.Struct, frozen=True, gc=False):
    """A tick. ``qty`` is the last trade's quantity, 0 where there is none; an index has no ``day_volume``."""

    token: str
    exchange: str
    price: int
    qty: int
    tick_ts: int
    position: int
    partition: int
    day_volume: int | msgspec.UnsetType = msgspec.UNSET


class SecondCandleJson(msgspec.Struct, frozen=True, gc=False):
    """A 1-second candle, which calls the number of its ticks ``ticks_count``."""

    token: str
    exchange: str
    tf: int
    ts: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    ticks_count: int
    forming: bool
    position: int
    partition: int


class CandleJson(msgspec.Struct, frozen=True, gc=False):
    """A candle of ``tf`` seconds; ``forming`` while its seconds have not all closed."""

    token: str
    exchange: str
    tf: int
    ts: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    count: int
    forming: bool
    position: int
    partition: int


class IndicatorJson(msgspec.Struct, frozen=True, gc=False):
    """A value to 4 decimals; ``live`` while its candle forms. Only ready values leave the system."""

    name: str
    token: str
    exchange: str
    tf: int
    value: float
    ts: int
    ready: bool
    live: bool
    position: int
    partition: int


def split(instrument: str) -> tuple[str, str]:
    """Exchange and token of an instrument.

    >>> split("NSE:99926000")
    ('NSE', '99926000')
    """
    exchange, _, token = instrument.partition(":")
    return exchange, token


def tick_json(tick: Tick, *, position: int, partition: int) -> bytes:
    """The JSON of a tick."""
    exchange, token = split(tick.instrument)
    volume = msgspec.UNSET if tick.day_volume is None else tick.day_volume
    return _encode(TickJson(token, exchange, tick.price, tick.quantity or 0, tick.time_ms, position, partition, volume))


def candle_json(candle: Candle, *, forming: bool, position: int, partition: int) -> bytes:
    """The JSON of a candle, closed or forming."""
    exchange, token = split(candle.instrument)
    shape = SecondCandleJson if candle.timeframe_s == 1 else CandleJson
    return _encode(
        shape(
            token,
            exchange,
            candle.timeframe_s,
            candle.start_ms // 1000,
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.volume,
            candle.count,
            forming,
            position,
            partition,
        )
    )


def indicator_json(value: IndicatorValue, *, live: bool, position: int, partition: int) -> bytes:
    """The JSON of an indicator value, confirmed or live."""
    exchange, token = split(value.instrument)
    return _encode(
        IndicatorJson(
            value.name,
            token,
            exchange,
            value.timeframe_s,
            round(value.value, 4),
            value.start_ms // 1000,
            True,
            live,
            position,
            partition,
        )
    )

"""The JSON of a tick, a candle and an indicator value, as clients of Redis, REST and WebSocket read it.

Prices are in paise, ``ts`` is in epoch seconds at the candle's start, ``tick_ts`` is exchange time in epoch
milliseconds. ``position`` and ``partition`` name the tick frame that caused the value.
"""

from __future__ import annotations

import msgspec

from topology.log.frames import IndicatorValue
from topology.market.candle import BROKER, EXTREME, PARTIAL, Candle
from topology.market.quotes import Quote
from topology.market.ticks import Tick

_encode = msgspec.json.Encoder().encode


class TickJson(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A tick, and the quote that came with it. ``qty`` is the last trade's quantity, 0 where there is none.

    Fields that the source does not tell, as the volume of an index, are left out; those of the quote are named as in
    :class:`topology.market.quotes.Quote`, but for the prices of the day.
    """

    token: str
    exchange: str
    price: int
    qty: int
    tick_ts: int
    position: int
    partition: int
    day_volume: int | None = None
    day_open: int | None = None
    day_high: int | None = None
    day_low: int | None = None
    previous_close: int | None = None
    average_price: int | None = None
    bid: int | None = None
    bid_quantity: int | None = None
    ask: int | None = None
    ask_quantity: int | None = None
    open_interest: int | None = None
    upper_circuit: int | None = None
    lower_circuit: int | None = None
    last_traded_ms: int | None = None


class SecondCandleJson(msgspec.Struct, frozen=True, gc=False):
    """A 1-second candle, which calls the number of its ticks ``ticks_count``; else as `CandleJson`."""

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
    partial: bool | msgspec.UnsetType = msgspec.UNSET
    hl_from_day: bool | msgspec.UnsetType = msgspec.UNSET


class CandleJson(msgspec.Struct, frozen=True, gc=False):
    """A candle of ``tf`` seconds; ``forming`` while its seconds have not all closed.

    ``partial`` is there where the feed saw nothing for a part of it, ``hl_from_day`` where high or low is one of the
    day that no tick has shown, ``revision`` where it is one of history: 1 corrects, 0 fills in; ``source`` where that
    is the ``broker``'s. ``synthetic`` ones stand for a time in which nothing was traded.
    """

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
    partial: bool | msgspec.UnsetType = msgspec.UNSET
    hl_from_day: bool | msgspec.UnsetType = msgspec.UNSET
    source: str | msgspec.UnsetType = msgspec.UNSET
    revision: int | msgspec.UnsetType = msgspec.UNSET
    synthetic: bool | msgspec.UnsetType = msgspec.UNSET


class GapJson(msgspec.Struct, frozen=True, gc=False):
    """The feed saw nothing of an instrument, from ``from_ms`` to ``to_ms``, which is None while that lasts.

    Where it is not ``broken`` only some packets were missed, or came wrong. Times are in milliseconds.
    """

    token: str
    exchange: str
    from_ms: int
    to_ms: int | None
    broken: bool
    partition: int
    position: int


class IndicatorJson(msgspec.Struct, frozen=True, gc=False):
    """A value to 4 decimals; ``live`` while its candle forms. Only ready values leave the system.

    One that is ``computed`` was never published: it has been computed for whoever asked.
    """

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
    computed: bool | msgspec.UnsetType = msgspec.UNSET


def split(instrument: str) -> tuple[str, str]:
    """Exchange and token of an instrument.

    >>> split("NSE:99926000")
    ('NSE', '99926000')
    """
    exchange, _, token = instrument.partition(":")
    return exchange, token


def tick_json(tick: Tick | None, quote: Quote | None, *, position: int, partition: int) -> bytes:
    """The JSON of a tick, with the newest quote of its instrument where there is one; or that of a quote alone."""
    newest = tick or quote
    assert newest is not None
    exchange, token = split(newest.instrument)
    quantity = (tick.quantity if tick is not None else None) or 0
    volumes = [one.day_volume for one in (tick, quote) if one is not None and one.day_volume is not None]
    of_the_day = () if quote is None else _of_the_day(quote)
    return _encode(
        TickJson(
            token,
            exchange,
            newest.price,
            quantity,
            newest.time_ms,
            position,
            partition,
            max(volumes, default=None),
            *of_the_day,
        )
    )


def _of_the_day(quote: Quote) -> tuple[int | None, ...]:
    """Return the fields of a quote from ``open`` on, in the order of `TickJson`."""
    fields: tuple[int | None, ...] = msgspec.structs.astuple(quote)
    return fields[4:]


def candle_json(candle: Candle, *, forming: bool, position: int, partition: int, revision: int | None = None) -> bytes:
    """The JSON of a candle, closed or forming; with a ``revision`` it is one of history."""
    exchange, token = split(candle.instrument)
    fields = (
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
        bool(candle.marks & PARTIAL) or msgspec.UNSET,
        bool(candle.marks & EXTREME) or msgspec.UNSET,
    )
    if candle.timeframe_s == 1:
        return _encode(SecondCandleJson(*fields))
    if revision is None:
        return _encode(CandleJson(*fields))
    return _encode(CandleJson(*fields, "broker" if candle.marks & BROKER else msgspec.UNSET, revision))


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

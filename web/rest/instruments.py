"""What the API gateway of the system that this one replaces offered: instruments, and arrays of an interval of time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from topology.sinks.archive.reader import PageQuery
from topology.sinks.channel_name import TICK
from topology.sinks.values import IndicatorJson, TickJson, split
from web.gateway import Gateway
from web.http.endpoint import get
from web.queries.resampling import page_of
from web.queries.store import AnyCandle
from web.rest.indicators import Name, known_name, require_computed
from web.rest.queries import FAR_S, Exchange, Limit, Time, Timeframe, Token, seconds

_TICK = msgspec.json.Decoder(TickJson).decode


class IntervalQuery(msgspec.Struct, rename={"from_": "from"}):
    """Candles with ``from <= ts < to``: the newest ``limit`` of them."""

    token: Token
    exchange: Exchange = ""
    tf: Timeframe = 60
    from_: Time = ""
    to: Time = ""
    limit: Limit = 1_000


class ValuesQuery(msgspec.Struct, rename={"from_": "from"}):
    """Values with ``from <= ts < to``: the newest ``limit`` of them."""

    token: Token
    name: Name
    exchange: Exchange = ""
    tf: Timeframe = 60
    from_: Time = ""
    to: Time = ""
    limit: Limit = 1_000


class InstrumentJson(msgspec.Struct, omit_defaults=True):
    """An instrument, its last price in paise and the time of it in milliseconds, where there is one."""

    token: str
    exchange: str
    symbol: str
    name: str
    instrument_class: str
    price: int | None = None
    tick_ts: int | None = None
    previous_close: int | None = None
    day_open: int | None = None
    day_high: int | None = None
    day_low: int | None = None
    day_volume: int | None = None


@get("/tokens")
async def tokens(gateway: Gateway) -> list[InstrumentJson]:
    """Return the instruments that there is something of, with their last prices."""
    names = sorted(await gateway.instruments())
    infos = await gateway.names.of(names)
    ticks = await gateway.store.mirror.latest([TICK], names)
    instruments = []
    for name in names:
        exchange, token = split(name)
        info, data = infos[name], ticks.get((TICK, name))
        one = InstrumentJson(token, exchange, info.symbol, info.name, info.instrument_class)
        if data is not None:
            tick = _TICK(data)
            one.price, one.tick_ts, one.previous_close = tick.price, tick.tick_ts, tick.previous_close
            one.day_open, one.day_high, one.day_low = tick.day_open, tick.day_high, tick.day_low
            one.day_volume = tick.day_volume
        instruments.append(one)
    return instruments


@get("/candles", example="token=99926000&tf=60&from=2026-11-24T09:15&limit=2")
async def candles(gateway: Gateway, query: IntervalQuery) -> Sequence[AnyCandle]:
    """Return closed candles of an interval of time, the oldest first."""
    instrument = await gateway.instrument(query.token, query.exchange)
    page = await page_of(gateway, instrument, query.tf, _page_query(query))
    return page.candles[::-1]


@get("/indicators", example="token=99926000&name=SMA_20&tf=60&limit=2")
async def values(gateway: Gateway, query: ValuesQuery) -> list[IndicatorJson]:
    """Return confirmed values of an interval of time, the oldest first."""
    instrument = await gateway.instrument(query.token, query.exchange)
    name = known_name(query.name)
    rows = await gateway.store.values(instrument, name, query.tf, _page_query(query))
    if not rows:
        require_computed(gateway, name, query.tf)
    return rows[::-1]


def _page_query(query: IntervalQuery | ValuesQuery) -> PageQuery:
    return PageQuery(query.limit, before_s=seconds("to", query.to, FAR_S), since_s=seconds("from", query.from_, 0))

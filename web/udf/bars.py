"""Candles by column, marks on them, and last prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from topology.market.instruments import price_divisor
from topology.sinks.archive.reader import PageQuery
from topology.sinks.channel_name import TICK
from topology.sinks.values import CandleJson, TickJson
from web.gateway import Gateway
from web.http.endpoint import Text, get
from web.http.problem import Problem, unknown
from web.ports import Info
from web.queries.resampling import page_of
from web.queries.store import AnyCandle
from web.rest.market import offered
from web.rest.queries import FAR_S
from web.udf.symbols import Symbol, resolution, resolutions, resolved

DAY_S, INDIA_S = 86_400, 19_800  # how far Indian time is ahead
MOST_BARS = 20_000
PARTIAL_COLOR, REPAIRED_COLOR = "#f9a825", "#5c6bc0"

_TICK = msgspec.json.Decoder(TickJson).decode

Resolution = Annotated[str, msgspec.Meta(min_length=1, max_length=6, description="minutes, or 1S, 1D")]
Seconds = Annotated[int, msgspec.Meta(description="epoch seconds")]


class BarsQuery(msgspec.Struct, rename={"from_": "from"}):
    """Candles with ``from <= time < to``; with ``countback`` that many before ``to`` instead."""

    symbol: Symbol
    resolution: Resolution
    from_: Seconds = 0
    to: Seconds = FAR_S
    countback: Annotated[int, msgspec.Meta(ge=1)] | None = None


class QuotesQuery(msgspec.Struct):
    """Symbols, separated by commas."""

    symbols: Annotated[str, msgspec.Meta(min_length=1, max_length=6_000)]


class Bars(msgspec.Struct, omit_defaults=True, rename={"next_time": "nextTime"}):
    """Candles by column, oldest first; or ``no_data``, with the time of the next candle before where there is one."""

    s: Literal["ok", "no_data"]
    t: list[int] = []
    o: list[float] = []
    h: list[float] = []
    l: list[float] = []  # noqa: E741 - the protocol's name
    c: list[float] = []
    v: list[int] = []
    next_time: int | None = None


class Quotes(msgspec.Struct):
    """Quotes of symbols, in the order that was asked."""

    s: str
    d: list[dict[str, Any]]


class BarMarks(msgspec.Struct, rename={"label_font_color": "labelFontColor", "min_size": "minSize"}):
    """Marks on candles, by column."""

    id: list[int]
    time: list[int]
    color: list[str]
    text: list[str]
    label: list[str]
    label_font_color: list[str]
    min_size: list[int]


class _Mark(msgspec.Struct):
    color: str
    text: str
    label: str


@get("/udf/time")
async def time(gateway: Gateway) -> Text:
    """Return the time of day in epoch seconds."""
    return Text(str(gateway.now_ms() // 1000))


@get("/udf/history", example="symbol=NSE:99926000&resolution=1&from=0&to=4000000000&countback=2")
async def history(gateway: Gateway, query: BarsQuery) -> Bars:
    """Return candles of an interval of time, in rupees."""
    instrument, timeframe_s, rows = await _bars(gateway, query)
    if not rows:
        earlier = PageQuery(1, before_s=_own_time(query.from_, timeframe_s))
        before = () if query.countback else (await page_of(gateway, instrument, timeframe_s, earlier)).candles
        return Bars("no_data", next_time=_time(before[0]) if before else None)
    divisor = price_divisor(instrument.partition(":")[0])
    return Bars(
        "ok",
        t=[_time(row) for row in rows],
        o=[row.open / divisor for row in rows],
        h=[row.high / divisor for row in rows],
        l=[row.low / divisor for row in rows],
        c=[row.close / divisor for row in rows],
        v=[row.volume for row in rows],
    )


@get("/udf/marks", example="symbol=NSE:99926000&resolution=1&from=0&to=4000000000")
async def marks(gateway: Gateway, query: BarsQuery) -> BarMarks:
    """Return a mark for each candle that a gap of the feed has touched, or that the broker's history has corrected."""
    _, _, rows = await _bars(gateway, query)
    marked = [(_time(row), mark) for row in rows if (mark := _mark(row)) is not None]
    return BarMarks(
        id=[at for at, _ in marked],
        time=[at for at, _ in marked],
        color=[mark.color for _, mark in marked],
        text=[mark.text for _, mark in marked],
        label=[mark.label for _, mark in marked],
        label_font_color=["#ffffff"] * len(marked),
        min_size=[14] * len(marked),
    )


@get("/udf/quotes", example="symbols=NSE:99926000")
async def quotes(gateway: Gateway, query: QuotesQuery) -> Quotes:
    """Return the last prices of symbols, in rupees."""
    return Quotes("ok", [await _quoted(gateway, symbol) for symbol in query.symbols.split(",")])


async def _quoted(gateway: Gateway, symbol: str) -> dict[str, Any]:
    try:
        instrument, info = await resolved(gateway, symbol)
        latest = await gateway.store.mirror.latest([TICK], [instrument])
        if not latest:
            raise unknown("price", f"{symbol} has no last price yet")
    except Problem as problem:
        return {"s": "error", "n": symbol, "v": {}, "errmsg": problem.detail}
    (data,) = latest.values()
    return {"s": "ok", "n": symbol, "v": _quote(instrument, info, _TICK(data))}


def _quote(instrument: str, info: Info, tick: TickJson) -> dict[str, Any]:
    exchange = instrument.partition(":")[0]
    divisor = price_divisor(exchange)
    prices = {
        "lp": tick.price, "bid": tick.bid, "ask": tick.ask, "open_price": tick.day_open, "high_price": tick.day_high,
        "low_price": tick.day_low, "prev_close_price": tick.previous_close,
    }  # fmt: skip
    values: dict[str, Any] = {name: price / divisor for name, price in prices.items() if price is not None}
    if tick.previous_close:
        change = tick.price - tick.previous_close
        values |= {"ch": change / divisor, "chp": round(100 * change / tick.previous_close, 2)}
    volume = {} if tick.day_volume is None else {"volume": tick.day_volume}
    return values | volume | {"short_name": info.symbol, "exchange": exchange, "description": info.name}


async def _bars(gateway: Gateway, query: BarsQuery) -> tuple[str, int, Sequence[AnyCandle]]:
    """Return instrument, timeframe and candles, the oldest first; of too many the newest."""
    instrument, _ = await resolved(gateway, query.symbol)
    timeframe_s = _timeframe(gateway, query.resolution)
    before_s = _own_time(query.to, timeframe_s)
    if query.countback is not None:
        page_query = PageQuery(min(query.countback, MOST_BARS), before_s=before_s)
    else:
        page_query = PageQuery(MOST_BARS, before_s=before_s, since_s=_own_time(query.from_, timeframe_s))
    page = await page_of(gateway, instrument, timeframe_s, page_query)
    return instrument, timeframe_s, page.candles[::-1]


def _timeframe(gateway: Gateway, text: str) -> int:
    name = "1D" if text.upper() == "D" else text.upper()
    timeframes = {"1S": 1} | {resolution(seconds): seconds for seconds in offered(gateway)}
    if name not in timeframes:
        raise unknown("resolution", f"resolution={text!r}: there are {', '.join(resolutions(gateway))}")
    return timeframes[name]


def _time(row: AnyCandle) -> int:
    """Return the time by which charts know a candle: of a day it is midnight, in UTC, of the day in India."""
    return row.ts if row.tf < DAY_S else (row.ts + INDIA_S) // DAY_S * DAY_S


def _own_time(time_s: int, timeframe_s: int) -> int:
    """Return what a time in a query means: of days, midnight in UTC means midnight in India."""
    return max(min(time_s, FAR_S) - (INDIA_S if timeframe_s >= DAY_S else 0), 0)


def _mark(row: AnyCandle) -> _Mark | None:
    if isinstance(row, CandleJson) and row.source is not msgspec.UNSET:
        how = "corrected" if row.revision == 1 else "filled in"
        return _Mark(REPAIRED_COLOR, f"{how} from the broker's history", "R")
    return _Mark(PARTIAL_COLOR, "the feed missed a part of it", "G") if row.partial is True else None

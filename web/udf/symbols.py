"""Symbols: what there is, what they are called and when they trade."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Annotated, Any

import msgspec

from topology.market.calendar import Calendar, Session, indian_day
from topology.market.instruments import price_divisor
from topology.market.times import IST
from web.gateway import Gateway
from web.http.endpoint import get
from web.http.problem import unknown
from web.ports import Info
from web.rest.market import offered

MOST_FOUND = 100
AROUND_DAYS = 370  # of sessions that are told apart from the regular ones, on both sides of today
TYPES = {"index": "index", "equity": "stock", "equity_cas": "stock"}
"""Instrument classes in the words of the charts; the others are futures."""

Symbol = Annotated[str, msgspec.Meta(min_length=1, max_length=60, description="NSE:2885 or NSE:RELIANCE-EQ")]


class SymbolQuery(msgspec.Struct):
    """Which symbol."""

    symbol: Symbol


class SearchQuery(msgspec.Struct):
    """What a user has typed."""

    query: Annotated[str, msgspec.Meta(max_length=60)] = ""
    type: Annotated[str, msgspec.Meta(max_length=20)] = ""
    exchange: Annotated[str, msgspec.Meta(max_length=10)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_FOUND)] = 30


class SymbolInfo(msgspec.Struct, kw_only=True):
    """What a chart needs to know of a symbol."""

    name: str
    ticker: str
    description: str
    type: str
    session: str
    session_holidays: str
    corrections: str
    timezone: str = "Asia/Kolkata"
    exchange: str
    listed_exchange: str
    minmov: int = 1
    pricescale: int
    has_intraday: bool = True
    has_seconds: bool = True
    seconds_multipliers: list[str]
    has_daily: bool = True
    has_weekly_and_monthly: bool = False
    supported_resolutions: list[str]
    intraday_multipliers: list[str]
    volume_precision: int = 0
    data_status: str = "streaming"


class Found(msgspec.Struct):
    """A symbol that a search has found."""

    symbol: str
    full_name: str
    description: str
    exchange: str
    ticker: str
    type: str


@get("/udf/config")
async def config(gateway: Gateway) -> dict[str, Any]:
    """Return what this data feed can do."""
    exchanges = sorted({name.partition(":")[0] for name in await gateway.instruments()})
    kinds = {"All": "", "Index": "index", "Stock": "stock", "Future or option": "futures"}
    return {
        "supports_search": True,
        "supports_group_request": False,
        "supports_marks": True,
        "supports_timescale_marks": False,
        "supports_time": True,
        "exchanges": [{"value": name, "name": name or "All", "desc": name} for name in ("", *exchanges)],
        "symbols_types": [{"name": name, "value": value} for name, value in kinds.items()],
        "supported_resolutions": resolutions(gateway),
    }


@get("/udf/symbols", example="symbol=NSE:99926000")
async def symbols(gateway: Gateway, query: SymbolQuery) -> SymbolInfo:
    """Return what a chart needs to know of a symbol."""
    instrument, info = await resolved(gateway, query.symbol)
    exchange = instrument.partition(":")[0]
    session, holidays, corrections = hours(gateway.calendar, gateway.class_of(instrument), gateway.now_ms())
    supported = resolutions(gateway)
    return SymbolInfo(
        name=info.symbol,
        ticker=instrument,
        description=info.name,
        type=type_of(info),
        session=session,
        session_holidays=holidays,
        corrections=corrections,
        exchange=exchange,
        listed_exchange=exchange,
        pricescale=min(price_divisor(exchange), 10_000),  # currencies are quoted to a hundredth of a paisa
        seconds_multipliers=[one.removesuffix("S") for one in supported if one.endswith("S")],
        supported_resolutions=supported,
        intraday_multipliers=[one for one in supported if one.isdigit()],
    )


@get("/udf/search", example="query=99926&limit=5")
async def search(gateway: Gateway, query: SearchQuery) -> list[Found]:
    """Return the symbols that there is something of and that match what was typed, the best first."""
    infos = await gateway.names.of(await gateway.instruments())
    wanted = query.query.upper().strip()
    ranked = sorted(
        (rank, info.symbol, instrument)
        for instrument, info in infos.items()
        if (rank := _rank(wanted, instrument, info)) is not None
        and query.type in ("", type_of(info))
        and query.exchange.upper() in ("", instrument.partition(":")[0])
    )
    return [_found(instrument, infos[instrument]) for _, _, instrument in ranked[: query.limit]]


async def resolved(gateway: Gateway, symbol: str) -> tuple[str, Info]:
    """Return the instrument that a symbol or ticker names, and what it is called. Raises Problem."""
    infos = await gateway.names.of(await gateway.instruments())
    text = symbol.strip().upper()
    exchange, _, name = text.rpartition(":")
    if text in infos:
        return text, infos[text]
    for instrument, info in infos.items():
        of, _, token = instrument.partition(":")
        if of == (exchange or of) and name in (info.symbol.upper(), token):
            return instrument, info
    raise unknown("symbol", f"there is nothing of {symbol[:60]!r}: /udf/search finds what there is")


def resolutions(gateway: Gateway) -> list[str]:
    """Return the timeframes that there are, as charts write them: minutes, or ``1S``, ``1D``."""
    return ["1S", *(resolution(seconds) for seconds in offered(gateway))]


def resolution(seconds: int) -> str:
    """Write a timeframe as charts do.

    >>> [resolution(seconds) for seconds in (30, 60, 3600, 86400)]
    ['30S', '1', '60', '1D']
    """
    if seconds % 86_400 == 0:
        return f"{seconds // 86_400}D"
    return f"{seconds}S" if seconds % 60 else f"{seconds // 60}"


def type_of(info: Info) -> str:
    """Return what charts call a class of instruments."""
    return TYPES.get(info.instrument_class, "futures")


def hours(calendar: Calendar, instrument_class: str, now_ms: int) -> tuple[str, str, str]:
    """Return the regular session, the weekdays without one, and the days with another one, as charts write them."""
    today = indian_day(now_ms)
    days = [today + timedelta(number) for number in range(-AROUND_DAYS, AROUND_DAYS)]
    texts = {
        day: ",".join(map(_hours, calendar.sessions(instrument_class, day))) for day in days if calendar.covered(day)
    }
    regular = Counter(filter(None, texts.values())).most_common(1)[0][0]
    if regular == "0000-2400":
        return "24x7", "", ""
    holidays = [f"{day:%Y%m%d}" for day, text in texts.items() if not text and day.weekday() < 5]
    others = [f"{text}:{day:%Y%m%d}" for day, text in texts.items() if text and (text != regular or day.weekday() >= 5)]
    return regular, ",".join(holidays), ";".join(others)


def _hours(session: Session) -> str:
    opens, closes = (_clock(time_ms) for time_ms in (session.open_ms, session.close_ms))
    return f"{opens}-{'2400' if closes == '0000' else closes}"


def _clock(time_ms: int) -> str:
    minutes = (time_ms // 60_000 + int(IST.utcoffset(None).total_seconds()) // 60) % 1440
    return f"{minutes // 60:02}{minutes % 60:02}"


def _rank(wanted: str, instrument: str, info: Info) -> int | None:
    """Return how well an instrument matches, 0 is best; None where it doesn't."""
    symbol, name, token = info.symbol.upper(), info.name.upper(), instrument.partition(":")[2]
    if wanted in (symbol, name, token, instrument):
        return 0
    if symbol.startswith(wanted) or name.startswith(wanted):
        return 1
    return 2 if wanted in symbol or wanted in name or token.startswith(wanted) else None


def _found(instrument: str, info: Info) -> Found:
    exchange = instrument.partition(":")[0]
    return Found(info.symbol, f"{exchange}:{info.symbol}", info.name, exchange, instrument, type_of(info))

"""Pages of candles, of any timeframe that is stored or can be resampled."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from topology.market.times import Interval
from topology.sinks.archive.reader import PageQuery
from topology.sinks.values import GapJson
from web.gateway import Gateway
from web.http.endpoint import Paged, get
from web.queries.flat_candles import with_flat_candles
from web.queries.resampling import Page, page_of
from web.queries.store import AnyCandle
from web.rest.queries import FAR_S, Exchange, Limit, Time, Timeframe, Token, seconds

_FAR_MS = FAR_S * 1000


class CandlesQuery(msgspec.Struct):
    """Which page: the newest ``limit`` candles that start before ``before``.

    With ``fill=flat`` the times of a session in which nothing was traded have flat candles, which say ``synthetic``;
    gaps of the feed have none.
    """

    token: Token
    exchange: Exchange = ""
    tf: Timeframe = 60
    limit: Limit = 200
    before: Time = ""
    fill: Literal["none", "flat"] = "none"


@get("/api/candles", example="token=99926000&exchange=NSE&tf=60&limit=2")
async def candles(gateway: Gateway, query: CandlesQuery) -> Paged[AnyCandle]:
    """Return closed candles, the newest first; the next page's address is in the header Link."""
    instrument = await gateway.instrument(query.token, query.exchange)
    page_query = PageQuery(query.limit, before_s=seconds("before", query.before, FAR_S))
    page = await page_of(gateway, instrument, query.tf, page_query)
    if query.fill == "flat" and page.candles:
        page = await _with_flat_candles(gateway, instrument, page_query, page)
    more = page.more or len(page.candles) == query.limit
    return Paged(page.candles, page.candles[-1].ts if more and page.candles else None)


class GapsQuery(msgspec.Struct, rename={"from_": "from"}):
    """Gaps that overlap with the interval from ``from`` to ``to``."""

    token: Token
    exchange: Exchange = ""
    from_: Time = ""
    to: Time = ""


@get("/api/gaps", example="token=99926000&from=2026-11-24T09:15")
async def gaps(gateway: Gateway, query: GapsQuery) -> list[GapJson]:
    """Return when the feed saw nothing of an instrument, the oldest first. That may be when nothing is traded, too."""
    instrument = await gateway.instrument(query.token, query.exchange)
    from_s, to_s = seconds("from", query.from_, 0), seconds("to", query.to, FAR_S)
    return await asyncio.to_thread(gateway.store.archive.gaps, instrument, Interval(from_s * 1000, to_s * 1000))


async def _with_flat_candles(gateway: Gateway, instrument: str, query: PageQuery, page: Page) -> Page:
    """Fill a page up to the time before which it is, if there are candles after that; else up to its newest candle."""
    newest = page.candles[0]
    has_later = query.before_s < FAR_S and bool(
        (await page_of(gateway, instrument, newest.tf, PageQuery(1, since_s=query.before_s))).candles
    )
    interval = Interval(page.candles[-1].ts * 1000, query.before_s * 1000)
    gaps = await asyncio.to_thread(gateway.store.archive.gaps, instrument, interval)
    candles = with_flat_candles(
        page.candles,
        gateway.calendar,
        gateway.class_of(instrument),
        until_s=query.before_s if has_later else newest.ts,
        limit=query.limit,
        gaps=[Interval(gap.from_ms, _FAR_MS if gap.to_ms is None else gap.to_ms) for gap in gaps if gap.broken],
    )
    return Page(candles, page.more)

"""Candles of any timeframe: of one that is stored, or resampled out of a shorter one that is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from topology.log.frames import TIMEFRAMES
from topology.market.calendar import Calendar, NotCovered
from topology.market.candle import BROKER, EXTREME, PARTIAL, Candle
from topology.market.history import candle_interval, resampled
from topology.market.times import Interval
from topology.sinks.archive.reader import PageQuery
from topology.sinks.values import CandleJson
from web.gateway import Gateway
from web.http.problem import unknown
from web.queries.store import AnyCandle, Store

BLOCK = 20_000
"""Shorter candles that are read at a time: more than any candle can have of 5 s."""

MOST = 100_000
"""Shorter candles that a page may be made of: a page of longer ones ends there, and says where it goes on."""


class Page(NamedTuple):
    """Candles, the newest first; ``more`` says that older ones may be there although the page isn't full."""

    candles: Sequence[AnyCandle]
    more: bool


def stored_for(timeframe_s: int, stored: Iterable[int]) -> int | None:
    """Return the longest stored timeframe that divides one; None where none does."""
    return max((one for one in stored if timeframe_s % one == 0), default=None)


def part_of(gateway: Gateway, timeframe_s: int) -> int:
    """Return the stored timeframe that makes one: itself, or the longest that divides it. Raises Problem."""
    stored = gateway.log.configuration.timeframes
    part_s = 1 if timeframe_s == 1 else stored_for(timeframe_s, stored)
    if part_s is None:
        there = ", ".join(map(str, sorted(stored)))
        raise unknown("timeframe", f"tf={timeframe_s}: there are 1, {there} and multiples of them")
    return part_s


async def page_of(gateway: Gateway, instrument: str, timeframe_s: int, query: PageQuery) -> Page:
    """Return a page of candles, the newest first. Raises Problem for a timeframe that there can't be."""
    part_s = part_of(gateway, timeframe_s)
    if part_s == timeframe_s:
        return Page(await gateway.store.candles(instrument, timeframe_s, query), more=False)
    return await resampled_page(gateway, instrument, timeframe_s, part_s, query)


async def resampled_page(gateway: Gateway, instrument: str, timeframe_s: int, part_s: int, query: PageQuery) -> Page:
    """Return closed candles of ``timeframe_s``, each made of all its parts of ``part_s``. Raises NotCovered."""
    store, calendar, instrument_class = gateway.store, gateway.calendar, gateway.class_of(instrument)
    lateness_ms = gateway.log.configuration.lateness_ms
    before_ms = query.before_s * 1000
    parts: list[AnyCandle] = []
    until_s = query.before_s
    if query.before_s < 1 << 40:
        with suppress(NotCovered):
            around = candle_interval(calendar, instrument_class, timeframe_s, before_ms - 1)
            until_s = query.before_s if around is None else around.to_ms // 1000
    while True:
        block = await store.candles(
            instrument, part_s, PageQuery(BLOCK, before_s=parts[-1].ts if parts else until_s, since_s=query.since_s)
        )
        parts += block
        ended = len(block) < BLOCK
        candles = await asyncio.to_thread(
            resample, parts, calendar, instrument_class, timeframe_s, await _closed_until(store, parts, lateness_ms)
        )
        if not ended:
            candles = candles[:-1]  # the oldest may lack parts that were not read
        page = [candle for candle in candles if query.since_s <= candle.ts < query.before_s]
        if ended or len(page) >= query.limit or len(parts) >= MOST:
            return Page(page[: query.limit], more=not ended)


async def _closed_until(store: Store, parts: Sequence[AnyCandle], lateness_ms: int) -> int:
    """Return the time up to which all shorter candles have closed, in milliseconds."""
    if not parts:
        return 0
    reached_ms = await asyncio.to_thread(store.archive.reached_ms, TIMEFRAMES, parts[0].partition)
    return max((parts[0].ts + parts[0].tf) * 1000, (reached_ms or 0) - lateness_ms)


def resample(
    parts: Sequence[AnyCandle], calendar: Calendar, instrument_class: str, timeframe_s: int, closed_until_ms: int
) -> list[CandleJson]:
    """Resample candles that come the newest first; so do the longer ones, those that end by ``closed_until_ms``."""
    made = resampled(
        map(candle_of, reversed(parts)), calendar, instrument_class, timeframe_s, Interval(0, closed_until_ms)
    )
    rows, first = [], 0
    for candle in reversed(made):
        while parts[first].ts * 1000 >= candle.start_ms + timeframe_s * 1000:
            first += 1
        last = first
        while last < len(parts) and parts[last].ts * 1000 >= candle.start_ms:
            last += 1
        rows.append(_json(candle, parts[first:last]))
        first = last
    return rows


def candle_of(part: AnyCandle) -> Candle:
    """Return the candle that a row tells of."""
    marks = PARTIAL * (part.partial is True) | EXTREME * (part.hl_from_day is True)
    if isinstance(part, CandleJson):
        marks |= BROKER * (part.source is not msgspec.UNSET)
        count = part.count
    else:
        count = part.ticks_count
    return Candle(
        f"{part.exchange}:{part.token}", part.tf, part.ts * 1000, part.open, part.high, part.low, part.close,
        part.volume, count, marks,
    )  # fmt: skip


def _json(candle: Candle, parts: Sequence[AnyCandle]) -> CandleJson:
    """Return a resampled candle. Its cause is the newest frame that has a part in it."""
    newest = max(parts, key=lambda part: part.position)
    revisions = [part.revision for part in parts if isinstance(part, CandleJson) and part.revision is not msgspec.UNSET]
    return CandleJson(
        newest.token, newest.exchange, candle.timeframe_s, candle.start_ms // 1000, candle.open, candle.high,
        candle.low, candle.close, candle.volume, candle.count, False, newest.position, newest.partition,
        bool(candle.marks & PARTIAL) or msgspec.UNSET, bool(candle.marks & EXTREME) or msgspec.UNSET,
        "broker" if revisions else msgspec.UNSET, max(revisions, default=msgspec.UNSET),
    )  # fmt: skip

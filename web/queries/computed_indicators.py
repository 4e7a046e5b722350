"""Values of indicators where none were published: at candles from before they were computed, for a chart to show."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from topology import indicators
from topology.sinks.archive.reader import PageQuery
from topology.sinks.values import IndicatorJson
from web.gateway import Gateway
from web.queries.resampling import candle_of, page_of
from web.queries.store import AnyCandle

SETTLED = 20  # periods after which what an average began with counts for less than a millionth
MOST_BEFORE = 10_000


async def computed(
    gateway: Gateway, instrument: str, name: str, timeframe_s: int, query: PageQuery
) -> list[IndicatorJson]:
    """Return values at closed candles of any timeframe, the newest first: each has the cause of its candle.

    An average that never forgets starts some way before them, so that it is near to what would have been published,
    and not the same. They say ``computed``. Raises Problem, IndicatorError.
    """
    indicator = indicators.IndicatorSpec.of_name(name).create()
    before = min(SETTLED * indicator.period, MOST_BEFORE)
    with_before = msgspec.structs.replace(query, limit=query.limit + before, since_s=0)
    page = await page_of(gateway, instrument, timeframe_s, with_before)
    values = await asyncio.to_thread(_values, indicator, page.candles, name)
    return [value for value in values[: query.limit] if value.ts >= query.since_s]


def _values(indicator: indicators.Indicator, candles: Sequence[AnyCandle], name: str) -> list[IndicatorJson]:
    """Compute over candles that come the newest first; so do the values."""
    rows = []
    for one in reversed(candles):
        value = indicator.update(candle_of(one))
        if value is not None:
            cause = one.position, one.partition
            rows.append(
                IndicatorJson(
                    name, one.token, one.exchange, one.tf, round(value, 4), one.ts, True, False, *cause, computed=True
                )
            )
    return rows[::-1]

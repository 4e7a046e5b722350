"""Flat candles where a session goes on and nothing is traded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from topology.market.calendar import Calendar
from topology.market.history import candle_starts
from topology.market.times import Interval
from topology.sinks.values import CandleJson
from web.queries.store import AnyCandle


def with_flat_candles(
    candles: Sequence[AnyCandle],
    calendar: Calendar,
    instrument_class: str,
    *,
    until_s: int,
    limit: int,
    gaps: Sequence[Interval],
) -> list[AnyCandle]:
    """Return the newest ``limit`` of candles and flat ones between them, up to ``until_s``; the newest first.

    A flat candle has the close of the one before it as all its prices. There is none before the oldest candle, and
    none in a gap of the feed: what was traded there isn't known.
    """
    filled: list[AnyCandle] = []
    for candle in candles:
        after = Interval((candle.ts + 1) * 1000, until_s * 1000)
        starts = candle_starts(calendar, instrument_class, candle.tf, after, gaps)
        filled += [_flat(candle, start_ms // 1000) for start_ms in islice(starts, limit - len(filled))]
        if len(filled) == limit:
            return filled
        filled.append(candle)
        until_s = candle.ts
    return filled[:limit]


def _flat(before: AnyCandle, ts: int) -> CandleJson:
    """Return the candle that follows one when nothing is traded, as an effect of the same frame."""
    close = before.close
    return CandleJson(
        before.token, before.exchange, before.tf, ts, close, close, close, close, 0, 0, False, before.position,
        before.partition, synthetic=True,
    )  # fmt: skip

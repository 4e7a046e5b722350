"""Mirror and archive read as one: Redis has the newest rows, SQLite all of them, and what was corrected since."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from topology.log.frames import CANDLES, INDICATORS, TIMEFRAMES
from topology.sinks.archive.reader import ArchiveReader, PageQuery
from topology.sinks.channel_name import candle_name, indicator_name
from topology.sinks.cursor import SinkError
from topology.sinks.mirror.reader import MirrorReader
from topology.sinks.values import CandleJson, IndicatorJson, SecondCandleJson
from web.http.problem import unavailable

AnyCandle = CandleJson | SecondCandleJson
Row = TypeVar("Row", CandleJson, SecondCandleJson, AnyCandle, IndicatorJson)
Result = TypeVar("Result")

_SECOND = msgspec.json.Decoder(SecondCandleJson).decode
_CANDLE = msgspec.json.Decoder(CandleJson).decode
_VALUE = msgspec.json.Decoder(IndicatorJson).decode


class Store:
    """Pages of closed candles and confirmed values, the newest first, without a seam between the two or a duplicate.

    Where both have a row the archive's stands, since it may have been corrected. Either may be away, as long as the
    other has all that is asked for. Raises Problem where that isn't so.
    """

    def __init__(self, mirror: MirrorReader, archive: ArchiveReader) -> None:
        self.mirror, self.archive = mirror, archive

    async def candles(self, instrument: str, timeframe_s: int, query: PageQuery) -> list[AnyCandle]:
        """Return candles of a timeframe that is stored."""
        return await self._page(
            candle_name(timeframe_s),
            instrument,
            query,
            stage=CANDLES if timeframe_s == 1 else TIMEFRAMES,
            decode=_SECOND if timeframe_s == 1 else _CANDLE,
            archived=lambda: self.archive.candles(instrument, timeframe_s, query),
        )

    async def values(self, instrument: str, name: str, timeframe_s: int, query: PageQuery) -> list[IndicatorJson]:
        """Return values of an indicator."""
        return await self._page(
            indicator_name(name, timeframe_s),
            instrument,
            query,
            stage=INDICATORS,
            decode=_VALUE,
            archived=lambda: self.archive.values(instrument, name, timeframe_s, query),
        )

    async def _page(
        self,
        name: str,
        instrument: str,
        query: PageQuery,
        *,
        stage: str,
        decode: Callable[[bytes], Row],
        archived: Callable[[], Sequence[Row]],
    ) -> list[Row]:
        newest, older = await asyncio.gather(
            _or_error(self._mirrored(name, instrument, query, decode)), _or_error(asyncio.to_thread(archived))
        )
        if isinstance(older, SinkError) and (isinstance(newest, SinkError) or len(newest) < query.limit):
            raise unavailable("archive", str(older))
        rows = {row.ts: row for row in ([] if isinstance(newest, SinkError) else newest)}
        if 0 < len(rows) < query.limit and not isinstance(older, SinkError):
            await self._require_contact(stage, min(rows.values(), key=_ts))
        rows |= {row.ts: row for row in ([] if isinstance(older, SinkError) else older)}
        return sorted(rows.values(), key=_ts, reverse=True)[: query.limit]

    async def _mirrored(
        self, name: str, instrument: str, query: PageQuery, decode: Callable[[bytes], Row]
    ) -> list[Row]:
        before_ms = query.before_s * 1000 if query.before_s < 1 << 53 else None
        entries = await self.mirror.entries(name, instrument, before_ms=before_ms, limit=query.limit)
        rows = map(decode, entries)
        return [row for row in rows if row.ts >= query.since_s and row.position > query.after]

    async def _require_contact(self, stage: str, oldest: CandleJson | SecondCandleJson | IndicatorJson) -> None:
        """Refuse where the archive is so far behind that rows may lack between it and the oldest of the mirror."""
        reached_ms = await asyncio.to_thread(self.archive.reached_ms, stage, oldest.partition)
        if reached_ms is not None and reached_ms < oldest.ts * 1000:
            raise unavailable("archive", "the archive is behind what Redis still holds: ask for less, or again later")


async def _or_error(answer: Awaitable[Result]) -> Result | SinkError:
    try:
        return await answer
    except SinkError as error:
        return error


def _ts(row: CandleJson | SecondCandleJson | IndicatorJson) -> int:
    return row.ts

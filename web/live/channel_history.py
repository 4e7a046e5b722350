"""What came before: rows of a line out of Redis and SQLite, and what was said after a position."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from topology.log.frames import TIMEFRAMES
from topology.sinks.archive.reader import PageQuery
from topology.sinks.values import CandleJson, IndicatorJson, SecondCandleJson
from web.gateway import Gateway
from web.live.channel import NOWHERE, Channel, ConfirmedMessage, key
from web.live.message_header import MessageHeader, message_header
from web.ports import Clock
from web.queries.resampling import resampled_page

MOST_MISSED = 5_000
"""Messages of a channel that a client may have missed."""

PATIENCE_S, LOOK_S = 2.0, 0.05
"""How long the archive is waited for, which is behind the mirror by 0.2 s when all is well."""

FAR_BEHIND = 20_000
"""Positions; an archive that is behind by more isn't waited for."""

FIRST_BLOCK = 20

Row = CandleJson | SecondCandleJson | IndicatorJson
_encode = msgspec.json.Encoder().encode


class Rows(NamedTuple):
    """Rows of a line by ``ts``. Of all that has a position up to ``until`` nothing is missing."""

    told: Mapping[int, ConfirmedMessage]
    until: int


class MissedMessages(NamedTuple):
    """What was said after a position, by position and then ``ts``; from ``until`` on the line remembers it."""

    told: Sequence[ConfirmedMessage]
    until: int


class ChannelHistory:
    """Reads what lines have told. A line that is heard remembers what comes after it."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._reading, self._clock = gateway, gateway.reading, clock

    async def rows(self, line: Channel, limit: int) -> Rows:
        """Return the newest rows of a line. Raises Problem, SinkError, CalendarError."""
        if line.base is not None:
            return await self._folded(line, line.base, PageQuery(limit))
        until = await self._settled(line)
        channel, wanted = line.channel, PageQuery(limit)
        found: list[Row] = []
        if line.heard_from is None:  # what Redis has beyond the archive will be said again when it is back
            found = await self._archived(line, wanted)
        elif channel.indicator:
            found += await self._reading.values(channel.instrument, channel.indicator, channel.timeframe_s, wanted)
        else:
            found += await self._reading.candles(channel.instrument, channel.timeframe_s, wanted)
        if found:
            line.partition = found[0].partition
        return Rows({row.ts: _told(row) for row in found}, _of(until, line.partition))

    async def after(self, line: Channel, position: int, partition: int | None = None) -> MissedMessages | None:
        """Return what was said on a line after a position. Raises ArchiveError, MirrorAwayError.

        None where that is too much, can't be told for sure, or where there is no such position in the partition.
        """
        if line.base is not None:
            return await self._folded_after(line, line.base, position, partition)
        settled = await self._settled(line)
        archived = await self._archived(line, PageQuery(MOST_MISSED + 1, after=position))
        found = {key(told): told for told in map(_told, archived)}
        until = max(_of(settled, await self._partition(line)), position)
        if line.since is None:
            return None
        if until < line.since:
            entries = await self._entries(line, until)
            if entries is None:
                return None
            found |= {key(told): told for told in entries if told.marks.position > until}
        if len(found) > MOST_MISSED or not await self._is_there(line, position, partition, settled):
            return None
        return MissedMessages([told for _, told in sorted(found.items())], until)

    async def _is_there(self, line: Channel, position: int, partition: int | None, archived: Mapping[int, int]) -> bool:
        """Whether a client that is at a position can be: None for a partition is that of the line itself."""
        own = await self._partition(line)
        reached = max(line.told, line.reached, _of(archived, own), _of(line.heard_from or {}, own))
        return partition is None or (partition == own and 0 <= position <= reached)

    async def _partition(self, line: Channel) -> int | None:
        """Return the partition of a line's instrument, None while nobody knows it."""
        if line.partition is None:
            found = await self._archived(line, PageQuery(1))
            if found:
                line.partition = found[0].partition
            elif line.heard_from is not None:
                channel = line.channel
                entries = await self._reading.mirror.entries(channel.name, channel.instrument, before_ms=None, limit=1)
                line.partition = message_header(entries[0]).partition if entries else None
        return line.partition

    async def newest(self, line: Channel) -> Rows:
        """Return the newest row of a line alone: from the archive, for what Redis has is asked for at once."""
        if line.base is not None:
            return await self._folded(line, line.base, PageQuery(1))
        until = await asyncio.to_thread(self._reading.archive.positions, line.channel.stage)
        found = await self._archived(line, PageQuery(1))
        if found:
            line.partition = found[0].partition
        return Rows({row.ts: _told(row) for row in found}, _of(until, line.partition))

    async def _folded(self, line: Channel, base: Channel, wanted: PageQuery) -> Rows:
        """Return folded candles: all that can be made of what the stores have now."""
        await self._settled(base)
        found = await self._page(line, base, wanted)
        if found:
            line.partition = found[0].partition
        return Rows({row.ts: _told(row) for row in found}, max((row.position for row in found), default=NOWHERE))

    async def _page(self, line: Channel, base: Channel, wanted: PageQuery) -> list[CandleJson]:
        of = line.channel
        found = await resampled_page(self._gateway, of.instrument, of.timeframe_s, base.channel.timeframe_s, wanted)
        return [row for row in found.candles if isinstance(row, CandleJson)]

    async def _folded_after(
        self, line: Channel, base: Channel, position: int, partition: int | None
    ) -> MissedMessages | None:
        """Fold again all candles that have a part which was told after a position."""
        settled = await self._settled(base)
        parts = await self._archived(base, PageQuery(MOST_MISSED + 1, after=position))
        if len(parts) > MOST_MISSED or not await self._is_there(base, position, partition, settled):
            return None
        if base.since is not None and _of(settled, base.partition) < base.since:
            return None
        since_s = min((part.ts for part in parts), default=None)
        if since_s is None:
            return MissedMessages([], position)
        wanted = PageQuery(MOST_MISSED, since_s=since_s - line.channel.timeframe_s)
        told = [_told(row) for row in await self._page(line, base, wanted) if row.position > position]
        return MissedMessages(sorted(told, key=key), position)

    async def _settled(self, line: Channel) -> Mapping[int, int]:
        """Return how far the archive is. It is waited for where it alone has candles that history corrects.

        One that is far behind isn't waited for.
        """
        waited_s = 0.0
        while True:
            reached = await asyncio.to_thread(self._reading.archive.positions, line.channel.stage)
            heard_from = line.heard_from if line.heard_from and line.channel.stage == TIMEFRAMES else {}
            behind = max((position - _of(reached, part) for part, position in heard_from.items()), default=0)
            if not 0 < behind < FAR_BEHIND or waited_s >= PATIENCE_S:
                return reached
            await self._clock.sleep(LOOK_S)
            waited_s += LOOK_S

    async def _entries(self, line: Channel, after: int) -> list[ConfirmedMessage] | None:
        """Return what the stream has after a position; None where some of it is gone."""
        limit, channel = FIRST_BLOCK, line.channel
        while True:
            found = await self._reading.mirror.entries(channel.name, channel.instrument, before_ms=None, limit=limit)
            if not found:
                return []
            oldest = message_header(found[-1])
            if oldest.position <= after:
                return [ConfirmedMessage(message_header(data), data) for data in found]
            if len(found) < limit or limit > MOST_MISSED:
                return None
            limit *= 5

    async def _archived(self, line: Channel, wanted: PageQuery) -> list[Row]:
        channel, archive = line.channel, self._reading.archive

        def read() -> Sequence[Row]:
            if channel.indicator:
                return archive.values(channel.instrument, channel.indicator, channel.timeframe_s, wanted)
            return archive.candles(channel.instrument, channel.timeframe_s, wanted)

        return list(await asyncio.to_thread(read))


def laid_over(rows: Rows, line: Channel, others: Iterable[ConfirmedMessage] = ()) -> dict[int, ConfirmedMessage]:
    """Lay what a line remembers over rows, by ``ts``. Of two the one with the later position stands."""
    found = dict(rows.told)
    remembered = [ConfirmedMessage(message.marks, message.data) for message in line.beyond(rows.until)]
    for told in [*others, *remembered]:
        known = found.get(told.marks.ts)
        if known is None or known.marks.position <= told.marks.position:
            found[told.marks.ts] = told
    return found


def _told(row: Row) -> ConfirmedMessage:
    revision = row.revision if isinstance(row, CandleJson) and isinstance(row.revision, int) else -1
    return ConfirmedMessage(MessageHeader(row.position, row.partition, row.ts, revision=revision), _encode(row))


def _of(positions: Mapping[int, int], partition: int | None) -> int:
    return NOWHERE if partition is None else positions.get(partition, NOWHERE)

"""What came before: rows of a channel out of Redis and SQLite, and what was published after a position."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from topology.clock import Clock
from topology.log.frames import TIMEFRAMES
from topology.sinks.archive.reader import PageQuery
from topology.sinks.values import CandleJson, IndicatorJson, SecondCandleJson
from web.gateway import Gateway
from web.live.channel import Channel
from web.live.channel_state import NOWHERE, ConfirmedMessage, PartitionFound, message_key, position_in
from web.live.message_header import MessageHeader, message_header
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
    """Rows of a channel as messages, by ``ts``. Of all that has a position up to ``until`` nothing is missing."""

    messages: Mapping[int, ConfirmedMessage]
    until: int


class MissedMessages(NamedTuple):
    """What was published after a position, by position and then ``ts``; from ``until`` on the channel remembers it."""

    messages: Sequence[ConfirmedMessage]
    until: int


class ChannelHistory:
    """Reads what was published on channels. One that is subscribed remembers what comes after it."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._store, self._clock = gateway, gateway.store, clock

    async def rows(self, channel: Channel, limit: int) -> Rows:
        """Return the newest rows of a channel. Raises Problem, SinkError, CalendarError."""
        query = PageQuery(limit)
        if channel.base is not None:
            return await self._resampled(channel, channel.base, query)
        positions = await self._archive_positions(channel)
        name = channel.name
        rows: list[Row] = []
        if channel.progress.subscribed_at is None:  # what Redis has beyond the archive comes again when it is back
            rows = await self._archived(channel, query)
        elif name.indicator:
            rows += await self._store.values(name.instrument, name.indicator, name.timeframe_s, query)
        else:
            rows += await self._store.candles(name.instrument, name.timeframe_s, query)
        return _rows(channel, rows, positions)

    async def newest(self, channel: Channel) -> Rows:
        """Return the newest row of a channel alone: from the archive, for what Redis has is asked for at once."""
        if channel.base is not None:
            return await self._resampled(channel, channel.base, PageQuery(1))
        positions = await asyncio.to_thread(self._store.archive.positions, channel.name.stage)
        return _rows(channel, await self._archived(channel, PageQuery(1)), positions)

    async def after(self, channel: Channel, position: int, partition: int | None = None) -> MissedMessages | None:
        """Return what was published on a channel after a position. Raises ArchiveError, MirrorAwayError.

        None where that is too much, can't be told for sure, or where there is no such position in the partition.
        """
        if channel.base is not None:
            return await self._resampled_after(channel, channel.base, position, partition)
        positions = await self._archive_positions(channel)
        archived = await self._archived(channel, PageQuery(MOST_MISSED + 1, after=position))
        messages = {message_key(message): message for message in map(_message, archived)}
        until = max(position_in(positions, await self._partition(channel)), position)
        complete_after = channel.progress.complete_after
        if complete_after is None:
            return None
        if until < complete_after:
            entries = await self._entries(channel, until)
            if entries is None:
                return None
            messages |= {message_key(one): one for one in entries if one.header.position > until}
        if len(messages) > MOST_MISSED or not await self._is_there(channel, position, partition, positions):
            return None
        return MissedMessages([message for _, message in sorted(messages.items())], until)

    async def _is_there(
        self, channel: Channel, position: int, partition: int | None, archived: Mapping[int, int]
    ) -> bool:
        """Whether a client that is at a position can be: None for a partition is that of the channel itself."""
        own, progress = await self._partition(channel), channel.progress
        subscribed = position_in(progress.subscribed_at or {}, own)
        newest = max(progress.resumes_after, position_in(archived, own), subscribed)
        return partition is None or (partition == own and 0 <= position <= newest)

    async def _partition(self, channel: Channel) -> int | None:
        """Return the partition of a channel's instrument, None while nobody knows it."""
        if channel.progress.partition is None:
            name, partition = channel.name, None
            if archived := await self._archived(channel, PageQuery(1)):
                partition = archived[0].partition
            elif channel.progress.subscribed_at is not None:
                entries = await self._store.mirror.entries(name.name, name.instrument, before_ms=None, limit=1)
                partition = message_header(entries[0]).partition if entries else None
            if partition is not None:
                channel.apply(PartitionFound(partition))
        return channel.progress.partition

    async def _resampled(self, channel: Channel, base: Channel, query: PageQuery) -> Rows:
        """Return resampled candles: all that can be made of what the stores have now."""
        await self._archive_positions(base)
        rows = await self._page(channel, base, query)
        found = _rows(channel, rows, {})
        return found._replace(until=max((row.position for row in rows), default=NOWHERE))

    async def _page(self, channel: Channel, base: Channel, query: PageQuery) -> list[CandleJson]:
        name = channel.name
        page = await resampled_page(self._gateway, name.instrument, name.timeframe_s, base.name.timeframe_s, query)
        return [row for row in page.candles if isinstance(row, CandleJson)]

    async def _resampled_after(
        self, channel: Channel, base: Channel, position: int, partition: int | None
    ) -> MissedMessages | None:
        """Resample again all candles that have a part which was published after a position."""
        positions = await self._archive_positions(base)
        parts = await self._archived(base, PageQuery(MOST_MISSED + 1, after=position))
        if len(parts) > MOST_MISSED or not await self._is_there(base, position, partition, positions):
            return None
        complete_after = base.progress.complete_after
        if complete_after is not None and position_in(positions, base.progress.partition) < complete_after:
            return None
        since_s = min((part.ts for part in parts), default=None)
        if since_s is None:
            return MissedMessages([], position)
        query = PageQuery(MOST_MISSED, since_s=since_s - channel.name.timeframe_s)
        messages = [_message(row) for row in await self._page(channel, base, query) if row.position > position]
        return MissedMessages(sorted(messages, key=message_key), position)

    async def _archive_positions(self, channel: Channel) -> Mapping[int, int]:
        """Return how far the archive is. It is waited for where it alone has candles that history corrects.

        One that is far behind isn't waited for.
        """
        waited_s = 0.0
        while True:
            archived = await asyncio.to_thread(self._store.archive.positions, channel.name.stage)
            subscribed = channel.progress.subscribed_at if channel.name.stage == TIMEFRAMES else None
            lacking = [position - position_in(archived, part) for part, position in (subscribed or {}).items()]
            if not 0 < max(lacking, default=0) < FAR_BEHIND or waited_s >= PATIENCE_S:
                return archived
            await self._clock.sleep(LOOK_S)
            waited_s += LOOK_S

    async def _entries(self, channel: Channel, after: int) -> list[ConfirmedMessage] | None:
        """Return what the stream has after a position; None where some of it is gone."""
        limit, name = FIRST_BLOCK, channel.name
        while True:
            entries = await self._store.mirror.entries(name.name, name.instrument, before_ms=None, limit=limit)
            if not entries:
                return []
            oldest = message_header(entries[-1])
            if oldest.position <= after:
                return [ConfirmedMessage(message_header(data), data) for data in entries]
            if len(entries) < limit or limit > MOST_MISSED:
                return None
            limit *= 5

    async def _archived(self, channel: Channel, query: PageQuery) -> list[Row]:
        name, archive = channel.name, self._store.archive

        def read() -> Sequence[Row]:
            if name.indicator:
                return archive.values(name.instrument, name.indicator, name.timeframe_s, query)
            return archive.candles(name.instrument, name.timeframe_s, query)

        return list(await asyncio.to_thread(read))


def _rows(channel: Channel, rows: Sequence[Row], positions: Mapping[int, int]) -> Rows:
    """Return rows of a channel, which tell its partition, and how far the archive is in that."""
    if rows:
        channel.apply(PartitionFound(rows[0].partition))
    until = position_in(positions, channel.progress.partition)
    return Rows({row.ts: _message(row) for row in rows}, until)


def _message(row: Row) -> ConfirmedMessage:
    """Return the message by which a row was published."""
    revision = row.revision if isinstance(row, CandleJson) and isinstance(row.revision, int) else -1
    return ConfirmedMessage(MessageHeader(row.position, row.partition, row.ts, revision=revision), _encode(row))

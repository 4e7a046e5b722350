"""Paces a live source into the tick log: small frames at once, and a clock every second for silent partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from topology.feeds.writer import TickLogWriter
from topology.log.position import partition_of
from topology.market.ticks import Tick

HEARTBEAT_MS = 1000


class LiveFeed:
    """Collects ticks by partition. A frame leaves at once after a quiet moment, then at most every ``frame_ms``.

    ``now_ms`` is the feed's clock, milliseconds since the epoch: each frame carries it.
    """

    def __init__(self, writer: TickLogWriter, *, frame_ms: int, now_ms: Callable[[], int]) -> None:
        self._writer, self._frame_ms, self._now_ms = writer, frame_ms, now_ms
        partitions = writer.log.header.partitions
        self._waiting: list[list[Tick]] = [[] for _ in range(partitions)]
        self._written_ms = [0] * partitions
        self._news = asyncio.Event()  # a partition in which nothing waited has a tick

    def add(self, ticks: Iterable[Tick]) -> None:
        """Take ticks as they come in."""
        for tick in ticks:
            waiting = self._waiting[partition_of(tick.instrument, len(self._waiting))]
            if not waiting:
                self._news.set()
            waiting.append(tick)

    async def run(self) -> None:
        """Write frames for as long as the feed is up."""
        partitions = range(len(self._waiting))
        while True:
            await self._write_due()
            # Only now: ticks have come in while frames were being written.
            self._news.clear()
            next_ms = min(map(self._due_ms, partitions))
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, next_ms - self._now_ms()) / 1000):
                    await self._news.wait()

    async def _write_due(self) -> None:
        """Write every partition whose time has come."""
        for partition, ticks in enumerate(self._waiting):
            now_ms = self._now_ms()
            if self._due_ms(partition) <= now_ms:
                self._waiting[partition] = []
                self._written_ms[partition] = now_ms
                await self._writer.write_partition(partition, ticks, now_ms)

    def _due_ms(self, partition: int) -> int:
        return self._written_ms[partition] + (self._frame_ms if self._waiting[partition] else HEARTBEAT_MS)

"""Paces a live source into the tick log: small frames at once, and a clock every second for silent partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from topology.feeds import FrameContent
from topology.feeds.writer import TickLogWriter
from topology.log.partition import partition_of
from topology.market.gaps import Baseline, Gap
from topology.market.history import History
from topology.market.quotes import Quote
from topology.market.ticks import Tick

HEARTBEAT_MS = 1000


class LiveFeed:
    """Collects what comes in by partition. A frame leaves at once after a quiet moment, then one every ``frame_ms``.

    ``now_ms`` is the feed's clock, milliseconds since the epoch: each frame carries it. ``on_gap`` is called with
    each gap when it begins and when it ends.
    """

    def __init__(
        self, writer: TickLogWriter, *, frame_ms: int, now_ms: Callable[[], int], on_gap: Callable[[Gap], None]
    ) -> None:
        self._writer, self._frame_ms, self._now_ms, self._on_gap = writer, frame_ms, now_ms, on_gap
        partitions = writer.log.header.partitions
        self._waiting: list[list[FrameContent]] = [[] for _ in range(partitions)]
        self._written_ms = [0] * partitions
        self._news = asyncio.Event()  # a partition in which nothing waited has something
        self._turn = asyncio.Lock()  # frames are numbered: they are written one after the other

    def add(self, ticks: Iterable[Tick], *, received_ms: int) -> None:
        """Add ticks as they come in, the first of them at ``received_ms``."""
        for tick in ticks:
            content = self._newest(tick.instrument)
            content.ticks.append(tick)
            if content.received_ms is None:
                content.received_ms = received_ms

    def quote(self, quotes: Iterable[Quote]) -> None:
        """Add quotes as they come in: the newest of an instrument replaces the one before."""
        for quote in quotes:
            self._newest(quote.instrument).quotes[quote.instrument] = quote

    def interrupt(self, gap: Gap) -> None:
        """Note a gap, or its end, after all that has come in so far."""
        self._on_gap(gap)
        parts: dict[int, list[str]] = {}
        for instrument in gap.instruments:
            parts.setdefault(partition_of(instrument, len(self._waiting)), []).append(instrument)
        for partition, instruments in parts.items():
            self._before_ticks(partition).gaps.append(msgspec.structs.replace(gap, instruments=instruments))

    def rebase(self, baselines: Iterable[Baseline]) -> None:
        """Add the volumes of snapshots, after all that has come in so far."""
        for baseline in baselines:
            partition = partition_of(baseline.instrument, len(self._waiting))
            self._before_ticks(partition).baselines.append(baseline)

    def _newest(self, instrument: str) -> FrameContent:
        waiting = self._waiting[partition_of(instrument, len(self._waiting))]
        return waiting[-1] if waiting else self._started(waiting)

    def _before_ticks(self, partition: int) -> FrameContent:
        """Return the content that is next to be filled, a new one where the last has ticks: they came before."""
        waiting = self._waiting[partition]
        return waiting[-1] if waiting and not waiting[-1].ticks else self._started(waiting)

    def _started(self, waiting: list[FrameContent]) -> FrameContent:
        if not waiting:
            self._news.set()
        waiting.append(FrameContent())
        return waiting[-1]

    async def append_history(self, history: History) -> None:
        """Write history in a frame of its own: what is wrong with it harms no tick. Return when it is in the log.

        The frame leaves the clock as it is, or ticks that wait would be late.
        """
        partition = partition_of(history.instrument, len(self._waiting))
        async with self._turn:
            await self._writer.write_partition(partition, FrameContent(history=[history]), None)
        await self._writer.flush()

    async def run(self) -> None:
        """Write frames for as long as the feed is up."""
        partitions = range(len(self._waiting))
        while True:
            await self.write_due()
            # Only now: more has come in while frames were being written.
            self._news.clear()
            next_ms = min(map(self._due_ms, partitions))
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, next_ms - self._now_ms()) / 1000):
                    await self._news.wait()

    async def write_due(self) -> None:
        """Write every partition whose time has come."""
        for partition, contents in enumerate(self._waiting):
            now_ms = self._now_ms()
            if self._due_ms(partition) <= now_ms:
                self._waiting[partition] = []
                self._written_ms[partition] = now_ms
                async with self._turn:
                    for content in contents[:-1]:
                        await self._writer.write_partition(partition, content, None)
                    await self._writer.write_partition(partition, contents[-1] if contents else FrameContent(), now_ms)

    async def flush(self) -> None:
        """Write all that waits, at the end."""
        self._written_ms = [0] * len(self._waiting)
        await self.write_due()

    def _due_ms(self, partition: int) -> int:
        # A clock that was put back must not silence the feed until it has caught up.
        self._written_ms[partition] = min(self._written_ms[partition], self._now_ms())
        return self._written_ms[partition] + (self._frame_ms if self._waiting[partition] else HEARTBEAT_MS)

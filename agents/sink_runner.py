"""What the agent of a sink does around its one write: order, batches, and acknowledging what is written.

A sink keeps the positions that it has applied itself, in the same transaction as the data, so nothing here survives:
reading starts from there, and a record is acknowledged only for the eyes of whoever looks at the group.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from faust.types import TP, EventT

from agents.metrics import StageMetrics
from agents.process_guard import REFUSED, StallGuard, end_process
from topology.log.frames import DERIVED, TICKS, FrameError, Poison, TickFrame, tick_frame
from topology.log.sequencer import HOLD_S, Sequencer
from topology.sinks.cursor import AnyFrame, SinkCursor, Source, StoredFrame

Event = EventT[bytes]
Write = Callable[[list[StoredFrame]], Awaitable[None]]

BATCH_ROWS = 100  # a batch is written when it has this many rows,
BATCH_S = 0.2  # or when its first frame is this old
MAX_PENDING = 500  # frames that wait to be written before reading pauses
MAX_BATCH = 200  # frames in a batch while catching up


class SinkRunner:
    """Feeds a sink from its topics. ``positions`` and ``write`` are the sink's; ``prefix`` is that of the topics."""

    def __init__(
        self,
        name: str,
        *,
        prefix: str,
        positions: Callable[[], Awaitable[dict[Source, SinkCursor]]],
        write: Write,
        guard: StallGuard,
        behind: Callable[[str, int, int], int],
        batch_s: float = BATCH_S,
    ) -> None:
        self.name = name
        self.log = ""
        self._prefix, self._positions, self._write, self._guard, self._batch_s = (
            prefix,
            positions,
            write,
            guard,
            batch_s,
        )
        self._sequencers: dict[Source, Sequencer[tuple[Event, StoredFrame]]] = {}
        self._pending: list[tuple[Event, StoredFrame]] = []
        self._since_s = 0.0
        self._news, self._room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._idle.set()
        self._behind = behind
        self.metrics: dict[str, StageMetrics] = {}

    async def open(self, tp: TP, log_end: int) -> int | None:
        """Take a source up where the sink is. Return the offset that it has used, None for none.

        ``log_end`` is the offset after the last record of the source. A sink that is ahead of it ends the role.
        """
        stage = self._stage(tp.topic)
        applied = (await self._positions()).get((stage, tp.partition))
        self._pending = [kept for kept in self._pending if kept[1].source != (stage, tp.partition)]
        # A sink that has only passed over frames of another run has an offset and no position yet.
        position = None if applied is None or applied.position < 0 else applied.position
        self._sequencers[stage, tp.partition] = Sequencer(position, time.monotonic)
        offset = None if applied is None else applied.offset
        if offset is not None and offset >= log_end:
            end_process(
                f"{self.name} has used {tp.topic} partition {tp.partition} up to offset {offset}, but it ends at "
                f"{log_end - 1}: the broker has lost records; empty what this role writes, and start again",
                code=REFUSED,
            )
        self._metrics_of(stage).opened(
            tp.partition, None if applied is None else applied.position, -1 if offset is None else offset
        )
        return offset

    def drop(self, tp: TP) -> None:
        """Forget a source that was revoked."""
        source = self._stage(tp.topic), tp.partition
        self._sequencers.pop(source, None)
        self._pending = [kept for kept in self._pending if kept[1].source != source]
        self._metrics_of(source[0]).closed(tp.partition)

    async def take(self, event: Event) -> None:
        """Read one record; it is written with the next batch."""
        message = event.message
        stage = self._stage(message.topic)
        sequencer = self._sequencers.get((stage, message.partition))
        if sequencer is None:
            return
        stored = StoredFrame(stage, message.partition, message.offset, self._decode(stage, event))
        if sequencer.is_duplicate(stored.position):
            self._queue(event, stored)  # the sink drops it, and notes that it was read
        for _, following in sequencer.release(stored.position, (event, stored)):
            self._queue(*following)
        if len(self._pending) >= MAX_PENDING:
            self._room.clear()
        await self._room.wait()

    def _decode(self, stage: str, event: Event) -> AnyFrame:
        value = event.message.value
        if stage == TICKS:
            found = tick_frame(value)
            if isinstance(found, Poison) or found.log != self.log:
                return TickFrame(1, self.log, 0, 0, 0, 0, [], [])  # the stages leave a gap mark for it
            return found
        try:
            return DERIVED[stage].decode(value)
        except FrameError as error:
            end_process(
                f"{event.message.topic} partition {event.message.partition} offset {event.message.offset}: {error}"
            )

    def _queue(self, event: Event, stored: StoredFrame) -> None:
        if not self._pending:
            self._since_s = time.monotonic()
        self._pending.append((event, stored))
        self._idle.clear()
        self._news.set()

    async def run(self) -> None:
        """Write batches for as long as the role runs."""
        while True:
            await self._news.wait()
            rows = sum(_rows(stored) for _, stored in self._pending)
            age_s = time.monotonic() - self._since_s
            if rows < BATCH_ROWS and age_s < self._batch_s:
                await asyncio.sleep(min(self._batch_s - age_s, 0.02))
                continue
            self._guard.check()
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            await self._write([stored for _, stored in batch])
            self._written(batch)

    def _written(self, batch: list[tuple[Event, StoredFrame]]) -> None:
        for event, stored in batch:
            metrics = self._metrics_of(stored.stage)
            clock_ms = stored.frame.clock_ms
            metrics.read(stored.partition, stored.offset, stored.position, clock_ms)
            event.ack()
        self._since_s = time.monotonic()
        if len(self._pending) < MAX_PENDING:
            self._room.set()
        if not self._pending:
            self._news.clear()
            self._idle.set()

    async def close(self) -> None:
        """Wait until what was read is written, for a clean stop."""
        await asyncio.wait_for(self._idle.wait(), timeout=30)

    async def watch(self) -> None:
        """End the role when a missing frame doesn't come."""
        while True:
            await asyncio.sleep(1.0)
            for (stage, partition), sequencer in self._sequencers.items():
                if sequencer.is_overdue:
                    end_process(
                        f"{self.name}: the frame after position {sequencer.applied} of {stage} partition {partition} "
                        f"has been missing for {HOLD_S:.0f} s: is the stage before running?"
                    )

    def _stage(self, topic: str) -> str:
        return topic.removeprefix(f"{self._prefix}.")

    def _metrics_of(self, stage: str) -> StageMetrics:
        if stage not in self.metrics:
            self.metrics[stage] = StageMetrics(
                f"{self.name}:{stage}", lambda partition, offset: self._behind(stage, partition, offset)
            )
        return self.metrics[stage]


def _rows(stored: StoredFrame) -> int:
    frame = stored.frame
    return len(frame.ticks) if isinstance(frame, TickFrame) else len(frame.rows) + len(frame.live)

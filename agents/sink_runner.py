"""What the agent of a sink does around its one write: order, batches, and acknowledging what is written.

A sink keeps the positions that it has applied itself, in the same transaction as the data, so nothing here survives:
reading starts from there, and a record is acknowledged only for the eyes of whoever looks at the group.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from faust.types import TP, EventT

from agents.metrics import StageMetrics
from agents.process_guard import REFUSED, StallGuard, end_process
from topology.log.frames import DERIVED, TICKS, VERSION, FrameError, Poison, TickFrame, tick_frame
from topology.log.sequencer import HOLD_S, Sequencer
from topology.sinks.cursor import AnyFrame, SinkError, SinkRefusedError, Source, StoredFrame
from topology.sinks.sink import Sink

Event = EventT[bytes]

BATCH_ROWS = 100  # a batch is written when it has this many rows, or its first frame is as old as its sink says
MAX_PENDING = 500  # frames that wait to be written before reading pauses
MAX_BATCH = 200  # frames in a batch while catching up


class SinkRunner:
    """Feeds a sink from its topics, whose names have ``prefix``. What the sink refuses ends the process.

    ``behind`` returns how many records of a stage's partition come after an offset.
    """

    def __init__(self, sink: Sink, *, prefix: str, guard: StallGuard, behind: Callable[[str, int, int], int]) -> None:
        self.metrics: dict[str, StageMetrics] = {}
        self._sink, self._prefix, self._guard, self._behind = sink, prefix, guard, behind
        self._log = ""
        self._sequencers: dict[Source, Sequencer[tuple[Event, StoredFrame]]] = {}
        self._pending: list[tuple[Event, StoredFrame]] = []
        self._since_s = 0.0
        self._has_pending, self._has_room, self._is_idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._has_room.set()
        self._is_idle.set()

    def start(self, log: str) -> None:
        """Take over the id of the log, before the first source is opened."""
        self._log = log

    async def open(self, tp: TP, log_end: int) -> int | None:
        """Begin to read a source where the sink is. Return the offset that it has used, None for none.

        ``log_end`` is the offset after the last record of the source. A sink that is ahead of it ends the role.
        """
        stage = self._stage(tp.topic)
        with or_end_role():
            cursor = (await self._sink.positions()).get((stage, tp.partition))
        self._forget_pending((stage, tp.partition))
        # A sink that has only passed over frames of another run has an offset and no position yet.
        position = None if cursor is None or cursor.position < 0 else cursor.position
        self._sequencers[stage, tp.partition] = Sequencer(position, time.monotonic)
        offset = None if cursor is None else cursor.offset
        if offset is not None and offset >= log_end:
            end_process(
                f"{self._sink.name} has used {tp.topic} partition {tp.partition} up to offset {offset}, but it ends at "
                f"{log_end - 1}: the broker has lost records; empty what this role writes, and start again",
                code=REFUSED,
            )
        self._metrics_of(stage).opened(
            tp.partition, None if cursor is None else cursor.position, -1 if offset is None else offset
        )
        return offset

    def revoke(self, tp: TP) -> None:
        """Forget a source that was revoked."""
        source = self._stage(tp.topic), tp.partition
        self._sequencers.pop(source, None)
        self._forget_pending(source)
        self._metrics_of(source[0]).closed(tp.partition)

    def _forget_pending(self, source: Source) -> None:
        self._pending = [(event, stored) for event, stored in self._pending if stored.source != source]

    async def process(self, event: Event) -> None:
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
            self._has_room.clear()
        await self._has_room.wait()

    def _decode(self, stage: str, event: Event) -> AnyFrame:
        value = event.message.value
        if stage == TICKS:
            frame = tick_frame(value)
            if isinstance(frame, Poison) or frame.log != self._log:
                return TickFrame(VERSION, self._log, 0, 0, 0, 0, [], [])  # the stages make an unusable frame of it
            return frame
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
        self._is_idle.clear()
        self._has_pending.set()

    async def run(self) -> None:
        """Write batches for as long as the role runs."""
        while True:
            await self._has_pending.wait()
            rows = sum(_rows(stored) for _, stored in self._pending)
            age_s = time.monotonic() - self._since_s
            if rows < BATCH_ROWS and age_s < self._sink.batch_s:
                await asyncio.sleep(min(self._sink.batch_s - age_s, 0.02))
                continue
            self._guard.check()
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            with or_end_role():
                await self._sink.write([stored for _, stored in batch])
            self._acknowledge(batch)

    def _acknowledge(self, batch: list[tuple[Event, StoredFrame]]) -> None:
        for event, stored in batch:
            metrics = self._metrics_of(stored.stage)
            clock_ms = stored.frame.clock_ms
            metrics.read(stored.partition, stored.offset, stored.position, clock_ms)
            event.ack()
        self._since_s = time.monotonic()
        if len(self._pending) < MAX_PENDING:
            self._has_room.set()
        if not self._pending:
            self._has_pending.clear()
            self._is_idle.set()

    async def close(self) -> None:
        """Wait until what was read is written, for a clean stop."""
        await asyncio.wait_for(self._is_idle.wait(), timeout=30)

    async def watch(self) -> None:
        """End the role when a missing frame doesn't come."""
        while True:
            await asyncio.sleep(1.0)
            for (stage, partition), sequencer in self._sequencers.items():
                if sequencer.is_overdue:
                    end_process(
                        f"{self._sink.name}: the frame after position {sequencer.applied} of {stage} partition "
                        f"{partition} has been missing for {HOLD_S:.0f} s: is the stage before running?"
                    )

    def _stage(self, topic: str) -> str:
        return topic.removeprefix(f"{self._prefix}.")

    def _metrics_of(self, stage: str) -> StageMetrics:
        if stage not in self.metrics:
            self.metrics[stage] = StageMetrics(
                f"{self._sink.name}:{stage}", lambda partition, offset: self._behind(stage, partition, offset)
            )
        return self.metrics[stage]


@contextmanager
def or_end_role() -> Iterator[None]:
    """End the process with what a sink says is wrong."""
    try:
        yield
    except SinkError as error:
        if isinstance(error, SinkRefusedError):
            end_process(str(error), code=REFUSED)
        end_process(str(error))


def _rows(stored: StoredFrame) -> int:
    frame = stored.frame
    return len(frame.ticks) if isinstance(frame, TickFrame) else len(frame.rows) + len(frame.live)

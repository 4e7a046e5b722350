"""What every stage's agent does around its one pure call: order, send, checkpoint.

A checkpoint goes in exactly this order: the outputs up to here are delivered; the row is put into the local store,
then delivered to the changelog; only then are the input records acknowledged. Whatever happens in between, frames
since the last row are read again and what they produce again is dropped by position.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from faust.types import EventT

from agents.frame_producer import Delivery, FrameProducer
from agents.metrics import StageMetrics
from agents.process_guard import REFUSED, StallGuard, end_process
from tables.state import Row, StateTable
from topology.log.frames import VERSION, DeadLetter, Decoder, Frame, FrameError, encode, tick_frame
from topology.log.sequencer import HOLD_S, Sequencer
from topology.log.stage import Stage

logger = logging.getLogger(__name__)

NEAR_END = 20  # records: a reader further than this from the log's end sends no live values

Core = TypeVar("Core")
Event = EventT[bytes]


class PartitionState(Generic[Core]):
    """The hot state of one partition."""

    def __init__(self, partition: int, stage: Stage[Any, Frame[Any], Core], offset: int) -> None:
        self.partition, self.stage = partition, stage
        self.offset = offset  # every record up to here has been used
        self.sequencer: Sequencer[tuple[Event, Any]] = Sequencer(stage.position, time.monotonic)
        self.unacked: deque[Event] = deque()  # in the order of their offsets
        self.sent: dict[str, Delivery] = {}  # the newest record for each topic: when it is delivered, all are
        self.saved_s = time.monotonic()
        self.live_s = 0.0


class StageRunner(Generic[Core]):
    """A stage between two topics. ``decode`` reads its input; None for the tick log, where offsets are positions."""

    def __init__(
        self,
        *,
        name: str,
        output: str,
        dead_letters: str,
        decode: Decoder[Any] | None,
        stage: Callable[[str, int], Stage[Any, Frame[Any], Core]],
        table: StateTable[Core],
        producer: FrameProducer,
        guard: StallGuard,
        behind: Callable[[int, int], int],
        checkpoint_s: float,
        live_s: float,
    ) -> None:
        self.name = name
        self._log, self._run = "", 0
        self.partitions: dict[int, PartitionState[Core]] = {}
        self.metrics = StageMetrics(name, behind)
        self._output, self._dead_letters = output, dead_letters
        self._decoder, self._stage, self._table = decode, stage, table
        self._producer, self._guard, self._behind = producer, guard, behind
        self._checkpoint_s, self._live_s = checkpoint_s, live_s
        self._turn = asyncio.Lock()
        self._closing = False

    def start(self, log: str, run: int = 0) -> None:
        """Take over which log this is, and which run of it, before the first partition is opened."""
        self._log, self._run = log, run

    def open(self, partition: int, log_end: int) -> int | None:
        """Restore a partition from its row, in place of what is hot. Return the offset used so far, None if none.

        ``log_end`` is the offset after the last record of the input. A state of another log, or ahead of the end of
        this one, ends the worker: frames would be dropped as duplicates that it has never seen.
        """
        row = self._table.load(partition)
        if row is not None and (row.state.log != self._log or row.offset >= log_end):
            end_process(
                f"the state of {self.name} partition {partition} is of log {row.state.log} up to offset {row.offset}, "
                f"but the topics hold log {self._log} up to {log_end - 1}: delete the data folder of this worker and "
                f"the topics named *-{self.name}-changelog, and start again",
                code=REFUSED,
            )
        stage = self._stage(self._log, self._run)
        used = None
        if row is not None and row.state.run == self._run:
            stage.restore(row.state)
            used = row.offset
        state = self.partitions[partition] = PartitionState(partition, stage, -1 if used is None else used)
        self.metrics.opened(partition, stage.position, state.offset)
        logger.info(
            "partition taken up", extra={"stage": self.name, "partition": partition, "position": stage.position}
        )
        return used

    def revoke(self, partition: int) -> None:
        """Forget a partition that was revoked. Nothing of it is acknowledged."""
        self.partitions.pop(partition, None)
        self.metrics.closed(partition)

    async def process(self, event: Event) -> None:
        """Process one record: apply its frame, drop it as a duplicate, or hold it until the one before it comes."""
        state = self.partitions.get(event.message.partition)
        if state is None or self._closing:
            return
        self._guard.check()
        # A checkpoint in the middle of this would save a state whose output nobody has been given yet.
        async with self._turn:
            state.unacked.append(event)
            clock_ms = await self._sequence(state, event)
            if held := state.sequencer.held:
                state.offset = max(state.offset, min(waiting.message.offset for waiting, _ in held) - 1)
            else:
                state.offset = event.message.offset
            self.metrics.read(state.partition, state.offset, state.stage.position, clock_ms)
            if time.monotonic() - state.saved_s >= self._checkpoint_s:
                await self._save(state)

    async def _sequence(self, state: PartitionState[Core], event: Event) -> int:
        """Apply, drop or hold a record. Return the clock of its frame, 0 where that is not known."""
        position, frame = self._read(event)
        if frame is None:
            return 0
        if state.sequencer.is_duplicate(position):
            self.metrics.duplicates.inc()
        for next_position, (its_event, its_frame) in state.sequencer.release(position, (event, frame)):
            await self._apply(state, its_event, next_position, its_frame)
        return getattr(frame, "clock_ms", 0)

    def _read(self, event: Event) -> tuple[int, Any]:
        """Return position and frame of a record; None in place of the frame of another run."""
        message = event.message
        if self._decoder is None:
            return message.offset, tick_frame(message.value)
        try:
            frame = self._decoder.decode(message.value)
        except FrameError as error:
            end_process(f"{message.topic} partition {message.partition} offset {message.offset}: {error}", code=REFUSED)
        if frame.log != self._log:
            end_process(f"{message.topic} holds a frame of log {frame.log}, not of {self._log}", code=REFUSED)
        return frame.position, frame if frame.run == self._run else None

    async def _apply(self, state: PartitionState[Core], event: Event, position: int, frame: Any) -> None:
        output = state.stage.apply(position, frame, live=self._wants_live(state, event))
        await self._send(state, self._output, encode(output), output.clock_ms)
        self.metrics.applied(output)
        if output.unusable and self._decoder is None:
            letter = DeadLetter(
                VERSION, self._log, state.partition, position, output.unusable, event.message.value or b""
            )
            await self._send(state, self._dead_letters, encode(letter), output.clock_ms)

    async def _send(self, state: PartitionState[Core], topic: str, record: bytes, time_ms: int) -> None:
        state.sent[topic] = await self._producer.send(topic, record, partition=state.partition, time_ms=time_ms)

    def _wants_live(self, state: PartitionState[Core], event: Event) -> bool:
        now_s = time.monotonic()
        if now_s - state.live_s < self._live_s or self._behind(state.partition, event.message.offset) > NEAR_END:
            return False
        state.live_s = now_s
        return True

    async def checkpoint(self, state: PartitionState[Core]) -> None:
        """Save the state of a partition between two records."""
        async with self._turn:
            await self._save(state)

    async def _save(self, state: PartitionState[Core]) -> None:
        """Save the state of a partition, in the one order that loses nothing."""
        state.saved_s = time.monotonic()
        if state.stage.position is None:
            return
        row = Row(VERSION, state.offset, state.stage.state())
        for delivery in state.sent.values():
            await delivery
        if self.partitions.get(state.partition) is not state:
            return  # revoked meanwhile: the row is no longer ours to write
        self._guard.check()
        await self._table.save(state.partition, row, self._producer.deliver)
        if self.partitions.get(state.partition) is not state:
            return
        while state.unacked and state.unacked[0].message.offset <= row.offset:
            state.unacked.popleft().ack()
        self.metrics.saved(state.partition, row.offset)

    async def close(self) -> None:
        """Save every partition at a clean stop; records that still arrive are left for the next owner."""
        self._closing = True
        for state in list(self.partitions.values()):
            await self.checkpoint(state)

    async def watch(self) -> None:
        """Save partitions that went idle, and end the worker when a missing frame doesn't come."""
        while not self._closing:
            await asyncio.sleep(min(1.0, self._checkpoint_s))
            for state in list(self.partitions.values()):
                if state.sequencer.is_overdue:
                    end_process(
                        f"{self.name} partition {state.partition}: the frame after position {state.sequencer.applied} "
                        f"has been missing for {HOLD_S:.0f} s while {len(state.sequencer.held)} later ones wait: is "
                        "the stage before this one running?"
                    )
                if state.unacked and time.monotonic() - state.saved_s >= self._checkpoint_s:
                    await self.checkpoint(state)

"""The writer of the tick log: the only one that writes frames, and with them the clock, into its partitions.

It uses an idempotent producer, so that a retried send is not written twice, and numbers its frames: a writer takes
an epoch above the last one it finds in the log, so that frames of an older writer that wakes up count as empty.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Self

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import RecordMetadata

from topology.clock import now_ms
from topology.feeds import FrameContent
from topology.kafka import broker_log, clients
from topology.log.frames import (
    FEED_EVENTS,
    TICK_FRAME,
    TICKS,
    VERSION,
    Backfill,
    Configure,
    FeedEvent,
    TickFrame,
    encode,
)
from topology.log.partition import partition_of
from topology.market.ticks import Tick
from topology.market.times import DAY_MS

MAX_ROWS = 1000  # ticks in a frame
EVENTS = -1  # stands for the partition of the events where deliveries are kept by partition


class StaleSourceError(Exception):
    """The source is older than what the log already holds."""


class _PartitionState:
    """What the writer knows of one partition: clock, commands it has been given and waits for, the next frame's number.

    Commands go into frames one after the other: the newest that has gone is ``commanded``.
    """

    def __init__(self, tail: TickFrame | None, configurations: Iterable[Configure]) -> None:
        self.sequence = 0
        self.epoch = -1 if tail is None else tail.epoch
        self.clock_ms = 0 if tail is None else tail.clock_ms
        self.commanded = self.given = 0 if tail is None else tail.commanded
        self.waiting: deque[Configure | Backfill] = deque()
        # The one that stands in this partition, to be repeated.
        applied = [configuration for configuration in configurations if configuration.id <= self.commanded]
        self.configuration = applied[-1] if applied else None
        self.commands: list[Configure] = []
        self.day = -1  # of the newest frame: a number of days

    def give(self, command: Configure | Backfill) -> None:
        """Queue a command, unless this partition has been given it; commands come in the order of their ids."""
        if command.id > self.given:
            self.given = command.id
            self.waiting.append(command)


class TickLogWriter:
    """Writes ticks and clocks into every partition of a log. ``async with`` opens and closes it.

    ``on_delivery`` is called when the log has a frame of a live feed, with when the first of its ticks was received.
    """

    def __init__(
        self, bootstrap: str, log: broker_log.Log, *, on_delivery: Callable[[int], None] = lambda _: None
    ) -> None:
        self.log = log
        self.clock_ms = 0  # the newest clock in any partition when the writer was opened, then the newest written
        self.frames = 0
        self._bootstrap = bootstrap
        self._topic = log.topic(TICKS)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            max_request_size=clients.MAX_RECORD_BYTES,
            max_batch_size=512 * 1024,
        )
        self._epoch = 0
        self._partitions: list[_PartitionState] = []
        self._sent: dict[int, asyncio.Future[RecordMetadata]] = {}
        self._on_delivery = on_delivery
        self._failure: BaseException | None = None  # of the first record that was not delivered

    async def __aenter__(self) -> Self:
        """Read the tail of every partition: the epoch to take, and the commands that were not copied yet."""
        log = self.log
        async with clients.consumer(self._bootstrap) as reader:
            for partition in range(log.header.partitions):
                last = await clients.last_record(reader, TopicPartition(self._topic, partition))
                self._partitions.append(
                    _PartitionState(None if last is None else TICK_FRAME.decode(last.value), log.commands)
                )
            copied = min(state.commanded for state in self._partitions)
            backfills = [
                await broker_log.read_backfill(reader, log, number) for number in log.backfills if number > copied
            ]
        # The time of day too, since an older writer that woke up may have left the tail with its own, lower epoch.
        self._epoch = max(now_ms(), 1 + max(state.epoch for state in self._partitions))
        self.clock_ms = max(state.clock_ms for state in self._partitions)
        self.command(sorted([*log.commands, *backfills], key=lambda command: command.id))
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Deliver what was written."""
        await self._producer.stop()

    @property
    def whole_until_ms(self) -> int:
        """Up to when every partition has been written; ticks that were on their way then may be missing."""
        return min(state.clock_ms for state in self._partitions)

    def command(self, commands: Iterable[Configure | Backfill]) -> None:
        """Copy new commands into every partition, in their order: with its next frame, or history one before each."""
        for command in commands:
            for state in self._partitions:
                state.give(command)

    def refuse_older(self, first_ms: int) -> None:
        """Raise StaleSourceError for a source that starts before the log's clock: its ticks would all be late."""
        if first_ms < self.clock_ms:
            raise StaleSourceError(
                f"the source starts at {first_ms} ms, but the log's clock is at {self.clock_ms} ms already: "
                "feed it into a log of its own (`topology run`)"
            )

    async def write(self, ticks: Iterable[Tick], clock_ms: int | None, *, everywhere: bool = False) -> None:
        """Write ticks, in order, and then the clock: to their partitions, or with ``everywhere`` to all."""
        rows: dict[int, list[Tick]] = {}
        for tick in ticks:
            rows.setdefault(partition_of(tick.instrument, len(self._partitions)), []).append(tick)
        for partition in range(len(self._partitions)) if everywhere else rows:
            await self.write_partition(partition, FrameContent(rows.get(partition, [])), clock_ms)

    async def write_partition(self, partition: int, content: FrameContent, clock_ms: int | None) -> None:
        """Write what one partition is to hold; clock, quotes and history with the last of its frames."""
        state = self._partitions[partition]
        await self._follow(partition, state)
        remaining = iter(content.ticks)
        frame = FrameContent(list(islice(remaining, MAX_ROWS)), gaps=content.gaps, baselines=content.baselines)
        frame.received_ms = content.received_ms
        while following := list(islice(remaining, MAX_ROWS)):
            await self._send(partition, state, frame)
            frame = FrameContent(following, received_ms=content.received_ms)
        if clock_ms is not None:
            state.clock_ms = max(state.clock_ms, clock_ms)
            self.clock_ms = max(self.clock_ms, clock_ms)
        frame.quotes, frame.history = content.quotes, content.history
        await self._send(partition, state, frame)

    async def _follow(self, partition: int, state: _PartitionState) -> None:
        """Take over the commands that wait, up to the first with history for this partition: that is written.

        It is one frame at a time, since stages take long over it, and by itself: what is wrong with it harms no tick
        and no configuration.
        """
        while state.waiting:
            command = state.waiting.popleft()
            if isinstance(command, Configure):
                state.commanded, state.configuration = command.id, command
                state.commands.append(command)
                continue
            history = [
                one for one in command.history if partition_of(one.instrument, len(self._partitions)) == partition
            ]
            if history and state.commands:
                await self._send(partition, state, FrameContent())
            state.commanded = command.id
            if history:
                await self._send(partition, state, FrameContent(history=history))
                return

    async def _send(self, partition: int, state: _PartitionState, content: FrameContent) -> None:
        day = state.clock_ms // DAY_MS
        if day != state.day:
            # A log that is pruned to here starts with this frame: it must hold the configuration again.
            state.day = day
            if state.configuration is not None and state.configuration not in state.commands:
                state.commands.append(state.configuration)
        frame = TickFrame(
            VERSION,
            self.log.header.log,
            self._epoch,
            state.sequence,
            state.clock_ms,
            state.commanded,
            state.commands,
            content.ticks,
            list(content.quotes.values()),
            content.gaps,
            content.baselines,
            content.history,
        )
        if self._failure is not None:
            raise self._failure  # an earlier frame is lost: the log must not go on without it
        sent = await self._producer.send(self._topic, encode(frame), partition=partition, timestamp_ms=state.clock_ms)
        sent.add_done_callback(partial(self._delivered, received_ms=content.received_ms))
        self._sent[partition] = sent
        state.sequence += 1
        state.commands = []
        self.frames += 1

    async def event(self, event: FeedEvent) -> None:
        """Write an event of the feed, beside the frames."""
        record = encode(msgspec.structs.replace(event, version=VERSION, log=self.log.header.log))
        sent = await self._producer.send(
            self.log.topic(FEED_EVENTS), record, partition=0, timestamp_ms=max(event.at_ms, 0)
        )
        sent.add_done_callback(self._delivered)
        self._sent[EVENTS] = sent

    def _delivered(self, sent: asyncio.Future[RecordMetadata], *, received_ms: int | None = None) -> None:
        if sent.cancelled():
            return
        self._failure = self._failure or sent.exception()
        if received_ms is not None and sent.exception() is None:
            self._on_delivery(received_ms)

    async def flush(self) -> None:
        """Wait until everything is delivered; raise what could not be."""
        await asyncio.gather(*self._sent.values())

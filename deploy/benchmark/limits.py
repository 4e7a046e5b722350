"""What bounds the pipeline's speed: its pure core alone, and a bare loop from one Kafka topic to another around it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from benchmark.rig import Rig
from topology.kafka import clients
from topology.log.candle_stage import CandleStage
from topology.log.frames import CANDLE_FRAME, DEAD_LETTERS, TICK_FRAME, TICKS, TIMEFRAME_FRAME, encode
from topology.log.indicator_stage import IndicatorStage
from topology.log.timeframe_stage import TimeframeStage
from topology.market import Calendar, SecondCandles

Records = Sequence[ConsumerRecord]


class Limits(msgspec.Struct, frozen=True):
    """CPU microseconds per tick in one process.

    ``core_us`` is the 1 s core on decoded ticks; ``stages_us`` the three stages and the formats between them, without
    Kafka; ``loop_us`` a bare aiokafka consumer and producer around format and 1 s core.
    """

    core_us: float
    stages_us: float
    loop_us: float


class Core:
    """The 1 s candles of every partition."""

    def __init__(self, rig: Rig) -> None:
        calendar = Calendar.parse(rig.log.configuration.calendar)
        self._lanes = [SecondCandles(calendar) for _ in range(rig.partitions)]
        self.spent_s = 0.0

    def apply(self, record: ConsumerRecord) -> bytes:
        """Apply a tick frame, and return its closed candles as bytes."""
        frame = TICK_FRAME.decode(record.value)
        started_s = time.process_time()
        closed, *_ = self._lanes[record.partition].apply(frame.ticks, frame.clock_ms)
        self.spent_s += time.process_time() - started_s
        return encode(closed)


class Stages:
    """The three stages of every partition."""

    def __init__(self, rig: Rig) -> None:
        log = rig.log.header.log
        self._lanes = [
            (CandleStage(log, 0), TimeframeStage(log, 0), IndicatorStage(log, 0)) for _ in range(rig.partitions)
        ]

    def apply(self, record: ConsumerRecord) -> bytes:
        """Apply a tick frame, and return its indicator frame as bytes."""
        first, second, third = self._lanes[record.partition]
        candles = encode(first.apply(record.offset, TICK_FRAME.decode(record.value), live=False))
        timeframes = encode(second.apply(record.offset, CANDLE_FRAME.decode(candles), live=False))
        return encode(third.apply(record.offset, TIMEFRAME_FRAME.decode(timeframes), live=False))


async def limits(rig: Rig, starts: Sequence[int], ticks: int) -> Limits:
    """Measure on the tick frames from ``starts`` (an offset per partition); those before make the state they meet."""
    before, measured = await _records(rig, starts)
    core, stages, looped = Core(rig), Stages(rig), Core(rig)
    for record in before:
        core.apply(record)
        stages.apply(record)
        looped.apply(record)
    core.spent_s = 0.0
    for record in measured:
        core.apply(record)
    started_s = time.process_time()
    for record in measured:
        stages.apply(record)
    stages_s = time.process_time() - started_s
    loop_s = await _loop(rig, looped, starts)
    return Limits(*(seconds / ticks * 1e6 for seconds in (core.spent_s, stages_s, loop_s)))


async def _records(rig: Rig, starts: Sequence[int]) -> tuple[Records, Records]:
    before: list[ConsumerRecord] = []
    measured: list[ConsumerRecord] = []
    ends = await rig.ends(TICKS)
    async with clients.consumer(rig.bootstrap) as reader:
        for partition, end in enumerate(ends):
            _assign(rig, reader, {partition: 0})
            while (done := await _next(reader)) is not None:
                for record in done:
                    (before if record.offset < starts[partition] else measured).append(record)
                if done[-1].offset + 1 >= end:
                    break
    return before, measured


async def _loop(rig: Rig, core: Core, starts: Sequence[int]) -> float:
    """Return the CPU seconds of a loop over the tick frames; what it writes goes where nobody reads."""
    left = sum(await rig.ends(TICKS)) - sum(starts)
    output = rig.log.topic(DEAD_LETTERS)
    producer = AIOKafkaProducer(bootstrap_servers=rig.bootstrap, enable_idempotence=True, max_batch_size=256 * 1024)
    await producer.start()
    async with clients.consumer(rig.bootstrap) as reader:
        _assign(rig, reader, dict(enumerate(starts)))
        started_s = time.process_time()
        while left:
            for record in await _next(reader):
                await producer.send(output, core.apply(record), partition=record.partition)
                left -= 1
        await producer.stop()
        return time.process_time() - started_s


def _assign(rig: Rig, reader: AIOKafkaConsumer, offsets: dict[int, int]) -> None:
    places = {TopicPartition(rig.log.topic(TICKS), partition): offset for partition, offset in offsets.items()}
    reader.assign(list(places))
    for place, offset in places.items():
        reader.seek(place, offset)


async def _next(reader: AIOKafkaConsumer) -> list[ConsumerRecord]:
    """Return the records that come next, at least one."""
    while not (found := await reader.getmany(timeout_ms=1000)):
        pass
    return [record for records in found.values() for record in records]

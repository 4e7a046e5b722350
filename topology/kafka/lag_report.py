"""How far each role is, asked of the log itself and of the sinks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from topology.kafka import broker_log, clients
from topology.log.frames import DERIVED, TICKS, LogHeader
from topology.log.lag import FramePosition, ProgressError, TickRange, TopicLag, compare


class MeasuredSink(Protocol):
    """A sink that can say how far it is: in each partition of the topics ``stages``."""

    name: ClassVar[str]
    stages: ClassVar[Sequence[str]]

    async def reached(self, header: LogHeader) -> Mapping[tuple[str, int], FramePosition]:
        """Return the last frame it has applied of each stage and partition. Raises ProgressError."""
        ...


async def ticks(reader: AIOKafkaConsumer, log: broker_log.Log) -> dict[int, TickRange]:
    """Return which tick frames each partition holds."""
    tps = [TopicPartition(log.topic(TICKS), partition) for partition in range(log.header.partitions)]
    firsts = await reader.beginning_offsets(tps)
    ranges = {}
    for tp in tps:
        record = await clients.last_record(reader, tp)
        newest = None if record is None else FramePosition(record.offset, record.timestamp)
        ranges[tp.partition] = TickRange(firsts[tp], newest)
    return ranges


async def derived(reader: AIOKafkaConsumer, log: broker_log.Log, stage: str) -> dict[int, FramePosition]:
    """Return the newest frame of each partition of a derived topic; partitions without one are left out."""
    newest = {}
    for partition in range(log.header.partitions):
        record = await clients.last_record(reader, TopicPartition(log.topic(stage), partition))
        if record is not None:
            frame = DERIVED[stage].decode(record.value)
            newest[partition] = FramePosition(frame.position, frame.clock_ms)
    return newest


async def lines(
    reader: AIOKafkaConsumer, log: broker_log.Log, sinks: Iterable[MeasuredSink]
) -> tuple[int | None, list[TopicLag]]:
    """Return the newest clock in the log, None in an empty one, and how far each role is in each topic."""
    # The end of the tick log first, so that what comes while the others are asked counts for nobody as behind.
    held = await ticks(reader, log)
    stages = {stage: await derived(reader, log, stage) for stage in DERIVED}
    ends = {partition: of.newest for partition, of in held.items() if of.newest is not None}
    lags = [compare("feed", TICKS, ticks=held, reached=ends)]
    lags += [compare("pipeline", stage, ticks=held, reached=reached) for stage, reached in stages.items()]
    for sink in sinks:
        lags += await _sink_lags(sink, log, ticks=held)
    return max((end.clock_ms for end in ends.values()), default=None), lags


async def _sink_lags(sink: MeasuredSink, log: broker_log.Log, *, ticks: Mapping[int, TickRange]) -> list[TopicLag]:
    try:
        reached = await sink.reached(log.header)
    except ProgressError as error:
        return [TopicLag(sink.name, problem=str(error))]
    return [compare(sink.name, stage, ticks=ticks, reached=_of_stage(reached, stage)) for stage in sink.stages]


def _of_stage(reached: Mapping[tuple[str, int], FramePosition], stage: str) -> dict[int, FramePosition]:
    return {partition: position for (of_stage, partition), position in reached.items() if of_stage == stage}

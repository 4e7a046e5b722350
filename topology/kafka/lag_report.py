"""How far each role is, asked of the log itself and of the sinks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from topology.kafka import topics
from topology.log.frames import DERIVED, TICKS
from topology.log.lag import FramePosition, TickRange, TopicLag, compare
from topology.settings import Settings
from topology.sinks.archive.archive import read_positions
from topology.sinks.cursor import SinkCursor, SinkError, Source
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.mirror import Mirror, connect
from topology.sinks.mirror.streams import StreamCommands

RUN = 0

ARCHIVED, MIRRORED = tuple(DERIVED), (TICKS, *DERIVED)


async def ticks(reader: AIOKafkaConsumer, log: topics.Log) -> dict[int, TickRange]:
    """Return which tick frames each partition holds."""
    places = [TopicPartition(log.topic(TICKS), partition) for partition in range(log.header.partitions)]
    firsts = await reader.beginning_offsets(places)
    found = {}
    for place in places:
        record = await topics.last_record(reader, place)
        newest = None if record is None else FramePosition(record.offset, record.timestamp)
        found[place.partition] = TickRange(firsts[place], newest)
    return found


async def derived(reader: AIOKafkaConsumer, log: topics.Log, stage: str) -> dict[int, FramePosition]:
    """Return the newest frame of each partition of a derived topic; partitions without one are left out."""
    found = {}
    for partition in range(log.header.partitions):
        record = await topics.last_record(reader, TopicPartition(log.topic(stage), partition))
        if record is not None:
            frame = DERIVED[stage].decode(record.value)
            found[partition] = FramePosition(frame.position, frame.clock_ms)
    return found


def archived(settings: Settings, log: topics.Log) -> dict[Source, SinkCursor]:
    """Return how far the archive is. Raises SinkError where there is none, or it can't be read."""
    if not settings.sqlite_path.exists():
        raise SinkError(f"no file {settings.sqlite_path} yet: start the role `archive`, or set SQLITE_PATH")
    return read_positions(settings.sqlite_path, log=log.header.log, run=RUN)


async def mirrored(settings: Settings, log: topics.Log) -> dict[Source, SinkCursor]:
    """Return how far the mirror is. Raises SinkError where Redis can't be asked."""
    host, port = settings.redis_addr
    client = connect(host, port, db=settings.redis_db, password=settings.redis_password or None)
    streams = StreamCommands(partitions=log.header.partitions, budget_mb=settings.redis_streams_mb)
    mirror = Mirror(client, log=log.header.log, run=RUN, streams=streams, breaker=Breaker(time.monotonic))
    try:
        return await mirror.positions()
    finally:
        await client.aclose()


async def lines(reader: AIOKafkaConsumer, log: topics.Log, settings: Settings) -> tuple[int | None, list[TopicLag]]:
    """Return the newest clock in the log, None in an empty one, and how far each role is in each topic."""
    # The end of the tick log first, so that what comes while the others are asked counts for nobody as behind.
    held = await ticks(reader, log)
    stages = {stage: await derived(reader, log, stage) for stage in DERIVED}
    in_redis, in_sqlite = await _mirrored(settings, log), _archived(settings, log)
    ends = {partition: of.newest for partition, of in held.items() if of.newest is not None}
    found = [compare("feed", TICKS, ticks=held, reached=ends)]
    found += [compare("pipeline", stage, ticks=held, reached=reached) for stage, reached in stages.items()]
    found += _sink("mirror", MIRRORED, in_redis, ticks=held)
    found += _sink("archive", ARCHIVED, in_sqlite, ticks=held)
    return max((end.clock_ms for end in ends.values()), default=None), found


def _sink(
    role: str, stages: Sequence[str], applied: dict[Source, SinkCursor] | SinkError, *, ticks: Mapping[int, TickRange]
) -> list[TopicLag]:
    if isinstance(applied, SinkError):
        return [TopicLag(role, problem=str(applied))]
    lines = []
    for stage in stages:
        reached = {p: FramePosition(found.position, found.clock_ms) for (s, p), found in applied.items() if s == stage}
        lines.append(compare(role, stage, ticks=ticks, reached=reached))
    return lines


async def _mirrored(settings: Settings, log: topics.Log) -> dict[Source, SinkCursor] | SinkError:
    try:
        return await mirrored(settings, log)
    except SinkError as error:
        return error


def _archived(settings: Settings, log: topics.Log) -> dict[Source, SinkCursor] | SinkError:
    try:
        return archived(settings, log)
    except SinkError as error:
        return error

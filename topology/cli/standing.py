"""How far each role is, read from the log itself and from the sinks."""

from __future__ import annotations

import time
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from topology import topics
from topology.log.frames import DERIVED, TICKS
from topology.settings import Settings
from topology.sinks.applied import Applied, SinkError, Source
from topology.sinks.breaker import Breaker
from topology.sinks.redis import Mirror, connect
from topology.sinks.sqlite import read_positions
from topology.sinks.streams import Streams

RUN = 0

ARCHIVED, MIRRORED = tuple(DERIVED), (TICKS, *DERIVED)


class Reached(NamedTuple):
    """The position of a frame, and its clock in milliseconds since the epoch."""

    position: int
    clock_ms: int


class Ticks(NamedTuple):
    """The tick frames of a partition: the position of the first that is kept, and the newest; None where none is."""

    first: int
    newest: Reached | None


async def ticks(reader: AIOKafkaConsumer, log: topics.Log) -> dict[int, Ticks]:
    """Return which tick frames each partition holds."""
    places = [TopicPartition(log.topic(TICKS), partition) for partition in range(log.header.partitions)]
    firsts = await reader.beginning_offsets(places)
    found = {}
    for place in places:
        record = await topics.last_record(reader, place)
        newest = None if record is None else Reached(record.offset, record.timestamp)
        found[place.partition] = Ticks(firsts[place], newest)
    return found


async def derived(reader: AIOKafkaConsumer, log: topics.Log, stage: str) -> dict[int, Reached]:
    """Return the newest frame of each partition of a derived topic; partitions without one are left out."""
    found = {}
    for partition in range(log.header.partitions):
        record = await topics.last_record(reader, TopicPartition(log.topic(stage), partition))
        if record is not None:
            frame = DERIVED[stage].decode(record.value)
            found[partition] = Reached(frame.position, frame.clock_ms)
    return found


def archived(settings: Settings, log: topics.Log) -> dict[Source, Applied]:
    """Return how far the archive is. Raises SinkError where there is none, or it can't be read."""
    if not settings.sqlite_path.exists():
        raise SinkError(f"no file {settings.sqlite_path} yet: start the role `archive`, or set SQLITE_PATH")
    return read_positions(settings.sqlite_path, log=log.header.log, run=RUN)


async def mirrored(settings: Settings, log: topics.Log) -> dict[Source, Applied]:
    """Return how far the mirror is. Raises SinkError where Redis can't be asked."""
    host, port = settings.redis_addr
    client = connect(host, port, db=settings.redis_db, password=settings.redis_password or None)
    streams = Streams(partitions=log.header.partitions, budget_mb=settings.redis_streams_mb)
    mirror = Mirror(client, log=log.header.log, run=RUN, streams=streams, breaker=Breaker(time.monotonic))
    try:
        return await mirror.positions()
    finally:
        await client.aclose()

"""Clients of the broker for looking at the log: its records, where its partitions end, its topics and groups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from topology.kafka.errors import NoBrokerError

MAX_RECORD_BYTES = 16 * 1024 * 1024
FIRST_BLOCK, LARGEST_BLOCK = 16, 8192  # records, when a partition is read from its end


@asynccontextmanager
async def consumer(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no group, for looking at the log."""
    reader = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=MAX_RECORD_BYTES,
        request_timeout_ms=10_000,
    )
    try:
        await reader.start()
    except KafkaConnectionError as error:
        await reader.stop()
        raise _no_broker(bootstrap) from error
    try:
        yield reader
    finally:
        await reader.stop()


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for what belongs to topics and groups rather than to their records."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    try:
        await client.start()
    except KafkaError as error:
        await client.close()
        raise _no_broker(bootstrap) from error
    try:
        yield client
    finally:
        await client.close()


async def ends(bootstrap: str, topics: list[str], partitions: int) -> dict[tuple[str, int], int]:
    """Return the offset after the last record of each partition of these topics."""
    async with consumer(bootstrap) as reader:
        tps = [TopicPartition(name, p) for name in topics for p in range(partitions)]
        return {(tp.topic, tp.partition): end for tp, end in (await reader.end_offsets(tps)).items()}


async def last_record(reader: AIOKafkaConsumer, tp: TopicPartition) -> ConsumerRecord | None:
    """Return the last record of a partition, None where it is empty."""
    end = (await reader.end_offsets([tp]))[tp]
    begin = (await reader.beginning_offsets([tp]))[tp]
    if end <= begin:
        return None
    reader.assign([tp])
    reader.seek(tp, end - 1)
    return await reader.getone(tp)


async def records(reader: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int) -> AsyncIterator[ConsumerRecord]:
    """Yield the records of a partition with offsets from ``start`` up to ``end``, which is left out."""
    reader.assign([tp])
    reader.seek(tp, start)
    while start < end:
        record = await reader.getone(tp)
        if record.offset < end:
            yield record
        start = record.offset + 1


async def newest_first(
    reader: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int
) -> AsyncIterator[ConsumerRecord]:
    """Yield the same records, the newest first. They are read in blocks that grow: to look at a few is cheap."""
    size = FIRST_BLOCK
    while start < end:
        begin = max(start, end - size)
        for record in reversed([record async for record in records(reader, tp, begin, end)]):
            yield record
        end, size = begin, min(2 * size, LARGEST_BLOCK)


def _no_broker(bootstrap: str) -> NoBrokerError:
    return NoBrokerError(f"no broker answers at {bootstrap}: start one (`topology up` does) or set BROKER_URL")

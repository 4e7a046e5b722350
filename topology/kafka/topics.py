"""The topics of a log on the broker: making them, checking them, and reading what the log says of itself."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError

from topology.log.frames import (
    BACKFILL,
    CANDLES,
    COMMANDS,
    DEAD_LETTERS,
    FEED_EVENTS,
    HEADER,
    INDICATORS,
    TICKS,
    TIMEFRAMES,
    VERSION,
    WARMUP,
    Backfill,
    Configure,
    LogHeader,
    Warmup,
    encode,
)

PARTITIONED = (TICKS, CANDLES, TIMEFRAMES, INDICATORS, DEAD_LETTERS)
SINGLE = (COMMANDS, FEED_EVENTS)
MAX_RECORD_BYTES = 16 * 1024 * 1024
FIRST_BLOCK, LARGEST_BLOCK = 16, 8192  # records, when a partition is read from its end
_FOREVER = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
_CONFIG = {
    **_FOREVER,
    "message.timestamp.after.max.ms": str((1 << 63) - 1),  # a record's time is the market's, which may be any day
    "max.message.bytes": str(MAX_RECORD_BYTES),
}
Command = Configure | Warmup | Backfill
_CONFIGURE: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Configure)
_OTHERS: dict[bytes, msgspec.msgpack.Decoder[Command]] = {
    WARMUP: msgspec.msgpack.Decoder(Warmup),
    BACKFILL: msgspec.msgpack.Decoder(Backfill),
}
_KEYS = {Warmup: WARMUP, Backfill: BACKFILL}


class LogError(Exception):
    """The log can't be used: no broker, no topics, or other ones than this system makes. One line says what to do."""


class NoBrokerError(LogError):
    """No broker answers: it may do so later."""


class Log(msgspec.Struct, frozen=True):
    """A log as the broker has it: its header, and its commands so far in the order of their ids.

    ``requests`` are those for the feed alone, ``backfills`` the ids of the commands that hold history: they are large,
    and who wants one reads it.
    """

    header: LogHeader
    commands: list[Configure]
    requests: list[Warmup]
    backfills: list[int] = []

    @property
    def configuration(self) -> Configure:
        """The configuration in force."""
        return self.commands[-1]

    @property
    def newest(self) -> int:
        """The id of the newest command."""
        return max([self.configuration.id, *(request.id for request in self.requests), *self.backfills])

    def topic(self, stage: str) -> str:
        """Return the topic of a stage on the broker."""
        return topic(self.header.namespace, stage)


def topic(namespace: str, stage: str) -> str:
    """Return the name of a topic on the broker: ``live.ticks``."""
    return f"{namespace}.{stage}"


async def present(bootstrap: str, namespace: str) -> set[str]:
    """Return the topics of a log that the broker has."""
    names = {topic(namespace, stage) for stage in (*PARTITIONED, *SINGLE)}
    async with admin(bootstrap) as client:
        return names & set(await client.list_topics())


async def create(bootstrap: str, namespace: str, partitions: int, configuration: Configure) -> Log:
    """Make the topics that lack, and the log's header and first configuration. What is there stays as it is."""
    async with admin(bootstrap) as client:
        wanted = [NewTopic(topic(namespace, stage), partitions, 1, topic_configs=_CONFIG) for stage in PARTITIONED]
        wanted += [NewTopic(topic(namespace, stage), 1, 1, topic_configs=_CONFIG) for stage in SINGLE]
        existing = set(await client.list_topics())
        lacking = [new for new in wanted if new.name not in existing]
        if lacking:
            with suppress(TopicAlreadyExistsError):  # somebody else made them at the same time
                await client.create_topics(lacking)
    if (await ends(bootstrap, [topic(namespace, COMMANDS)], 1))[topic(namespace, COMMANDS), 0] == 0:
        header = LogHeader(VERSION, uuid.uuid4().hex[:12], namespace, partitions)
        await command(bootstrap, namespace, header)
        await command(bootstrap, namespace, msgspec.structs.replace(configuration, id=1))
    return await read(bootstrap, namespace)


async def command(bootstrap: str, namespace: str, record: LogHeader | Command) -> int:
    """Append a record to ``commands``: the feed copies it into every partition, or does it. Return its offset."""
    async with appending(bootstrap, namespace) as append:
        return await append(record)


@asynccontextmanager
async def appending(
    bootstrap: str, namespace: str
) -> AsyncIterator[Callable[[LogHeader | Command], Coroutine[Any, Any, int]]]:
    """Append several records in the same way."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=MAX_RECORD_BYTES)

    async def append(record: LogHeader | Command) -> int:
        key, value = _KEYS.get(type(record)), encode(record)
        if key == BACKFILL:
            value = zlib.compress(value)  # whoever starts passes over all there ever was
        sent = await producer.send_and_wait(topic(namespace, COMMANDS), value, key=key, partition=0)
        return int(sent.offset)

    await producer.start()
    try:
        yield append
    finally:
        await producer.stop()


async def read(bootstrap: str, namespace: str) -> Log:
    """Read which log this is. Raises :class:`LogError` where topics lack or have another number of partitions."""
    async with admin(bootstrap) as client:
        found = {t["topic"]: len(t["partitions"]) for t in await client.describe_topics()}
    name = topic(namespace, COMMANDS)
    if name not in found:
        simulated = topic("sim", COMMANDS) in found
        hint = ", or say `topology --sim` for the simulated log, which is there" if simulated else ""
        raise LogError(f"the broker at {bootstrap} has no topic {name}: run `topology topics create`{hint}")
    log = await _read(bootstrap, name)
    if log is None:
        raise LogError(f"the topic {name} is empty: run `topology topics create`")
    header = log.header
    for stage in (*PARTITIONED, FEED_EVENTS):
        count, right = found.get(topic(namespace, stage), 0), 1 if stage in SINGLE else header.partitions
        if count == 0:
            raise LogError(
                f"the broker at {bootstrap} has no topic {topic(namespace, stage)}: run `topology topics create`"
            )
        if count != right:
            raise LogError(
                f"the topic {topic(namespace, stage)} has {count} partitions where it must have {right}: "
                "delete it and run `topology topics create`"
            )
    if not log.commands:
        raise LogError(f"the topic {name} holds no configuration: run `topology topics create`")
    return log


async def _read(bootstrap: str, name: str) -> Log | None:
    """Read what is in ``commands``, passing over the history there; None where it is empty."""
    log = None
    async with consumer(bootstrap) as reader:
        place = TopicPartition(name, 0)
        async for record in records(reader, place, 0, (await reader.end_offsets([place]))[place]):
            if log is None:
                log = Log(HEADER.decode(record.value), [], [], [])
            elif record.key == BACKFILL:
                log.backfills.append(record.offset)
            elif isinstance(command := command_of(record), Configure):
                log.commands.append(command)
            elif isinstance(command, Warmup):
                log.requests.append(command)
    return log


async def ends(bootstrap: str, topics: list[str], partitions: int) -> dict[tuple[str, int], int]:
    """Return the offset after the last record of each partition of these topics."""
    async with consumer(bootstrap) as reader:
        places = [TopicPartition(name, p) for name in topics for p in range(partitions)]
        return {(tp.topic, tp.partition): end for tp, end in (await reader.end_offsets(places)).items()}


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


async def last_record(reader: AIOKafkaConsumer, place: TopicPartition) -> ConsumerRecord | None:
    """Return the last record of a partition, None where it is empty."""
    end = (await reader.end_offsets([place]))[place]
    begin = (await reader.beginning_offsets([place]))[place]
    if end <= begin:
        return None
    reader.assign([place])
    reader.seek(place, end - 1)
    return await reader.getone(place)


async def records(
    reader: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
) -> AsyncIterator[ConsumerRecord]:
    """Yield the records of a partition with offsets from ``start`` up to ``end``, which is left out."""
    reader.assign([place])
    reader.seek(place, start)
    while start < end:
        record = await reader.getone(place)
        if record.offset < end:
            yield record
        start = record.offset + 1


async def newest_first(
    reader: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
) -> AsyncIterator[ConsumerRecord]:
    """Yield the same records, the newest first. They are read in blocks that grow: to look at a few is cheap."""
    size = FIRST_BLOCK
    while start < end:
        begin = max(start, end - size)
        for record in reversed([record async for record in records(reader, place, begin, end)]):
            yield record
        end, size = begin, min(2 * size, LARGEST_BLOCK)


async def backfill(reader: AIOKafkaConsumer, log: Log, number: int) -> Backfill:
    """Read the command with history that has this id."""
    place = TopicPartition(log.topic(COMMANDS), 0)
    (record,) = [record async for record in records(reader, place, number, number + 1)]
    command = command_of(record)
    assert isinstance(command, Backfill), "its id is one of those of the log"
    return command


def command_of(record: ConsumerRecord) -> Command:
    """Return the command that a record of ``commands`` holds; its id is its offset."""
    try:
        value = zlib.decompress(record.value) if record.key == BACKFILL else record.value
        return msgspec.structs.replace(_OTHERS.get(record.key, _CONFIGURE).decode(value), id=record.offset)
    except (msgspec.DecodeError, zlib.error) as error:
        raise LogError(f"the record at offset {record.offset} of {record.topic} is no command: {error}") from error


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


def _no_broker(bootstrap: str) -> NoBrokerError:
    return NoBrokerError(f"no broker answers at {bootstrap}: start one (`topology up` does) or set BROKER_URL")

"""The log on the broker: its header, and its commands, which are records of the topic `commands`."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from topology.kafka.clients import MAX_RECORD_BYTES, consumer, ends, records
from topology.kafka.errors import LogError
from topology.kafka.topics import check, create_lacking, partition_counts, topic
from topology.log.frames import (
    BACKFILL,
    COMMANDS,
    HEADER,
    VERSION,
    WARMUP,
    Backfill,
    Configure,
    LogHeader,
    Warmup,
    encode,
)

Command = Configure | Warmup | Backfill
_CONFIGURE: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Configure)
_OTHERS: dict[bytes, msgspec.msgpack.Decoder[Command]] = {
    WARMUP: msgspec.msgpack.Decoder(Warmup),
    BACKFILL: msgspec.msgpack.Decoder(Backfill),
}
_KEYS = {Warmup: WARMUP, Backfill: BACKFILL}


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


async def create(bootstrap: str, namespace: str, partitions: int, configuration: Configure) -> Log:
    """Make the topics that lack, and the log's header and first configuration. What is there stays as it is."""
    await create_lacking(bootstrap, namespace, partitions)
    commands = topic(namespace, COMMANDS)
    if (await ends(bootstrap, [commands], 1))[commands, 0] == 0:
        header = LogHeader(VERSION, uuid.uuid4().hex[:12], namespace, partitions)
        await append(bootstrap, namespace, header)
        await append(bootstrap, namespace, msgspec.structs.replace(configuration, id=1))
    return await read(bootstrap, namespace)


async def append(bootstrap: str, namespace: str, record: LogHeader | Command) -> int:
    """Append a record to ``commands``: the feed copies it into every partition, or does it. Return its offset."""
    async with appender(bootstrap, namespace) as append_one:
        return await append_one(record)


@asynccontextmanager
async def appender(
    bootstrap: str, namespace: str
) -> AsyncIterator[Callable[[LogHeader | Command], Coroutine[Any, Any, int]]]:
    """Append several records in the same way."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=MAX_RECORD_BYTES)

    async def append_one(record: LogHeader | Command) -> int:
        key, value = _KEYS.get(type(record)), encode(record)
        if key == BACKFILL:
            value = zlib.compress(value)  # whoever starts passes over all there ever was
        sent = await producer.send_and_wait(topic(namespace, COMMANDS), value, key=key, partition=0)
        return int(sent.offset)

    await producer.start()
    try:
        yield append_one
    finally:
        await producer.stop()


async def read(bootstrap: str, namespace: str) -> Log:
    """Read which log this is. Raises :class:`LogError` where topics lack or have another number of partitions."""
    counts = await partition_counts(bootstrap)
    name = topic(namespace, COMMANDS)
    if name not in counts:
        simulated = topic("sim", COMMANDS) in counts
        hint = ", or say `topology --sim` for the simulated log, which is there" if simulated else ""
        raise LogError(f"the broker at {bootstrap} has no topic {name}: run `topology topics create`{hint}")
    log = await _read(bootstrap, name)
    if log is None:
        raise LogError(f"the topic {name} is empty: run `topology topics create`")
    check(counts, bootstrap, namespace, log.header.partitions)
    if not log.commands:
        raise LogError(f"the topic {name} holds no configuration: run `topology topics create`")
    return log


async def _read(bootstrap: str, name: str) -> Log | None:
    """Read what is in ``commands``, passing over the history there; None where it is empty."""
    log = None
    async with consumer(bootstrap) as reader:
        commands = TopicPartition(name, 0)
        async for record in records(reader, commands, 0, (await reader.end_offsets([commands]))[commands]):
            if log is None:
                log = Log(HEADER.decode(record.value), [], [], [])
            elif record.key == BACKFILL:
                log.backfills.append(record.offset)
            elif isinstance(command := command_of(record), Configure):
                log.commands.append(command)
            elif isinstance(command, Warmup):
                log.requests.append(command)
    return log


async def read_backfill(reader: AIOKafkaConsumer, log: Log, number: int) -> Backfill:
    """Read the command with history that has this id."""
    tp = TopicPartition(log.topic(COMMANDS), 0)
    (record,) = [record async for record in records(reader, tp, number, number + 1)]
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

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from topology.embedded import EmbeddedError, Kafka, free_port
from topology.embedded.kafka import MAX_MESSAGE_BYTES, answers

IN_2022_MS, IN_2060_MS = 1_669_088_700_000, 2_840_140_800_000


async def create_topic(broker: Kafka, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def send(broker: Kafka, topic: str, *values: bytes, timestamp_ms: int | None = None) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, acks="all", max_request_size=MAX_MESSAGE_BYTES
    ) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, timestamp_ms=timestamp_ms)


async def read(broker: Kafka, topic: str) -> list[tuple[bytes, int]]:
    """Give all records of the topic, as value and timestamp."""
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap,
        fetch_max_bytes=MAX_MESSAGE_BYTES,
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
    ) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        records = [await consumer.getone() for _ in range(end)]
    return [(record.value, record.timestamp) for record in records]


async def test_a_frame_of_16_mb_goes_through(kafka: Kafka) -> None:
    await create_topic(kafka, "large")
    frame = bytes(16_000_000)
    await send(kafka, "large", frame)
    assert [value for value, _ in await read(kafka, "large")] == [frame]


@pytest.mark.parametrize("timestamp_ms", [IN_2022_MS, IN_2060_MS])
async def test_a_record_may_carry_the_time_of_any_day(kafka: Kafka, timestamp_ms: int) -> None:
    topic = f"at-{timestamp_ms}"
    await create_topic(kafka, topic)
    await send(kafka, topic, b"tick", timestamp_ms=timestamp_ms)
    assert await read(kafka, topic) == [(b"tick", timestamp_ms)]


async def test_a_topic_is_not_made_by_using_it(kafka: Kafka) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=5_000) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("never-made", b"tick")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    topics = await admin.list_topics()
    await admin.close()
    assert "never-made" not in topics


async def test_what_was_acknowledged_before_a_crash_is_there_after_it(tmp_path: Path) -> None:
    broker = Kafka(tmp_path, free_port())
    told: list[str] = []
    await asyncio.to_thread(broker.start, told.append)
    try:
        await create_topic(broker, "ticks")
        await send(broker, "ticks", *(b"%d" % number for number in range(100)))
        broker.kill()
        assert not broker.running
        assert not answers("127.0.0.1", broker.port)
        await asyncio.to_thread(broker.start, told.append)
        await send(broker, "ticks", b"after")
        values = [value for value, _ in await read(broker, "ticks")]
    finally:
        broker.stop()
    assert values == [*(b"%d" % number for number in range(100)), b"after"]
    assert told[-3:] == ["making the broker's log", "starting the broker", "starting the broker"]


async def test_a_folder_can_be_started_again_at_another_port(tmp_path: Path) -> None:
    first = Kafka(tmp_path, free_port())
    first.start(print)
    try:
        await create_topic(first, "ticks")
        await send(first, "ticks", b"one")
    finally:
        first.stop()
    second = Kafka(tmp_path, free_port())
    second.start(print)
    try:
        assert [value for value, _ in await read(second, "ticks")] == [b"one"]
    finally:
        second.stop()


def test_a_second_broker_in_the_same_folder_is_refused_with_one_line(kafka: Kafka) -> None:
    with pytest.raises(EmbeddedError) as caught:
        Kafka(kafka.folder, free_port()).start(print)
    assert str(caught.value).splitlines() == [f"the embedded Kafka is running already in {kafka.folder}"]
    assert answers("127.0.0.1", kafka.port)


def test_a_broker_that_ends_while_it_starts_is_one_line_that_names_its_log(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        broker = Kafka(tmp_path, other.getsockname()[1])
        with pytest.raises(EmbeddedError) as caught:
            broker.start(print)
    assert str(caught.value).splitlines() == [f"the embedded Kafka ended while it started; see {tmp_path}/kafka.log"]
    assert "Address already in use" in (tmp_path / "kafka.log").read_text()

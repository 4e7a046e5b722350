"""The topics of a log on the broker: their names, making them, and checking them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from topology.kafka.clients import MAX_RECORD_BYTES, admin
from topology.kafka.errors import LogError
from topology.log.frames import CANDLES, COMMANDS, DEAD_LETTERS, FEED_EVENTS, INDICATORS, TICKS, TIMEFRAMES

PARTITIONED = (TICKS, CANDLES, TIMEFRAMES, INDICATORS, DEAD_LETTERS)
SINGLE = (COMMANDS, FEED_EVENTS)
_FOREVER = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
_CONFIG = {
    **_FOREVER,
    "message.timestamp.after.max.ms": str((1 << 63) - 1),  # a record's time is the market's, which may be any day
    "max.message.bytes": str(MAX_RECORD_BYTES),
}


def topic(namespace: str, stage: str) -> str:
    """Return the name of a topic on the broker: ``live.ticks``."""
    return f"{namespace}.{stage}"


async def present(bootstrap: str, namespace: str) -> set[str]:
    """Return the topics of a log that the broker has."""
    names = {topic(namespace, stage) for stage in (*PARTITIONED, *SINGLE)}
    async with admin(bootstrap) as client:
        return names & set(await client.list_topics())


async def create_lacking(bootstrap: str, namespace: str, partitions: int) -> None:
    """Make the topics of a log that lack. What is there stays as it is."""
    async with admin(bootstrap) as client:
        wanted = [NewTopic(topic(namespace, stage), partitions, 1, topic_configs=_CONFIG) for stage in PARTITIONED]
        wanted += [NewTopic(topic(namespace, stage), 1, 1, topic_configs=_CONFIG) for stage in SINGLE]
        existing = set(await client.list_topics())
        lacking = [new for new in wanted if new.name not in existing]
        if lacking:
            with suppress(TopicAlreadyExistsError):  # somebody else made them at the same time
                await client.create_topics(lacking)


async def partition_counts(bootstrap: str) -> dict[str, int]:
    """Return the number of partitions of each topic that the broker has."""
    async with admin(bootstrap) as client:
        return {t["topic"]: len(t["partitions"]) for t in await client.describe_topics()}


def check(counts: Mapping[str, int], bootstrap: str, namespace: str, partitions: int) -> None:
    """Raise LogError where a topic of a log beside `commands` lacks, or has another number of partitions."""
    for stage in (*PARTITIONED, FEED_EVENTS):
        name = topic(namespace, stage)
        count, right = counts.get(name, 0), 1 if stage in SINGLE else partitions
        if count == 0:
            raise LogError(f"the broker at {bootstrap} has no topic {name}: run `topology topics create`")
        if count != right:
            raise LogError(
                f"the topic {name} has {count} partitions where it must have {right}: "
                "delete it and run `topology topics create`"
            )

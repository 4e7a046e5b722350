"""Following a topic of one partition, for as long as a role runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import NoReturn

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from topology.backoff import Backoff
from topology.kafka import topics

logger = logging.getLogger(__name__)

RETRY_S = (2.0, 5.0)


async def follow(bootstrap: str, topic: str, take: Callable[[ConsumerRecord], None], *, since: int | None) -> NoReturn:
    """Hand over each record from an offset on, None for the end of now; when the broker is away, again later."""
    place = TopicPartition(topic, 0)
    backoff = Backoff(RETRY_S, Random())
    while True:
        try:
            async with topics.consumer(bootstrap) as reader:
                reader.assign([place])
                if since is None:
                    since = (await reader.end_offsets([place]))[place]
                reader.seek(place, since)
                backoff.reset()
                while True:
                    record = await reader.getone(place)
                    since = record.offset + 1
                    take(record)
        except (KafkaError, topics.NoBrokerError) as error:
            logger.warning("%s can't be followed: %s", topic, error)
            await asyncio.sleep(backoff.next_s())

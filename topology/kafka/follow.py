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
from topology.kafka import clients
from topology.kafka.errors import NoBrokerError

logger = logging.getLogger(__name__)

RETRY_S = (2.0, 5.0)


async def follow(
    bootstrap: str, topic: str, process: Callable[[ConsumerRecord], None], *, since: int | None
) -> NoReturn:
    """Process each record from an offset on, None for the end of now; when the broker is away, again later."""
    tp = TopicPartition(topic, 0)
    backoff = Backoff(RETRY_S, Random())
    while True:
        try:
            async with clients.consumer(bootstrap) as reader:
                reader.assign([tp])
                if since is None:
                    since = (await reader.end_offsets([tp]))[tp]
                reader.seek(tp, since)
                backoff.reset()
                while True:
                    record = await reader.getone(tp)
                    since = record.offset + 1
                    process(record)
        except (KafkaError, NoBrokerError) as error:
            logger.warning("%s can't be followed: %s", topic, error)
            await asyncio.sleep(backoff.next_s())

"""What happens to the feed, as a gateway follows it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from topology import topics
from topology.log.frames import FEED_EVENTS, FeedEvent, Format, FrameError
from topology.settings import Settings

logger = logging.getLogger(__name__)

RETRY_S = 2.0
_EVENT = Format(FeedEvent)


async def follow_events(settings: Settings, log: topics.Log, tell: Callable[[FeedEvent], None]) -> NoReturn:
    """Tell what happens to the feed from now on, for as long as the gateway runs."""
    place = TopicPartition(log.topic(FEED_EVENTS), 0)
    following: int | None = None
    while True:
        try:
            async with topics.consumer(settings.bootstrap) as reader:
                reader.assign([place])
                if following is None:
                    following = (await reader.end_offsets([place]))[place]
                reader.seek(place, following)
                while True:
                    record = await reader.getone(place)
                    following = record.offset + 1
                    tell(_EVENT.decode(record.value))
        except FrameError as error:
            logger.warning("an event of the feed can't be read: %s", error)
        except (KafkaError, topics.NoBrokerError) as error:
            logger.warning("the feed's events can't be followed: %s", error)
            await asyncio.sleep(RETRY_S)

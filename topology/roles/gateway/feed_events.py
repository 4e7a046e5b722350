"""What happens to the feed, as a gateway follows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn

from aiokafka import ConsumerRecord

from topology.kafka import broker_log
from topology.kafka.follow import follow
from topology.log.frames import FEED_EVENTS, Decoder, FeedEvent, FrameError
from topology.settings import Settings

logger = logging.getLogger(__name__)

_EVENT = Decoder(FeedEvent)


async def follow_events(settings: Settings, log: broker_log.Log, publish: Callable[[FeedEvent], None]) -> NoReturn:
    """Publish what happens to the feed from now on, for as long as the gateway runs."""

    def publish_event(record: ConsumerRecord) -> None:
        try:
            event = _EVENT.decode(record.value)
        except FrameError as error:
            logger.warning("an event of the feed can't be read: %s", error)
        else:
            publish(event)

    await follow(settings.bootstrap, log.topic(FEED_EVENTS), publish_event, since=None)

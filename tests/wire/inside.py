"""All that these tests take from inside the project, in one place: a renaming touches this file and no other here."""

from __future__ import annotations

from aiokafka import TopicPartition

from topology.assembly.feed import _subscriptions as subscriptions_of
from topology.configuration import from_settings as configuration_of
from topology.embedded import Kafka, Valkey, free_port
from topology.feeds import Content
from topology.feeds.angel.backlog import Backlog, Need
from topology.feeds.angel.listing import Listing
from topology.feeds.angel.listings import write as write_listings
from topology.feeds.writer import TickLogWriter
from topology.log.frames import FEED_EVENTS, FeedEvent, Format, Warmup
from topology.log.position import partition_of
from topology.market.gaps import Gap
from topology.market.history import Stretch
from topology.market.instruments import Instrument
from topology.market.ticks import Tick
from topology.settings import LIVE, Settings
from topology.topics import Log
from topology.topics import admin as kafka_admin
from topology.topics import command as append_command
from topology.topics import consumer as reading
from topology.topics import create as create_log
from topology.topics import ends as topic_ends
from topology.topics import read as read_log
from topology.topics import records as records_of

__all__ = [
    "FEED_EVENTS",
    "LIVE",
    "Backlog",
    "Content",
    "FeedEvent",
    "Format",
    "Gap",
    "Instrument",
    "Kafka",
    "Listing",
    "Log",
    "Need",
    "Settings",
    "Stretch",
    "Tick",
    "TickLogWriter",
    "TopicPartition",
    "Valkey",
    "Warmup",
    "append_command",
    "configuration_of",
    "create_log",
    "free_port",
    "kafka_admin",
    "partition_of",
    "read_events",
    "read_log",
    "reading",
    "records_of",
    "subscriptions_of",
    "topic_ends",
    "write_listings",
]


async def read_events(bootstrap: str, log: Log) -> list[FeedEvent]:
    """Return all that the log tells of the feed."""
    place = TopicPartition(log.topic(FEED_EVENTS), 0)
    async with reading(bootstrap) as reader:
        end = (await reader.end_offsets([place]))[place]
        return [Format(FeedEvent).decode(record.value) async for record in records_of(reader, place, 0, end)]

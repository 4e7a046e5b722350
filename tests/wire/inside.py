"""All that these tests take from inside the project, in one place: a renaming touches this file and no other here."""

from __future__ import annotations

import pytest
from aiokafka import ConsumerRecord, TopicPartition

import agents
import tables
import topology
import topology.roles
import web
import web.live.socket
from agents.process_guard import REFUSED, RESTART
from tables.state import CandlesRow, IndicatorsRow, Row, TimeframesRow
from topology.angel.master.listing import Listing
from topology.angel.master.listings import write as write_listings
from topology.angel.refusals import Refusals
from topology.cli.doctor import Diagnosis
from topology.cli.main import FAILED, INTERRUPTED, PIPE_CLOSED
from topology.cli.main import main as command_line
from topology.cli.run import STRICT, Outcome
from topology.clock import SYSTEM, Clock
from topology.configuration.environment import from_settings as configuration_of
from topology.embedded import Kafka, Valkey, free_port
from topology.feeds import FrameContent
from topology.feeds.angel.backfill_queue import BackfillQueue, BackfillRequest
from topology.feeds.writer import TickLogWriter
from topology.json_logging import JsonLines
from topology.kafka.broker_log import Log
from topology.kafka.broker_log import append as append_command
from topology.kafka.broker_log import create as create_log
from topology.kafka.broker_log import read as read_log
from topology.kafka.clients import admin as kafka_admin
from topology.kafka.clients import consumer as reading
from topology.kafka.clients import ends as topic_ends
from topology.kafka.clients import last_record
from topology.kafka.clients import records as records_of
from topology.log.candle_stage import CandlesCore
from topology.log.closes_buffer import ClosesState
from topology.log.frames import (
    FEED_EVENTS,
    Backfill,
    CandleFrame,
    Configure,
    DeadLetter,
    Decoder,
    FeedEvent,
    FeedEventKind,
    IndicatorFrame,
    IndicatorValue,
    LogHeader,
    TickFrame,
    TimeframeFrame,
    Warmup,
    encode,
)
from topology.log.indicator_stage import IndicatorSeriesState as ClosesOfSeries
from topology.log.partition import partition_of
from topology.log.stage import StageState
from topology.market.candle import Candle
from topology.market.forming_candle import FormingCandle
from topology.market.gaps import Baseline, Gap
from topology.market.history import History
from topology.market.instrument_candles import InstrumentState, OpenCandle
from topology.market.instruments import Instrument
from topology.market.quotes import Quote
from topology.market.second_candles import LateTick, SecondCandlesState
from topology.market.ticks import Tick
from topology.market.timeframe_candles import Arrival, TimeframeCandlesState
from topology.market.times import Interval
from topology.notifiers.notice import Kind, Notice
from topology.notifiers.telegram import Telegram
from topology.notifiers.webhook import Webhook
from topology.roles import build
from topology.roles.feed.role import _subscriptions as subscriptions_of
from topology.settings import LIVE, SIM, Settings, SettingsError
from topology.sinks.archive.archive import Archive
from topology.sinks.channel_name import ChannelName
from topology.sinks.cursor import StoredFrame
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.mirror import Mirror, hold_channels
from topology.sinks.mirror.mirror import connect as connect_redis
from topology.sinks.mirror.reader import MirrorReader
from topology.sinks.mirror.streams import StreamCommands, stream_lengths
from web.live.client import GOES_AWAY, TOO_SLOW
from web.live.requests import Request
from web.live.socket import GONE, STORM

__all__ = [
    "FAILED",
    "FEED_EVENTS",
    "GOES_AWAY",
    "GONE",
    "INTERRUPTED",
    "LIVE",
    "PACKAGES",
    "PIPE_CLOSED",
    "REFUSED",
    "RESTART",
    "SIM",
    "STORM",
    "STRICT",
    "SYSTEM",
    "TOO_SLOW",
    "UNDECIDED",
    "Archive",
    "Arrival",
    "Backfill",
    "BackfillQueue",
    "BackfillRequest",
    "Baseline",
    "Breaker",
    "Candle",
    "CandleFrame",
    "CandlesCore",
    "CandlesRow",
    "ChannelName",
    "Clock",
    "ClosesOfSeries",
    "ClosesState",
    "Configure",
    "ConsumerRecord",
    "DeadLetter",
    "Decoder",
    "Diagnosis",
    "FeedEvent",
    "FeedEventKind",
    "FormingCandle",
    "FrameContent",
    "Gap",
    "History",
    "IndicatorFrame",
    "IndicatorValue",
    "IndicatorsRow",
    "Instrument",
    "InstrumentState",
    "Interval",
    "JsonLines",
    "Kafka",
    "Kind",
    "LateTick",
    "Listing",
    "Log",
    "LogHeader",
    "Mirror",
    "MirrorReader",
    "Notice",
    "OpenCandle",
    "Outcome",
    "Quote",
    "Refusals",
    "Request",
    "Row",
    "SecondCandlesState",
    "Settings",
    "SettingsError",
    "StageState",
    "StoredFrame",
    "StreamCommands",
    "Telegram",
    "Tick",
    "TickFrame",
    "TickLogWriter",
    "TimeframeCandlesState",
    "TimeframeFrame",
    "TimeframesRow",
    "TopicPartition",
    "Valkey",
    "Warmup",
    "Webhook",
    "append_command",
    "build",
    "command_line",
    "configuration_of",
    "connect_redis",
    "create_log",
    "encode",
    "free_port",
    "hold_channels",
    "kafka_admin",
    "last_record",
    "last_record_of",
    "partition_of",
    "read_events",
    "read_log",
    "reading",
    "records_of",
    "stream_lengths",
    "subscriptions_of",
    "topic_ends",
    "wait_shorter",
    "write_listings",
]

PACKAGES = (agents, tables, topology, web)
UNDECIDED = "UNDECIDED_S"


def wait_shorter(monkeypatch: pytest.MonkeyPatch, name: str, seconds: float) -> None:
    """Let the socket wait for another time before it gives a client everything."""
    monkeypatch.setattr(web.live.socket, name, seconds)


async def read_events(bootstrap: str, log: Log) -> list[FeedEvent]:
    """Return all that the log tells of the feed."""
    place = TopicPartition(log.topic(FEED_EVENTS), 0)
    async with reading(bootstrap) as reader:
        end = (await reader.end_offsets([place]))[place]
        return [Decoder(FeedEvent).decode(record.value) async for record in records_of(reader, place, 0, end)]


async def last_record_of(bootstrap: str, topic: str, *, partition: int) -> ConsumerRecord:
    """Return the newest record of a partition."""
    async with reading(bootstrap) as reader:
        record = await last_record(reader, TopicPartition(topic, partition))
    assert record is not None
    return record

"""`topology warmup`: ask the feed for the broker's history, and follow how it comes."""

from __future__ import annotations

import argparse
import asyncio
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from topology.angel.master.listings import FILE_NAME
from topology.angel.master.symbols import resolve_at
from topology.clock import now_ms
from topology.kafka import broker_log, clients, lag_report
from topology.log.frames import FEED_EVENTS, Decoder, FeedEvent, FeedEventKind, Warmup
from topology.market.times import IST
from topology.settings import Settings

EXAMPLE = """examples:
  topology warmup                        all subscribed instruments
  topology warmup RELIANCE-EQ --reset    after a split"""
RUNS_WITHIN_MS = 5_000  # a live feed writes a clock every second
QUIET_MS = 60_000

_EVENT = Decoder(FeedEvent)


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "warmup",
        description="Asks the feed to bring the broker's candles of the past into the log, so that indicators are "
        "ready: for every timeframe of whole minutes at least 250, and three times the longest period. A feed does "
        "this by itself before an open for what is new to it; this asks for all of it again. What is known already "
        "stays as it is; with --reset the instruments start afresh with the broker's candles.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "instruments", nargs="*", metavar="INSTRUMENT", help="exchange and token, or a symbol (default: all subscribed)"
    )
    parser.add_argument(
        "--reset", action="store_true", help="forget what is known, as is needed after a split or a bonus"
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code."""
    path = settings.namespace_dir / FILE_NAME
    instruments = [str(resolve_at(text, path)) for text in arguments.instruments]
    asyncio.run(_warm(settings, Warmup(0, instruments, arguments.reset)))
    return 0


async def _warm(settings: Settings, request: Warmup) -> None:
    log = await broker_log.read(settings.bootstrap, settings.namespace)
    partition = TopicPartition(log.topic(FEED_EVENTS), 0)
    async with clients.consumer(settings.bootstrap) as events:
        start = (await events.end_offsets([partition]))[partition]
        number = await broker_log.append(settings.bootstrap, settings.namespace, request)
        if await _stands_still_ms(settings, log) > RUNS_WITHIN_MS:
            print(f"request {number} is written to the log; no feed runs: it is done when one is started")
            return
        print(f"request {number} is written to the log, and the feed asks the broker; Ctrl-C leaves it alone with it")
        events.assign([partition])
        events.seek(partition, start)
        while not await _followed(events, number):
            if await _stands_still_ms(settings, log) > QUIET_MS:
                print("the feed has stopped: it goes on when it is started again")
                return


async def _stands_still_ms(settings: Settings, log: broker_log.Log) -> int:
    """Return for how long no feed has written a frame."""
    async with clients.consumer(settings.bootstrap) as reader:
        ticks = await lag_report.ticks(reader, log)
    return now_ms() - max((held.newest.clock_ms for held in ticks.values() if held.newest is not None), default=0)


async def _followed(events: AIOKafkaConsumer, number: int) -> bool:
    """Print what comes of the history, until the request is done or for a while; return whether it is done."""
    found = await events.getmany(timeout_ms=QUIET_MS)
    for record in (record for records in found.values() for record in records):
        event = _EVENT.decode(record.value)
        if event.kind in (FeedEventKind.HISTORY, FeedEventKind.WARMED):
            print(f"{datetime.fromtimestamp(event.at_ms / 1000, IST):%H:%M:%S} {event.detail}", flush=True)
        if event.kind == FeedEventKind.WARMED and int(event.detail.split()[1]) >= number:
            return True
    return False

"""`topology configure`: the log's configuration against that of the environment, and the command that applies it."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import nullcontext
from typing import Any

import msgspec
from aiokafka import TopicPartition

from tables.state import CandlesRow, changelog_of
from topology import topics
from topology.configuration import differences, from_settings
from topology.feeds.angel.listings import FILE_NAME, Listings
from topology.feeds.subscriptions import named
from topology.log.candles import check_configuration
from topology.market import Calendar
from topology.settings import Settings

EXAMPLE = """example:
  INDICATOR_CONFIGS=SMA:20,EMA:21,RSI:14,SMMA:14 topology configure"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    subparsers.add_parser(
        "configure",
        description="Compares what the environment asks for (ENABLED_TFS, INDICATOR_CONFIGS, ALLOWED_LATENESS_MS, "
        "CALENDAR_FILE) with what the log computes, and appends a command to the log where they differ, unless the "
        "stages would refuse it: a calendar must have sessions for every instrument that there is. The feed "
        "copies it into every partition: one that runs within a second or two, one that doesn't when it is started. "
        "The stages follow it from the frame that carries it on; an indicator that is new starts with the closes "
        "that are known.",
        epilog=EXAMPLE,
    )


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code."""
    asyncio.run(_configure(settings))
    return 0


async def _configure(settings: Settings) -> None:
    log = await topics.read(settings.bootstrap, settings.namespace)
    # What the instrument master tells of classes is added: it may tell of fewer instruments than the log knows.
    found = from_settings(settings)
    wanted = msgspec.structs.replace(found, classes={**log.configuration.classes, **found.classes})
    lines = differences(log.configuration, wanted)
    if not lines:
        print(f"nothing to do: log {log.header.log} computes what the environment asks for")
        return
    check_configuration(wanted, Calendar.parse(wanted.calendar), await _instruments(settings, log))
    print(f"log {log.header.log}, from the next frame of the feed on:")
    for line in lines:
        print(f"  {line}")
    await topics.command(settings.bootstrap, settings.namespace, wanted)
    print("written to the log; a feed that runs copies it into every partition, one that doesn't when it is started")


async def _instruments(settings: Settings, log: topics.Log) -> set[str]:
    """Return the instruments that the first stage has kept, and those that are subscribed."""
    with Listings.opened(settings.namespace_dir / FILE_NAME) or nullcontext() as listings:
        found = {str(instrument) for instrument in named(settings.subscribe_tokens, listings)}
    changelog = changelog_of(f"{settings.namespace}.pipeline", "candles")
    async with topics.admin(settings.bootstrap) as client:
        if changelog not in await client.list_topics():
            return found
    decode = msgspec.msgpack.Decoder(CandlesRow).decode
    async with topics.consumer(settings.bootstrap) as reader:
        for partition in range(log.header.partitions):
            record = await topics.last_record(reader, TopicPartition(changelog, partition))
            if record is None:
                continue
            state = decode(record.value).state
            if state.log == log.header.log and state.core.candles is not None:
                found.update(series.instrument for series in state.core.candles.series)
    return found

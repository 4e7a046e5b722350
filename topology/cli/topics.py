"""`topology topics create`: the topics of a log, its header and its first configuration."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from topology.configuration.difference import differences
from topology.configuration.environment import from_settings
from topology.kafka import broker_log, topics
from topology.kafka.errors import LogError
from topology.settings import Settings

EXAMPLE = """example:
  BROKER_URL=kafka://10.0.0.5:9092 topology topics create"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser("topics", description="Looks after the topics of a log.", epilog=EXAMPLE)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser(
        "create",
        help="make the topics that lack",
        description="Makes the topics of the namespace that lack, and in a new log its header and the configuration "
        "that the environment asks for. What is there stays as it is.",
        epilog=EXAMPLE,
    )


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code."""
    asyncio.run(_create(settings))
    return 0


async def _create(settings: Settings) -> None:
    bootstrap, namespace, wanted = settings.bootstrap, settings.namespace, from_settings(settings)
    before = await topics.present(bootstrap, namespace)
    log = await broker_log.create(bootstrap, namespace, settings.topic_partitions, wanted)
    partitions = log.header.partitions
    made = sorted(await topics.present(bootstrap, namespace) - before)
    for name in made:
        print(f"made {name}")
    if made:
        print(f"log {log.header.log} at {bootstrap}, namespace {namespace}, {partitions} partitions")
    else:
        print(f"log {log.header.log} at {bootstrap} exists already, with {partitions} partitions: nothing to make")
    if partitions != settings.topic_partitions:
        raise LogError(
            f"TOPIC_PARTITIONS={settings.topic_partitions} is wrong: log {log.header.log} has {partitions} partitions "
            "for good"
        )
    if lines := differences(log.configuration, wanted):
        print("the environment asks for something else than the log computes; `topology configure` applies it:")
        for line in lines:
            print(f"  {line}")

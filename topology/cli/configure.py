"""`topology configure`: the log's configuration against that of the environment, and the command that applies it."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from typing import Any

import msgspec

from topology.configuration.apply import apply
from topology.configuration.difference import differences
from topology.configuration.environment import from_settings
from topology.kafka import broker_log
from topology.settings import Settings
from topology.sinks.archive.history import ArchiveHistory

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
        "that are known, a timeframe that is new with the candles that the archive has.",
        epilog=EXAMPLE,
    )


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code."""
    asyncio.run(_configure(settings))
    return 0


async def _configure(settings: Settings) -> None:
    log = await broker_log.read(settings.bootstrap, settings.namespace)
    # What the instrument master tells of classes is added: it may tell of fewer instruments than the log knows.
    found = from_settings(settings)
    wanted = msgspec.structs.replace(found, classes={**log.configuration.classes, **found.classes})
    lines = differences(log.configuration, wanted)
    if not lines:
        print(f"nothing to do: log {log.header.log} computes what the environment asks for")
        return
    done = await apply(settings, log, wanted, archive=partial(ArchiveHistory, settings.sqlite_path))
    print(f"log {log.header.log}, from the next frame of the feed on:")
    for line in [*lines, *done.notes]:
        print(f"  {line}")
    print("written to the log; a feed that runs copies it into every partition, one that doesn't when it is started")

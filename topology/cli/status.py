"""`topology status`: how far each role is, and how far behind the end of the tick log."""

from __future__ import annotations

import argparse
import asyncio
from datetime import datetime
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from topology.cli import aligned
from topology.kafka import broker_log, clients, lag_report
from topology.log.frames import FEED_EVENTS, Decoder, FeedEvent
from topology.log.lag import TopicLag
from topology.market.times import IST
from topology.settings import SIM, Settings
from topology.sinks.registry import used_sinks

EXAMPLE = """example:
  topology status --json | jq '.lines[] | select(.behind_frames > 100)'"""
NEWEST_EVENTS = 5  # of the feed

_EVENT = Decoder(FeedEvent)


class Status(msgspec.Struct, frozen=True):
    """What `--json` prints. ``clock_ms`` is the newest clock in the log, None in an empty one.

    ``feed_events`` are the newest, oldest first.
    """

    simulated: bool
    namespace: str
    broker: str
    log: str
    partitions: int
    clock_ms: int | None
    lines: list[TopicLag]
    feed_events: list[FeedEvent] = []


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "status",
        description="Shows how far each role is: for each topic it writes or reads, the position in every partition, "
        "and how much the tick log is ahead of it, in frames (of all partitions) and in seconds of the log's clock "
        "(of the partition that is furthest behind). The feed's line is the end of the tick log.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code."""
    status = asyncio.run(_look(settings))
    print(msgspec.json.encode(status).decode() if arguments.json else "\n".join(shown(status)))
    return 0


def shown(status: Status) -> list[str]:
    """Return the status as a table, in lines of text."""
    lines = ["SIMULATED market data"] if status.simulated else []
    lines.append(f"log {status.log} at {status.broker}, namespace {status.namespace}, {status.partitions} partitions")
    lines += [f"newest frame: {_clock(status.clock_ms)}", ""]
    rows = [["role", "topic", "frames behind", "seconds behind", "position in each partition"]]
    rows += [_row(line) for line in status.lines if not line.problem]
    lines += aligned(rows, right={2, 3})
    lines += [f"{line.role}: {line.problem}" for line in status.lines if line.problem]
    return lines + [""] * bool(status.feed_events) + [_happened(event) for event in status.feed_events]


def _happened(event: FeedEvent) -> str:
    """Say what happened to the feed, and when, in a line."""
    where = "" if event.socket is None else f" socket {event.socket}"
    lasted = "" if event.from_ms is None or event.to_ms is None else f" {(event.to_ms - event.from_ms) / 1000:.1f} s"
    detail = f": {event.detail}" if event.detail else ""
    return f"feed {_clock(event.at_ms)} {event.kind}{where}{lasted}{detail}"


def _row(line: TopicLag) -> list[str]:
    seconds = "-" if line.behind_s is None else f"{line.behind_s:,.1f}"
    positions = " ".join("-" if lag.position is None else str(lag.position) for lag in line.places)
    return [line.role, line.stage, f"{line.behind_frames:,}", seconds, positions]


def _clock(clock_ms: int | None) -> str:
    return (
        "none yet" if clock_ms is None else f"{datetime.fromtimestamp(clock_ms / 1000, IST):%a %Y-%m-%d %H:%M:%S} IST"
    )


async def _look(settings: Settings) -> Status:
    log = await broker_log.read(settings.bootstrap, settings.namespace)
    async with clients.consumer(settings.bootstrap) as reader:
        clock_ms, lines = await lag_report.lines(reader, log, used_sinks(settings))
        events = await _events(reader, log)
    return Status(
        simulated=settings.namespace == SIM,
        namespace=settings.namespace,
        broker=settings.bootstrap,
        log=log.header.log,
        partitions=log.header.partitions,
        clock_ms=clock_ms,
        lines=lines,
        feed_events=events,
    )


async def _events(reader: AIOKafkaConsumer, log: broker_log.Log) -> list[FeedEvent]:
    tp = TopicPartition(log.topic(FEED_EVENTS), 0)
    end = (await reader.end_offsets([tp]))[tp]
    begin = max(end - NEWEST_EVENTS, (await reader.beginning_offsets([tp]))[tp])
    return [_EVENT.decode(record.value) async for record in clients.records(reader, tp, begin, end)]

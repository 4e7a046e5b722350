"""`topology status`: how far each role is, and how far behind the end of the tick log."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from topology import topics
from topology.cli import standing
from topology.cli.standing import Reached, Ticks
from topology.log.frames import DERIVED, FEED_EVENTS, TICKS, FeedEvent, Format
from topology.market.calendar import IST
from topology.settings import SIM, Settings
from topology.sinks.applied import Applied, SinkError, Source

EXAMPLE = """example:
  topology status --json | jq '.lines[] | select(.behind_frames > 100)'"""
NEWEST_EVENTS = 5  # of the feed

_EVENT = Format(FeedEvent)


class Place(msgspec.Struct, frozen=True):
    """A partition: the position that is reached there, that of the newest tick frame, and what lies between.

    Positions are None where there is no frame. ``behind_s`` is in seconds of the log's clock, None where nothing tells.
    """

    partition: int
    position: int | None
    end: int | None
    behind_frames: int
    behind_s: float | None


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A topic as a role has reached it: all partitions together, then each; or the ``problem`` with asking."""

    role: str
    stage: str = ""
    behind_frames: int | None = None
    behind_s: float | None = None
    places: list[Place] = []
    problem: str = ""


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
    lines: list[Line]
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


def compare(role: str, stage: str, *, ticks: Mapping[int, Ticks], reached: Mapping[int, Reached]) -> Line:
    """Compare what is reached in each partition with the tick frames there are."""
    places = [_place(partition, held, reached.get(partition)) for partition, held in sorted(ticks.items())]
    seconds = [place.behind_s for place in places if place.end is not None]
    known = [s for s in seconds if s is not None]
    return Line(
        role,
        stage,
        behind_frames=sum(place.behind_frames for place in places),
        behind_s=None if len(known) < len(seconds) else max(known, default=0.0),
        places=places,
    )


def shown(status: Status) -> list[str]:
    """Return the status as a table, in lines of text."""
    lines = ["SIMULATED market data"] if status.simulated else []
    lines.append(f"log {status.log} at {status.broker}, namespace {status.namespace}, {status.partitions} partitions")
    lines += [f"newest frame: {_clock(status.clock_ms)}", ""]
    rows = [["role", "topic", "frames behind", "seconds behind", "position in each partition"]]
    rows += [_row(line) for line in status.lines if not line.problem]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += [_aligned(row, widths) for row in rows]
    lines += [f"{line.role}: {line.problem}" for line in status.lines if line.problem]
    return lines + [""] * bool(status.feed_events) + [_happened(event) for event in status.feed_events]


def _happened(event: FeedEvent) -> str:
    """Say what happened to the feed, and when, in a line."""
    where = "" if event.socket is None else f" socket {event.socket}"
    lasted = "" if event.from_ms is None or event.to_ms is None else f" {(event.to_ms - event.from_ms) / 1000:.1f} s"
    detail = f": {event.detail}" if event.detail else ""
    return f"feed {_clock(event.at_ms)} {event.kind}{where}{lasted}{detail}"


def _place(partition: int, held: Ticks, reached: Reached | None) -> Place:
    position = None if reached is None else reached.position
    if held.newest is None:
        return Place(partition, position, None, 0, None)
    end, clock_ms = held.newest
    if reached is None:
        return Place(partition, None, end, end + 1 - held.first, None)
    behind_ms = max(0, clock_ms - reached.clock_ms)
    return Place(partition, position, end, max(0, end - reached.position), behind_ms / 1000)


def _row(line: Line) -> list[str]:
    seconds = "-" if line.behind_s is None else f"{line.behind_s:,.1f}"
    positions = " ".join("-" if place.position is None else str(place.position) for place in line.places)
    return [line.role, line.stage, f"{line.behind_frames:,}", seconds, positions]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    role, stage, frames, seconds, positions = row
    left = f"{role:<{widths[0]}}  {stage:<{widths[1]}}"
    return f"{left}  {frames:>{widths[2]}}  {seconds:>{widths[3]}}  {positions}"


def _clock(clock_ms: int | None) -> str:
    return (
        "none yet" if clock_ms is None else f"{datetime.fromtimestamp(clock_ms / 1000, IST):%a %Y-%m-%d %H:%M:%S} IST"
    )


async def _look(settings: Settings) -> Status:
    log = await topics.read(settings.bootstrap, settings.namespace)
    async with topics.consumer(settings.bootstrap) as reader:
        # The end of the tick log first, so that what comes while the others are asked counts for nobody as behind.
        ticks = await standing.ticks(reader, log)
        stages = {stage: await standing.derived(reader, log, stage) for stage in DERIVED}
        events = await _events(reader, log)
        mirrored, archived = await _mirrored(settings, log), _archived(settings, log)
    ends = {partition: held.newest for partition, held in ticks.items() if held.newest is not None}
    lines = [compare("feed", TICKS, ticks=ticks, reached=ends)]
    lines += [compare("pipeline", stage, ticks=ticks, reached=reached) for stage, reached in stages.items()]
    lines += _sink("mirror", standing.MIRRORED, mirrored, ticks=ticks)
    lines += _sink("archive", standing.ARCHIVED, archived, ticks=ticks)
    return Status(
        simulated=settings.namespace == SIM,
        namespace=settings.namespace,
        broker=settings.bootstrap,
        log=log.header.log,
        partitions=log.header.partitions,
        clock_ms=max((end.clock_ms for end in ends.values()), default=None),
        lines=lines,
        feed_events=events,
    )


async def _events(reader: AIOKafkaConsumer, log: topics.Log) -> list[FeedEvent]:
    place = TopicPartition(log.topic(FEED_EVENTS), 0)
    end = (await reader.end_offsets([place]))[place]
    begin = max(end - NEWEST_EVENTS, (await reader.beginning_offsets([place]))[place])
    return [_EVENT.decode(record.value) async for record in topics.records(reader, place, begin, end)]


def _sink(
    role: str, stages: Sequence[str], applied: dict[Source, Applied] | SinkError, *, ticks: Mapping[int, Ticks]
) -> list[Line]:
    if isinstance(applied, SinkError):
        return [Line(role, problem=str(applied))]
    lines = []
    for stage in stages:
        reached = {p: Reached(found.position, found.clock_ms) for (s, p), found in applied.items() if s == stage}
        lines.append(compare(role, stage, ticks=ticks, reached=reached))
    return lines


async def _mirrored(settings: Settings, log: topics.Log) -> dict[Source, Applied] | SinkError:
    try:
        return await standing.mirrored(settings, log)
    except SinkError as error:
        return error


def _archived(settings: Settings, log: topics.Log) -> dict[Source, Applied] | SinkError:
    try:
        return standing.archived(settings, log)
    except SinkError as error:
        return error

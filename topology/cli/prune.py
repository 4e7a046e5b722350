"""`topology prune`: removes from the log what is old and has been applied everywhere."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete

from topology.cli import at_least_one
from topology.kafka import broker_log, clients, lag_report, topics
from topology.log.frames import CANDLE_FRAME, CANDLES, DEAD_LETTERS, DERIVED, TICKS, TIMEFRAMES, DeadLetter, Decoder
from topology.log.lag import TickRange
from topology.market.times import DAY_MS
from topology.settings import Settings
from topology.sinks.cursor import Source
from topology.sinks.registry import used_sinks

EXAMPLE = """example:
  topology prune --days 7"""
PIPELINE = "pipeline"

_DEAD_LETTER = Decoder(DeadLetter)


class Cut(NamedTuple):
    """Where a partition is cut: the position of the first frame to keep, and that frame's clock in the candle log."""

    position: int
    clock_ms: int


class PruneLimit(NamedTuple):
    """The position up to which every role has applied a partition, and who has come no further."""

    position: int
    held_by: str


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "prune",
        description="Removes frames from every topic of the log but `commands`: those more than this many days older "
        "than the newest frame, by the log's clock. A partition is cut at a frame that carries the configuration, so "
        "that what starts at the log's first frame finds it there (the feed writes one whenever it starts), and never "
        "beyond what the pipeline and every sink have applied.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--days", type=at_least_one, metavar="N", help="days to keep (default LOG_KEEP_DAYS)")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code. Raises SinkError where a sink can't be asked."""
    asyncio.run(_prune(settings, days=arguments.days or settings.log_keep_days))
    return 0


def limit(applied: Mapping[str, Mapping[Source, int]], partition: int) -> PruneLimit:
    """Return how far a partition is applied by all. ``applied`` holds positions by role, -1 for nothing."""
    reached = [
        PruneLimit(position, f"{role} ({stage})")
        for role, positions in applied.items()
        for (stage, number), position in positions.items()
        if number == partition
    ]
    return min(reached)


async def _prune(settings: Settings, *, days: int) -> None:
    log = await broker_log.read(settings.bootstrap, settings.namespace)
    async with clients.consumer(settings.bootstrap) as reader:
        applied = await _applied(settings, log, reader)
        ticks = await lag_report.ticks(reader, log)
        newest_ms = max((held.newest.clock_ms for held in ticks.values() if held.newest), default=0)
        older_ms = newest_ms - days * DAY_MS
        firsts = await _firsts(reader, log, older_ms, ticks=ticks, applied=applied)
    removed = await _delete(settings, firsts)
    for name, number in removed.items():
        print(f"{name}: {number:,} records removed")
    if not removed:
        print(f"nothing to remove: there is nothing before the last start of the feed that is over {days} days old")


async def _applied(settings: Settings, log: broker_log.Log, reader: AIOKafkaConsumer) -> dict[str, dict[Source, int]]:
    """Return the positions that each role has applied, of every partition of every topic it reads."""
    applied = {}
    for sink in used_sinks(settings):
        reached = await sink.reached(log.header)
        applied[sink.name] = {
            (stage, p): reached[stage, p].position if (stage, p) in reached else -1
            for stage in sink.stages
            for p in range(log.header.partitions)
        }
    return applied | {PIPELINE: await _saved(settings, log, reader)}


async def _saved(settings: Settings, log: broker_log.Log, reader: AIOKafkaConsumer) -> dict[Source, int]:
    """Return the positions that the stages have saved: they acknowledge a record when their state holds it."""
    async with clients.admin(settings.bootstrap) as client:
        offsets = await client.list_consumer_group_offsets(f"{settings.namespace}.{PIPELINE}")
    saved = {}
    for stage in (TICKS, CANDLES, TIMEFRAMES):
        for partition in range(log.header.partitions):
            tp = TopicPartition(log.topic(stage), partition)
            following = max(0, offsets[tp].offset) if tp in offsets else 0
            saved[stage, partition] = await _position_before(reader, tp, following, stage=stage)
    return saved


async def _position_before(reader: AIOKafkaConsumer, tp: TopicPartition, offset: int, *, stage: str) -> int:
    """Return the position of the record before an offset, -1 where there is none."""
    if stage == TICKS:
        return offset - 1
    begin = (await reader.beginning_offsets([tp]))[tp]
    if offset <= begin:
        return -1
    before = [record async for record in clients.records(reader, tp, offset - 1, offset)]
    return max((DERIVED[stage].decode(record.value).position for record in before), default=-1)


async def _firsts(
    reader: AIOKafkaConsumer,
    log: broker_log.Log,
    older_ms: int,
    *,
    ticks: Mapping[int, TickRange],
    applied: Mapping[str, Mapping[Source, int]],
) -> dict[TopicPartition, tuple[int, int]]:
    """Return of each partition that is to be cut the first offset now, and the first to keep."""
    firsts = {}
    for partition, held in ticks.items():
        if held.newest is None:
            continue
        cut = await _cut(reader, log, partition, older_ms=older_ms, most=limit(applied, partition))
        if cut is not None:
            for stage in topics.PARTITIONED:
                tp = TopicPartition(log.topic(stage), partition)
                begin = (await reader.beginning_offsets([tp]))[tp]
                firsts[tp] = begin, await _first_to_keep(reader, tp, cut, stage=stage)
    return {tp: offsets for tp, offsets in firsts.items() if offsets[0] < offsets[1]}


async def _cut(
    reader: AIOKafkaConsumer, log: broker_log.Log, partition: int, *, older_ms: int, most: PruneLimit
) -> Cut | None:
    """Find the newest frame to start at that leaves all that isn't old.

    The candle log shows which frames these are: what the first stage passes on, it has accepted.
    """
    tp = TopicPartition(log.topic(CANDLES), partition)
    begin, end = (await reader.beginning_offsets([tp]))[tp], (await reader.end_offsets([tp]))[tp]
    at = (await reader.offsets_for_times({tp: max(0, older_ms)}))[tp]
    warned = False
    async for record in clients.newest_first(reader, tp, begin, end if at is None else min(end, at.offset + 1)):
        frame = CANDLE_FRAME.decode(record.value)
        if not frame.commands:
            continue
        if frame.position <= most.position:
            return Cut(frame.position, record.timestamp)
        if not warned:
            reached = f"up to position {most.position} only" if most.position >= 0 else "nothing yet"
            print(f"partition {partition}: {most.held_by} has applied {reached}")
        warned = True
    return None


async def _first_to_keep(reader: AIOKafkaConsumer, tp: TopicPartition, cut: Cut, *, stage: str) -> int:
    """Return the offset of the first record of a partition whose position is that of the cut, or above."""
    if stage == TICKS:
        return cut.position
    end: int = (await reader.end_offsets([tp]))[tp]
    at = (await reader.offsets_for_times({tp: cut.clock_ms}))[tp]
    if at is None:
        return end
    decode = _DEAD_LETTER.decode if stage == DEAD_LETTERS else DERIVED[stage].decode
    async for record in clients.records(reader, tp, at.offset, end):
        if decode(record.value).position >= cut.position:
            return int(record.offset)
    return end


async def _delete(settings: Settings, firsts: Mapping[TopicPartition, tuple[int, int]]) -> dict[str, int]:
    """Remove what comes before the first records to keep. Return the number of records, by topic."""
    if firsts:
        async with clients.admin(settings.bootstrap) as client:
            await client.delete_records({tp: RecordsToDelete(keep) for tp, (_, keep) in firsts.items()})
    names: Iterable[str] = dict.fromkeys(tp.topic for tp in firsts)
    return {name: sum(keep - begin for tp, (begin, keep) in firsts.items() if tp.topic == name) for name in names}

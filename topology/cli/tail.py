"""`topology tail`: the frames of a topic as JSON lines."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from topology.angel.master.listings import FILE_NAME
from topology.angel.master.symbols import resolve_at
from topology.cli import at_least_one
from topology.configuration.difference import label
from topology.kafka import broker_log, clients, topics
from topology.log.frames import (
    COMMANDS,
    DEAD_LETTERS,
    DERIVED,
    FEED_EVENTS,
    HEADER,
    TICK_FRAME,
    TICKS,
    Backfill,
    Configure,
    DeadLetter,
    Decoder,
    FeedEvent,
    FrameError,
)
from topology.log.partition import partition_of
from topology.market.history import History
from topology.market.instruments import InstrumentError
from topology.settings import Settings

Record = TypeVar("Record", bound=msgspec.Struct)

EXAMPLE = """examples:
  topology tail indicators --instrument NSE:99926000 --follow
  topology tail candles_1s --from-start --count 100 | jq -c '.rows[]'"""
NEWEST = 10
FILTERED = ("ticks", "quotes", "baselines", "history", "rows", "live", "late")
"""The fields of frames that hold rows of instruments."""

_DECODERS: dict[str, Callable[[bytes], msgspec.Struct]] = {
    TICKS: TICK_FRAME.decode,
    **{stage: format_.decode for stage, format_ in DERIVED.items()},
    DEAD_LETTERS: Decoder(DeadLetter).decode,
    FEED_EVENTS: Decoder(FeedEvent).decode,
}


class FrameFilter(msgspec.Struct, frozen=True):
    """What to print of a topic: of all instruments or one, and how many frames; None stands for all."""

    stage: str
    instrument: str | None
    count: int | None


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "tail",
        description=f"Prints frames as JSON lines: without options the newest {NEWEST} of all partitions, in the order "
        "of their clocks. Times are milliseconds since the epoch, prices are in paise, a calendar is shown by its "
        "version, history in a command by its size. --instrument leaves out what other instruments have in a frame, "
        "and frames that hold nothing else.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "topic", metavar="TOPIC", choices=[*_DECODERS, COMMANDS], help=", ".join([*_DECODERS, COMMANDS])
    )
    parser.add_argument(
        "--instrument", metavar="I", help="this instrument only: NSE:99926000, or its symbol (`topology instruments`)"
    )
    parser.add_argument("--from-start", action="store_true", help="begin with the oldest frame, not the newest ones")
    parser.add_argument(
        "--count", type=at_least_one, metavar="N", help=f"this many frames (default {NEWEST}; with --from-start all)"
    )
    parser.add_argument("--follow", action="store_true", help="then go on with what follows, as it comes, until Ctrl-C")
    parser.set_defaults(refuse=parser.error)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code."""
    if arguments.instrument is not None:
        if arguments.topic in (*topics.SINGLE, DEAD_LETTERS):
            arguments.refuse(f"argument --instrument: {arguments.topic} holds no rows of instruments")
        try:
            instrument = resolve_at(arguments.instrument, settings.namespace_dir / FILE_NAME)
        except InstrumentError as error:
            arguments.refuse(f"argument --instrument: {error}")
        arguments.instrument = str(instrument)
    asyncio.run(_tail(arguments, settings))
    return 0


def shown(record: ConsumerRecord, wanted: FrameFilter) -> str | None:
    """Return a record as a JSON line, None where it holds nothing of the instrument."""
    place = {"partition": record.partition, "offset": record.offset}
    try:
        frame = _decoded(record, wanted.stage)
    except (FrameError, msgspec.DecodeError) as error:
        return None if wanted.instrument else _json(place | {"unreadable": str(error)})
    if wanted.instrument:
        kept = of_instrument(frame, wanted.instrument)
        if kept is None:
            return None
        frame = kept
    return _json(place | dict(_fields(frame)))


def of_instrument(frame: Record, instrument: str) -> Record | None:
    """Return a frame with the rows of one instrument only, None where it has none."""
    held = {name: getattr(frame, name) for name in FILTERED if hasattr(frame, name)}
    kept = {name: [row for row in rows if row.instrument == instrument] for name, rows in held.items()}
    return msgspec.structs.replace(frame, **kept) if any(kept.values()) else None


def _decoded(record: ConsumerRecord, stage: str) -> msgspec.Struct:
    if stage != COMMANDS:
        return _DECODERS[stage](record.value)
    return HEADER.decode(record.value) if record.offset == 0 else broker_log.command_of(record)


def _fields(struct: msgspec.Struct) -> Iterator[tuple[str, object]]:
    for field, name in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
        value = getattr(struct, field)
        match struct, field:
            case Configure(), "calendar":
                yield name, label(value)
            case Backfill(), "history":
                yield name, [_brief(history) for history in value]
            case _:
                yield name, _named(value)


def _brief(history: History) -> str:
    return f"{history.instrument}: {len(history.candles)} candles of {history.timeframe_s} s"


def _named(value: object) -> object:
    """Give the fields of structs their names: in the log they are arrays."""
    if isinstance(value, msgspec.Struct):
        return dict(_fields(value))
    return [_named(item) for item in value] if isinstance(value, list) else value


def _json(line: dict[str, object]) -> str:
    return msgspec.json.encode(line).decode()


async def _tail(arguments: argparse.Namespace, settings: Settings) -> None:
    log = await broker_log.read(settings.bootstrap, settings.namespace)
    count = arguments.count or (None if arguments.from_start else NEWEST)
    wanted = FrameFilter(arguments.topic, arguments.instrument, count)
    async with clients.consumer(settings.bootstrap) as reader:
        places = _places(log, wanted)
        starts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
        lines = _oldest(reader, starts, ends, wanted) if arguments.from_start else _newest(reader, starts, ends, wanted)
        async for record, line in lines:
            print(line)
            starts[TopicPartition(record.topic, record.partition)] = record.offset + 1
        if arguments.follow:
            async for record in _forward(reader, starts if arguments.from_start else ends, None):
                if (new := shown(record, wanted)) is not None:
                    print(new, flush=True)


def _places(log: broker_log.Log, wanted: FrameFilter) -> list[TopicPartition]:
    partitions = 1 if wanted.stage in topics.SINGLE else log.header.partitions
    chosen = [partition_of(wanted.instrument, partitions)] if wanted.instrument else range(partitions)
    return [TopicPartition(log.topic(wanted.stage), partition) for partition in chosen]


Offsets = dict[TopicPartition, int]


async def _newest(
    reader: AIOKafkaConsumer, starts: Offsets, ends: Offsets, wanted: FrameFilter
) -> AsyncIterator[tuple[ConsumerRecord, str]]:
    """Yield the newest records there are to show, in the order of their clocks."""
    found: list[tuple[ConsumerRecord, str]] = []
    for place in starts:
        own = []
        async for record in clients.newest_first(reader, place, starts[place], ends[place]):
            if (line := shown(record, wanted)) is not None:
                own.append((record, line))
            if len(own) == wanted.count:
                break
        found += own
    found.sort(key=lambda pair: (pair[0].timestamp, pair[0].partition, pair[0].offset))
    for pair in found[-(wanted.count or 0) :]:
        yield pair


async def _oldest(
    reader: AIOKafkaConsumer, starts: Offsets, ends: Offsets, wanted: FrameFilter
) -> AsyncIterator[tuple[ConsumerRecord, str]]:
    """Yield the oldest records there are to show, each partition in order."""
    number = 0
    async for record in _forward(reader, starts, ends):
        if (line := shown(record, wanted)) is not None:
            yield record, line
            number += 1
        if number == wanted.count:
            return


async def _forward(reader: AIOKafkaConsumer, starts: Offsets, ends: Offsets | None) -> AsyncIterator[ConsumerRecord]:
    """Yield records from ``starts`` up to ``ends``, where there are any, as they come from all partitions."""
    left = {place for place in starts if ends is None or starts[place] < ends[place]}
    reader.assign(list(starts))
    for place, start in starts.items():
        reader.seek(place, start)
    while left:
        record = await reader.getone(*left)
        yield record
        place = TopicPartition(record.topic, record.partition)
        if ends is not None and record.offset + 1 >= ends[place]:
            left.remove(place)

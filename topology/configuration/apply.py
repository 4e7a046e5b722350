"""Another configuration for a log while everything runs: checked, written into the log, and given its history."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import msgspec
from aiokafka import TopicPartition

from tables.state import CandlesRow, changelog_of
from topology.angel.master.listings import FILE_NAME, Listings
from topology.configuration.history import ArchivedHistory, OpenArchive
from topology.feeds.subscriptions import named
from topology.kafka import broker_log, clients
from topology.log.candle_stage import check_configuration
from topology.log.configuration_diff import configuration_diff, requested_configuration
from topology.log.frames import Backfill, Configure
from topology.market import Calendar, CalendarError
from topology.market.history import History
from topology.settings import Settings
from topology.sinks.cursor import SinkError

BACKFILL_CANDLES = 2_000  # in a command: ticks wait for some ms only while stages use those of a partition

_turn = asyncio.Lock()


class ReloadResult(NamedTuple):
    """What stays, comes and goes, as `topology.log.configuration_diff.ConfigurationDiff` has it.

    ``notes`` say what else there is to know, each in a line.
    """

    preserved: list[str]
    created: list[str]
    removed: list[str]
    notes: list[str]


async def reload(
    settings: Settings, requested: Iterable[tuple[int, Sequence[str]]], *, archive: OpenArchive
) -> ReloadResult:
    """Make the log compute these timeframes with their indicators, see `requested_configuration`, and no others.

    Reloads of one process take turns. The command is in the log when this comes back: it is followed from the next
    frame of the feed on. Raises ConfigurationError for what can't be computed, FrameError for what the stages would
    refuse, LogError where the log can't be used: then nothing has changed.
    """
    async with _turn:
        log = await broker_log.read(settings.bootstrap, settings.namespace)
        wanted = requested_configuration(log.configuration, requested)
        if not (change := configuration_diff(log.configuration, wanted)):
            return ReloadResult(*change, [])  # and nothing is written
        return await apply(settings, log, wanted, archive=archive)


async def apply(settings: Settings, log: broker_log.Log, wanted: Configure, *, archive: OpenArchive) -> ReloadResult:
    """Write a configuration into a log as it was read, then the history of timeframes that are new.

    What others have written meanwhile becomes a note. Raises FrameError for what the stages would refuse.
    """
    instruments = await _instruments(settings, log)
    check_configuration(wanted, Calendar.parse(wanted.calendar), instruments)
    number = await broker_log.append(settings.bootstrap, settings.namespace, wanted)
    written = await broker_log.read(settings.bootstrap, settings.namespace)
    before, notes = _previous(log.configuration, written.commands, number)
    timeframes = sorted(wanted.timeframes.keys() - before.timeframes.keys())
    try:
        with archive(log.header.log) as opened:
            past = ArchivedHistory(opened, before, log.header.partitions)
            await _backfill(settings, past.histories(timeframes, sorted(instruments)))
    except (SinkError, CalendarError) as error:
        notes.append(f"without history: {error}")
    return ReloadResult(*configuration_diff(before, wanted), notes)


def _previous(read: Configure, commands: Iterable[Configure], number: int) -> tuple[Configure, list[str]]:
    """Return the configuration before the one with this id, and say where that isn't the one that was read."""
    between = [command for command in commands if read.id < command.id < number]
    later = [command.id for command in commands if command.id > number]
    notes = [f"command {one.id} came in between: command {number} stands in place of it" for one in between]
    notes += [f"command {one} has come since: it stands in place of command {number}" for one in later]
    return between[-1] if between else read, notes


async def _instruments(settings: Settings, log: broker_log.Log) -> set[str]:
    """Return the instruments in the state of the first stage, and those that are subscribed."""
    with Listings.opened(settings.namespace_dir / FILE_NAME) or nullcontext() as listings:
        instruments = {str(instrument) for instrument in named(settings.subscribe_tokens, listings)}
    changelog = changelog_of(f"{settings.namespace}.pipeline", "candles")
    async with clients.admin(settings.bootstrap) as client:
        if changelog not in await client.list_topics():
            return instruments
    decode = msgspec.msgpack.Decoder(CandlesRow).decode
    async with clients.consumer(settings.bootstrap) as reader:
        for partition in range(log.header.partitions):
            record = await clients.last_record(reader, TopicPartition(changelog, partition))
            if record is None:
                continue
            state = decode(record.value).state
            if state.log == log.header.log and state.core.candles is not None:
                instruments.update(series.instrument for series in state.core.candles.series)
    return instruments


async def _backfill(settings: Settings, histories: Iterator[History]) -> None:
    """Write history into commands of a bounded size. It is made in a thread, so that whoever reloads stays awake."""
    async with broker_log.appender(settings.bootstrap, settings.namespace) as append:
        while batch := await asyncio.to_thread(_batch, histories):
            await append(Backfill(0, batch))


def _batch(histories: Iterator[History]) -> list[History]:
    batch: list[History] = []
    candles = 0
    for history in histories:
        batch.append(history)
        candles += len(history.candles) + len(history.begun)
        if candles >= BACKFILL_CANDLES:
            break
    return batch

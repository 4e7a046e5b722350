"""Another configuration for a log while everything runs: checked, written into the log, and given its history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import msgspec
from aiokafka import TopicPartition

from tables.state import CandlesRow, changelog_of
from topology.angel.master.listings import FILE_NAME, Listings
from topology.feeds.subscriptions import named
from topology.indicators import KEPT_CLOSES
from topology.kafka import broker_log, clients
from topology.log.candle_stage import check_configuration
from topology.log.configuration_diff import configuration_diff, requested_configuration
from topology.log.frames import Backfill, Configure
from topology.log.partition import partition_of
from topology.market import Calendar, CalendarError, Candle
from topology.market.history import History, resampled_history
from topology.market.instruments import default_class
from topology.market.times import Interval
from topology.settings import Settings
from topology.sinks.cursor import SinkError

MOST_PARTS = 50_000  # shorter candles that are read of an instrument for a timeframe that is new
BACKFILL_CANDLES = 2_000  # in a command: ticks wait for some ms only while stages use those of a partition

_turn = asyncio.Lock()


class Archive(Protocol):
    """What is asked of the archive, in threads: :class:`topology.sinks.archive.history.ArchiveHistory` is one."""

    def clock_ms(self, timeframe_s: int, partition: int) -> int:
        """Return the log's clock up to which the candles of a partition are there, 0 for none."""
        ...

    def candles(self, instrument: str, timeframe_s: int, limit: int) -> list[Candle]:
        """Return the newest candles of an instrument and timeframe, up to ``limit``, the oldest first."""
        ...


OpenArchive = Callable[[str], AbstractContextManager[Archive]]
"""Opens the archive of the log with this id."""


class Reloaded(NamedTuple):
    """What stays, comes and goes, as `topology.log.configuration_diff.ConfigurationDiff` has it.

    ``notes`` say what else there is to know, each in a line.
    """

    preserved: list[str]
    created: list[str]
    removed: list[str]
    notes: list[str]


async def reload(
    settings: Settings, requested: Iterable[tuple[int, Sequence[str]]], *, archive: OpenArchive
) -> Reloaded:
    """Make the log compute these timeframes with their indicators, see `requested_configuration`, and no others.

    Reloads of one process take turns. The command is in the log when this comes back: it is followed from the next
    frame of the feed on. Raises ChangeError for what can't be computed, FrameError for what the stages would refuse,
    LogError where the log can't be used: then nothing has changed.
    """
    async with _turn:
        log = await broker_log.read(settings.bootstrap, settings.namespace)
        wanted = requested_configuration(log.configuration, requested)
        if not (change := configuration_diff(log.configuration, wanted)):
            return Reloaded(*change, [])  # and nothing is written
        return await apply(settings, log, wanted, archive=archive)


async def apply(settings: Settings, log: broker_log.Log, wanted: Configure, *, archive: OpenArchive) -> Reloaded:
    """Write a configuration into a log as it was read, then the history of timeframes that are new.

    What others have written meanwhile becomes a note. Raises FrameError for what the stages would refuse.
    """
    instruments = await _instruments(settings, log)
    check_configuration(wanted, Calendar.parse(wanted.calendar), instruments)
    number = await broker_log.append(settings.bootstrap, settings.namespace, wanted)
    written = await broker_log.read(settings.bootstrap, settings.namespace)
    before, notes = _told(log.configuration, written.commands, number)
    timeframes = sorted(wanted.timeframes.keys() - before.timeframes.keys())
    try:
        with archive(log.header.log) as opened:
            past = _ArchivedHistory(opened, before, log.header.partitions)
            await _backfill(settings, past.histories(timeframes, sorted(instruments)))
    except (SinkError, CalendarError) as error:
        notes.append(f"without history: {error}")
    return Reloaded(*configuration_diff(before, wanted), notes)


def _told(read: Configure, commands: Iterable[Configure], number: int) -> tuple[Configure, list[str]]:
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


class _ArchivedHistory:
    """Makes history of timeframes that come out of what is archived of those there were before."""

    def __init__(self, archive: Archive, before: Configure, partitions: int) -> None:
        self._archive, self._before, self._partitions = archive, before, partitions
        self._calendar = Calendar.parse(before.calendar)

    def histories(self, timeframes: Iterable[int], instruments: Sequence[str]) -> Iterator[History]:
        """Yield the history of each timeframe and instrument of which anything is archived."""
        for timeframe_s in timeframes:
            # Seconds are always there, and divide everything.
            shorter = [each for each in (1, *self._before.timeframes) if timeframe_s % each == 0]
            for instrument in instruments:
                history = self._history(instrument, timeframe_s, max(shorter))
                if history is not None:
                    yield history

    def _history(self, instrument: str, timeframe_s: int, part_s: int) -> History | None:
        clock_ms = self._archive.clock_ms(part_s, partition_of(instrument, self._partitions))
        limit = min(KEPT_CLOSES * timeframe_s // part_s, MOST_PARTS)
        parts = self._archive.candles(instrument, part_s, limit) if clock_ms else []
        if not parts:
            return None
        archived = Interval(parts[0].start_ms if len(parts) == limit else 0, clock_ms - self._before.lateness_ms)
        of_class = self._before.classes.get(instrument) or default_class(instrument)
        history = resampled_history(parts, self._calendar, of_class, History(instrument, timeframe_s, [], 0), archived)
        return msgspec.structs.replace(history, candles=history.candles[-KEPT_CLOSES:])

"""The tick log as its only writer leaves it, on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from topology.configuration.environment import from_settings
from topology.embedded import Kafka
from topology.feeds import FrameContent
from topology.feeds.writer import MAX_ROWS, StaleSourceError, TickLogWriter, _PartitionState
from topology.kafka import broker_log, clients, topics
from topology.log.candle_stage import CandleStage
from topology.log.frames import TICK_FRAME, TICKS, Backfill, Configure, TickFrame
from topology.log.partition import partition_of
from topology.market.candle import BROKER, Candle
from topology.market.history import History
from topology.market.ticks import Tick
from topology.market.times import DAY_MS
from topology.settings import Settings

PARTITIONS = 2
OPEN_MS = 1_667_792_700_000  # 2022-11-07 09:15 in India
SETTINGS = Settings.from_env({})
NIFTY, TCS = "NSE:99926000", "NSE:11536"


class WrittenLog(NamedTuple):
    """A log of its own for each test."""

    bootstrap: str
    namespace: str

    async def writer(self) -> TickLogWriter:
        return TickLogWriter(self.bootstrap, await broker_log.read(self.bootstrap, self.namespace))

    async def command(self, **changes: int) -> Configure:
        """Append a command, as `topology configure` does."""
        settings = Settings.from_env({name.upper(): str(value) for name, value in changes.items()})
        await broker_log.append(self.bootstrap, self.namespace, from_settings(settings))
        return (await broker_log.read(self.bootstrap, self.namespace)).configuration

    async def records(self, partition: int = 0, stage: str = TICKS) -> list[ConsumerRecord]:
        place = TopicPartition(topics.topic(self.namespace, stage), partition)
        async with clients.consumer(self.bootstrap) as reader:
            end = (await reader.end_offsets([place]))[place]
            return [record async for record in clients.records(reader, place, 0, end)]

    async def frames(self, partition: int = 0) -> list[TickFrame]:
        return [TICK_FRAME.decode(record.value) for record in await self.records(partition)]

    async def candles(self, partition: int) -> list[int]:
        """The number of ticks that the first stage accepts of each frame."""
        header = (await broker_log.read(self.bootstrap, self.namespace)).header
        stage = CandleStage(header.log, 0)
        frames = await self.frames(partition)
        made = [stage.apply(position, frame, live=False) for position, frame in enumerate(frames)]
        assert [frame.unusable for frame in made] == [""] * len(made)
        return [frame.accepted for frame in made]


@pytest.fixture
async def log(kafka: Kafka) -> WrittenLog:
    namespace = f"writer-{uuid.uuid4().hex[:8]}"
    await broker_log.create(kafka.bootstrap, namespace, PARTITIONS, from_settings(SETTINGS))
    return WrittenLog(kafka.bootstrap, namespace)


def ticks(number: int, instrument: str = NIFTY, start_ms: int = OPEN_MS) -> list[Tick]:
    return [Tick(instrument, 1_800_000 + n, start_ms + n) for n in range(number)]


async def test_each_partition_starts_with_the_configuration(log: WrittenLog) -> None:
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
        await writer.write([], OPEN_MS + 1, everywhere=True)
        configuration = writer.log.configuration
    for partition in range(PARTITIONS):
        first, second = await log.frames(partition)
        assert (first.commands, first.commanded) == ([configuration], configuration.id)
        assert (second.commands, second.commanded) == ([], configuration.id)


async def test_each_instrument_goes_to_its_partition_in_order_and_silent_ones_only_get_clocks(log: WrittenLog) -> None:
    rows = [tick for pair in zip(ticks(3, NIFTY), ticks(3, TCS), strict=True) for tick in pair]
    assert {partition_of(NIFTY, PARTITIONS), partition_of(TCS, PARTITIONS)} == {0, 1}
    async with await log.writer() as writer:
        await writer.write(rows, OPEN_MS)
        await writer.write(rows[:1], OPEN_MS + 1)
        await writer.write(rows[:1], OPEN_MS + 2, everywhere=True)
    nifty, tcs = [await log.frames(partition_of(name, PARTITIONS)) for name in (NIFTY, TCS)]
    assert [frame.ticks for frame in nifty] == [ticks(3, NIFTY), rows[:1], rows[:1]]
    assert [frame.ticks for frame in tcs] == [ticks(3, TCS), []]
    assert [frame.clock_ms for frame in tcs] == [OPEN_MS, OPEN_MS + 2]


async def test_a_later_writer_takes_a_higher_epoch_and_counts_from_nought(log: WrittenLog) -> None:
    for _ in range(3):
        async with await log.writer() as writer:
            await writer.write([], OPEN_MS, everywhere=True)
            await writer.write([], OPEN_MS, everywhere=True)
    for partition in range(PARTITIONS):
        frames = await log.frames(partition)
        numbers = [(frame.epoch, frame.sequence) for frame in frames]
        assert numbers == sorted(set(numbers))
        assert [frame.sequence for frame in frames] == [0, 1] * 3


async def test_the_epoch_is_above_that_of_every_partition_also_one_from_the_future(log: WrittenLog) -> None:
    async with await log.writer() as ahead:
        ahead._epoch += 10**9
        await ahead.write_partition(1, FrameContent(), OPEN_MS)
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
    (first,), (*_, last) = await log.frames(0), await log.frames(1)
    assert first.epoch == last.epoch == ahead._epoch + 1


async def test_what_an_older_writer_writes_on_waking_counts_as_empty(log: WrittenLog) -> None:
    partition = partition_of(NIFTY, PARTITIONS)
    async with await log.writer() as older, await log.writer() as newer:
        await older.write(ticks(2), OPEN_MS)
        await older.flush()
        newer._epoch = older._epoch + 1
        await newer.write(ticks(3), OPEN_MS)
        await newer.flush()
        await older.write(ticks(4), OPEN_MS)
        await older.flush()
        await newer.write(ticks(5), OPEN_MS)
    assert await log.candles(partition) == [2, 3, 0, 5]


async def test_commands_that_were_not_copied_are_copied_after_a_restart_and_others_are_not(log: WrittenLog) -> None:
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
    slower = await log.command(allowed_lateness_ms=2000)
    slowest = await log.command(allowed_lateness_ms=3000)
    async with await log.writer() as writer:
        await writer.write_partition(0, FrameContent(), OPEN_MS)  # partition 1 gets nothing before the writer dies
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
        await writer.write([], OPEN_MS, everywhere=True)
    reached, left = await log.frames(0), await log.frames(1)
    assert [frame.commands for frame in reached][1:] == [[slower, slowest], [slowest], []]
    assert [frame.commands for frame in left][1:] == [[slower, slowest], []]
    assert [frame.commanded for frame in left] == [1, slowest.id, slowest.id]


async def test_a_command_that_comes_while_the_writer_runs_goes_out_with_the_next_frame(log: WrittenLog) -> None:
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
        news = await log.command(allowed_lateness_ms=2000)
        writer.command([news])
        writer.command([news])  # it may be read twice
        await writer.write([], OPEN_MS, everywhere=True)
        await writer.write([], OPEN_MS, everywhere=True)
    for partition in range(PARTITIONS):
        assert [frame.commands for frame in await log.frames(partition)][1:] == [[news], []]


async def test_the_configuration_is_there_again_with_the_first_frame_of_each_day(log: WrittenLog) -> None:
    midnight_ms = OPEN_MS // DAY_MS * DAY_MS + DAY_MS
    async with await log.writer() as writer:
        for clock_ms in (OPEN_MS, midnight_ms - 1, midnight_ms, midnight_ms + 1, midnight_ms + DAY_MS):
            await writer.write_partition(0, FrameContent(), clock_ms)
        configuration = writer.log.configuration
    repeated = [frame.commands == [configuration] for frame in await log.frames(0)]
    assert repeated == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(0, [0]), (MAX_ROWS, [1000]), (MAX_ROWS + 1, [1000, 1]), (2 * MAX_ROWS, [1000, 1000]), (2500, [1000, 1000, 500])],
)
async def test_a_large_batch_is_cut_and_only_its_last_frame_brings_the_new_clock(
    log: WrittenLog, rows: int, sizes: list[int]
) -> None:
    async with await log.writer() as writer:
        await writer.write_partition(0, FrameContent(), OPEN_MS)
        await writer.write_partition(0, FrameContent(ticks(rows)), OPEN_MS + 5000)
    _, *frames = await log.frames(0)
    assert [len(frame.ticks) for frame in frames] == sizes
    assert [frame.clock_ms for frame in frames] == [OPEN_MS] * (len(sizes) - 1) + [OPEN_MS + 5000]
    assert [tick for frame in frames for tick in frame.ticks] == ticks(rows)


async def test_history_comes_with_the_last_frame_and_needs_no_clock(log: WrittenLog) -> None:
    told = [History(NIFTY, 60, [Candle(NIFTY, 60, OPEN_MS, 5, 6, 4, 5, 0, 0, BROKER)], 1, reset=True)]
    async with await log.writer() as writer:
        await writer.write_partition(0, FrameContent(ticks(MAX_ROWS + 1), history=told), OPEN_MS)
        await writer.write_partition(0, FrameContent(history=told), None)
    frames = await log.frames(0)
    assert [(frame.sequence, frame.clock_ms, len(frame.ticks), frame.history) for frame in frames] == [
        (0, 0, MAX_ROWS, []), (1, OPEN_MS, 1, told), (2, OPEN_MS, 0, told)
    ]  # fmt: skip


def history_of(instrument: str, timeframe_s: int = 300, start_ms: int = OPEN_MS) -> History:
    return History(instrument, timeframe_s, [Candle(instrument, timeframe_s, start_ms, 5, 6, 4, 5, 0, 7)], 0)


async def fill(log: WrittenLog, *histories: History) -> Backfill:
    """Append a command with history, as a reload does."""
    number = await broker_log.append(log.bootstrap, log.namespace, Backfill(0, list(histories)))
    return Backfill(number, list(histories))


async def test_history_in_a_command_goes_behind_the_configuration_to_the_partition_of_its_instrument_alone(
    log: WrittenLog,
) -> None:
    nifty, tcs = (partition_of(name, PARTITIONS) for name in (NIFTY, TCS))
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
        news = await log.command(enabled_tfs=300)
        told = await fill(log, history_of(NIFTY), history_of(NIFTY, 600))
        for _ in range(2):  # commands may be read twice
            writer.command([news, told])
        for clock_ms in (OPEN_MS + 1, OPEN_MS + 2):
            await writer.write([*ticks(1, NIFTY), *ticks(1, TCS)], clock_ms)
    _, *with_it = await log.frames(nifty)
    assert [
        (frame.commands, frame.commanded, frame.history, len(frame.ticks), frame.clock_ms) for frame in with_it
    ] == [
        ([news], news.id, [], 0, OPEN_MS),
        ([], told.id, told.history, 0, OPEN_MS),
        ([], told.id, [], 1, OPEN_MS + 1),
        ([], told.id, [], 1, OPEN_MS + 2),
    ]
    _, *without = await log.frames(tcs)
    assert [(frame.commands, frame.commanded, frame.history, len(frame.ticks)) for frame in without] == [
        ([news], told.id, [], 1), ([], told.id, [], 1)
    ]  # fmt: skip


@pytest.mark.parametrize("frames", range(8))
async def test_history_comes_once_into_each_partition_wherever_the_writer_was_killed(
    log: WrittenLog, frames: int
) -> None:
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
    first = await log.command(enabled_tfs=300)
    fills = [await fill(log, history_of(NIFTY), history_of(TCS))]
    fills += [await fill(log, history_of(NIFTY, start_ms=OPEN_MS + 300_000))]
    last = await log.command(enabled_tfs=600)
    fills += [await fill(log, history_of(TCS, 600))]
    async with await log.writer() as writer:
        send, sent = writer._send, 0

        async def killed(partition: int, state: _PartitionState, content: FrameContent) -> None:
            nonlocal sent
            if sent < frames:
                await send(partition, state, content)
            sent += 1

        writer._send = killed  # type: ignore[method-assign] # all that is sent after the kill is lost
        for clock_ms in range(OPEN_MS, OPEN_MS + 4):
            await writer.write([], clock_ms, everywhere=True)
    for _ in range(3):
        async with await log.writer() as writer:
            for clock_ms in range(OPEN_MS + 10, OPEN_MS + 14):
                await writer.write([], clock_ms, everywhere=True)
    for instrument in (NIFTY, TCS):
        found = await log.frames(partition_of(instrument, PARTITIONS))
        told = [one for frame in found for one in frame.history]
        assert told == [one for command in fills for one in command.history if one.instrument == instrument]
        assert [frame.commanded for frame in found] == sorted(frame.commanded for frame in found)
        assert found[-1].commanded == fills[-1].id
        configured: list[int] = []
        for frame in found:
            configured += [command.id for command in frame.commands]
            if frame.history:
                assert configured[-1] == max(number for number in (1, first.id, last.id) if number < frame.commanded)
        assert set(configured) == {1, first.id, last.id}


async def test_history_is_not_kept_by_who_reads_the_log_and_old_one_not_read_by_a_new_writer(
    log: WrittenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await fill(log, history_of(NIFTY))
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
    new = await fill(log, history_of(TCS))
    read = await broker_log.read(log.bootstrap, log.namespace)
    assert ([command.id for command in read.commands], read.backfills, read.newest) == ([1], [old.id, new.id], new.id)
    asked: list[int] = []
    backfill = broker_log.read_backfill

    async def counted(reader: AIOKafkaConsumer, log: broker_log.Log, number: int) -> Backfill:
        asked.append(number)
        return await backfill(reader, log, number)

    monkeypatch.setattr(broker_log, "read_backfill", counted)
    async with await log.writer() as writer:
        await writer.write([], OPEN_MS, everywhere=True)
    assert asked == [new.id]


async def test_the_clock_never_goes_back_and_is_the_time_of_the_record(log: WrittenLog) -> None:
    clocks = [None, OPEN_MS, OPEN_MS - 1, None, OPEN_MS + 7]
    async with await log.writer() as writer:
        for clock_ms in clocks:
            await writer.write_partition(0, FrameContent(), clock_ms)
    async with await log.writer() as writer:
        await writer.write_partition(0, FrameContent(), OPEN_MS)
    records = await log.records(0)
    assert [record.timestamp for record in records] == [0, OPEN_MS, OPEN_MS, OPEN_MS, OPEN_MS + 7, OPEN_MS + 7]
    assert [frame.clock_ms for frame in await log.frames(0)] == [record.timestamp for record in records]


async def test_a_source_that_is_older_than_the_log_is_refused(log: WrittenLog) -> None:
    async with await log.writer() as writer:
        writer.refuse_older(0)  # nothing is there yet
        await writer.write_partition(1, FrameContent(), OPEN_MS)
        with pytest.raises(StaleSourceError, match=f"at {OPEN_MS} ms already"):
            writer.refuse_older(OPEN_MS - 1)
    async with await log.writer() as writer:
        writer.refuse_older(OPEN_MS)
        with pytest.raises(StaleSourceError):
            writer.refuse_older(OPEN_MS - 1)


async def test_a_frame_that_is_lost_is_followed_by_no_other(log: WrittenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await log.writer() as writer:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def send(*_: object, **__: object) -> asyncio.Future[None]:
            return lost

        with monkeypatch.context() as patched:
            patched.setattr(writer._producer, "send", send)
            await writer.write_partition(0, FrameContent(), OPEN_MS)
            lost.set_exception(KafkaTimeoutError("the batch has expired"))
            await asyncio.sleep(0)
        for partition in range(PARTITIONS):
            with pytest.raises(KafkaTimeoutError):
                await writer.write_partition(partition, FrameContent(), OPEN_MS + 1000)
    assert [len(await log.frames(partition)) for partition in range(PARTITIONS)] == [0, 0]


async def test_when_the_first_tick_of_a_frame_was_received_is_told_once_the_log_has_the_frame(log: WrittenLog) -> None:
    told: list[int] = []
    read = await broker_log.read(log.bootstrap, log.namespace)
    async with TickLogWriter(log.bootstrap, read, on_delivery=told.append) as writer:
        await writer.write_partition(0, FrameContent(ticks(MAX_ROWS + 1), received_ms=7), OPEN_MS)
        await writer.write_partition(1, FrameContent(), OPEN_MS)
        await writer.flush()
        assert told == [7, 7]
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lost.set_exception(KafkaTimeoutError("the batch has expired"))
        writer._delivered(lost, received_ms=9)
        assert told == [7, 7]

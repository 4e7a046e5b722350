"""Reloads of a log on a real broker: what its stages make of them, and what they answer."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from tests.reference.brute_force import indian_ms
from tests.support.generated import MONDAY
from topology.configuration import apply as reloading
from topology.configuration.apply import ReloadResult, reload
from topology.configuration.environment import from_settings
from topology.embedded import Kafka
from topology.feeds.writer import TickLogWriter
from topology.kafka import broker_log, clients
from topology.log.candle_stage import CandleStage
from topology.log.configuration_diff import ConfigurationError
from topology.log.frames import (
    CANDLES,
    COMMANDS,
    INDICATORS,
    TICKS,
    TIMEFRAMES,
    Backfill,
    Configure,
    IndicatorFrame,
    TimeframeFrame,
    Warmup,
    tick_frame,
)
from topology.log.indicator_stage import IndicatorStage
from topology.log.timeframe_stage import TimeframeStage
from topology.market.ticks import Tick
from topology.settings import Settings
from topology.sinks.archive.archive import Archive
from topology.sinks.archive.history import ArchiveHistory
from topology.sinks.cursor import StoredFrame

PARTITIONS = 2
NIFTY, TCS = "NSE:99926000", "NSE:11536"
OPEN_MS, MINUTE_MS = indian_ms(MONDAY, "09:15"), 60_000


class World:
    """A log with a feed, the stages of its partitions and an archive, all at hand."""

    def __init__(self, settings: Settings, log: broker_log.Log, writer: TickLogWriter, archive: Archive) -> None:
        self.settings, self.log, self.writer, self.archive = settings, log, writer, archive
        self.stages = [
            [kind(log.header.log, 0) for kind in (CandleStage, TimeframeStage, IndicatorStage)] for _ in "12"
        ]
        self.made: list[StoredFrame] = []
        self._read = [0] * PARTITIONS

    async def trade(self, from_ms: int, to_ms: int) -> None:
        """Tick once in three seconds, and write a frame of it in each of them; the archive follows."""
        for time_ms in range(from_ms, to_ms, 3000):
            price = 10_000 + time_ms // 1000 % 977
            await self.writer.write([Tick(NIFTY, price, time_ms), Tick(TCS, 2 * price, time_ms)], time_ms + 900)
        await self.follow()

    async def follow(self) -> None:
        """Apply what the feed has written, and archive what comes of it."""
        await self.writer.flush()
        async with clients.consumer(self.settings.bootstrap) as reader:
            for partition, stages in enumerate(self.stages):
                place = TopicPartition(self.log.topic(TICKS), partition)
                end = (await reader.end_offsets([place]))[place]
                async for record in clients.records(reader, place, self._read[partition], end):
                    frame: Any = tick_frame(record.value)
                    for stage, topic in zip(stages, (CANDLES, TIMEFRAMES, INDICATORS), strict=True):
                        frame = stage.apply(record.offset, frame, live=False)
                        assert frame.unusable == ""
                        self.made.append(StoredFrame(topic, partition, record.offset, frame))
                self._read[partition] = end
        self.archive.write(self.made)

    async def copy(self) -> None:
        """Let the feed read the commands that are new, and write twice."""
        self.writer.command(await self.commands())  # it knows which are new
        clock_ms = self.writer.clock_ms
        for _ in range(2):
            await self.writer.write([], clock_ms, everywhere=True)

    async def reload(self, asked: dict[int, list[str]]) -> ReloadResult:
        return await reload(self.settings, asked.items(), archive=partial(ArchiveHistory, self.settings.sqlite_path))

    async def commands(self) -> list[Configure | Backfill]:
        """All commands of the log, in their order."""
        place = TopicPartition(self.log.topic(COMMANDS), 0)
        async with clients.consumer(self.settings.bootstrap) as reader:
            end = (await reader.end_offsets([place]))[place]
            found = [broker_log.command_of(record) async for record in clients.records(reader, place, 1, end)]
        return [command for command in found if not isinstance(command, Warmup)]

    def rows(self, table: str, what: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.settings.sqlite_path)) as connection:
            return connection.execute(f"SELECT {what} FROM {table} ORDER BY exchange, token, tf, ts").fetchall()


def settings_of(kafka: Kafka, folder: Path, **env: str) -> Settings:
    env = {"ENABLED_TFS": "60", "INDICATOR_CONFIGS": "SMA:2", "DATA_DIR": str(folder)} | env
    env |= {
        "BROKER_URL": kafka.url,
        "SUBSCRIBE_TOKENS": "1:99926000,1:11536",
        "SQLITE_PATH": str(folder / "candles.db"),
    }
    return replace(Settings.from_env(env), namespace=f"reload-{uuid.uuid4().hex[:8]}")


class opened:  # noqa: N801 - reads as a function
    """``async with opened(settings) as world``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def __aenter__(self) -> World:
        configuration = from_settings(self.settings)
        log = await broker_log.create(self.settings.bootstrap, self.settings.namespace, PARTITIONS, configuration)
        self.writer = await TickLogWriter(self.settings.bootstrap, log).__aenter__()
        self.archive = Archive(self.settings.sqlite_path, log=log.header.log, run=0)
        return World(self.settings, log, self.writer, self.archive)

    async def __aexit__(self, *_: object) -> None:
        self.archive.close()
        await self.writer.__aexit__()


CANDLE = "exchange, token, ts, open, high, low, close, volume, count, source, marks"


async def test_a_new_timeframe_is_ready_at_its_first_candle_and_archived_as_if_it_had_always_been(
    kafka: Kafka, tmp_path: Path
) -> None:
    specs = ["SMA:3", "EMA:4", "RSI:5"]
    halfway_ms, end_ms = OPEN_MS + 32 * MINUTE_MS + 30_000, OPEN_MS + 47 * MINUTE_MS
    settings = settings_of(kafka, tmp_path / "one")
    async with opened(settings) as world:
        await world.trade(OPEN_MS, halfway_ms)
        answer = await world.reload({60: ["SMA:2"], 300: specs})
        await world.copy()
        before = len(world.made)
        await world.trade(halfway_ms, end_ms)
        changed, values = world.rows("candles_tf", CANDLE), world.made[before:]
    async with opened(settings_of(kafka, tmp_path / "other", ENABLED_TFS="60,300")) as always:
        await always.trade(OPEN_MS, end_ms)
        assert changed == always.rows("candles_tf", CANDLE)
    assert answer == ReloadResult(
        ["candles:60", "SMA_2:60"], ["candles:300", "SMA_3:300", "EMA_4:300", "RSI_5:300"], [], []
    )
    for instrument in (NIFTY, TCS):
        found = [
            (row.name, row.start_ms)
            for stored in values
            if isinstance(stored.frame, IndicatorFrame)
            for row in stored.frame.rows
            if (row.instrument, row.timeframe_s) == (instrument, 300)
        ]
        first_ms = OPEN_MS + 30 * MINUTE_MS
        assert found[:3] == [(spec.replace(":", "_"), first_ms) for spec in specs]


async def test_a_reload_to_what_is_computed_already_writes_nothing(kafka: Kafka, tmp_path: Path) -> None:
    async with opened(settings_of(kafka, tmp_path)) as world:
        assert await world.reload({60: ["sma:2"]}) == ReloadResult(["candles:60", "SMA_2:60"], [], [], [])
        again = {300: ["RSI:3"], 60: ["SMA:2"]}
        assert (await world.reload(again)).created == ["candles:300", "RSI_3:300"]
        written = await world.commands()
        assert (await world.reload(again)).created == []
        assert await world.commands() == written


async def test_what_is_refused_changes_nothing(kafka: Kafka, tmp_path: Path) -> None:
    async with opened(settings_of(kafka, tmp_path)) as world:
        wrong: list[dict[int, list[str]]] = [{60: ["XMA:3"]}, {60: ["SMA:501"]}, {3: []}, {}]
        for asked in wrong:
            with pytest.raises(ConfigurationError):
                await world.reload(asked)
        assert [command.id for command in await world.commands()] == [1]


async def test_reloads_of_one_process_take_turns(kafka: Kafka, tmp_path: Path) -> None:
    async with opened(settings_of(kafka, tmp_path)) as world:
        first, second = await asyncio.gather(
            world.reload({60: ["SMA:2"], 300: []}), world.reload({60: ["SMA:2", "RSI:3"], 300: []})
        )
        assert (first.created, second.created) == (["candles:300"], ["RSI_3:60"])
        assert first.notes == second.notes == []


async def test_what_another_process_wrote_in_between_is_told(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings_of(kafka, tmp_path)) as world:
        settings, current = world.settings, world.log.configuration
        look = reloading._instruments

        async def meanwhile(*arguments: Any) -> set[str]:
            other = msgspec.structs.replace(current, timeframes={60: [], 300: ["RSI:3"]})
            await broker_log.append(settings.bootstrap, settings.namespace, other)
            return await look(*arguments)

        monkeypatch.setattr(reloading, "_instruments", meanwhile)
        answer = await world.reload({300: ["RSI:3"]})
        assert answer.notes == ["command 2 came in between: command 3 stands in place of it"]
        assert (answer.preserved, answer.created, answer.removed) == (["candles:300", "RSI_3:300"], [], ["candles:60"])
        assert (await world.commands())[-1].id == 3


async def test_what_has_come_since_stands_and_is_told(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings_of(kafka, tmp_path)) as world:
        write = broker_log.append

        async def overtaken(bootstrap: str, namespace: str, record: Any) -> int:
            number = await write(bootstrap, namespace, record)
            await write(bootstrap, namespace, world.log.configuration)
            return number

        monkeypatch.setattr(broker_log, "append", overtaken)
        answer = await world.reload({60: []})
        assert answer.notes == ["command 3 has come since: it stands in place of command 2"]


async def test_history_is_spread_over_commands_of_a_bounded_size(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "BACKFILL_CANDLES", 4)
    async with opened(settings_of(kafka, tmp_path)) as world:
        await world.trade(OPEN_MS, OPEN_MS + 11 * MINUTE_MS)
        await world.reload({120: [], 240: []})
        _, configure, *fills = await world.commands()
        assert isinstance(configure, Configure)
        told = [one for fill in fills if isinstance(fill, Backfill) for one in fill.history]
        assert [(one.instrument, one.timeframe_s) for one in told] == [
            (TCS, 120), (NIFTY, 120), (TCS, 240), (NIFTY, 240)
        ]  # fmt: skip
        assert len(fills) == 4
        assert {len(one.candles) for one in told if one.timeframe_s == 120} == {5}
        for _ in fills:
            await world.copy()
        await world.follow()
        used = [
            (history.instrument, history.timeframe_s)
            for stored in world.made
            if isinstance(stored.frame, TimeframeFrame)
            for history in stored.frame.history
        ]
        assert sorted(used) == sorted((one.instrument, one.timeframe_s) for one in told)


async def test_seconds_serve_a_timeframe_that_no_other_divides(kafka: Kafka, tmp_path: Path) -> None:
    async with opened(settings_of(kafka, tmp_path)) as world:
        await world.trade(OPEN_MS, OPEN_MS + 2 * MINUTE_MS)
        await world.reload({60: ["SMA:2"], 45: []})
        fill = (await world.commands())[-1]
        assert isinstance(fill, Backfill)
        assert [(len(one.candles), one.candles[0].count, one.begun[0].timeframe_s) for one in fill.history] == [
            (2, 15, 1), (2, 15, 1)
        ]  # fmt: skip


@pytest.mark.parametrize("foreign", [False, True], ids=["no file", "of another log"])
async def test_without_an_archive_a_reload_goes_without_history(kafka: Kafka, tmp_path: Path, foreign: bool) -> None:
    async with opened(settings_of(kafka, tmp_path / "one")) as world:
        await world.trade(OPEN_MS, OPEN_MS + MINUTE_MS)
        elsewhere = world.settings.sqlite_path if foreign else tmp_path / "none.db"
    async with opened(settings_of(kafka, tmp_path / "other")) as world:
        answer = await reload(world.settings, [(300, [])], archive=partial(ArchiveHistory, elsewhere))
        assert answer.created == ["candles:300"]
        assert [note.partition(":")[0] for note in answer.notes] == ["without history"] * foreign
        assert [command.id for command in await world.commands()] == [1, 2]

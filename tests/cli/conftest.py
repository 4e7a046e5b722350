"""A log on the broker, written by the pure stages alone, and the command line on it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from topology.cli import main as command_line
from topology.configuration.environment import from_settings
from topology.embedded import Kafka, Valkey
from topology.embedded.loopback import LOOPBACK, free_port
from topology.kafka import broker_log, clients
from topology.log.candle_stage import CandleStage
from topology.log.frames import (
    CANDLES,
    DEAD_LETTERS,
    INDICATORS,
    TICKS,
    TIMEFRAMES,
    VERSION,
    Configure,
    DeadLetter,
    TickFrame,
    encode,
)
from topology.log.indicator_stage import IndicatorStage
from topology.log.timeframe_stage import TimeframeStage
from topology.market.ticks import Tick
from topology.settings import Address, Settings
from topology.sinks.archive.archive import Archive
from topology.sinks.cursor import StoredFrame
from topology.sinks.jsonl.files import JsonlFolder
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.mirror import Mirror, connect
from topology.sinks.mirror.streams import StreamCommands

PARTITIONS = 2

CommandLine = Callable[..., "Done"]


class Apart(Settings):
    """Settings of a namespace of its own."""

    redis_db = 3


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings for a log that isn't there yet; nothing listens where Redis should be."""
    env = {"BROKER_URL": kafka.url, "TOPIC_PARTITIONS": str(PARTITIONS), "ENABLED_TFS": "60,300"}
    env |= {"INDICATOR_CONFIGS": "SMA:2,EMA:2", "SQLITE_PATH": str(tmp_path / "candles.db")}
    env |= {"JSONL_PATH": str(tmp_path / "jsonl")}
    namespace = f"cli-{uuid.uuid4().hex[:8]}"
    return replace(Apart.from_env(env), namespace=namespace, redis_addr=Address(LOOPBACK, free_port()))


@pytest.fixture
def topology(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line: ``topology(settings, "tail", "ticks")``."""

    def run(settings: Settings, *argv: str) -> Done:
        monkeypatch.setattr(command_line, "load", lambda: settings)
        capsys.readouterr()
        code = command_line.main(argv)
        return Done(code, *capsys.readouterr())

    return run


class WrittenLog:
    """A log of our own making: each tick frame is followed by what the stages make of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        bootstrap, namespace = settings.bootstrap, settings.namespace
        self.log = asyncio.run(broker_log.create(bootstrap, namespace, PARTITIONS, from_settings(settings)))
        self.stored: list[StoredFrame] = []
        self._stages = [self._fresh() for _ in range(PARTITIONS)]
        self._sequence = 0

    def _fresh(self) -> list[Any]:
        return [kind(self.log.header.log, 0) for kind in (CandleStage, TimeframeStage, IndicatorStage)]

    def frame(self, clock_ms: int, ticks: list[Tick] = [], commands: list[Configure] = []) -> TickFrame:  # noqa: B006
        self._sequence += 1
        return TickFrame(VERSION, self.log.header.log, 1, self._sequence, clock_ms, 1, commands, ticks)

    def write(self, partition: int, *frames: TickFrame, derive: int = 3) -> None:
        """Write tick frames and, of the topics that are derived from them, the first ``derive``."""
        asyncio.run(self._write(partition, frames, derive))

    async def _write(self, partition: int, frames: Sequence[TickFrame], derive: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap)
        await producer.start()
        for frame in frames:
            sent = await producer.send_and_wait(
                self.log.topic(TICKS), encode(frame), partition=partition, timestamp_ms=frame.clock_ms
            )
            self.stored.append(StoredFrame(TICKS, partition, sent.offset, frame))
            made = frame
            for stage, topic in list(zip(self._stages[partition], (CANDLES, TIMEFRAMES, INDICATORS), strict=True))[
                :derive
            ]:
                made = stage.apply(sent.offset, made, live=False)
                at = await producer.send_and_wait(
                    self.log.topic(topic), encode(made), partition=partition, timestamp_ms=made.clock_ms
                )
                self.stored.append(StoredFrame(topic, partition, at.offset, made))
        await producer.stop()

    def save(self, stages: tuple[str, ...] = (TICKS, CANDLES, TIMEFRAMES)) -> None:
        """Acknowledge all that these topics hold, as the pipeline does when its state is saved."""
        asyncio.run(self._save(stages))

    async def _save(self, stages: tuple[str, ...]) -> None:
        group = f"{self.settings.namespace}.pipeline"
        reader = AIOKafkaConsumer(bootstrap_servers=self.settings.bootstrap, group_id=group, enable_auto_commit=False)
        await reader.start()
        places = [TopicPartition(self.log.topic(stage), p) for stage in stages for p in range(PARTITIONS)]
        reader.assign(places)
        ends = await reader.end_offsets(places)
        await reader.commit({place: OffsetAndMetadata(end, "") for place, end in ends.items()})
        await reader.stop()

    def jsonl(self) -> None:
        """Write all of it as lines of JSON."""
        folder = JsonlFolder(self.settings.jsonl_path, log=self.log.header.log, run=0)
        folder.write([stored for stored in self.stored if stored.stage != TICKS])

    def archive(self) -> None:
        """Put all that has been written into the archive."""
        archive = Archive(self.settings.sqlite_path, log=self.log.header.log, run=0)
        archive.write([stored for stored in self.stored if stored.stage != TICKS])
        archive.close()

    def mirror(self, valkey: Valkey) -> None:
        """Put all that has been written into an emptied Redis."""
        asyncio.run(self._mirror(valkey))

    async def _mirror(self, valkey: Valkey) -> None:
        async with connect(LOOPBACK, valkey.port, db=self.settings.redis_db) as client:
            await client.flushdb()
            streams = StreamCommands(partitions=PARTITIONS, budget_mb=64)
            mirror = Mirror(client, log=self.log.header.log, run=0, streams=streams, breaker=Breaker(time.monotonic))
            for source in {stored.source for stored in self.stored}:
                await mirror.apply([stored for stored in self.stored if stored.source == source])

    def dead_letters(self, partition: int, positions: list[int]) -> list[int]:
        """Write letters about these frames; return their offsets."""
        return asyncio.run(self._dead_letters(partition, positions))

    async def _dead_letters(self, partition: int, positions: list[int]) -> list[int]:
        clocks = {
            stored.position: stored.frame.clock_ms for stored in self.stored if stored.source == (TICKS, partition)
        }
        async with AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap) as producer:
            return [
                (
                    await producer.send_and_wait(
                        self.log.topic(DEAD_LETTERS),
                        encode(DeadLetter(VERSION, self.log.header.log, partition, position, "spoilt", b"")),
                        partition=partition,
                        timestamp_ms=clocks[position],
                    )
                ).offset
                for position in positions
            ]

    def records(self, stage: str, partition: int) -> list[ConsumerRecord]:
        """Return what a partition holds now."""
        return asyncio.run(self._records(TopicPartition(self.log.topic(stage), partition)))

    async def _records(self, place: TopicPartition) -> list[ConsumerRecord]:
        async with clients.consumer(self.settings.bootstrap) as reader:
            begin = (await reader.beginning_offsets([place]))[place]
            end = (await reader.end_offsets([place]))[place]
            return [record async for record in clients.records(reader, place, begin, end)]


@pytest.fixture
def written(settings: Settings) -> WrittenLog:
    """A new log in the namespace of ``settings``."""
    return WrittenLog(settings)

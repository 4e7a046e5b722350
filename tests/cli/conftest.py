"""A log on the broker, written by the pure stages alone, and the command line on it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from topology import topics
from topology.cli import main as command_line
from topology.cli.configure import from_settings
from topology.embedded import Kafka
from topology.embedded.loopback import LOOPBACK, free_port
from topology.log.candles import CandleStage
from topology.log.frames import CANDLES, INDICATORS, TICKS, TIMEFRAMES, VERSION, Configure, TickFrame, encode
from topology.log.indicators import IndicatorStage
from topology.log.timeframes import TimeframeStage
from topology.market.ticks import Tick
from topology.settings import Address, Settings
from topology.sinks.applied import Stored

PARTITIONS = 2


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
def settings(kafka: Kafka, tmp_path) -> Settings:
    """Settings for a log that isn't there yet; nothing listens where Redis should be."""
    env = {"BROKER_URL": kafka.url, "TOPIC_PARTITIONS": str(PARTITIONS), "ENABLED_TFS": "60,300"}
    env |= {"INDICATOR_CONFIGS": "SMA:2,EMA:2", "SQLITE_PATH": str(tmp_path / "candles.db")}
    namespace = f"cli-{uuid.uuid4().hex[:8]}"
    return replace(Apart.from_env(env), namespace=namespace, redis_addr=Address(LOOPBACK, free_port()))


@pytest.fixture
def topology(monkeypatch, capsys) -> Callable[..., Done]:
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
        self.log = asyncio.run(topics.create(bootstrap, namespace, PARTITIONS, from_settings(settings)))
        self.stored: list[Stored] = []
        self._stages = [self._fresh() for _ in range(PARTITIONS)]
        self._sequence = 0

    def _fresh(self):
        return [kind(self.log.header.log, 0) for kind in (CandleStage, TimeframeStage, IndicatorStage)]

    def frame(self, clock_ms: int, ticks: list[Tick] = [], commands: list[Configure] = []) -> TickFrame:  # noqa: B006
        self._sequence += 1
        return TickFrame(VERSION, self.log.header.log, 1, self._sequence, clock_ms, 1, commands, ticks)

    def write(self, partition: int, *frames: TickFrame, derive: int = 3) -> None:
        """Write tick frames and, of the topics that are derived from them, the first ``derive``."""
        asyncio.run(self._write(partition, frames, derive))

    async def _write(self, partition: int, frames, derive: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap)
        await producer.start()
        for frame in frames:
            sent = await producer.send_and_wait(
                self.log.topic(TICKS), encode(frame), partition=partition, timestamp_ms=frame.clock_ms
            )
            self.stored.append(Stored(TICKS, partition, sent.offset, frame))
            made = frame
            for stage, topic in list(zip(self._stages[partition], (CANDLES, TIMEFRAMES, INDICATORS), strict=True))[:derive]:
                made = stage.apply(sent.offset, made, live=False)
                at = await producer.send_and_wait(
                    self.log.topic(topic), encode(made), partition=partition, timestamp_ms=made.clock_ms
                )
                self.stored.append(Stored(topic, partition, at.offset, made))
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

    def first_offsets(self) -> dict[tuple[str, int], int]:
        return asyncio.run(self._offsets())

    async def _offsets(self) -> dict[tuple[str, int], int]:
        async with topics.consumer(self.settings.bootstrap) as reader:
            places = {
                (stage, p): TopicPartition(self.log.topic(stage), p)
                for stage in topics.PARTITIONED
                for p in range(PARTITIONS)
            }
            found = await reader.beginning_offsets(list(places.values()))
            return {source: found[place] for source, place in places.items()}


@pytest.fixture
def written(settings: Settings) -> WrittenLog:
    """A new log in the namespace of ``settings``."""
    return WrittenLog(settings)

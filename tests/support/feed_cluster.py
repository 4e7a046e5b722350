"""A broker with a simulated and a live log for the role `feed`, and the simulated broker that it talks to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Self

from aiokafka import TopicPartition

from tests.support.cluster import Process
from topology.clock import now_ms
from topology.configuration.environment import from_settings
from topology.embedded import Kafka, free_port
from topology.kafka import broker_log, clients
from topology.log.frames import TICK_FRAME, TICKS, TickFrame
from topology.market import Calendar
from topology.market.calendar import indian_day
from topology.settings import LIVE, SIM, Settings
from topology.simulator import DEMONSTRATION, Simulator, Walk, catalogue

ALWAYS = Calendar.parse(files("topology.market").joinpath("calendars/always_open.json").read_text())
ACCOUNT = {f"ANGEL_{name.upper()}": value for name, value in DEMONSTRATION.items()}
PARTITIONS = 2


@dataclass
class FeedCluster:
    """A broker with a simulated and a live log, and a folder for the feed."""

    kafka: Kafka
    folder: Path
    logs: dict[str, broker_log.Log]

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Self]:
        """Start the broker, and make both logs."""
        kafka = Kafka(folder / "kafka", free_port())
        kafka.start(print)
        logs = {}
        for namespace in (SIM, LIVE):
            (folder / namespace).mkdir()
            wanted = from_settings(Settings.from_env({"TOPOLOGY_NAMESPACE": namespace}))
            logs[namespace] = asyncio.run(broker_log.create(kafka.bootstrap, namespace, PARTITIONS, wanted))
        try:
            yield cls(kafka, folder, logs)
        finally:
            kafka.kill()

    def feed(self, namespace: str, **env: str) -> Process:
        """Make the feed of a namespace, which isn't started yet."""
        about = {
            "BROKER_URL": self.kafka.url, "TOPOLOGY_NAMESPACE": namespace, "TOPIC_PARTITIONS": str(PARTITIONS),
            "DATA_DIR": str(self.folder), "SESSION_TIMEOUT_S": "4",
        }  # fmt: skip
        return Process("feed", 0, self.folder / namespace, {**plain(), **about, **env})

    async def frames(self, partition: int) -> list[TickFrame]:
        """Read the simulated tick log."""
        log = self.logs[SIM]
        topic_partition = TopicPartition(log.topic(TICKS), partition)
        async with clients.consumer(self.kafka.bootstrap) as reader:
            end = (await reader.end_offsets([topic_partition]))[topic_partition]
            return [
                TICK_FRAME.decode(record.value) async for record in clients.records(reader, topic_partition, 0, end)
            ]

    async def ticks(self) -> int:
        """Count the ticks in it."""
        return sum([len(frame.ticks) for partition in range(PARTITIONS) for frame in await self.frames(partition)])


def plain() -> dict[str, str]:
    """Return the environment without an account."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ANGEL_", "SUBSCRIBE"))}


@dataclass
class Simulated:
    """A simulated broker that runs, and the variables of a feed that is to use it."""

    simulator: Simulator
    env: dict[str, str]


@asynccontextmanager
async def simulated(instruments: int, rate: float, **account: str) -> AsyncIterator[Simulated]:
    """Play the broker for an account, by default the demonstration's."""
    listings = catalogue(indian_day(now_ms()))[:instruments]
    walk = Walk(listings, seed=3, rate=rate, calendar=ALWAYS)
    variables = {**ACCOUNT, **account}
    async with Simulator(account=Settings.from_env(variables).account, source=walk, now_ms=now_ms) as simulator:
        running = asyncio.create_task(simulator.run())
        urls = {
            "ANGEL_API_URL": simulator.api_url, "ANGEL_FEED_URL": simulator.feed_url,
            "ANGEL_MASTER_URL": simulator.master_url,
        }  # fmt: skip
        tokens = ",".join(listing.instrument for listing in listings)
        yield Simulated(simulator, {**variables, **urls, "SUBSCRIBE_TOKENS": tokens})
        running.cancel()

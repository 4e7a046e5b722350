"""The role `feed` as a process: what it refuses, and that a kill costs nothing but the time it is away."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from msgspec.structs import replace

from agents.lifeline import REFUSED
from tests.crash.cluster import Process, until
from tests.feeds.angel.masters import LISTED, keep
from topology import topics
from topology.assembly import build, feed
from topology.assembly.feed import SUBSCRIBED_NAME, _subscriptions
from topology.configuration import from_settings
from topology.embedded import Kafka, free_port
from topology.feeds import FeedError
from topology.feeds.angel.listings import FILE_NAME
from topology.feeds.clock import Clock, now_ms
from topology.log.frames import TICK_FRAME, TICKS, Configure, TickFrame, encode
from topology.market import Calendar, SecondCandles
from topology.market.calendar import indian_day
from topology.settings import LIVE, SIM, Settings
from topology.simulator import DEMONSTRATION, Simulator, Walk, catalogue

ALWAYS = Calendar.parse(files("topology.market").joinpath("calendars/always_open.json").read_text())
ACCOUNT = {f"ANGEL_{name.upper()}": value for name, value in DEMONSTRATION.items()}
PARTITIONS = 2


@dataclass
class Place:
    """A broker with a simulated and a live log, and a folder for the feed."""

    kafka: Kafka
    folder: Path
    logs: dict[str, topics.Log]

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
        place = TopicPartition(log.topic(TICKS), partition)
        async with topics.consumer(self.kafka.bootstrap) as reader:
            end = (await reader.end_offsets([place]))[place]
            return [TICK_FRAME.decode(record.value) async for record in topics.records(reader, place, 0, end)]

    async def ticks(self) -> int:
        """Count the ticks in it."""
        return sum([len(frame.ticks) for partition in range(PARTITIONS) for frame in await self.frames(partition)])


def plain() -> dict[str, str]:
    """Return the environment without an account."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ANGEL_", "SUBSCRIBE"))}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("feed")
    kafka = Kafka(folder / "kafka", free_port())
    kafka.start(print)
    logs = {}
    for namespace in (SIM, LIVE):
        (folder / namespace).mkdir()
        settings = Settings.from_env({"TOPOLOGY_NAMESPACE": namespace})
        logs[namespace] = asyncio.run(topics.create(kafka.bootstrap, namespace, PARTITIONS, from_settings(settings)))
    yield Place(kafka, folder, logs)
    kafka.kill()


TOO_MANY = ",".join(f"1:{number}" for number in range(1, 3002))
HERE = {
    "ANGEL_API_URL": "http://127.0.0.1:1", "ANGEL_FEED_URL": "ws://localhost:1/smart-stream",
    "ANGEL_MASTER_URL": "http://127.0.0.1:1/master.json",
}  # fmt: skip


@pytest.mark.parametrize(
    ("namespace", "env", "said"),
    [
        (LIVE, {}, "no login without ANGEL_API_KEY, ANGEL_CLIENT_CODE, ANGEL_PASSWORD, ANGEL_TOTP_SECRET: set them"),
        (LIVE, {**ACCOUNT, "ANGEL_PASSWORD": ""}, "no login without ANGEL_PASSWORD: set them"),
        (
            LIVE,
            {**ACCOUNT, **HERE},
            "ANGEL_API_URL does not lead to the real broker, but the log is a live one",
        ),
        (SIM, ACCOUNT, "ANGEL_API_URL leads to the real broker, but the log is a simulated one"),
        (SIM, {**ACCOUNT, **HERE, "SUBSCRIBE_TOKENS": "99:1"}, "99:1"),
        (SIM, {**ACCOUNT, **HERE, "SUBSCRIBE_TOKENS": "@absent.txt"}, "the file of '@absent.txt' can't be read"),
        (
            SIM,
            {**ACCOUNT, **HERE, "SUBSCRIBE_TOKENS": TOO_MANY},
            "names 3,001 instruments",
        ),
        (
            SIM,
            {**ACCOUNT, **HERE, "SUBSCRIBE_TOKENS": TOO_MANY.partition(",1:1002")[0], "FEED_STANDBY": "1"},
            "names 1,001 instruments: with FEED_STANDBY=1 the broker sends 1,000 at most",
        ),
    ],
    ids=[
        "no account",
        "no password",
        "simulator into live",
        "broker into simulated",
        "exchange",
        "file",
        "too many",
        "too many for a standby",
    ],
)
def test_what_cannot_be_fed_is_refused_with_one_line(
    place: Place, namespace: str, env: dict[str, str], said: str
) -> None:
    feed = place.feed(namespace, **env)
    feed.log.unlink(missing_ok=True)
    feed.start()
    assert feed.wait() == REFUSED
    lines = [json.loads(line) for line in feed.log.read_text().splitlines() if line.startswith("{")]
    (line,) = [line["message"] for line in lines if line["level"] not in ("INFO", "WARNING")]
    assert said in line
    assert "Traceback" not in feed.log.read_text()


def test_a_feed_that_is_started_again_after_a_contract_has_expired_does_without_it(tmp_path: Path) -> None:
    env = {"DATA_DIR": str(tmp_path), "SUBSCRIBE_TOKENS": "NIFTY24NOV2625000CE,nifty,2:35003"}
    settings, master = Settings.from_env(env), tmp_path / "live" / FILE_NAME
    keep(master, LISTED)
    assert [str(one.instrument) for one in _subscriptions(settings)] == ["NFO:60002", "NSE:99926000", "NFO:35003"]
    keep(master, [row for row in LISTED if row["symbol"] != "NIFTY24NOV2625000CE"])
    assert [str(one.instrument) for one in _subscriptions(settings)] == ["NSE:99926000", "NFO:35003"]
    (tmp_path / "live" / SUBSCRIBED_NAME).write_text("torn {")
    with pytest.raises(FeedError, match="has no such symbol"):
        _subscriptions(settings)


async def test_the_master_of_the_day_is_asked_for_again_until_it_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([FeedError("it is empty"), OSError("no route"), None])
    slept: list[float] = []

    def update(*_: Any) -> None:
        if (error := next(answers)) is not None:
            raise error

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(feed, "_updated_master", update)
    monkeypatch.setattr(feed, "SYSTEM", Clock(now_ms, sleep))
    role: Any = build(Settings.from_env({"TOPOLOGY_ROLE": "feed", "DATA_DIR": str(tmp_path)})).role
    await role._fetch_master([])
    assert next(answers, "all asked for") == "all asked for"
    assert slept == [feed.MASTER_PAUSE_S] * 2
    assert "it is empty" in caplog.text
    assert "no route" in caplog.text


async def test_a_command_is_copied_and_its_calendar_and_classes_are_followed(tmp_path: Path) -> None:
    role: Any = build(Settings.from_env({"TOPOLOGY_ROLE": "feed", "DATA_DIR": str(tmp_path)})).role
    commanded: list[Configure] = []
    followed: list[tuple[str, Any]] = []
    role._writer = SimpleNamespace(command=commanded.extend)
    role._feed = SimpleNamespace(follow=lambda calendar, classes: followed.append((calendar.text, classes)))
    wanted = replace(from_settings(Settings.from_env({})), classes={"NSE:2885": "equity_cas"})
    broken = replace(wanted, calendar="{}")
    for offset, configuration in enumerate((wanted, broken), 2):
        message = SimpleNamespace(value=encode(configuration), offset=offset, topic="live.commands")
        await role._copy(SimpleNamespace(message=message))
    assert [command.id for command in commanded] == [2, 3]
    assert followed == [(wanted.calendar, {"NSE:2885": "equity_cas"})]


@asynccontextmanager
async def simulated(instruments: int, rate: float) -> AsyncIterator[dict[str, str]]:
    """A simulated broker that runs; gives the variables of a feed that is to use it."""
    listings = catalogue(indian_day(now_ms()))[:instruments]
    walk = Walk(listings, seed=3, rate=rate, calendar=ALWAYS)
    async with Simulator(account=Settings.from_env({}).account, source=walk, now_ms=now_ms) as simulator:
        running = asyncio.create_task(simulator.run())
        yield {
            **ACCOUNT, "ANGEL_API_URL": simulator.api_url, "ANGEL_FEED_URL": simulator.feed_url,
            "ANGEL_MASTER_URL": simulator.master_url,
            "SUBSCRIBE_TOKENS": ",".join(listing.instrument for listing in listings),
        }  # fmt: skip
        running.cancel()


async def test_a_feed_that_is_killed_at_random_doubles_no_volume_and_turns_no_clock_back(place: Place) -> None:
    choose = Random(7)
    async with simulated(20, 400.0) as env:
        feed = place.feed(SIM, **env)
        try:
            for _ in range(4):
                before = await place.ticks()
                feed.start()
                wanted = before + choose.randrange(100, 600)

                async def came(wanted: int = wanted) -> bool:
                    return await place.ticks() >= wanted

                await until(came, told=lambda: feed.log.read_text()[-3000:])
                feed.kill()
        finally:
            feed.kill()
    for partition in range(PARTITIONS):
        frames = await place.frames(partition)
        clocks = [frame.clock_ms for frame in frames]
        assert clocks == sorted(clocks)
        numbers = [(frame.epoch, frame.sequence) for frame in frames]
        assert numbers == sorted(set(numbers))
        assert len({frame.epoch for frame in frames}) >= 4
        assert_volume_is_whole(frames)
    said = feed.log.read_text()
    assert not any(secret in said for secret in DEMONSTRATION.values() if secret != DEMONSTRATION["api_key"])


def assert_volume_is_whole(frames: list[TickFrame]) -> None:
    """Candles, gaps and what was traded before the first word together are the day volume as it was told last."""
    seconds, volumes, first = SecondCandles(ALWAYS), dict[str, int](), dict[str, int]()
    for frame in frames:
        for gap in frame.gaps:
            seconds.interrupt(gap)
        for told in (*frame.baselines, *frame.ticks):
            if told.day_volume is not None:
                first.setdefault(told.instrument, told.day_volume)
        for baseline in frame.baselines:
            seconds.rebase(baseline)
        for candle in seconds.apply(frame.ticks, frame.clock_ms)[0]:
            volumes[candle.instrument] = volumes.get(candle.instrument, 0) + candle.volume
        for instrument, volume in seconds.gap_volumes().items():
            volumes[instrument] = volumes.get(instrument, 0) + volume
    for candle in seconds.forming(seconds.series):
        volumes[candle.instrument] = volumes.get(candle.instrument, 0) + candle.volume
    assert first
    for instrument, start in first.items():
        assert start + volumes.get(instrument, 0) == seconds.series[instrument].volume

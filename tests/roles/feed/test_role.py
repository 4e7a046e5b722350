"""The role `feed` as a process: what it refuses, and that a kill costs nothing but the time it is away."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from zlib import compress

import pytest
from msgspec.structs import replace

from agents.process_guard import REFUSED
from tests.support.feed_cluster import ACCOUNT, ALWAYS, PARTITIONS, FeedCluster, simulated
from tests.support.masters import LISTED, keep
from tests.support.until import until
from topology.angel.master import MasterError
from topology.angel.master.listings import FILE_NAME
from topology.clock import Clock, now_ms
from topology.configuration.environment import from_settings
from topology.feeds import FeedError
from topology.kafka import broker_log
from topology.log.frames import BACKFILL, WARMUP, Backfill, Configure, TickFrame, Warmup, encode
from topology.log.partition import partition_of
from topology.market import Candle, SecondCandles
from topology.market.calendar import indian_day
from topology.market.gaps import Baseline
from topology.market.history import History
from topology.market.ticks import Tick
from topology.roles import build
from topology.roles.feed import role as feed_role
from topology.roles.feed.role import SUBSCRIBED_NAME, _subscriptions
from topology.settings import LIVE, SIM, Settings
from topology.simulator import DEMONSTRATION

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
    feed_cluster: FeedCluster, namespace: str, env: dict[str, str], said: str
) -> None:
    feed = feed_cluster.feed(namespace, **env)
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
    answers = iter([MasterError("it is empty"), OSError("no route"), None])
    slept: list[float] = []

    def update(*_: Any) -> None:
        if (error := next(answers)) is not None:
            raise error

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(feed_role, "_updated_master", update)
    monkeypatch.setattr(feed_role, "SYSTEM", Clock(now_ms, sleep))
    role: Any = build(Settings.from_env({"TOPOLOGY_ROLE": "feed", "DATA_DIR": str(tmp_path)})).role
    await role._fetch_master([])
    assert next(answers, "all asked for") == "all asked for"
    shortest_s, longest_s = feed_role.MASTER_RETRY_S
    assert len(slept) == 2
    assert shortest_s <= slept[0] < slept[1] <= longest_s
    assert "it is empty" in caplog.text
    assert "no route" in caplog.text


async def test_a_command_is_copied_and_its_calendar_and_classes_are_followed(tmp_path: Path) -> None:
    role: Any = build(Settings.from_env({"TOPOLOGY_ROLE": "feed", "DATA_DIR": str(tmp_path)})).role
    commanded: list[Configure | Backfill] = []
    asked: list[Warmup] = []
    followed: list[tuple[str, Any]] = []
    role._writer = SimpleNamespace(command=commanded.extend)
    role._feed = SimpleNamespace(follow=lambda calendar, classes: followed.append((calendar.text, classes)))
    role._history = SimpleNamespace(configure=lambda _: None, ask=asked.append)
    wanted = replace(from_settings(Settings.from_env({})), classes={"NSE:2885": "equity_cas"})
    broken = replace(wanted, calendar="{}")
    for offset, configuration in enumerate((wanted, broken), 2):
        message = SimpleNamespace(key=None, value=encode(configuration), offset=offset, topic="live.commands")
        await role._copy(SimpleNamespace(message=message))
    request = SimpleNamespace(key=WARMUP, value=encode(Warmup(0, [], reset=False)), offset=4, topic="live.commands")
    await role._copy(SimpleNamespace(message=request))
    history = [History("NSE:2885", 300, [], 0)]
    record = compress(encode(Backfill(0, history)))
    filling = SimpleNamespace(key=BACKFILL, value=record, offset=5, topic="live.commands")
    await role._copy(SimpleNamespace(message=filling))
    assert [command.id for command in commanded] == [2, 3, 5]
    assert commanded[2] == Backfill(5, history)
    assert followed == [(wanted.calendar, {"NSE:2885": "equity_cas"})]
    assert asked == [Warmup(4, [], reset=False)]


async def test_a_feed_that_is_killed_at_random_doubles_no_volume_and_turns_no_clock_back(
    feed_cluster: FeedCluster,
) -> None:
    choose = Random(7)
    async with simulated(20, 400.0) as broker:
        feed = feed_cluster.feed(SIM, **broker.env)
        try:
            for _ in range(4):
                before = await feed_cluster.ticks()
                feed.start()
                wanted = before + choose.randrange(100, 600)

                async def came(wanted: int = wanted) -> bool:
                    return await feed_cluster.ticks() >= wanted

                await until(came, state=lambda: feed.log.read_text()[-3000:])
                feed.kill()
        finally:
            feed.kill()
    for partition in range(PARTITIONS):
        frames = await feed_cluster.frames(partition)
        clocks = [frame.clock_ms for frame in frames]
        assert clocks == sorted(clocks)
        numbers = [(frame.epoch, frame.sequence) for frame in frames]
        assert numbers == sorted(set(numbers))
        assert len({frame.epoch for frame in frames}) >= 4
        assert_volume_is_whole(frames)
    said = feed.log.read_text()
    assert not any(secret in said for secret in DEMONSTRATION.values() if secret != DEMONSTRATION["api_key"])


async def test_history_comes_whole_however_often_the_feed_is_killed_meanwhile(feed_cluster: FeedCluster) -> None:
    choose = Random(9)
    async with simulated(20, 20.0) as broker:
        feed = feed_cluster.feed(SIM, **broker.env)
        number = await broker_log.append(feed_cluster.kafka.bootstrap, SIM, Warmup(0, [], reset=False))
        first = {partition: len(await feed_cluster.frames(partition)) for partition in range(PARTITIONS)}

        async def brought() -> dict[str, set[int]]:
            """The timeframes of each instrument whose history has come since."""
            found = defaultdict(set)
            for partition in range(PARTITIONS):
                for frame in (await feed_cluster.frames(partition))[first[partition] :]:
                    for told in frame.history:
                        assert partition_of(told.instrument, PARTITIONS) == partition
                        assert len(told.candles) >= 250 or told.revision == 1
                        if told.revision == 0:
                            found[told.instrument].add(told.timeframe_s)
            return found

        try:
            for share in (0.2, 0.6):
                wanted = int(20 * (share + choose.random() / 10))
                feed.start()

                async def came(wanted: int = wanted) -> bool:
                    return len(await brought()) >= wanted

                await until(came, state=lambda: feed.log.read_text()[-3000:])
                feed.kill()
            feed.start()

            async def whole() -> bool:
                found = await brought()
                return len(found) == 20 and all(timeframes == {60, 120, 180, 300} for timeframes in found.values())

            await until(whole, state=lambda: feed.log.read_text()[-3000:])
        finally:
            feed.kill()
    kept = json.loads((feed_cluster.folder / SIM / "history.json").read_text())
    assert kept["asked"] == number


async def test_history_in_commands_comes_once_however_often_the_feed_is_killed_meanwhile(
    feed_cluster: FeedCluster,
) -> None:
    choose = Random(5)
    async with simulated(20, 20.0) as broker:
        feed = feed_cluster.feed(SIM, **broker.env)
        bootstrap, current = feed_cluster.kafka.bootstrap, feed_cluster.logs[SIM].configuration
        instruments = broker.env["SUBSCRIBE_TOKENS"].split(",")
        wanted = replace(current, timeframes={**current.timeframes, 240: []})
        first_ms = now_ms() // 86_400_000 * 86_400_000 - 86_400_000
        fills = []
        for number in range(60):
            name = instruments[number % 20]
            fills.append(History(name, 240, [Candle(name, 240, first_ms + number * 240_000, 5, 6, 4, 5, 0, 1)], 0))

        async def brought() -> list[History]:
            """Those that have come, of which each must be behind the configuration that its timeframe came with."""
            found = []
            for partition in range(PARTITIONS):
                timeframes: dict[int, list[str]] = {}
                for frame in await feed_cluster.frames(partition):
                    for command in frame.commands:
                        timeframes = command.timeframes
                    found += [told for told in frame.history if told in fills]
                    assert 240 in timeframes or not any(told in fills for told in frame.history)
            return found

        try:
            feed.start()
            await broker_log.append(bootstrap, SIM, wanted)
            async with broker_log.appender(bootstrap, SIM) as append:
                for fill in fills:
                    await append(Backfill(0, [fill]))
            for share in (0.2, 0.5, 0.8):
                wanted_number = int(60 * share) + choose.randrange(6)

                async def came(wanted_number: int = wanted_number) -> bool:
                    return len(await brought()) >= wanted_number

                await until(came, state=lambda: feed.log.read_text()[-3000:])
                feed.kill()
                feed.start()

            async def whole() -> bool:
                return len(await brought()) >= len(fills)

            await until(whole, state=lambda: feed.log.read_text()[-3000:])
        finally:
            feed.kill()
        found = await brought()
        for instrument in instruments:
            own = [told for told in fills if told.instrument == instrument]
            assert [told for told in found if told.instrument == instrument] == own


def assert_volume_is_whole(frames: list[TickFrame]) -> None:
    """Candles, gaps and what was traded before the first word together are the day volume as it was told last.

    All of the newest day: volumes begin anew at midnight.
    """
    seconds, candles = SecondCandles(ALWAYS), list[Candle]()
    first, in_gaps = dict[str, tuple[date, int]](), Counter[str]()
    for frame in frames:
        for gap in frame.gaps:
            seconds.interrupt(gap)
        tellers: list[Baseline | Tick] = [*frame.baselines, *frame.ticks]
        for told in tellers:
            day = indian_day(told.time_ms)
            if told.day_volume is not None and day > first.get(told.instrument, (date.min, 0))[0]:
                first[told.instrument], in_gaps[told.instrument] = (day, told.day_volume), 0
        for baseline in frame.baselines:
            seconds.rebase(baseline)
        candles += seconds.apply(frame.ticks, frame.clock_ms)[0]
        in_gaps.update(seconds.gap_volumes())
    candles += seconds.forming(seconds.series)
    assert first
    for instrument, (day, start) in first.items():
        own = [one.volume for one in candles if one.instrument == instrument and indian_day(one.start_ms) == day]
        assert start + sum(own) + in_gaps[instrument] == seconds.series[instrument].volume

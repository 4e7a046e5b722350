"""The role `feed` as a process: what it refuses, and that a kill costs nothing but the time it is away."""

from __future__ import annotations

import json
from collections import defaultdict
from random import Random

import pytest

from agents.lifeline import REFUSED
from tests.assembly.placed import ACCOUNT, ALWAYS, PARTITIONS, Place, simulated
from tests.crash.cluster import until
from topology import topics
from topology.log.frames import TickFrame, Warmup
from topology.log.position import partition_of
from topology.market import SecondCandles
from topology.settings import LIVE, SIM
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
    ],
    ids=["no account", "no password", "simulator into live", "broker into simulated", "exchange", "file", "too many"],
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


async def test_a_feed_that_is_killed_at_random_doubles_no_volume_and_turns_no_clock_back(place: Place) -> None:
    choose = Random(7)
    async with simulated(20, 400.0) as broker:
        feed = place.feed(SIM, **broker.env)
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


async def test_history_comes_whole_however_often_the_feed_is_killed_meanwhile(place: Place) -> None:
    choose = Random(9)
    async with simulated(20, 20.0) as broker:
        feed = place.feed(SIM, **broker.env)
        number = await topics.command(place.kafka.bootstrap, SIM, Warmup(0, [], reset=False))
        first = {partition: len(await place.frames(partition)) for partition in range(PARTITIONS)}

        async def brought() -> dict[str, set[int]]:
            """The timeframes of each instrument whose history has come since."""
            found = defaultdict(set)
            for partition in range(PARTITIONS):
                for frame in (await place.frames(partition))[first[partition] :]:
                    for told in frame.history:
                        assert partition_of(told.instrument, PARTITIONS) == partition
                        assert len(told.candles) >= 250 or told.revision == 1
                        if told.revision == 0:
                            found[told.instrument].add(told.timeframe_s)
            return found

        try:
            for share in (0.2, 0.5, 0.8):
                wanted = int(20 * (share + choose.random() / 10))
                feed.start()

                async def came(wanted: int = wanted) -> bool:
                    return len(await brought()) >= wanted

                await until(came, told=lambda: feed.log.read_text()[-3000:])
                feed.kill()
            feed.start()

            async def whole() -> bool:
                found = await brought()
                return len(found) == 20 and all(timeframes == {60, 120, 180, 300} for timeframes in found.values())

            await until(whole, told=lambda: feed.log.read_text()[-3000:])
        finally:
            feed.kill()
    kept = json.loads((place.folder / SIM / "history.json").read_text())
    assert kept["asked"] == number


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

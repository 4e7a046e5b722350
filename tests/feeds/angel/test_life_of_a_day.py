"""The complete life of a day, on a clock that is moved by hand: from before the master to the holiday after."""

from __future__ import annotations

import asyncio
from datetime import date, datetime

import msgspec
import pytest

from tests.reference.brute_force import indian_ms, indicator
from tests.support.played_day import World
from topology.angel.master.download import update
from topology.angel.master.listings import Listings
from topology.feeds import FrameContent
from topology.feeds.angel.packets import QUOTE
from topology.log.candle_stage import CandleStage
from topology.log.frames import VERSION, Configure, IndicatorFrame, TickFrame, TimeframeFrame
from topology.log.indicator_stage import IndicatorStage
from topology.log.timeframe_stage import TimeframeStage
from topology.market import Calendar, Candle
from topology.market.candle import BROKER, PARTIAL
from topology.market.times import IST
from topology.simulator import Walk, catalogue

DAY = date(2022, 11, 22)
SHORT_DAYS = Calendar.parse(
    msgspec.json.encode(
        {
            "name": "half an hour a day", "checked": "2022-11-01", "first_day": "2022-09-01", "last_day": "2022-11-30",
            "weekdays": ["Mon", "Tue", "Wed", "Thu", "Fri"],
            "regular": [
                {"since": "2022-09-01", "classes": ["index", "equity"], "sessions": ["09:15-09:45"], "source": "test"}
            ],
            "holidays": [{"source": "test", "days": {"2022-11-23": "the day after"}}],
        }
    ).decode()
)  # fmt: skip
TIMEFRAMES = {60: ["SMA:20", "EMA:9"], 300: ["SMA:20"]}
BEFORE = {60: 250, 300: 250}  # candles that are asked for
Key = tuple[str, int, int]


def at(clock: str) -> int:
    return indian_ms(DAY, clock)


class Life(World):
    """A world in which the feed fetches the master as its role does."""

    masters: int = 0

    async def _prepared(self) -> None:
        await super()._prepared()
        path = self.folder / "instruments.db"
        wanted = [one.instrument for one in self.wanted]
        now = datetime.fromtimestamp(self.clock.ms / 1000, IST)
        await asyncio.to_thread(update, self.simulator.master_url, path, before=None, wanted=wanted, now=now)
        listings = Listings.opened(path)
        assert listings is not None
        with listings:
            self.masters += all(listings.get(instrument) is not None for instrument in wanted)


class Stages:
    """What the three stages make of the frames that a feed has written."""

    def __init__(self, frames: list[tuple[FrameContent, int | None]]) -> None:
        self.timeframes: list[TimeframeFrame] = []
        self.indicators: list[IndicatorFrame] = []
        configure = Configure(1, TIMEFRAMES, {}, SHORT_DAYS.text, 1000)
        candles, timeframes, indicators = CandleStage("log", 0), TimeframeStage("log", 0), IndicatorStage("log", 0)
        for position, (content, clock_ms) in enumerate(frames):
            frame = TickFrame(
                VERSION, "log", 1, position, clock_ms or 0, 1, [configure][position:], content.ticks,
                list(content.quotes.values()), content.gaps, content.baselines, content.history,
            )  # fmt: skip
            made = candles.apply(position, frame, live=False)
            assert not made.unusable, made.unusable
            self.timeframes.append(timeframes.apply(position, made, live=False))
            self.indicators.append(indicators.apply(position, self.timeframes[-1], live=False))

    def live(self) -> dict[Key, Candle]:
        return {_key(candle): candle for frame in self.timeframes for candle in frame.rows}

    def told(self, revision: int) -> dict[Key, tuple[int, Candle]]:
        """Candles of history, with the position of the frame that brought them."""
        return {
            _key(candle): (frame.position, candle)
            for frame in self.timeframes for told in frame.history if told.revision == revision
            for candle in told.candles
        }  # fmt: skip


def _key(candle: Candle) -> Key:
    return candle.instrument, candle.timeframe_s, candle.start_ms


def prices(candle: Candle) -> tuple[int, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume


@pytest.mark.timeout(300)
async def test_the_complete_life_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Walk(catalogue(DAY)[:4], seed=11, rate=20, calendar=SHORT_DAYS)
    async with Life(
        source, at_ms=at("08:55"), mode=QUOTE, monkeypatch=monkeypatch, timeframes=TIMEFRAMES, calendar=SHORT_DAYS
    ) as world:
        world.simulator.fault(f"drop:for=70s@{DAY}T09:25:20")
        await world.skip_to(at("09:09:50"))
        assert (world.masters, world.sockets, world.events) == (0, 0, []), "nothing before its time"
        await world.go_on(60)
        assert world.prepared_ms == [at("09:10")]
        assert world.masters == 1
        assert [event.kind for event in world.events] == ["history"], "warm before it connects"
        assert world.sockets == 0
        await world.skip_to(at("09:13:50"))
        await world.go_on(60)
        assert world.sockets == 1
        assert world.of("connected")[0].at_ms == at("09:14")
        await world.go_on((at("09:45:20") - world.clock.ms) / 1000)
        assert world.sockets == 0
        await world.skip_to(at("09:52"))
        await world.skip_to(indian_ms(date(2022, 11, 24), "09:09"))
        assert world.prepared_ms == [at("09:10")], "the next day is a holiday"
        kinds = [event.kind for event in world.events if event.kind != "doubt"]
        assert kinds[:3] == ["history", "connected", "gap"]
        assert kinds[-1] in ("day", "history")
        stages = Stages(world.written.frames)
        check(stages, source, world)


def check(stages: Stages, source: Walk, world: World) -> None:
    live, warm, repaired = stages.live(), stages.told(0), stages.told(1)
    names = [str(one.instrument) for one in world.wanted]
    truth = {
        (name, candle.start_ms): candle
        for index, name in enumerate(one.instrument for one in source.listings)
        for candle in source.candles(index, indian_ms(date(2022, 9, 1), "09:15"), at("09:45"))
    }
    # Warm-up: as many candles as were asked for, or all that there are, each the broker's, none of them of this day.
    for name in names:
        for timeframe_s, count in BEFORE.items():
            told = [candle for key, (_, candle) in warm.items() if key[:2] == (name, timeframe_s)]
            assert len(told) >= count
            assert {candle.marks for candle in told} == {BROKER}
            assert max(candle.start_ms for candle in told) < at("09:15")
    # The gap: its candles said that they are partial, and were corrected by what the exchange had.
    gap = next(event for event in world.of("gap") if event.from_ms and event.from_ms > at("09:20"))
    assert gap.from_ms is not None
    assert gap.to_ms is not None
    for name in names:
        for start_ms in (at("09:25"), at("09:26")):
            key = name, 60, start_ms
            assert key not in live or live[key].marks & PARTIAL
            position, candle = repaired[key]
            assert prices(candle) == prices(truth[name, start_ms])
            assert candle.marks == BROKER
            assert stages.timeframes[position].clock_ms > start_ms + 60_000
        assert (name, 300, at("09:25")) in repaired
    partial = {key for key, candle in live.items() if candle.marks & PARTIAL}
    assert partial <= repaired.keys(), "whatever is partial is corrected"
    # Values: ready with the first candle, as known then before the repair, and of the corrected closes after it.
    for name in names:
        for timeframe_s, specs in TIMEFRAMES.items():
            for spec in specs:
                check_values(stages, name, timeframe_s, spec)


def check_values(stages: Stages, name: str, timeframe_s: int, spec: str) -> None:
    """Replay by lists: closes by start, corrected when the log says so, and the indicator over all each time."""
    closes: dict[int, int] = {}
    published = 0
    smoothed = None
    for frame, values in zip(stages.timeframes, stages.indicators, strict=True):
        found = {
            value.start_ms: value.value for value in values.rows
            if (value.instrument, value.timeframe_s, value.name) == (name, timeframe_s, spec.replace(":", "_"))
        }  # fmt: skip
        for candle in frame.rows:
            if (candle.instrument, candle.timeframe_s) == (name, timeframe_s):
                closes[candle.start_ms] = candle.close
                kept = [closes[start_ms] for start_ms in sorted(closes)]
                smoothed = indicator(spec, kept)[-1]
                assert found.pop(candle.start_ms) == pytest.approx(smoothed, rel=1e-9)
                published += 1
        assert found == {}
        for told in frame.history:
            if (told.instrument, told.timeframe_s) == (name, timeframe_s):
                closes |= {candle.start_ms: candle.close for candle in told.candles}
    assert published == 1800 // timeframe_s
    assert smoothed is not None

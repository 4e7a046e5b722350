"""The broker's history through the feed, with the broker's client, against the simulated broker."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import pytest

from tests.reference.brute_force import indian_ms
from tests.support.played_day import NSE, World
from topology.angel.login import BrokerLogin
from topology.feeds.angel.backfill_queue import BackfillQueue
from topology.feeds.angel.packets import QUOTE
from topology.log.frames import Warmup
from topology.market.candle import BROKER
from topology.market.history import candle_interval
from topology.simulator import Walk, catalogue

DAY = date(2022, 11, 22)
TIMEFRAMES = {60: ["SMA:200", "EMA:9"], 300: ["SMA:20"], 7: ["SMA:20"]}


def at(clock: str, day: int = 22) -> int:
    return indian_ms(date(2022, 11, day), clock)


def world(
    monkeypatch: pytest.MonkeyPatch,
    at_ms: int,
    *,
    instruments: int = 3,
    timeframes: dict[int, list[str]] = TIMEFRAMES,
) -> World:
    source = Walk(catalogue(DAY)[:instruments], seed=7, rate=10, calendar=NSE)
    return World(source, at_ms=at_ms, mode=QUOTE, monkeypatch=monkeypatch, timeframes=timeframes)


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count logins and logouts."""
    counts: Counter[str] = Counter()
    for name in ("login", "logout"):
        work = getattr(BrokerLogin, name)

        async def call(session: BrokerLogin, name: str = name, work: Any = work) -> Any:
            counts[name] += 1
            return await work(session)

        monkeypatch.setattr(BrokerLogin, name, call)
    return counts


async def test_what_indicators_need_is_there_before_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch, at("09:09:50")) as played:
        await played.go_on(60)
        found = {(one.instrument, one.timeframe_s): one for one in played.written.history}
        assert found.keys() == {(str(one.instrument), each) for one in played.wanted for each in (60, 300)}
        assert len(found) == len(played.written.history)
        for (_, timeframe_s), told in found.items():
            assert len(told.candles) >= (600 if timeframe_s == 60 else 250)
            assert told.revision == 0
            assert all(candle.marks == BROKER for candle in told.candles)
            last = candle_interval(NSE, "equity", timeframe_s, told.candles[-1].start_ms)
            assert last is not None
            assert last.to_ms == at("15:30", 21)
        assert [event.kind for event in played.events] == ["history"]


@pytest.mark.parametrize("answer", ["403", "AB1021"])
async def test_a_session_that_ends_and_a_limit_in_the_middle_cost_only_time(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    logins = counted(monkeypatch)
    async with world(monkeypatch, at("09:09"), instruments=12) as played:
        played.simulator.fault(f"expire-session@{DAY}T09:10:02")
        played.simulator.fault(f"rate-limit:for=20s,answer={answer}@{DAY}T09:10:04")
        await played.go_on(110)
        wanted = {(str(one.instrument), each) for one in played.wanted for each in (60, 300)}
        assert Counter((told.instrument, told.timeframe_s) for told in played.written.history) == Counter(wanted)
        assert logins == {"login": 2}
        assert [event.kind for event in played.events] == ["history"]


async def test_a_request_outside_of_the_hours_logs_in_brings_and_logs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    async with world(monkeypatch, at("20:00")) as played:
        await played.go_on(30)
        assert (calls, played.written.history) == ({}, []), "until the next open there is time"
        played.history.ask(Warmup(7, [str(played.wanted[0].instrument)], reset=True))
        await played.go_on(30)
        assert calls == {"login": 1, "logout": 1}
        resets = [(told.instrument, told.timeframe_s) for told in played.written.history if told.reset]
        assert resets == [(str(played.wanted[0].instrument), each) for each in (60, 300)]
        assert [event.kind for event in played.events] == ["history", "history", "warmed"]
        assert played.prepared_ms == [], "no day has begun"


async def test_a_request_just_before_the_day_does_not_delay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch, at("09:09:50"), instruments=60, timeframes={60: []}) as played:
        played.history.ask(Warmup(7, [], reset=False))
        await played.go_on(60)
        assert len(played.written.history) == 60
        (prepared_ms,) = played.prepared_ms
        assert prepared_ms < at("09:10:05")


async def test_what_is_missed_is_on_disk_while_the_broker_lets_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch, at("09:13")) as played:
        played.simulator.fault(f"rate-limit:for=10m,answer=403@{DAY}T09:15:10")
        played.simulator.fault(f"drop:for=12s@{DAY}T09:15:20")
        await played.go_on((at("09:18") - played.clock.ms) / 1000)
        assert [told for told in played.written.history if told.revision == 1] == []
        kept = BackfillQueue(played.folder / "history.json", "played")
        assert len(kept) == 3
        assert kept._content == played.history._queue._content

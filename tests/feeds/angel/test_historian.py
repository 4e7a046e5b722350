"""The broker's history on its way into the log, with the broker's client, against the simulated broker."""

from __future__ import annotations

from datetime import date

import pytest

from tests.feeds.angel.played import NSE, World
from tests.reference.brute_force import indian_ms
from topology.feeds.angel.packets import QUOTE
from topology.market.candle import BROKER
from topology.market.history import bounds
from topology.simulator import Walk, catalogue

DAY = date(2022, 11, 22)
OPEN_MS = indian_ms(DAY, "09:15")
TIMEFRAMES = {60: ["SMA:200", "EMA:9"], 300: ["SMA:20"], 7: ["SMA:20"]}


def walk(instruments: int, rate: float) -> Walk:
    return Walk(catalogue(DAY)[:instruments], seed=7, rate=rate, calendar=NSE)


async def test_what_indicators_need_is_there_before_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(
        walk(3, 10), at_ms=OPEN_MS - 310_000, mode=QUOTE, monkeypatch=monkeypatch, timeframes=TIMEFRAMES
    ) as world:
        await world.go_on(60)
        found = {(one.instrument, one.timeframe_s): one for one in world.written.history}
        assert found.keys() == {(str(one.instrument), each) for one in world.wanted for each in (60, 300)}
        assert len(found) == len(world.written.history)
        for (_, timeframe_s), told in found.items():
            assert len(told.candles) >= (600 if timeframe_s == 60 else 250)
            assert told.revision == 0
            assert all(candle.marks == BROKER for candle in told.candles)
            last = bounds(NSE, "equity", timeframe_s, told.candles[-1].start_ms)
            assert last is not None
            assert last.to_ms == indian_ms(date(2022, 11, 21), "15:30")
        assert [event.kind for event in world.events] == ["history"]

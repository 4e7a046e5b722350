"""The broker's feed through its days, with the broker's client, against the simulated broker."""

from __future__ import annotations

import asyncio
from datetime import date
from random import Random
from typing import Any

import pytest
from aiohttp import web

from tests.reference.brute_force import indian_ms
from tests.support.played_day import (
    DAY,
    FAULTS,
    NSE,
    OPEN_MS,
    World,
    assert_volume_is_whole,
    by_second,
    covers,
    walk,
    what_was_traded,
)
from topology.feeds.angel.packets import QUOTE, SNAP_QUOTE
from topology.market import CalendarError
from topology.market.candle import PARTIAL
from topology.simulator import Walk, catalogue, stream
from topology.simulator.session import Sessions


def at_random(minutes: int, *, seed: int) -> list[str]:
    """Give every fault a moment of its own, as far apart as it goes, in an order of chance."""
    choose, faults = Random(seed), list(FAULTS)
    choose.shuffle(faults)
    apart_s = (minutes - 2) * 60 // len(faults)
    begin_s = [60 + number * apart_s + choose.randrange(apart_s // 3) for number in range(len(faults))]
    return [
        f"{fault}@{DAY}T{9 + (900 + at_s) // 3600:02d}:{(900 + at_s) % 3600 // 60:02d}:{at_s % 60:02d}"
        for fault, at_s in zip(faults, begin_s, strict=True)
    ]


async def played(monkeypatch: pytest.MonkeyPatch, faults: list[str], *, minutes: int, rate: float) -> World:
    """Play the first minutes of a day with 200 instruments; return how it was."""
    async with World(walk(200, rate), at_ms=OPEN_MS - 70_000, mode=SNAP_QUOTE, monkeypatch=monkeypatch) as world:
        for fault in faults:
            world.simulator.fault(fault)
        await world.go_on(70 + minutes * 60)
        return world


@pytest.mark.parametrize(
    ("minutes", "rate"),
    [
        pytest.param(20, 60.0, marks=pytest.mark.timeout(600)),
        pytest.param(375, 100.0, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)]),
    ],
)
async def test_faults_change_no_candle_but_those_in_gaps_that_are_reported(
    monkeypatch: pytest.MonkeyPatch, minutes: int, rate: float
) -> None:
    undisturbed = await played(monkeypatch, [], minutes=minutes, rate=rate)
    disturbed = await played(monkeypatch, at_random(minutes, seed=20221122), minutes=minutes, rate=rate)
    wanted, found = by_second(undisturbed.written.candles), by_second(disturbed.written.candles)
    gaps = disturbed.of("gap") + disturbed.of("doubt")
    different = [
        key for key in wanted.keys() | found.keys()
        if what_was_traded(wanted.get(key)) != what_was_traded(found.get(key))
    ]  # fmt: skip
    assert len(wanted) > minutes * 60 * rate / 4
    assert 0 < len(different) < len(wanted) / 2
    assert [key for key in different if not any(covers(gap, key[1]) for gap in gaps)] == []
    assert undisturbed.written.late == 0
    assert disturbed.written.clocks_ms == sorted(disturbed.written.clocks_ms)
    whole = [key for key in different if key in found and not found[key].marks & PARTIAL]
    assert len(whole) < len(different) / 20, "a candle that is wrong says that it is partial, but for a few"
    for world in (undisturbed, disturbed):
        assert_volume_is_whole(world)


async def test_a_quiet_morning(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(walk(5, 10), at_ms=indian_ms(DAY, "09:09:50"), mode=QUOTE, monkeypatch=monkeypatch) as world:
        await world.go_on(400)
        assert [event.kind for event in world.events] == ["connected", "gap", "resumed"]
        assert world.events[0].at_ms == OPEN_MS - 60_000
        assert world.written.late == 0
        assert min(candle.start_ms for candle in world.written.candles) >= OPEN_MS
        assert len(world.written.candles) > 200
        assert not any(candle.marks & PARTIAL for candle in world.written.candles)


async def test_a_broker_that_refuses_all_it_has_let_in_is_not_asked_to_at_each_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logins: list[int] = []
    login = Sessions.login

    def counted(sessions: Sessions, *who: str, now_ms: int) -> Any:
        logins.append(now_ms)
        return login(sessions, *who, now_ms=now_ms)

    monkeypatch.setattr(Sessions, "login", counted)
    monkeypatch.setattr(stream.MarketStreams, "_refused", lambda *_: web.Response(status=403))
    async with World(walk(3, 3), at_ms=OPEN_MS, mode=QUOTE, monkeypatch=monkeypatch) as world:
        await world.go_on(3600, step_ms=1000)
        refused = world.of("disconnected")
    assert {event.detail for event in refused} == {"refused with HTTP 403"}
    assert len(refused) > 55
    assert 10 < len(logins) < 20


async def test_what_is_prepared_delays_nothing_and_is_given_up_when_it_is_time_to_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, given_up = list[int](), list[int]()

    async def prepare(world: World) -> None:
        begun.append(world.clock.ms)
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(world.clock.ms)

    monkeypatch.setattr(World, "_prepared", prepare)
    async with World(walk(3, 3), at_ms=OPEN_MS - 310_000, mode=QUOTE, monkeypatch=monkeypatch) as world:
        await world.go_on(11)
        assert begun == [OPEN_MS - 300_000]
        assert len(world.simulator._sessions._jwts) == 1, "it is logged in"
        await world.go_on(250)
        assert given_up == [event.at_ms for event in world.of("connected")] == [OPEN_MS - 60_000]


async def test_it_follows_other_classes_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    day = date(2026, 8, 3)
    source = Walk(catalogue(day)[1:3], seed=7, rate=3, calendar=NSE)
    (first, *_) = [listing.instrument for listing in source.listings]
    async with World(source, at_ms=indian_ms(day, "15:28"), mode=QUOTE, monkeypatch=monkeypatch) as world:
        await world.go_on(30)
        with pytest.raises(CalendarError, match="'metal' is not covered"):
            world.feed.follow(NSE, {first: "metal"})
        world.feed.follow(NSE, {first: "derivative"})
        await world.skip_to(indian_ms(day, "15:35"))
        assert world.sockets == 1, "derivatives trade until 15:40"
        await world.skip_to(indian_ms(day, "15:41"))
        assert world.sockets == 0


async def test_a_day_and_the_next_one_after_a_holiday(monkeypatch: pytest.MonkeyPatch) -> None:
    begin_ms = indian_ms(date(2022, 11, 7), "15:24")
    source = Walk(catalogue(DAY)[:3], seed=7, rate=3, calendar=NSE)
    async with World(source, at_ms=begin_ms, mode=QUOTE, monkeypatch=monkeypatch) as world:
        await world.go_on(8 * 60)  # over the close
        first = by_second(world.written.candles)
        assert max(second for _, second in first) == indian_ms(date(2022, 11, 7), "15:29:59") // 1000
        assert [event.kind for event in world.events][-1] == "day"
        assert world.sockets == 0
        await world.skip_to(indian_ms(date(2022, 11, 8), "12:00"))  # the holiday
        assert len(world.prepared_ms) == 1
        await world.skip_to(indian_ms(date(2022, 11, 9), "09:09:50"))
        await world.go_on(6 * 60)
        assert world.prepared_ms[1:] == [indian_ms(date(2022, 11, 9), "09:10")]
        opened = [event.at_ms for event in world.of("connected")]
        assert opened[1:] == [indian_ms(date(2022, 11, 9), "09:14")]
        assert_volume_is_whole(world)
        second = by_second(world.written.candles).keys() - first.keys()
        assert min(at_s for _, at_s in second) == indian_ms(date(2022, 11, 9), "09:15") // 1000
        assert not any(by_second(world.written.candles)[key].marks & PARTIAL for key in second)
        for _, gap_from_ms, gap_to_ms in [(event.kind, event.from_ms, event.to_ms) for event in world.of("gap")][1:]:
            assert gap_to_ms is not None
            assert gap_from_ms is not None
            assert gap_from_ms >= indian_ms(date(2022, 11, 7), "15:30"), "nothing of the last candle is missing"
            assert gap_to_ms - gap_from_ms > 36 * 3_600_000, "only the nights lie between"

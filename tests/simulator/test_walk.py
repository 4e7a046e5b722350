from __future__ import annotations

from datetime import date
from itertools import islice, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.simulator_client import ALWAYS, NSE, OPEN_MS, at
from topology.market import SecondCandles, Tick, TimeframeCandles
from topology.market.times import last_midnight_ms
from topology.simulator import Walk, catalogue
from topology.simulator.quotes import InstrumentDay
from topology.simulator.source import MINUTE_MS, Print, minute_candles

LISTINGS = catalogue(date(2022, 11, 22))
CLOSE_MS = at("2022-11-22 15:30")
RATES = (0.02, 0.1, 0.4, 3.0)

walks = st.builds(
    lambda seed, rate: Walk(LISTINGS[:3], seed=seed, rate=rate, calendar=NSE), st.integers(0, 9), st.sampled_from(RATES)
)
minutes = st.integers(0, 374).map(lambda minute: OPEN_MS + minute * MINUTE_MS)


def played(walk: Walk, after_ms: int, until_ms: int) -> list[Print]:
    return list(takewhile(lambda print_: print_.time_ms <= until_ms, walk.play(after_ms)))


@given(walks, st.integers(0, 2), minutes)
@settings(max_examples=60, deadline=None)
def test_candles_are_those_of_the_prints(walk: Walk, place: int, from_ms: int) -> None:
    until_ms = from_ms + 5 * MINUTE_MS
    instrument = LISTINGS[place].instrument
    prints = list(walk.prints(place, from_ms, until_ms))
    assert walk.candles(place, from_ms, until_ms) == minute_candles(instrument, prints)
    assert prints == [p for p in played(walk, from_ms - 1, until_ms - 1) if p.listing_index == place]


def test_candles_are_those_that_the_pipeline_makes_of_the_prints() -> None:
    walk = Walk(LISTINGS[:3], seed=3, rate=2, calendar=NSE)
    ticks, volumes = [], dict[int, int]()
    for time_ms, place, price, quantity, *_ in played(walk, last_midnight_ms(OPEN_MS), OPEN_MS + 20 * MINUTE_MS - 1):
        volumes[place] = volumes.get(place, 0) + quantity
        ticks.append(Tick(LISTINGS[place].instrument, price, time_ms, volumes[place] if place else None))
    clock_ms = OPEN_MS + 20 * MINUTE_MS + 2_000
    seconds = SecondCandles(NSE).apply(ticks, clock_ms)[0]
    made = TimeframeCandles(NSE, [60]).apply(seconds, clock_ms)
    for place, listing in enumerate(LISTINGS[:3]):
        wanted = walk.candles(place, OPEN_MS, OPEN_MS + 20 * MINUTE_MS)
        assert [candle for candle in made if candle.instrument == listing.instrument] == wanted
        assert len(wanted) == 20


@given(walks, minutes, st.integers(0, 3 * MINUTE_MS))
@settings(max_examples=40, deadline=None)
def test_where_it_starts_makes_no_difference(walk: Walk, from_ms: int, later_ms: int) -> None:
    until_ms = from_ms + 5 * MINUTE_MS
    whole = played(walk, from_ms, until_ms)
    assert played(walk, from_ms + later_ms, until_ms) == [p for p in whole if p.time_ms > from_ms + later_ms]
    assert whole == sorted(whole, key=lambda p: (p.time_ms, p.listing_index))


@given(walks, st.integers(0, 2), st.integers(0, 86_400_000).map(lambda after: at("2022-11-21 12:00") + after))
@settings(max_examples=40, deadline=None)
def test_the_last_print_is_the_newest_before(walk: Walk, place: int, before_ms: int) -> None:
    last = walk.last(place, before_ms)
    assert last is not None
    assert last.time_ms < before_ms
    assert list(walk.prints(place, last.time_ms, before_ms))[-1] == last
    assert len(list(walk.prints(place, last.time_ms, before_ms))) == 1


@given(walks, st.integers(0, 2), minutes, st.integers(0, 3 * MINUTE_MS))
@settings(max_examples=40, deadline=None)
def test_a_state_that_is_looked_up_is_the_one_that_is_played(
    walk: Walk, place: int, time_ms: int, more_ms: int
) -> None:
    state = InstrumentDay.at(walk, place, time_ms)
    for print_ in walk.prints(place, time_ms + 1, time_ms + more_ms + 1):
        state.apply(print_, 0)
    found = InstrumentDay.at(walk, place, time_ms + more_ms)
    assert found.packet(3) == state.packet(3)


def test_the_seed_is_what_decides() -> None:
    one, same, other = (Walk(LISTINGS[:3], seed=seed, rate=3, calendar=NSE) for seed in (1, 1, 2))
    first = list(islice(one.play(OPEN_MS), 100))
    assert first == list(islice(same.play(OPEN_MS), 100))
    assert first != list(islice(other.play(OPEN_MS), 100))


def test_the_rate_is_that_of_all_together() -> None:
    for rate in (0.7, 5, 333):
        walk = Walk(LISTINGS[:50], seed=1, rate=rate, calendar=ALWAYS)
        assert len(played(walk, OPEN_MS, OPEN_MS + 10 * MINUTE_MS)) == pytest.approx(600 * rate, rel=0.1)


def test_prints_outside_of_the_session_are_few_and_trade_nothing() -> None:
    walk = Walk(LISTINGS[:2], seed=1, rate=4, calendar=NSE)
    quiet = [p for p in played(walk, last_midnight_ms(OPEN_MS), CLOSE_MS + 6 * 3_600_000) if not p.trading]
    assert {p.quantity for p in quiet} == {0}
    assert {p.time_ms // MINUTE_MS - OPEN_MS // MINUTE_MS for p in quiet} == {*range(-15, 0), *range(375, 385)}
    assert len(quiet) == 2 * 25


def test_on_a_holiday_nothing_is_printed() -> None:
    walk = Walk(LISTINGS[:2], seed=1, rate=4, calendar=NSE)
    saturday, monday = at("2022-11-26 00:00"), at("2022-11-28 09:00")
    assert next(walk.play(saturday)).time_ms >= monday
    assert walk.candles(1, saturday, monday) == []


def test_the_walk_ends_with_its_calendar() -> None:
    walk = Walk(LISTINGS[:2], seed=1, rate=4, calendar=NSE)
    prints = list(walk.play(at("2026-12-31 15:39")))
    assert prints[-1].time_ms < at("2026-12-31 15:41")
    assert walk.last(0, at("2022-01-01 00:00")) is None


def test_prices_and_volumes_are_plausible() -> None:
    walk = Walk(LISTINGS[:7], seed=1, rate=14, calendar=NSE)
    for place, listing in enumerate(LISTINGS[:7]):
        day = walk.candles(place, OPEN_MS, CLOSE_MS)
        prices = [price for candle in day for price in (candle.low, candle.high)]
        assert len(day) == 375
        assert 0.9 * listing.start_price < min(prices) < max(prices) < 1.1 * listing.start_price
        assert all(price % 5 == 0 for price in prices)
        assert max(prices) - min(prices) > 0.002 * listing.start_price
        volume = sum(candle.volume for candle in day)
        assert (volume == 0) if place == 0 else (100_000 < volume < 100_000_000)

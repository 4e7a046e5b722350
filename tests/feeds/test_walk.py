from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.feeds.walk import DEMONSTRATION, STEP, Listing, RandomWalk
from topology.market.calendar import indian_day
from topology.market.instruments import Instrument, default_class
from topology.market.ticks import Tick

NOON_MS = 1_669_098_600_000
MIDNIGHT_MS = 1_669_141_800_000  # 2022-11-23 00:00 in India

seeds = st.integers(0, 2**32)


def walked(seed: int, times_ms: list[int]) -> list[list[Tick]]:
    walk = RandomWalk(DEMONSTRATION, seed)
    return [walk.ticks(now_ms) for now_ms in times_ms]


@given(seeds, st.lists(st.integers(0, 2 * 86_400_000).map(lambda after_ms: NOON_MS + after_ms), max_size=20))
def test_the_same_seed_and_times_give_the_same_ticks(seed: int, times_ms: list[int]) -> None:
    assert walked(seed, times_ms) == walked(seed, times_ms)


@given(seeds)
def test_steps_are_small_and_prices_stay_near_where_they_started(seed: int) -> None:
    steps = walked(seed, [NOON_MS + 1000 * n for n in range(200)])
    for column, listing in zip(zip(*steps, strict=True), DEMONSTRATION, strict=True):
        largest_step = 2.1 * STEP * listing.start_price + 5  # the step, coming back, and rounding to 5 paise
        for before, after in pairwise(column):
            assert abs(after.price - before.price) <= largest_step
        assert all(abs(tick.price / listing.start_price - 1) <= 0.06 for tick in column)
        assert all(tick.price % 5 == 0 for tick in column)


@given(seeds)
def test_day_volumes_add_up_the_quantities_of_the_indian_day(seed: int) -> None:
    steps = walked(seed, [MIDNIGHT_MS + 1000 * n for n in range(-20, 20)])
    for column, listing in zip(zip(*steps, strict=True), DEMONSTRATION, strict=True):
        if not listing.traded:
            assert all(tick.day_volume is None and tick.quantity is None for tick in column)
            continue
        for day in {indian_day(tick.time_ms) for tick in column}:
            total = 0
            for tick in column:
                if indian_day(tick.time_ms) == day:
                    total += tick.quantity or 0
                    assert tick.quantity
                    assert tick.day_volume == total


def test_other_seeds_walk_other_ways() -> None:
    times_ms = [NOON_MS + 1000 * n for n in range(20)]
    assert walked(1, times_ms) != walked(2, times_ms)


@pytest.mark.parametrize("listing", DEMONSTRATION)
def test_the_demonstration_trades_what_is_no_index(listing: Listing) -> None:
    assert str(Instrument.parse(listing.instrument)) == listing.instrument
    assert (default_class(listing.instrument) == "equity") is listing.traded
    assert listing.start_price > 0


def test_every_instrument_ticks_once_a_step_at_the_time_of_the_step() -> None:
    (ticks,) = walked(7, [NOON_MS])
    assert [tick.instrument for tick in ticks] == [listing.instrument for listing in DEMONSTRATION]
    assert {tick.time_ms for tick in ticks} == {NOON_MS}

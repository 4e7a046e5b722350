from __future__ import annotations

from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.depth_levels import levels
from tests.support.simulator_client import OPEN_MS, at
from topology.feeds.angel.packets import LTP, QUOTE, SNAP_QUOTE, LtpPacket, QuotePacket, SnapQuotePacket
from topology.simulator import catalogue
from topology.simulator.quotes import InstrumentDay
from topology.simulator.source import Print

LISTED = {listing.symbol: listing for listing in catalogue(date(2022, 11, 22))}
prices = st.lists(st.integers(1, 1_000_000).map(lambda steps: 5 * steps), min_size=1, max_size=20)


def after(symbol: str, prices: list[int], *, time_ms: int = OPEN_MS, quantity: int = 3) -> InstrumentDay:
    state = InstrumentDay(LISTED[symbol])
    for number, price in enumerate(prices, 1):
        state.apply(Print(time_ms + number, 0, price, quantity, True), number)
    return state


@given(prices)
def test_the_day_is_that_of_its_prints(prices: list[int]) -> None:
    state = after("RELIANCE-EQ", prices)
    assert (state.open, state.high, state.low, state.price) == (prices[0], max(prices), min(prices), prices[-1])
    assert state.day_volume == 3 * len(prices)
    assert state.low <= state.average_price <= state.high


@given(prices)
def test_each_mode_has_all_that_the_one_below_has(prices: list[int]) -> None:
    state = after("RELIANCE-EQ", prices)
    ltp, quote, snap = (state.packet(mode) for mode in (LTP, QUOTE, SNAP_QUOTE))
    assert isinstance(ltp, LtpPacket)
    assert isinstance(quote, QuotePacket)
    assert isinstance(snap, SnapQuotePacket)
    assert ltp[1:] == quote[1 : len(ltp)]
    assert quote[1:] == snap[1 : len(quote)]


@given(prices)
def test_depth_lies_around_the_price_the_best_first(prices: list[int]) -> None:
    snap = after("RELIANCE-EQ", prices).packet(SNAP_QUOTE)
    assert isinstance(snap, SnapQuotePacket)
    bids, asks = levels(snap)
    assert len(bids) == len(asks) == 5
    assert all(one.price >= other.price for one, other in pairwise(bids))
    assert all(one.price < other.price for one, other in pairwise(asks))
    assert bids[0].price == snap.price < asks[0].price
    assert all(level.quantity > 0 for level in bids + asks)


def test_an_index_has_neither_volume_nor_sequence_nor_depth() -> None:
    state = after("Nifty 50", [1_800_000], quantity=0)
    snap = state.packet(SNAP_QUOTE)
    assert isinstance(snap, SnapQuotePacket)
    assert (snap.sequence, snap.quantity, snap.day_volume, snap.average_price) == (0, 0, 0, 0)
    assert {level.quantity for side in levels(snap) for level in side} == {0}
    assert state.circuits == (0, 0)


def test_only_a_derivative_has_open_interest() -> None:
    assert after("RELIANCE29NOV22FUT", [140_500]).open_interest > 0
    assert after("RELIANCE-EQ", [140_500]).open_interest == 0


def test_before_the_open_the_day_has_no_prices_yet() -> None:
    state = after("RELIANCE-EQ", [140_000])
    state.apply(Print(at("2022-11-23 09:05"), 0, 141_000, 0, False), 9)
    assert (state.close, state.price, state.open, state.high, state.low) == (140_000, 141_000, 0, 0, 0)
    state.apply(Print(at("2022-11-23 09:15"), 0, 142_000, 0, True, outside=70), 10)
    assert (state.open, state.high, state.low, state.day_volume, state.quantity) == (142_000, 142_000, 142_000, 70, 0)

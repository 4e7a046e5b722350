"""What packets tell: ticks where something was traded, quotes, baselines of old snapshots; never a repeat twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.feeds.angel.packets import SNAP_QUOTE, DepthLevel, LtpPacket, QuotePacket, SnapQuotePacket, depth_of
from topology.feeds.angel.translator import AHEAD_MS, NOTHING, OLD_MS, Translation, Translator
from topology.market import Baseline, Tick
from topology.market import Quote as MarketQuote

STOCK, INDEX = "NSE:2885", "NSE:99926000"
NOW_MS = 1_669_088_700_000


def quote(time_ms: int = NOW_MS, price: int = 100, volume: int = 1000, **other: Any) -> QuotePacket:
    fields = {"sequence": volume, "quantity": 5, "average_price": 99, "buy_quantity": 0.0, "sell_quantity": 0.0}
    day = {"open": 95, "high": 110, "low": 90, "close": 94}
    token = other.pop("token", "2885").encode().ljust(25, b"\0")
    return QuotePacket(**{
        "mode": 2, "exchange": 1, "token": token, "exchange_ms": time_ms, "price": price, "day_volume": volume,
        **fields, **day, **other,
    })  # fmt: skip


def index(time_ms: int = NOW_MS, price: int = 100, **other: Any) -> QuotePacket:
    return quote(time_ms, price, 0, **{"token": "99926000", "sequence": 0, "quantity": 0, **other})


def snap(base: QuotePacket, depth: list[DepthLevel], **other: Any) -> SnapQuotePacket:
    fields = {
        "last_traded_s": NOW_MS // 1000, "open_interest": 7, "open_interest_change": 0, "depth": depth_of(depth),
        "upper_circuit": 120, "lower_circuit": 80, "year_high": 150, "year_low": 50,
    }  # fmt: skip
    return SnapQuotePacket(**{**base._asdict(), "mode": SNAP_QUOTE, **fields, **other})


@pytest.fixture
def translator() -> Translator:
    return Translator([STOCK, INDEX])


def test_a_packet_is_a_tick_with_volume_and_quantity_and_a_quote(translator: Translator) -> None:
    told = translator.translate(quote(), NOW_MS + 30)
    assert told == Translation(
        Tick(STOCK, 100, NOW_MS, 1000, 5),
        MarketQuote(STOCK, NOW_MS, 100, 1000, 95, 110, 90, 94, 99),
    )


def test_a_packet_of_mode_one_is_a_tick_without_volume(translator: Translator) -> None:
    packet = LtpPacket(1, 1, b"2885".ljust(25, b"\0"), 1, NOW_MS, 100)
    assert translator.translate(packet, NOW_MS) == Translation(Tick(STOCK, 100, NOW_MS))


def test_the_largest_packet_tells_the_best_prices_by_their_flags(translator: Translator) -> None:
    depth = [
        DepthLevel(1, 10, 98, 1),
        DepthLevel(1, 20, 99, 1),
        DepthLevel(1, 0, 105, 0),
        DepthLevel(1, 1, 0, 1),
        DepthLevel(1, 5, 97, 1),
    ]
    depth += [
        DepthLevel(0, 30, 103, 1),
        DepthLevel(0, 40, 102, 1),
        DepthLevel(0, 0, 90, 0),
        DepthLevel(0, 0, 0, 0),
        DepthLevel(0, 1, 104, 1),
    ]
    told = translator.translate(snap(quote(), depth), NOW_MS).quote
    assert told is not None
    assert (told.bid, told.bid_quantity, told.ask, told.ask_quantity) == (99, 20, 102, 40)
    assert (told.open_interest, told.upper_circuit, told.lower_circuit, told.last_traded_ms) == (7, 120, 80, NOW_MS)
    assert translator.counts["crossed"] == 0
    translator.translate(
        snap(quote(volume=1001), [DepthLevel(1, 1, 105, 1)] * 5 + [DepthLevel(0, 1, 100, 1)] * 5), NOW_MS
    )
    assert translator.counts["crossed"] == 1


def test_a_packet_without_a_trade_refreshes_the_quote_only(translator: Translator) -> None:
    translator.translate(quote(), NOW_MS)
    told = translator.translate(quote(NOW_MS + 500, sequence=7), NOW_MS + 500)
    assert told.tick is None
    assert told.quote is not None
    later = snap(quote(NOW_MS + 900, sequence=8), [DepthLevel(0, 0, 0, 0)] * 10, last_traded_s=NOW_MS // 1000 + 1)
    assert translator.translate(later, NOW_MS + 900).tick is not None


def test_every_packet_of_an_index_is_a_tick_and_it_has_no_volume(translator: Translator) -> None:
    told = [translator.translate(index(NOW_MS + 1000 * n), NOW_MS + 1000 * n).tick for n in range(3)]
    assert told == [Tick(INDEX, 100, NOW_MS + 1000 * n) for n in range(3)]


def test_a_repeat_is_nothing_even_after_others(translator: Translator) -> None:
    packets = [quote(NOW_MS + n, 100 + n, 1000 + n) for n in range(4)]
    told = [translator.translate(packet, NOW_MS + 5) for packet in [*packets, *packets]]
    assert [one.tick is not None for one in told] == [True] * 4 + [False] * 4
    assert translator.counts["repeat"] == 4


def test_a_snapshot_of_before_the_subscription_is_no_tick_but_tells_price_and_volume(translator: Translator) -> None:
    old_ms = NOW_MS - 1
    translator.subscribed(NOW_MS)
    told = translator.translate(quote(old_ms), NOW_MS)
    assert told == Translation(
        None, MarketQuote(STOCK, old_ms, 100, 1000, 95, 110, 90, 94, 99), Baseline(STOCK, old_ms, 1000)
    )
    assert translator.translate(index(old_ms), NOW_MS).baseline is None
    assert translator.translate(quote(NOW_MS - 2, volume=900), NOW_MS).tick is not None
    translator.subscribed(NOW_MS + 60_000)
    assert translator.translate(quote(old_ms, volume=1200), NOW_MS + 60_000).baseline == Baseline(STOCK, old_ms, 1200)


def test_a_snapshot_that_tells_the_volume_again_ends_a_reset_so_that_the_next_tick_has_its_own(
    translator: Translator,
) -> None:
    translator.subscribed(NOW_MS)
    translator.translate(quote(), NOW_MS)
    assert translator.translate(quote(NOW_MS + 1, volume=3), NOW_MS + 1).suspicion == "volume_reset"
    translator.subscribed(NOW_MS + 60_000)
    old_ms = NOW_MS + 59_000
    told = translator.translate(quote(old_ms, volume=1200), NOW_MS + 60_000)
    assert told.baseline == Baseline(STOCK, old_ms, 1200)
    assert translator.translate(quote(NOW_MS + 60_001, volume=1210), NOW_MS + 60_001).baseline is None


def test_a_volume_that_catches_up_after_a_reset_and_then_jumps_back_gives_no_candle_the_jump(
    translator: Translator,
) -> None:
    told = [
        translator.translate(quote(NOW_MS + n, volume=volume), NOW_MS + n)
        for n, volume in enumerate([1000, 3, 600, 1005, 1015, 2100, 2110])
    ]
    assert [one.suspicion for one in told] == ["", "volume_reset", "volume_reset", "", "", "volume_reset", ""]
    assert [one.tick.day_volume for one in told if one.tick is not None] == [1000, None, None, 1005, 1015, 2100, 2110]
    baselines = [one.baseline.day_volume for one in told if one.baseline is not None]
    assert baselines == [1005, 2100], "what was traded meanwhile, and the jump, are no candle's"


@pytest.mark.parametrize(
    ("off_ms", "clamped"), [(-OLD_MS, False), (-OLD_MS - 1, True), (AHEAD_MS, False), (AHEAD_MS + 1, True)]
)
def test_a_time_far_from_that_of_receipt_is_replaced(translator: Translator, off_ms: int, clamped: bool) -> None:
    translator.translate(quote(NOW_MS - 100, volume=900), NOW_MS)
    tick = translator.translate(quote(NOW_MS + off_ms), NOW_MS).tick
    assert tick is not None
    assert tick.time_ms == (NOW_MS if clamped else NOW_MS + off_ms)
    assert translator.counts["clamped"] == clamped


def test_an_extreme_that_no_price_has_shown_comes_with_the_next_tick(translator: Translator) -> None:
    translator.translate(quote(), NOW_MS)
    tick = translator.translate(quote(NOW_MS + 1, 100, 1100, high=115, low=85), NOW_MS + 1).tick
    assert tick is not None
    assert (tick.high, tick.low) == (115, 85)
    at_the_high = translator.translate(quote(NOW_MS + 2, 120, 1200, high=120, low=85), NOW_MS + 2).tick
    assert at_the_high is not None
    assert (at_the_high.high, at_the_high.low) == (None, None)


def test_an_extreme_is_not_told_with_the_first_packet_after_a_subscription(translator: Translator) -> None:
    translator.translate(quote(), NOW_MS)
    translator.subscribed(NOW_MS)
    told = [translator.translate(quote(NOW_MS + n, 100, 1100 + n, high=115), NOW_MS + n).tick for n in (1, 2)]
    assert [tick and tick.high for tick in told] == [None, None]


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (quote(price=0), "no_price"),
        (quote(token="1"), "unknown_instrument"),
        (quote(exchange=99), "unknown_instrument"),
    ],
)
def test_what_cannot_be_used_is_counted(translator: Translator, packet: QuotePacket, why: str) -> None:
    assert translator.translate(packet, NOW_MS) == NOTHING
    assert translator.counts == {why: 1}


numbers = st.integers(-(2**40), 2**40)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers, numbers), max_size=10), st.booleans())
def test_whatever_the_packets_hold_what_they_tell_can_be_written(rows: list[tuple[int, ...]], deep: bool) -> None:
    translator = Translator([STOCK])
    for price, volume, high, low, time_ms, quantity in rows:
        packet: Any = quote(NOW_MS + time_ms % 20_000, price, volume, high=high, low=low, quantity=quantity)
        told = translator.translate(snap(packet, [DepthLevel(1, high, low, 1)] * 10) if deep else packet, NOW_MS)
        for one in told[:3]:
            assert one is None or type(one)(**{name: getattr(one, name) for name in one.__struct_fields__}) == one
        if told.tick is not None:
            assert told.tick.price > 0
            assert all(value is None or value >= 0 for value in (told.tick.day_volume, told.tick.quantity))
            assert all(value is None or value > 0 for value in (told.tick.high, told.tick.low))

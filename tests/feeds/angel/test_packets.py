"""The packets as the SDK reads them: the same fields, to the bit."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.depth_levels import levels
from topology.feeds.angel.packets import (
    LTP,
    QUOTE,
    SIZES,
    SNAP_QUOTE,
    TOKEN_SIZE,
    DepthLevel,
    Fields,
    Packet,
    PacketError,
    SnapQuotePacket,
    depth_of,
    pack,
    parse,
    parse_all,
    token_text,
)

with mock.patch("requests.get", side_effect=OSError("no network")):  # the SDK asks for its address at import
    from SmartApi.smartWebSocketV2 import SmartWebSocketV2

SDK: Any = SmartWebSocketV2.__new__(SmartWebSocketV2)  # its constructor makes a folder for logs
NAMES = {
    "subscription_mode": "mode", "exchange_type": "exchange", "sequence_number": "sequence",
    "exchange_timestamp": "exchange_ms", "last_traded_price": "price", "last_traded_quantity": "quantity",
    "average_traded_price": "average_price", "volume_trade_for_the_day": "day_volume",
    "total_buy_quantity": "buy_quantity", "total_sell_quantity": "sell_quantity", "open_price_of_the_day": "open",
    "high_price_of_the_day": "high", "low_price_of_the_day": "low", "closed_price": "close",
    "last_traded_timestamp": "last_traded_s", "open_interest": "open_interest",
    "open_interest_change_percentage": "open_interest_change", "upper_circuit_limit": "upper_circuit",
    "lower_circuit_limit": "lower_circuit", "52_week_high_price": "year_high", "52_week_low_price": "year_low",
}  # fmt: skip


def bodies(mode: int) -> st.SearchStrategy[bytes]:
    """Give the bytes of any packet of a mode; tokens mostly look like tokens, the rest is anything."""
    head = st.tuples(st.integers(0, 255), st.from_regex(rb"[0-9]{1,25}", fullmatch=True) | st.binary(max_size=25))
    size = SIZES[mode] - 2 - TOKEN_SIZE
    return st.tuples(head, st.binary(min_size=size, max_size=size)).map(
        lambda made: bytes([mode, made[0][0]]) + made[0][1].ljust(TOKEN_SIZE, b"\0") + made[1]
    )


def same(ours: object, theirs: object) -> bool:
    both_nan = isinstance(ours, float) and isinstance(theirs, float) and math.isnan(ours) and math.isnan(theirs)
    return both_nan or (ours == theirs and type(ours) is type(theirs))


@given(st.sampled_from([LTP, QUOTE, SNAP_QUOTE]).flatmap(bodies))
def test_every_field_is_the_one_that_the_sdk_reads(data: bytes) -> None:
    ours, theirs = parse(data), SDK._parse_binary_data(data)
    assert token_text(ours.token) == theirs.pop("token")
    assert theirs.pop("subscription_mode_val") == {LTP: "LTP", QUOTE: "QUOTE", SNAP_QUOTE: "SNAP_QUOTE"}[ours.mode]
    if isinstance(ours, SnapQuotePacket):
        buys, sells = levels(ours)
        assert [told(level) for level in buys] == theirs.pop("best_5_buy_data")
        assert [told(level) for level in sells] == theirs.pop("best_5_sell_data")
    assert set(theirs) == {name for name in NAMES if hasattr(ours, NAMES[name])}
    assert all(same(getattr(ours, NAMES[name]), value) for name, value in theirs.items())


def told(level: DepthLevel) -> dict[str, int]:
    return {"flag": level.flag, "quantity": level.quantity, "price": level.price, "no of orders": level.orders}


@given(st.sampled_from([LTP, QUOTE, SNAP_QUOTE]).flatmap(bodies))
def test_what_is_read_can_be_written(data: bytes) -> None:
    assert pack(parse(data)) == data


@given(bodies(SNAP_QUOTE))
def test_levels_are_written_as_they_are_read(data: bytes) -> None:
    packet = parse(data)
    assert isinstance(packet, SnapQuotePacket)
    buys, sells = levels(packet)
    again = parse(pack(packet._replace(depth=depth_of([*buys, *sells]))))
    assert isinstance(again, SnapQuotePacket)
    assert levels(again) == (buys, sells)


strangers = st.binary(max_size=400) | st.sampled_from(sorted(SIZES.values())).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)  # as long as a packet, mostly of no mode or of another
)


@given(st.lists(st.sampled_from([LTP, QUOTE, SNAP_QUOTE]).flatmap(bodies) | strangers, max_size=12))
def test_many_at_once_are_read_as_each_alone(messages: list[bytes]) -> None:
    assert [shown(found) for found in parse_all(messages)] == [shown(alone(data)) for data in messages]


def alone(data: bytes) -> Packet | PacketError:
    try:
        return parse(data)
    except PacketError as error:
        return error


def shown(found: Fields | PacketError) -> str:
    """Give all of it as text, in which one NaN is like another."""
    return str(found) if isinstance(found, PacketError) else repr(tuple(found))


def test_what_is_no_packet_takes_nothing_else_of_its_batch_along() -> None:
    good = [bytes([mode]) + bytes(SIZES[mode] - 1) for mode in (LTP, QUOTE, SNAP_QUOTE)]
    bad = [b"", good[0][:-1], good[2] + b"\0", b"\7" + good[1][1:], bytes([LTP]) + good[1][1:]]
    batch = [data for one in good for two in bad for data in (one, one, two, one)]
    found = parse_all(batch)
    reasons = [str(one) for one in found if isinstance(one, PacketError)]
    assert reasons == ["empty", "truncated", "oversized", "unknown_mode", "oversized"] * 3
    packets = [one for one in found if not isinstance(one, PacketError)]
    assert packets == [parse(one) for one in good for _ in range(3 * len(bad))]


@pytest.mark.parametrize("mode", [LTP, QUOTE, SNAP_QUOTE])
@pytest.mark.parametrize(("change", "reason"), [(-1, "truncated"), (1, "oversized")])
def test_a_packet_of_another_size_is_refused(mode: int, change: int, reason: str) -> None:
    data = bytes([mode]) + bytes(SIZES[mode] - 1 + change)
    with pytest.raises(PacketError, match=reason):
        parse(data)


@given(st.binary(max_size=400).filter(lambda data: not data or data[0] not in SIZES or len(data) != SIZES[data[0]]))
def test_bytes_that_are_no_packet_are_an_error_of_one_kind(data: bytes) -> None:
    with pytest.raises(PacketError, match=r"^(empty|unknown_mode|truncated|oversized)$"):
        parse(data)

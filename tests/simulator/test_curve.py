from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topology.simulator.curve import PRICE_STEP, Curve, mixed

MINUTE = 27_818_145


@given(st.integers(0, 1 << 64), st.lists(st.integers(0, 5_000), min_size=1))
def test_a_price_is_the_same_in_whatever_order_it_is_asked(key: int, minutes: list[int]) -> None:
    one = Curve(140_000, key)
    for minute in minutes:
        assert one.price(MINUTE + minute) == Curve(140_000, key).price(MINUTE + minute)


@given(st.integers(0, 1 << 64), st.integers(0, 100_000), st.sampled_from([5, 100_00, 60_000_00]))
def test_a_price_is_a_positive_step_near_the_one_before(key: int, minute: int, start_price: int) -> None:
    curve = Curve(start_price, key)
    price, following = curve.price(MINUTE + minute), curve.price(MINUTE + minute + 1)
    assert price > 0
    assert price % PRICE_STEP == 0
    assert abs(following - price) <= 0.003 * start_price + PRICE_STEP
    assert abs(price - start_price) <= 0.06 * start_price + PRICE_STEP


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=4))
def test_mixed_numbers_have_64_bits(parts: list[int]) -> None:
    assert 0 <= mixed(*parts) < 1 << 64
    assert mixed(*parts) != mixed(*parts[:-1], parts[-1] ^ 1)

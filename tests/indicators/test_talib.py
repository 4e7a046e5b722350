"""TA-Lib as a second reference, for periods from 2 on (its smallest) and in its default, classic compatibility.

It agrees on SMA, EMA, WMA and RSI (unstable period 0), except that its RSI of a price that stands still is 0 and ours
50. It has no SMMA by name, but its ATR smooths true ranges in that way, and true ranges can be made to be the closes.
"""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import talib

from topology.indicators import create
from topology.market.candle import Candle


def smma(closes: np.ndarray, period: int) -> np.ndarray:
    """ATR where the true range is the close: high = close, low = previous close = 0. It drops its first candle."""
    high = np.concatenate([[0.0], closes])
    zeros = np.zeros_like(high)
    return talib.ATR(high, zeros, zeros, period)[1:]


REFERENCE: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "SMA": talib.SMA,
    "EMA": talib.EMA,
    "WMA": talib.WMA,
    "RSI": talib.RSI,
    "SMMA": smma,
}


@pytest.fixture(scope="module")
def closes() -> list[int]:
    random = Random(7)
    values = [1_855_000]
    while len(values) < 5_000:
        values.append(values[-1] + random.choice([0, 0, 1, -1]) * random.randint(0, 2_000))
    return values


def ours(spec: str, closes: list[int]) -> list[float]:
    indicator = create(spec)
    values = [indicator.update(Candle("NSE:99926000", 60, 0, close, close, close, close, 0, 1)) for close in closes]
    return [float("nan") if value is None else value for value in values]


@pytest.mark.parametrize("period", [2, 3, 9, 14, 21, 50, 200, 499])
@pytest.mark.parametrize("kind", REFERENCE)
def test_every_value_of_a_long_walk_agrees_with_ta_lib(kind: str, period: int, closes: list[int]) -> None:
    theirs = REFERENCE[kind](np.array(closes, dtype=float), period)
    assert np.isfinite(theirs).sum() > 4_000
    np.testing.assert_allclose(ours(f"{kind}:{period}", closes), theirs, rtol=1e-9)


def test_rsi_of_a_price_that_stands_still_is_where_ta_lib_differs() -> None:
    still = [1_855_000] * 15
    assert talib.RSI(np.array(still, dtype=float), 14)[-1] == 0
    assert ours("RSI:14", still)[-1] == 50

"""SMMA: the smoothed moving average."""

from __future__ import annotations

from typing import ClassVar

from topology.indicators.indicator import Indicator
from topology.indicators.seeded_average import SeededAverage


class SMMA(SeededAverage, Indicator):
    """``(previous * (n - 1) + close) / n``, in paise; ready with n closes.

    The first value is the mean of the first n closes. Source: J. W. Wilder, "New Concepts in Technical Trading
    Systems" (1978), where it smooths everything; charts also call it RMA or Wilder's moving average.

    >>> from topology.market.candle import Candle
    >>> smma = SMMA(3)
    >>> [smma.update(Candle("NSE:1594", 60, 0, close, close, close, close, 0, 1)) for close in (10, 20, 60, 90)]
    [None, None, 30.0, 50.0]
    """

    __slots__ = ()

    TYPE: ClassVar[str] = "SMMA"
    TITLE: ClassVar[str] = "Smoothed moving average"
    ABOUT: ClassVar[str] = "Wilder's: an average that moves by one n-th of the way to each close"
    DEFAULT_PERIOD: ClassVar[int] = 14

    def _smoothed(self, previous: float, close: int) -> float:
        return (previous * (self.period - 1) + close) / self.period

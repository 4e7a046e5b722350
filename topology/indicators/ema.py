"""EMA: the exponential moving average."""

from __future__ import annotations

from typing import ClassVar

from topology.indicators.indicator import Indicator
from topology.indicators.seeded_average import SeededAverage


class EMA(SeededAverage, Indicator):
    """``previous + k * (close - previous)`` with ``k = 2 / (n + 1)``, in paise; ready with n closes.

    The first value is the mean of the first n closes. Source: J. J. Murphy, "Technical Analysis of the Financial
    Markets" (1999), chapter 9; the seed as in TA-Lib, ``ta_EMA.c``.

    >>> from topology.market.candle import Candle
    >>> ema = EMA(3)
    >>> [ema.update(Candle("NSE:1594", 60, 0, close, close, close, close, 0, 1)) for close in (10, 20, 60, 70)]
    [None, None, 30.0, 50.0]
    """

    __slots__ = ("_k",)

    TYPE: ClassVar[str] = "EMA"
    TITLE: ClassVar[str] = "Exponential moving average"
    ABOUT: ClassVar[str] = "All closes, each counting less the older it is"
    DEFAULT_PERIOD: ClassVar[int] = 21

    def __init__(self, period: int) -> None:
        super().__init__(period)
        self._k = 2 / (period + 1)

    def _smoothed(self, previous: float, close: int) -> float:
        return previous + self._k * (close - previous)

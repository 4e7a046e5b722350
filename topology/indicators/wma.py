"""WMA: the linearly weighted moving average."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Self

from topology.indicators.indicator import Indicator
from topology.market.candle import Candle


class WMA(Indicator):
    """The mean of the newest n closes with weights n, n - 1, ... 1 from the newest on, in paise; ready with n closes.

    Source: J. J. Murphy, "Technical Analysis of the Financial Markets" (1999), chapter 9. With each close all weights
    in the window fall by one, which takes the plain sum from the weighted one; both are ints and so never drift.

    >>> wma = WMA(3)
    >>> [wma.update(Candle("NSE:1594", 60, 0, close, close, close, close, 0, 1)) for close in (10, 20, 60, 70)]
    [None, None, 38.333333333333336, 58.333333333333336]
    """

    __slots__ = ("_closes", "_sum", "_weighted", "period", "value")

    TYPE: ClassVar[str] = "WMA"
    TITLE: ClassVar[str] = "Weighted moving average"
    ABOUT: ClassVar[str] = "The mean of the newest closes, the newest counting most"
    DEFAULT_PERIOD: ClassVar[int] = 20

    def __init__(self, period: int) -> None:
        self.period = period
        self.value: float | None = None
        self._closes: deque[int] = deque()
        self._sum = 0
        self._weighted = 0

    def update(self, candle: Candle) -> float | None:
        """Add the close, and drop the oldest once there are more than n."""
        return self._add(candle.close)

    def peek(self, candle: Candle) -> float | None:
        """Give the mean with this close in it."""
        return self._mean(self._next(candle.close)) if len(self._closes) >= self.period - 1 else None

    def state(self) -> tuple[float, ...]:
        """Give nothing: the kept closes tell everything."""
        return ()

    @classmethod
    def restore(cls, period: int, state: Sequence[float], closes: Sequence[int]) -> Self:  # noqa: ARG003 - always empty
        """Make it from the newest n of the closes."""
        wma = cls(period)
        for close in closes[-period:]:
            wma._add(close)
        return wma

    def _add(self, close: int) -> float | None:
        closes = self._closes
        self._weighted = self._next(close)
        closes.append(close)
        self._sum += close
        if len(closes) > self.period:
            self._sum -= closes.popleft()
        if len(closes) == self.period:
            self.value = self._mean(self._weighted)
        return self.value

    def _next(self, close: int) -> int:
        """Give the weighted sum with this close in it: while there are few, the oldest has the weight 1."""
        seen = len(self._closes)
        if seen == self.period:
            return self._weighted - self._sum + self.period * close
        return self._weighted + (seen + 1) * close

    def _mean(self, weighted: int) -> float:
        return 2 * weighted / (self.period * (self.period + 1))

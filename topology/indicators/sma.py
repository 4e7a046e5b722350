"""SMA: the simple moving average."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Self

from topology.indicators.indicator import Indicator
from topology.market.candle import Candle


class SMA(Indicator):
    """The mean of the newest n closes, in paise; ready with n closes.

    Source: J. J. Murphy, "Technical Analysis of the Financial Markets" (1999), chapter 9. The sum is an int and so
    never drifts.

    >>> sma = SMA(3)
    >>> [sma.update(Candle("NSE:1594", 60, 0, close, close, close, close, 0, 1)) for close in (10, 20, 60, 70)]
    [None, None, 30.0, 50.0]
    """

    __slots__ = ("_closes", "_sum", "period", "value")

    TYPE: ClassVar[str] = "SMA"
    TITLE: ClassVar[str] = "Simple moving average"
    ABOUT: ClassVar[str] = "The mean of the newest closes"
    DEFAULT_PERIOD: ClassVar[int] = 20

    def __init__(self, period: int) -> None:
        self.period = period
        self.value: float | None = None
        self._closes: deque[int] = deque()
        self._sum = 0

    def update(self, candle: Candle) -> float | None:
        """Add the close, and drop the oldest once there are more than n."""
        close = candle.close
        closes = self._closes
        closes.append(close)
        self._sum += close
        if len(closes) > self.period:
            self._sum -= closes.popleft()
        elif len(closes) < self.period:
            return None
        self.value = self._sum / self.period
        return self.value

    def peek(self, candle: Candle) -> float | None:
        """Give the mean with this close in the place of the oldest."""
        if self.value is not None:
            return (self._sum - self._closes[0] + candle.close) / self.period
        if len(self._closes) == self.period - 1:
            return (self._sum + candle.close) / self.period
        return None

    def state(self) -> tuple[float, ...]:
        """Give nothing: the kept closes tell everything."""
        return ()

    @classmethod
    def restore(cls, period: int, state: Sequence[float], closes: Sequence[int]) -> Self:  # noqa: ARG003 - always empty
        """Make it from the newest n of the closes."""
        sma = cls(period)
        sma._closes.extend(closes[-period:])
        sma._sum = sum(sma._closes)
        if len(sma._closes) == period:
            sma.value = sma._sum / period
        return sma

"""EMA: the exponential moving average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from topology.indicators.indicator import KEPT_CLOSES, Indicator
from topology.market.candle import Candle


class EMA(Indicator):
    """``previous + k * (close - previous)`` with ``k = 2 / (n + 1)``, in paise; ready with n closes.

    The first value is the mean of the first n closes. Source: J. J. Murphy, "Technical Analysis of the Financial
    Markets" (1999), chapter 9; the seed as in TA-Lib, ``ta_EMA.c``.

    >>> ema = EMA(3)
    >>> [ema.update(Candle("NSE:1594", 60, 0, close, close, close, close, 0, 1)) for close in (10, 20, 60, 70)]
    [None, None, 30.0, 50.0]
    """

    __slots__ = ("_k", "_missing", "_sum", "period", "value")

    TYPE: ClassVar[str] = "EMA"
    MAX_PERIOD: ClassVar[int] = KEPT_CLOSES

    def __init__(self, period: int) -> None:
        self.period = period
        self.value: float | None = None
        self._k = 2 / (period + 1)
        self._missing = period
        self._sum = 0

    def update(self, candle: Candle) -> float | None:
        """Take the close in."""
        return self._add(candle.close)

    def peek(self, candle: Candle) -> float | None:
        """Give the average with this close in it."""
        return self._next(candle.close)

    def state(self) -> tuple[float, ...]:
        """Give the average; nothing until ready, since the closes tell the seed."""
        return () if self.value is None else (self.value,)

    @classmethod
    def restore(cls, period: int, state: Sequence[float], closes: Sequence[int]) -> Self:
        """Make it from the average, or from the closes where there is none."""
        ema = cls(period)
        if state:
            (ema.value,) = state
            ema._missing = 0
        else:
            for close in closes:
                ema._add(close)
        return ema

    def _add(self, close: int) -> float | None:
        self.value = value = self._next(close)
        if self._missing:
            self._missing -= 1
            self._sum += close
        return value

    def _next(self, close: int) -> float | None:
        if self.value is not None:
            return self.value + self._k * (close - self.value)
        return (self._sum + close) / self.period if self._missing == 1 else None

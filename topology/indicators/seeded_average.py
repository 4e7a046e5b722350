"""What averages that never forget have in common: the mean of the first closes, then one step with each close."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

from topology.market.candle import Candle


class SeededAverage:
    """An average of closes, in paise; ready with ``period`` closes, of which the first value is the mean."""

    __slots__ = ("_missing", "_sum", "period", "value")

    def __init__(self, period: int) -> None:
        self.period = period
        self.value: float | None = None
        self._missing = period
        self._sum = 0

    @abstractmethod
    def _smoothed(self, previous: float, close: int) -> float:
        """Give the average that follows ``previous`` with this close."""

    def update(self, candle: Candle) -> float | None:
        """Add the close."""
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
        average = cls(period)
        if state:
            (average.value,) = state
            average._missing = 0
        else:
            for close in closes:
                average._add(close)
        return average

    def _add(self, close: int) -> float | None:
        self.value = value = self._next(close)
        if self._missing:
            self._missing -= 1
            self._sum += close
        return value

    def _next(self, close: int) -> float | None:
        if self.value is not None:
            return self._smoothed(self.value, close)
        return (self._sum + close) / self.period if self._missing == 1 else None

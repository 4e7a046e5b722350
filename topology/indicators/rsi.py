"""RSI: the relative strength index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from topology.indicators.indicator import KEPT_CLOSES, Indicator, Pane
from topology.market.candle import Candle


class RSI(Indicator):
    """``100 - 100 / (1 + gain / loss)``, from 0 to 100; ready with n + 1 closes, that is n changes.

    ``gain`` and ``loss`` are the means of the first n changes up and down, then ``(previous * (n - 1) + change) / n``.
    With no losses the value is 100, with neither gains nor losses 50. Source: J. W. Wilder, "New Concepts in Technical
    Trading Systems" (1978), section VI; computed as the equal ``100 * (gain / (gain + loss))``.

    >>> rsi = RSI(2)
    >>> [rsi.update(Candle("NSE:1594", 60, 0, close, close, close, close, 0, 1)) for close in (10, 16, 14, 14, 17)]
    [None, None, 75.0, 75.0, 90.0]
    """

    __slots__ = ("_gain", "_loss", "_missing", "_previous", "period", "value")

    TYPE: ClassVar[str] = "RSI"
    TITLE: ClassVar[str] = "Relative strength index"
    ABOUT: ClassVar[str] = "The share of gains in all changes, from 0 to 100"
    DEFAULT_PERIOD: ClassVar[int] = 14
    MAX_PERIOD: ClassVar[int] = KEPT_CLOSES - 1
    PANE: ClassVar[Pane | None] = Pane(levels=(70, 30), bounds=(10, 90))

    def __init__(self, period: int) -> None:
        self.period = period
        self.value: float | None = None
        self._missing = period + 1
        self._previous = 0
        # Sums of whole paise until ready, means from then on.
        self._gain: float = 0
        self._loss: float = 0

    def update(self, candle: Candle) -> float | None:
        """Add the change from the last close."""
        return self._add(candle.close)

    def peek(self, candle: Candle) -> float | None:
        """Give the index with this close's change in it."""
        return None if self._missing > 1 else _index(*self._next(candle.close))

    def state(self) -> tuple[float, ...]:
        """Give the mean gain and loss; nothing until ready, since the closes tell the seed."""
        return () if self._missing else (self._gain, self._loss)

    @classmethod
    def restore(cls, period: int, state: Sequence[float], closes: Sequence[int]) -> Self:
        """Make it from the means and the last close, or from the closes where there are no means."""
        rsi = cls(period)
        if state:
            rsi._gain, rsi._loss = state
            rsi._previous = closes[-1]
            rsi._missing = 0
            rsi.value = _index(rsi._gain, rsi._loss)
        else:
            for close in closes:
                rsi._add(close)
        return rsi

    def _add(self, close: int) -> float | None:
        self._gain, self._loss = self._next(close)
        self._previous = close
        if self._missing:
            self._missing -= 1
        if not self._missing:
            self.value = _index(self._gain, self._loss)
        return self.value

    def _next(self, close: int) -> tuple[float, float]:
        n = self.period
        change = close - self._previous if self._missing <= n else 0  # the first close has none
        gain, loss = self._gain, self._loss
        if not self._missing:
            gain, loss = gain * (n - 1), loss * (n - 1)
        if change > 0:
            gain += change
        else:
            loss -= change
        return (gain, loss) if self._missing > 1 else (gain / n, loss / n)


def _index(gain: float, loss: float) -> float:
    # The quotient first: it is exactly 1 where there is no loss.
    return 100 * (gain / (gain + loss)) if gain or loss else 50.0

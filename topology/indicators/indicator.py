"""What an indicator is: closed candles in, one number out, each step in constant time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from topology.market.candle import Candle

KEPT_CLOSES = 500
"""How many of a series' newest closes are kept with its indicators; all of them while there are fewer."""


@dataclass(frozen=True, slots=True)
class Pane:
    """How a chart draws values that are no prices: in a pane below the candles, one for all of the same type.

    ``levels`` are values with a line across the pane; ``bounds`` are the ends of its scale, which else follows the
    values. Both have the unit of the values.
    """

    levels: tuple[float, ...] = ()
    bounds: tuple[float, float] | None = None


class Indicator(Protocol):
    """One indicator of one series of candles: an instrument's, in one timeframe.

    Values have the unit of the formula (paise for an average of closes) and full double precision. They are None
    until the indicator is *ready*, that is until it has seen as many candles as its formula needs.

    What the kept closes tell is not in the state, so a state stays a few numbers whatever the period is. An indicator
    restored from its state and the kept closes goes on with the same values, bit by bit.
    """

    __slots__ = ()

    TYPE: ClassVar[str]
    """The name of the formula in a spec, upper-case: ``SMA``."""
    TITLE: ClassVar[str]
    """What people call it: ``Simple moving average``."""
    ABOUT: ClassVar[str]
    """What it is, in some words without a full stop: a chart shows them beside its name."""
    DEFAULT_PERIOD: ClassVar[int]
    """The period that a chart suggests."""
    MAX_PERIOD: ClassVar[int] = KEPT_CLOSES
    """The longest period that is ready after ``KEPT_CLOSES`` candles."""
    PANE: ClassVar[Pane | None] = None
    """Where a chart draws it; None for values that are prices, in paise, which are drawn over the candles."""

    period: int

    def __init__(self, period: int) -> None:
        """Start with no candle seen; ``period`` is from 1 to ``MAX_PERIOD``."""

    @property
    def value(self) -> float | None:
        """The value at the newest closed candle, None until ready."""

    def update(self, candle: Candle) -> float | None:
        """Add the next closed candle of the series, and give the new value."""

    def peek(self, candle: Candle) -> float | None:
        """Give the value that ``update`` would give if this forming candle closed now; change nothing."""

    def state(self) -> tuple[float, ...]:
        """Give what the kept closes do not tell; empty where they tell everything."""

    @classmethod
    def restore(cls, period: int, state: Sequence[float], closes: Sequence[int]) -> Self:
        """Make the indicator that had this ``state`` when ``closes`` were the kept closes, oldest first, in paise.

        An empty state computes it anew, as if the series had begun with the first of the closes.
        """

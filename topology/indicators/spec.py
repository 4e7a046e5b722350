"""Which indicator: its type and period, as configurations write it (``SMA:20``) and as its values are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from topology.indicators.indicator import Indicator
from topology.plugins import discover, modules_of

TYPES = discover(Indicator, "TYPE", modules_of("topology.indicators"))  # type: ignore[type-abstract]  # looked for, not made
"""Every indicator there is, by its type, in alphabetical order."""


class IndicatorError(ValueError):
    """A spec that names no indicator; its one line says which part is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """An indicator of a type that there is, with a period that the type allows; ``str`` gives ``SMA:20``."""

    type: str
    period: int

    @classmethod
    def parse(cls, text: str) -> IndicatorSpec:
        """Read ``SMA:20``, whatever its case and spaces. Raises `IndicatorError`."""
        kind, colon, digits = (part.strip() for part in text.upper().partition(":"))
        if not colon:
            raise IndicatorError(f"indicator {text.strip()!r}: write TYPE:PERIOD, as in SMA:20")
        if kind not in TYPES:
            raise IndicatorError(f"indicator {text.strip()!r}: no type {kind!r}; there are {', '.join(TYPES)}")
        longest = TYPES[kind].MAX_PERIOD
        if not re.fullmatch("[0-9]{1,3}", digits) or not 1 <= int(digits) <= longest:
            raise IndicatorError(
                f"indicator {text.strip()!r}: the period of {kind} is a whole number from 1 to {longest}"
            )
        return cls(kind, int(digits))

    @classmethod
    def of_name(cls, name: str) -> IndicatorSpec:
        """Read the name of its values, ``SMA_20``. Raises `IndicatorError`."""
        return cls.parse(name.replace("_", ":", 1))

    @property
    def name(self) -> str:
        """The name under which its values are published: ``SMA_20``."""
        return f"{self.type}_{self.period}"

    def __str__(self) -> str:
        """Give it as configurations write it: ``SMA:20``."""
        return f"{self.type}:{self.period}"

    def create(self) -> Indicator:
        """Make the indicator, with no candle seen."""
        return TYPES[self.type](self.period)

    def restore(self, state: Sequence[float], closes: Sequence[int]) -> Indicator:
        """Make the indicator as it was, see `Indicator.restore`."""
        return TYPES[self.type].restore(self.period, state, closes)

"""Gaps: intervals in which a feed saw nothing of some instruments, and what it knows of their volume afterwards."""

from __future__ import annotations

import msgspec

from topology.market.ticks import Quantity
from topology.market.times import FAR


class Gap(msgspec.Struct, array_like=True, frozen=True):
    """The feed sees nothing of these instruments from ``from_ms`` on, up to ``to_ms``; None while that lasts.

    Candles that overlap with a gap are partial. What was traded in it is no candle's: the first tick after it says how
    much that was. Not so where ``broken`` is False: then only some packets were missed, or came wrong.
    """

    instruments: list[str]
    from_ms: int
    to_ms: int | None = None
    broken: bool = True

    @property
    def end_ms(self) -> int:
        """The end, far in the future while the gap lasts."""
        return FAR if self.to_ms is None else self.to_ms


class Baseline(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The day volume of an instrument at ``time_ms``, as a snapshot has it: no trade, so no candle's volume."""

    instrument: str
    time_ms: int
    day_volume: Quantity

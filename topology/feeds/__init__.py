"""Feeds: where ticks come from. A source yields batches; the writer cuts them into frames for the tick log.

``recorded`` has days in files, ``angel`` is the broker's feed. ``subscriptions`` says what a live feed subscribes to,
``live`` paces what comes, ``writer`` writes it into the tick log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from topology.market.gaps import Baseline, Gap
from topology.market.history import History
from topology.market.quotes import Quote
from topology.market.ticks import Tick


class FeedError(Exception):
    """A source that cannot be used. The message is one line that names it and says what to do."""


class TickBatch(NamedTuple):
    """Ticks in the order to write them, then a clock.

    ``clock_ms`` is the feed's clock after the ticks, in milliseconds since the epoch, UTC; None leaves it as it is.
    Where ``day_end`` is set a market day is over: the clock must reach every partition, idle ones too.
    """

    ticks: list[Tick]
    clock_ms: int | None
    day_end: bool


@dataclass(slots=True)
class FrameContent:
    """What a frame of one partition holds: gaps and baselines apply before the ticks, history after them.

    ``quotes`` is by instrument. ``received_ms`` is when a live feed received the first of the ticks.
    """

    ticks: list[Tick] = field(default_factory=list)
    quotes: dict[str, Quote] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    baselines: list[Baseline] = field(default_factory=list)
    history: list[History] = field(default_factory=list)
    received_ms: int | None = None

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.ticks or self.quotes or self.gaps or self.baselines or self.history)

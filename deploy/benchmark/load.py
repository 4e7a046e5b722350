"""A made-up market: ticks of any number of instruments at a steady rate, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from topology.market.ticks import Tick

SECOND_MS, MINUTE_MS = 1000, 60_000


class Batch(NamedTuple):
    """The ticks of all instruments up to ``clock_ms``; with ``everywhere`` the clock goes to silent partitions too."""

    ticks: list[Tick]
    clock_ms: int
    everywhere: bool


class Market:
    """``instruments`` of equal activity. Prices walk in steps of 5 paise; half of the instruments have a volume."""

    def __init__(self, instruments: int) -> None:
        self._random = Random(instruments)
        self._names = [f"NSE:{token}" for token in range(1, instruments + 1)]
        self._prices = [self._random.randrange(100_00, 5000_00, 5) for _ in self._names]
        self._volumes = [0] * instruments

    def history(self, start_ms: int, minutes: int) -> Iterator[Batch]:
        """Yield one tick an instrument and minute, which makes a candle of every timeframe and readies indicators."""
        for minute_ms in range(start_ms, start_ms + minutes * MINUTE_MS, MINUTE_MS):
            ticks = [self._tick(index, minute_ms + 500) for index in range(len(self._names))]
            yield Batch(ticks, minute_ms + 2 * SECOND_MS, everywhere=True)

    def frames(self, start_ms: int, seconds: float, *, ticks_per_s: int, frame_ms: int) -> Iterator[Batch]:
        """Yield the batches of ``seconds`` of market time, in order, each with its frame's clock."""
        for number in range(round(seconds * SECOND_MS / frame_ms)):
            yield self.frame(start_ms + number * frame_ms, ticks_per_s=ticks_per_s, frame_ms=frame_ms)

    def frame(self, start_ms: int, *, ticks_per_s: int, frame_ms: int) -> Batch:
        """Return the ticks of ``[start, start + frame)`` in the order of their times."""
        count = ticks_per_s * frame_ms // SECOND_MS
        picked = self._random.choices(range(len(self._names)), k=count)
        ticks = [self._tick(index, start_ms + place * frame_ms // count) for place, index in enumerate(picked)]
        clock_ms = start_ms + frame_ms
        return Batch(ticks, clock_ms, everywhere=clock_ms % SECOND_MS < frame_ms)

    def _tick(self, index: int, time_ms: int) -> Tick:
        step = int(self._random.random() * 3) - 1
        price = self._prices[index] = max(self._prices[index] + 5 * step, 5)
        if index % 2:
            return Tick(self._names[index], price, time_ms)
        self._volumes[index] += 10
        return Tick(self._names[index], price, time_ms, self._volumes[index], 10)

"""The newest closes of a series of candles, and which candle each is of."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import msgspec

from topology.indicators import KEPT_CLOSES
from topology.market.candle import Candle


class ClosesState(msgspec.Struct, array_like=True, frozen=True):
    """Closes (paise, packed as machine integers of ``typecode``), and the starts of their candles, see `Closes`."""

    typecode: str
    closes: bytes
    runs: list[int]


class Closes:
    """Closes of one instrument and timeframe, oldest first.

    ``runs`` tells the starts of their candles, in seconds since the epoch: where a run of candles begins that follow
    each other, and how many they are, again and again. Nearly always that is a run for each session, so it takes no
    room in what is the largest row of the system. For the same reason closes are machine integers: of 32 bits where
    they fit, as they nearly always do.
    """

    __slots__ = ("_next_s", "_timeframe_s", "closes", "runs")

    def __init__(self, timeframe_s: int, candles: Iterable[tuple[int, int]] = ()) -> None:
        self._timeframe_s = timeframe_s
        self._next_s = -1  # the start of the candle that would follow the last
        self.closes = array("i")
        self.runs: list[int] = []
        for start_s, close in candles:
            self._append(start_s, close)

    def add(self, candle: Candle) -> None:
        """Keep the close of the next candle. It grows to twice what is kept before it is cut: that stays cheap."""
        self._append(candle.start_ms // 1000, candle.close)
        if len(self.closes) >= 2 * KEPT_CLOSES:
            self.cut()

    def cut(self) -> None:
        """Forget all but the closes that are kept."""
        excess = len(self.closes) - KEPT_CLOSES
        if excess <= 0:
            return
        del self.closes[:excess]
        while excess >= self.runs[1]:
            excess -= self.runs[1]
            del self.runs[:2]
        self.runs[0] += excess * self._timeframe_s
        self.runs[1] -= excess

    def merged(self, candles: Iterable[Candle], *, correcting: bool) -> Closes:
        """Return these closes, as many as are kept, with those of other candles between them.

        Of a candle that is known the close stays what it is, unless it is to be corrected.
        """
        self.cut()
        known = dict(self)
        told = {candle.start_ms // 1000: candle.close for candle in candles}
        together = known | told if correcting else told | known
        return Closes(self._timeframe_s, sorted(together.items()))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over start and close of each candle."""
        starts = (
            first_s + number * self._timeframe_s
            for first_s, count in zip(self.runs[::2], self.runs[1::2], strict=True)
            for number in range(count)
        )
        return zip(starts, self.closes, strict=True)

    def _append(self, start_s: int, close: int) -> None:
        try:
            self.closes.append(close)
        except OverflowError:
            self.closes = array("q", [*self.closes, close])
        if start_s == self._next_s:
            self.runs[-1] += 1
        else:
            self.runs += start_s, 1
        self._next_s = start_s + self._timeframe_s

    def state(self) -> ClosesState:
        """Return the closes that are kept, as a value for :meth:`restored`."""
        self.cut()
        return ClosesState(self.closes.typecode, self.closes.tobytes(), list(self.runs))

    @classmethod
    def restored(cls, timeframe_s: int, state: ClosesState) -> Closes:
        """Return the closes that :meth:`state` was taken of."""
        closes = cls(timeframe_s)
        closes.closes = array(state.typecode)
        closes.closes.frombytes(state.closes)
        closes.runs = list(state.runs)
        if closes.runs:
            closes._next_s = closes.runs[-2] + closes.runs[-1] * timeframe_s
        return closes

"""The newest closes of a series of candles, and which candle each is of."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import msgspec

from topology.indicators import KEPT_CLOSES
from topology.market.candle import Candle


class ClosesState(msgspec.Struct, array_like=True, frozen=True):
    """Closes in paise, packed in machine integers of ``typecode``, and their candles' starts: see `ClosesBuffer`."""

    typecode: str
    closes: bytes
    runs: list[int]


class ClosesBuffer:
    """Closes of one instrument and timeframe, oldest first.

    ``runs`` gives the starts of their candles: where a run of candles begins that follow each other, and how many they
    are, again and again. It begins a number of timeframes after the candle before; where that is no whole number of
    them, as for the first, it is the start itself, in seconds since the epoch, negative. So a session takes no room in
    what is the largest row of the system, and where a candle is missing two bytes do. For the same reason closes are
    machine integers: of 32 bits where they fit, as they nearly always do.
    """

    __slots__ = ("_last_s", "_timeframe_s", "closes", "runs")

    def __init__(self, timeframe_s: int, candles: Iterable[tuple[int, int]] = ()) -> None:
        self._timeframe_s = timeframe_s
        self._last_s = 0  # the start of the last candle
        self.closes = array("i")
        self.runs: list[int] = []
        for start_s, close in candles:
            self._append(start_s, close)

    def append(self, candle: Candle) -> None:
        """Append the close of the next candle. It grows to twice its size before it is cut: that stays cheap."""
        self._append(candle.start_ms // 1000, candle.close)
        if len(self.closes) >= 2 * KEPT_CLOSES:
            self.cut()

    def cut(self) -> None:
        """Forget all but the newest closes, of which there are `KEPT_CLOSES`."""
        excess = len(self.closes) - KEPT_CLOSES
        if excess <= 0:
            return
        del self.closes[:excess]
        first_s = -self.runs[0]
        while excess >= self.runs[1]:
            excess -= self.runs[1]
            first_s = self._begin(self.runs[2], first_s + (self.runs[1] - 1) * self._timeframe_s)
            del self.runs[:2]
        self.runs[0] = -(first_s + excess * self._timeframe_s)
        self.runs[1] -= excess

    def after(self, candle: Candle) -> ClosesBuffer:
        """Return the closes of the candles that are newer than this one."""
        newer = [(start_s, close) for start_s, close in self if start_s * 1000 > candle.start_ms]
        return ClosesBuffer(self._timeframe_s, newer)

    def merged(self, candles: Iterable[Candle], *, correcting: bool) -> ClosesBuffer:
        """Return these closes, at most `KEPT_CLOSES`, with those of other candles between them.

        Of a candle that is in the buffer the close stays what it is, unless it is to be corrected.
        """
        self.cut()
        buffered = dict(self)
        other = {candle.start_ms // 1000: candle.close for candle in candles}
        merged = buffered | other if correcting else other | buffered
        return ClosesBuffer(self._timeframe_s, sorted(merged.items()))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over start and close of each candle."""
        starts = (first_s + number * self._timeframe_s for first_s, count in self._runs() for number in range(count))
        return zip(starts, self.closes, strict=True)

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Iterate over the start of the first candle of each run, and how many they are."""
        last_s = 0
        for begin, count in zip(self.runs[::2], self.runs[1::2], strict=True):
            first_s = self._begin(begin, last_s)
            yield first_s, count
            last_s = first_s + (count - 1) * self._timeframe_s

    def _begin(self, begin: int, last_s: int) -> int:
        return last_s + begin * self._timeframe_s if begin > 0 else -begin

    def _append(self, start_s: int, close: int) -> None:
        try:
            self.closes.append(close)
        except OverflowError:
            self.closes = array("q", [*self.closes, close])
        apart_s = start_s - self._last_s
        if self.runs and apart_s == self._timeframe_s:
            self.runs[-1] += 1
        elif self.runs and apart_s > 0 and apart_s % self._timeframe_s == 0:
            self.runs += apart_s // self._timeframe_s, 1
        else:
            self.runs += -start_s, 1
        self._last_s = start_s

    def state(self) -> ClosesState:
        """Return the closes, as a value for :meth:`restored`."""
        self.cut()
        return ClosesState(self.closes.typecode, self.closes.tobytes(), list(self.runs))

    @classmethod
    def restored(cls, timeframe_s: int, state: ClosesState) -> ClosesBuffer:
        """Return the closes that :meth:`state` was taken of."""
        closes = cls(timeframe_s)
        closes.closes = array(state.typecode)
        closes.closes.frombytes(state.closes)
        closes.runs = list(state.runs)
        for first_s, count in closes._runs():
            closes._last_s = first_s + (count - 1) * timeframe_s
        return closes

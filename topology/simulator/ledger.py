"""What faults have hidden from a client: by fault, socket and instrument, in whole seconds of market time. Pure."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import NamedTuple

import msgspec


class Touched(msgspec.Struct, frozen=True):
    """The seconds ``[from_s, until_s)`` whose packets a fault has hidden or else changed, each of which had some."""

    fault: int
    socket: int
    instrument: str
    hidden: bool
    from_s: int
    until_s: int


class _Key(NamedTuple):
    fault: int
    socket: int
    instrument: str
    hidden: bool


class Ledger:
    """Keeps the seconds as runs. A packet is written down when it is due, whether or not it ever arrives."""

    def __init__(self) -> None:
        self._runs: dict[_Key, list[list[int]]] = {}

    def write(self, fault: int, socket: int, instrument: str, *, time_ms: int, hidden: bool) -> None:
        """Write down that a packet with this exchange time was hidden, or changed (its bytes, order or moment)."""
        second = time_ms // 1000
        runs = self._runs.setdefault(_Key(fault, socket, instrument, hidden), [])
        if not runs or second > runs[-1][1]:
            runs.append([second, second + 1])
        elif second == runs[-1][1]:
            runs[-1][1] += 1
        elif second < runs[-1][0]:
            self._write_late(runs, second)

    @staticmethod
    def _write_late(runs: list[list[int]], second: int) -> None:
        """Write a second down that lies before the newest run: it opens a run, or makes one longer, or joins two."""
        index = bisect_right(runs, second, key=itemgetter(0))
        if index and second < runs[index - 1][1]:
            return
        runs.insert(index, [second, second + 1])
        for left in (index, index - 1):
            if 0 <= left < len(runs) - 1 and runs[left][1] == runs[left + 1][0]:
                runs[left][1] = runs.pop(left + 1)[1]

    def touched(self) -> list[Touched]:
        """Give all that was written down."""
        return [Touched(*key, *run) for key, runs in self._runs.items() for run in runs]

    def seconds(self, instrument: str, *, hidden: bool = True, changed: bool = False) -> set[int]:
        """Give the seconds of an instrument, since the epoch, that were hidden, or changed, on some socket."""
        kinds = {True} if hidden else set()
        kinds |= {False} if changed else set()
        return {
            second
            for key, runs in self._runs.items()
            if key.instrument == instrument and key.hidden in kinds
            for from_s, until_s in runs
            for second in range(from_s, until_s)
        }

"""What history is still to be asked for, kept on disk so that a feed that is started again goes on with it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from topology.market.history import Stretch

logger = logging.getLogger(__name__)

OLDEST_MS = 30 * 86_400_000  # what is lacking for longer is given up
PAUSES_MS = (10_000, 60_000, 300_000)
"""Before another try. After these an answer is taken as it is, and none at all is waited for until another day."""
ANOTHER_DAY_MS = 12 * 3_600_000


class Need(msgspec.Struct):
    """A stretch of one instrument, and when to ask for it, in milliseconds since the epoch, by timeframe in seconds.

    A ``revision`` of 0 fills in what is missing, 1 corrects. ``reset`` starts afresh.
    """

    from_ms: int
    to_ms: int
    due_ms: dict[int, int]
    revision: int
    reset: bool = False
    tries: int = 0

    @property
    def stretch(self) -> Stretch:
        """From when to when."""
        return Stretch(self.from_ms, self.to_ms)


class _Kept(msgspec.Struct):
    """The file. ``ready`` are the candles that were asked for so far, by instrument and timeframe."""

    log: str
    asked: int = 0
    needs: dict[str, list[Need]] = {}
    ready: dict[str, dict[int, int]] = {}
    gaps: dict[str, int] = {}


class Due(NamedTuple):
    """What is to be asked for now of one instrument: needs, and the timeframes of each that are due."""

    instrument: str
    needs: list[tuple[Need, list[int]]]


class Backlog:
    """The needs of every instrument, of one log; `save` keeps them. Another log's file is begun anew.

    ``asked`` is the id of the newest request in the log's commands that has been taken in.
    """

    def __init__(self, path: Path, log: str) -> None:
        self._path = path
        self._kept = self._read(log)
        self.changed = False

    @property
    def asked(self) -> int:
        """The newest request of the log's commands that is among the needs, or was."""
        return self._kept.asked

    @asked.setter
    def asked(self, number: int) -> None:
        self._kept.asked, self.changed = number, True

    def lacking(self, instrument: str, counts: Mapping[int, int]) -> list[int]:
        """Return the timeframes of which fewer candles have been asked for so far than these."""
        ready = self._kept.ready.get(instrument, {})
        return [timeframe_s for timeframe_s, count in counts.items() if ready.get(timeframe_s, 0) < count]

    def add(self, instrument: str, need: Need) -> None:
        """Add what is to be asked for."""
        self._kept.needs.setdefault(instrument, []).append(need)
        self.changed = True

    def promise(self, instrument: str, counts: Mapping[int, int]) -> None:
        """Note how many candles of each timeframe are asked for now."""
        self._kept.ready[instrument] = self._kept.ready.get(instrument, {}) | dict(counts)
        self.changed = True

    def forget(self, instrument: str) -> None:
        """Drop all that is known of an instrument: it is begun anew."""
        self._kept.needs.pop(instrument, None)
        self._kept.ready.pop(instrument, None)
        self.changed = True

    def begin_gap(self, instruments: Iterable[str], from_ms: int) -> None:
        """Note that nothing is seen of these instruments from here on."""
        for instrument in instruments:
            self._kept.gaps[instrument] = min(self._kept.gaps.get(instrument, from_ms), from_ms)
            self.changed = True

    def end_gap(self, instrument: str, gap: Stretch) -> Stretch:
        """Return the stretch of a gap that is over, with what was noted of its beginning, before a restart too."""
        begun_ms = self._kept.gaps.pop(instrument, gap.from_ms)
        self.changed = True
        return Stretch(min(begun_ms, gap.from_ms), gap.to_ms)

    def due(self, now_ms: int) -> Due | None:
        """Return what is most urgent, None where nothing is due: corrections first, then what is due for longest."""
        urgent: tuple[int, int, str] | None = None
        for instrument, needs in self._kept.needs.items():
            for need in needs:
                key = -need.revision, min(need.due_ms.values()), instrument
                if key[1] <= now_ms and (urgent is None or key < urgent):
                    urgent = key
        if urgent is None:
            return None
        instrument = urgent[2]
        found = [(need, _due(need, now_ms)) for need in self._kept.needs[instrument]]
        return Due(instrument, [(need, timeframes) for need, timeframes in found if timeframes])

    def next_ms(self) -> int | None:
        """Return when something is due next, None where nothing will be."""
        return min((min(need.due_ms.values()) for needs in self._kept.needs.values() for need in needs), default=None)

    def done(self, instrument: str, need: Need, timeframes: Sequence[int]) -> None:
        """Note that these timeframes of a need are in the log."""
        for timeframe_s in timeframes:
            del need.due_ms[timeframe_s]
        needs = self._kept.needs[instrument]
        if not need.due_ms:
            needs.remove(need)
        if not needs:
            del self._kept.needs[instrument]
        self.changed = True

    def postpone(self, instrument: str, need: Need, timeframes: Sequence[int], now_ms: int) -> bool:
        """Note that the broker had nothing for these timeframes. Return whether it is asked again today."""
        again = need.tries < len(PAUSES_MS)
        pause_ms = PAUSES_MS[need.tries] if again else ANOTHER_DAY_MS
        need.tries = need.tries + 1 if again else 0
        need.due_ms.update(dict.fromkeys(timeframes, now_ms + pause_ms))
        if now_ms - need.to_ms > OLDEST_MS:
            self.done(instrument, need, list(need.due_ms))
        self.changed = True
        return again

    def __len__(self) -> int:
        """Return how many instruments something is to be asked for of."""
        return len(self._kept.needs)

    def save(self) -> None:
        """Keep everything on disk."""
        self.changed = False
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(self._kept))
        beside.replace(self._path)

    def _read(self, log: str) -> _Kept:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return _Kept(log)
        except (OSError, msgspec.DecodeError) as error:
            logger.warning("%s can't be read, history is asked for anew: %s", self._path, error)
            return _Kept(log)
        return kept if kept.log == log else _Kept(log)


def _due(need: Need, now_ms: int) -> list[int]:
    return [timeframe_s for timeframe_s, due_ms in need.due_ms.items() if due_ms <= now_ms]

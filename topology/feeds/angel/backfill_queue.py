"""What history is still to be asked for, kept on disk so that a feed that is started again goes on with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from topology.json_file import JsonFile
from topology.market.times import Interval

PAUSES_MS = (10_000, 60_000, 300_000)
"""Before another try: by then the broker may have a candle that it lacked (no `Backoff`, which is for failures). After
these an answer is used as it is, and an empty one is waited for until another day."""
ANOTHER_DAY_MS = 12 * 3_600_000
OLDEST_MS = 30 * 86_400_000  # what can't be had for longer is given up, the repair of a gap on the second day


class BackfillRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An interval of one timeframe to ask for, and when. Times are milliseconds since the epoch.

    A ``revision`` of 0 fills in what is missing, 1 corrects. ``reset`` starts afresh.
    """

    timeframe_s: int
    from_ms: int
    to_ms: int
    due_ms: int
    revision: int = 0
    reset: bool = False
    tries: int = 0

    @property
    def repairs(self) -> bool:
        """Whether it repairs a gap: others are for indicators, up to when they are asked for."""
        return self.revision == 1 and not self.reset

    def joins(self, other: BackfillRequest) -> bool:
        """Whether one request can ask for both: repairs that touch each other, or any two that aren't repairs."""
        if (self.timeframe_s, self.repairs) != (other.timeframe_s, other.repairs):
            return False
        return not self.repairs or (self.from_ms <= other.to_ms and other.from_ms <= self.to_ms)

    def joined(self, other: BackfillRequest) -> BackfillRequest:
        """Return the request that asks for both."""
        return BackfillRequest(
            self.timeframe_s,
            min(self.from_ms, other.from_ms),
            max(self.to_ms, other.to_ms),
            min(self.due_ms, other.due_ms),
            max(self.revision, other.revision),
            self.reset or other.reset,
            min(self.tries, other.tries),
        )


class _QueueFile(msgspec.Struct, rename={"requests": "needs"}):
    """The file. ``ready`` are the candles that were asked for so far, by instrument and timeframe."""

    log: str
    asked: int = 0
    warmed: int = 0
    requests: dict[str, list[BackfillRequest]] = {}
    ready: dict[str, dict[int, int]] = {}
    gaps: dict[str, int] = {}


class Due(NamedTuple):
    """What is to be asked for now of one instrument."""

    instrument: str
    requests: list[BackfillRequest]


class BackfillQueue:
    """The requests of every instrument, of one log; `save` keeps them. Another log's file is begun anew.

    Requests that join become one, so that they don't pile up however many gaps there are.
    """

    def __init__(self, path: Path, log: str) -> None:
        self._file = JsonFile(path, _QueueFile)
        content = self._file.read()
        self._content = content if content is not None and content.log == log else _QueueFile(log)
        # When something of an instrument is due first, of repairs and of the rest: looked at again and again.
        self._repairs: dict[str, int] = {}
        self._others: dict[str, int] = {}
        for instrument, requests in list(self._content.requests.items()):
            self._set(instrument, requests)
        self.changed = False

    @property
    def asked(self) -> int:
        """The id of the newest request in the log's commands that has been queued."""
        return self._content.asked

    @asked.setter
    def asked(self, number: int) -> None:
        self._content.asked, self.changed = number, True

    @property
    def warmed(self) -> int:
        """The id of the newest request that is done."""
        return self._content.warmed

    @warmed.setter
    def warmed(self, number: int) -> None:
        self._content.warmed, self.changed = number, True

    def keep_only(self, instruments: Collection[str]) -> None:
        """Forget all others: should they come back they begin anew."""
        for by_instrument in (self._content.ready, self._content.gaps):
            for instrument in [each for each in by_instrument if each not in instruments]:
                del by_instrument[instrument]
                self.changed = True
        for instrument in [each for each in self._content.requests if each not in instruments]:
            self._set(instrument, [])

    def lacking(self, instrument: str, counts: Mapping[int, int]) -> list[int]:
        """Return the timeframes of which fewer candles have been asked for so far than these."""
        ready = self._content.ready.get(instrument, {})
        return [timeframe_s for timeframe_s, count in counts.items() if ready.get(timeframe_s, 0) < count]

    def promise(self, instrument: str, counts: Mapping[int, int]) -> None:
        """Note how many candles of each timeframe are asked for now."""
        self._content.ready[instrument] = self._content.ready.get(instrument, {}) | dict(counts)
        self.changed = True

    def add(self, instrument: str, requests: Iterable[BackfillRequest]) -> None:
        """Add what is to be asked for."""
        joined = self._content.requests.get(instrument, [])
        for request in requests:
            joining = [other for other in joined if other.joins(request)]
            joined = [other for other in joined if other not in joining] + [
                reduce(BackfillRequest.joined, joining, request)
            ]
        self._set(instrument, joined)

    def begin_gap(self, instruments: Iterable[str], from_ms: int) -> None:
        """Note that nothing is seen of these instruments from here on."""
        for instrument in instruments:
            self._content.gaps[instrument] = min(self._content.gaps.get(instrument, from_ms), from_ms)
            self.changed = True

    def end_gap(self, instrument: str, gap: Interval) -> Interval:
        """Return the interval of a gap that is over, with what was noted of its beginning, before a restart too."""
        begun_ms = self._content.gaps.pop(instrument, gap.from_ms)
        self.changed = True
        return Interval(min(begun_ms, gap.from_ms), gap.to_ms)

    def due(self, now_ms: int) -> Due | None:
        """Return what is most urgent, None where nothing is due: repairs first, then what is due for longest."""
        for firsts in (self._repairs, self._others):
            instrument = min(firsts, key=firsts.__getitem__, default=None)
            if instrument is not None and firsts[instrument] <= now_ms:
                return Due(
                    instrument, [request for request in self._content.requests[instrument] if request.due_ms <= now_ms]
                )
        return None

    def next_ms(self, *, repairs: bool = True) -> int | None:
        """Return when something is due next, None where nothing will be."""
        kinds = (self._repairs, self._others) if repairs else (self._others,)
        return min((due_ms for firsts in kinds for due_ms in firsts.values()), default=None)

    def done(self, instrument: str, request: BackfillRequest, until_ms: int) -> None:
        """Note that so much of a request is in the log. What has been added meanwhile is still to be asked for."""
        left = []
        for other in self._content.requests.get(instrument, []):
            if other is request or (request.repairs and other.joins(request)):
                before = replace(other, to_ms=min(other.to_ms, request.from_ms))
                after = replace(other, from_ms=max(other.from_ms, until_ms))
                left += [part for part in (before, after) if part.from_ms < part.to_ms]
            else:
                left.append(other)
        self._set(instrument, left)

    def put_off(self, instrument: str, request: BackfillRequest, due_ms: int) -> None:
        """Note that a request is not due before then."""
        self._replace(instrument, request, [replace(request, due_ms=due_ms)])

    def postpone(self, instrument: str, request: BackfillRequest, now_ms: int) -> bool:
        """Ask again after a pause. Return False, and change nothing, where that has been done often enough today."""
        if request.tries >= len(PAUSES_MS):
            return False
        later = replace(request, due_ms=now_ms + PAUSES_MS[request.tries], tries=request.tries + 1)
        self._replace(instrument, request, [later])
        return True

    def give_up(self, instrument: str, request: BackfillRequest, now_ms: int) -> None:
        """Ask no more today, and not at all any more where a request is old."""
        oldest_ms = ANOTHER_DAY_MS if request.repairs else OLDEST_MS
        another = replace(request, due_ms=now_ms + ANOTHER_DAY_MS, tries=0)
        self._replace(instrument, request, [] if now_ms - request.to_ms > oldest_ms else [another])

    def __len__(self) -> int:
        """Return how many instruments something is to be asked for of."""
        return len(self._content.requests)

    def save(self) -> None:
        """Keep everything on disk."""
        self.changed = False
        self._file.write(self._content)

    def _replace(self, instrument: str, request: BackfillRequest, others: list[BackfillRequest]) -> None:
        """Replace a request by others, where it is still what it was."""
        requests = self._content.requests.get(instrument, [])
        self._set(instrument, [new for old in requests for new in (others if old is request else [old])])

    def _set(self, instrument: str, requests: list[BackfillRequest]) -> None:
        self.changed = True
        self._content.requests.pop(instrument, None)
        self._repairs.pop(instrument, None)
        self._others.pop(instrument, None)
        if requests:
            self._content.requests[instrument] = requests
        for request in requests:
            firsts = self._repairs if request.repairs else self._others
            firsts[instrument] = min(request.due_ms, firsts.get(instrument, request.due_ms))

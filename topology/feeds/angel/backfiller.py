"""Brings the broker's candles of the past into the log: what indicators need before an open, and what gaps hid."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from topology import indicators
from topology.angel.answers import BrokerError, RefusedError, UnreachableError
from topology.angel.history_api import calls, read, width_s
from topology.clock import Clock
from topology.feeds.angel.backfill_queue import PAUSES_MS, BackfillQueue, BackfillRequest, Due
from topology.feeds.angel.backfill_report import BackfillReport, named
from topology.feeds.angel.events import EventRecorder
from topology.log.frames import Configure, FeedEventKind, Warmup
from topology.market import Calendar, Candle, Gap, Instrument
from topology.market.calendar import NotCovered
from topology.market.history import History, candle_interval, resampled, traded_until, warmup_start, widened_to_candles
from topology.market.instruments import default_class
from topology.market.times import FAR, Interval

logger = logging.getLogger(__name__)

FEWEST, PERIODS = 250, 3  # candles before an open: so many, and so many times the longest period
AFTER_MS = 10_000  # the stages have closed a candle: the broker has it too by then
FRESH_MS = 600_000  # for so long after the end of an interval the broker's last candles of it may not be there yet
MINUTE_MS = 60_000
LOOKS_EVERY_S, UNANSWERED_S = 1.0, 10.0
SAVES_EVERY_S = 3.0  # under `OLD_MS`: what a kill takes away lies in the gap that begins with the next start
CATCH_UP_MS = 15 * MINUTE_MS  # the longest that a session is kept for what is still due
SOON_MS = 5 * MINUTE_MS

Ask = Callable[[Mapping[str, str]], Awaitable[object]]
"""Sends the parameters of a call to the broker, and returns the data of its answer; BrokerError where there is none."""
Append = Callable[[History], Awaitable[None]]
"""Writes history into the log, and comes back when it is there."""


class _Part(NamedTuple):
    """What is asked for now of a request: whole candles, all of which have ended."""

    request: BackfillRequest
    interval: Interval


class Backfiller:
    """Knows what history these instruments need, and brings it while `run` runs; `keep` saves what has changed.

    ``counts`` are the candles to have, by timeframe; timeframes that aren't whole minutes have no history.
    """

    def __init__(
        self,
        queue: BackfillQueue,
        instruments: Iterable[Instrument],
        *,
        configuration: Configure,
        clock: Clock,
        events: EventRecorder,
    ) -> None:
        self._queue, self._clock, self._events = queue, clock, events
        self._instruments = dict.fromkeys(str(instrument) for instrument in instruments)
        self._report = BackfillReport()
        queue.keep_only(self._instruments)
        self._follow(configuration)

    @property
    def asked(self) -> bool:
        """Whether somebody has asked for history, and it is not all there yet."""
        return self._queue.asked > self._queue.warmed

    def configure(self, configuration: Configure) -> None:
        """Go by another configuration from here on, and ask for what lacks by it. Raises CalendarError."""
        self._follow(configuration)
        self.warm()

    def _follow(self, configuration: Configure) -> None:
        self._calendar = Calendar.parse(configuration.calendar)
        self._classes = {each: configuration.classes.get(each) or default_class(each) for each in self._instruments}
        self._lateness_ms = configuration.lateness_ms
        self.counts = {
            timeframe_s: max([FEWEST, *(PERIODS * indicators.create(spec).period for spec in specs)])
            for timeframe_s, specs in configuration.timeframes.items()
            if timeframe_s % 60 == 0
        }

    def begin(self, since_ms: int) -> None:
        """Note that nothing has been seen of any instrument since then, even if nothing comes before a restart."""
        self._queue.begin_gap(self._instruments, since_ms)
        self._queue.save()

    def warm(self) -> int:
        """Ask for what lacks for indicators to be ready. Return for how many instruments something is to be asked."""
        lacking = {instrument: self._queue.lacking(instrument, self.counts) for instrument in self._instruments}
        self._request({instrument: timeframes for instrument, timeframes in lacking.items() if timeframes})
        return len(self._queue)

    def ask(self, request: Warmup) -> None:
        """Queue a user's request; one that was queued before is not done again."""
        if request.id <= self._queue.asked:
            return
        requested = dict.fromkeys(request.instruments or self._instruments)
        if unknown := requested.keys() - self._instruments.keys():
            self._events.record(FeedEventKind.HISTORY, f"not subscribed, add to SUBSCRIBE_TOKENS: {named(unknown)}")
        subscribed = [instrument for instrument in requested if instrument in self._instruments]
        self._request({instrument: list(self.counts) for instrument in subscribed}, reset=request.reset)
        self._queue.asked = request.id
        self._queue.save()

    def missed(self, gap: Gap) -> None:
        """Note that a gap has begun or ended."""
        if gap.to_ms is None:
            self._queue.begin_gap(gap.instruments, gap.from_ms)
            return
        repairs: dict[tuple[str, Interval], list[BackfillRequest]] = {}  # nearly all have the same
        for instrument in gap.instruments:
            key = self._classes[instrument], self._queue.end_gap(instrument, Interval(gap.from_ms, gap.to_ms))
            if key not in repairs:
                repairs[key] = self._repairs(*key)
            self._queue.add(instrument, repairs[key])

    async def run(self, *, ask: Ask, append: Append) -> None:
        """Bring what is due, one instrument after the other, at the pace that ``ask`` allows."""
        while True:
            self._conclude()
            due = self._queue.due(self._clock.now_ms())
            if due is not None:
                await self._backfill(due, ask, append)
            else:
                self._send_report()
                await self._clock.sleep(LOOKS_EVERY_S)

    async def keep(self) -> None:
        """Save what has changed, also while the broker lets `run` wait."""
        while True:
            if self._queue.changed:
                self._queue.save()
            await self._clock.sleep(SAVES_EVERY_S)

    async def caught_up(self, before_ms: int | None = None) -> None:
        """Wait, not for ever and not beyond a time, until `run` has brought what is due now or soon."""
        until_ms = self._clock.now_ms() + CATCH_UP_MS
        if before_ms is not None:
            until_ms = min(until_ms, before_ms)
        while self._is_soon(self._queue.next_ms()) and self._clock.now_ms() < until_ms:
            await self._clock.sleep(LOOKS_EVERY_S)
        self._queue.save()

    def _request(self, lacking: Mapping[str, list[int]], *, reset: bool = False) -> None:
        """Ask for these timeframes, up to when they are brought."""
        now_ms = self._clock.now_ms()
        starts_ms: dict[tuple[str, int], int] = {}
        for instrument, timeframes in lacking.items():
            requests = []
            for timeframe_s in timeframes:
                key = self._classes[instrument], timeframe_s
                if key not in starts_ms:
                    starts_ms[key] = warmup_start(self._calendar, *key, self.counts[timeframe_s], now_ms)
                if starts_ms[key] < now_ms:
                    requests.append(BackfillRequest(timeframe_s, starts_ms[key], now_ms, now_ms, int(reset), reset))
            self._queue.add(instrument, requests)
            self._queue.promise(instrument, {each: self.counts[each] for each in timeframes})

    def _repairs(self, instrument_class: str, gap: Interval) -> list[BackfillRequest]:
        """Return what repairs a gap: of each timeframe the candles that it overlaps with, once the last has ended."""
        if traded_until(self._calendar, instrument_class, gap) is None:
            return []
        try:
            wholes = {each: widened_to_candles(self._calendar, instrument_class, each, gap) for each in self.counts}
        except NotCovered:
            wholes = dict.fromkeys(self.counts, gap)
        after_ms = self._lateness_ms + AFTER_MS
        return [BackfillRequest(each, *whole, whole.to_ms + after_ms, revision=1) for each, whole in wholes.items()]

    async def _backfill(self, due: Due, ask: Ask, append: Append) -> None:
        """Ask for what is due of an instrument, and write what comes."""
        for width, parts in self._by_width(due).items():
            hull = Interval(min(part.interval.from_ms for part in parts), max(part.interval.to_ms for part in parts))
            try:
                candles = await self._fetch(due.instrument, width, hull, ask)
            except BrokerError as error:
                logger.warning("no history of %s: %s", due.instrument, error)
                if not _is_answer(error):
                    for part in parts:
                        self._queue.put_off(due.instrument, part.request, self._clock.now_ms() + PAUSES_MS[0])
                    await self._clock.sleep(UNANSWERED_S)  # there is none for others either
                    continue
                candles = []
            for part in parts:
                await self._append(due.instrument, part, candles, append)

    async def _fetch(self, instrument: str, width: int, interval: Interval, ask: Ask) -> list[Candle]:
        candles: list[Candle] = []
        parsed = Instrument.parse(instrument)
        for call in calls(width, interval):
            answer = read(await ask(call.parameters(parsed)), parsed, call)
            candles += answer.candles
            if answer.refused:
                logger.warning("%d candles of %s can't be used", answer.refused, instrument)
        return candles

    def _by_width(self, due: Due) -> dict[int, list[_Part]]:
        """Group what can be asked for now by the width of the candles that answer it."""
        groups: dict[int, list[_Part]] = {}
        for request in due.requests:
            if (interval := self._ended(due.instrument, request)) is not None:
                width = width_s(request.timeframe_s, interval)
                assert width is not None, "only timeframes of whole minutes are asked for"
                groups.setdefault(width, []).append(_Part(request, interval))
        return groups

    def _ended(self, instrument: str, request: BackfillRequest) -> Interval | None:
        """Return the candles of a request that have ended. Where there are none put it off until one has."""
        now_ms, after_ms = self._clock.now_ms(), self._lateness_ms + AFTER_MS
        next_ = self._candle(instrument, request.timeframe_s, now_ms - after_ms)
        ended_ms = now_ms - after_ms if next_ is None else next_.from_ms
        interval = Interval(request.from_ms, min(request.to_ms, ended_ms) if request.repairs else ended_ms)
        if interval.to_ms > interval.from_ms:
            return interval
        self._queue.put_off(instrument, request, (now_ms if next_ is None else next_.to_ms) + after_ms)
        return None

    async def _append(self, instrument: str, part: _Part, candles: list[Candle], append: Append) -> None:
        """Append what answers a part of a request, or ask for it again later."""
        request, interval = part
        now_ms = self._clock.now_ms()
        inside = [one for one in candles if interval.from_ms <= one.start_ms < interval.to_ms]
        lacks_some = not inside or self._lacks_end(instrument, interval, candles)
        if lacks_some and self._queue.postpone(instrument, request, now_ms):
            return
        if not inside:
            self._report.add_none(instrument)
            self._queue.give_up(instrument, request, now_ms)
            return
        made = resampled(inside, self._calendar, self._classes[instrument], request.timeframe_s, interval)
        if made:
            await append(History(instrument, request.timeframe_s, made, request.revision, request.reset))
        self._report.add(instrument, request.revision, len(made))
        self._queue.done(instrument, request, interval.to_ms if request.repairs else FAR)

    def _lacks_end(self, instrument: str, interval: Interval, candles: list[Candle]) -> bool:
        """Say whether the broker may not have the last candles of an interval yet."""
        until_ms = traded_until(self._calendar, self._classes[instrument], interval)
        if until_ms is None or not candles or self._clock.now_ms() - until_ms >= FRESH_MS:
            return False
        return candles[-1].start_ms + candles[-1].timeframe_s * 1000 < until_ms

    def _conclude(self) -> None:
        """Record that a request is done where nothing is asked for soon any more."""
        if self.asked and not self._is_soon(self._queue.next_ms(repairs=False)):
            self._send_report()
            self._queue.warmed = self._queue.asked
            self._events.record(FeedEventKind.WARMED, f"request {self._queue.asked} is done")

    def _is_soon(self, time_ms: int | None) -> bool:
        return time_ms is not None and time_ms <= self._clock.now_ms() + SOON_MS

    def _send_report(self) -> None:
        """Record what has come since the last time."""
        for detail, instruments in self._report.flush():
            self._events.record(FeedEventKind.HISTORY, detail, instruments=instruments)

    def _candle(self, instrument: str, timeframe_s: int, time_ms: int) -> Interval | None:
        try:
            return candle_interval(self._calendar, self._classes[instrument], timeframe_s, time_ms)
        except NotCovered:
            return None


def _is_answer(error: BrokerError) -> bool:
    """Say whether the broker has looked at the question: then there is no use in asking it again at once."""
    return isinstance(error, RefusedError) or (isinstance(error, UnreachableError) and error.code != "")

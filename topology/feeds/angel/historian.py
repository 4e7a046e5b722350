"""Brings the broker's candles of the past into the log: what indicators need before an open, and what gaps hid."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from topology import indicators
from topology.feeds.angel.answers import BrokerError, RefusedError
from topology.feeds.angel.backlog import Backlog, Due, Need
from topology.feeds.angel.candles import calls, read, width_s
from topology.feeds.angel.shard import Events
from topology.feeds.clock import Clock
from topology.log.frames import Configure, Warmup
from topology.market import Calendar, Candle, Gap, Instrument
from topology.market.calendar import NotCovered
from topology.market.history import History, Stretch, folded, reaching_back, traded_until, whole_candles
from topology.market.instruments import default_class

logger = logging.getLogger(__name__)

FEWEST, PERIODS = 250, 3  # candles before an open: so many, and so many times the longest period
AFTER_MS = 10_000  # a candle's end: the stages have closed it by then, and the broker has it too
FRESH_MS = 600_000  # for so long after the end of a stretch the broker's last candles of it may not be there yet
MINUTE_MS = 60_000
LOOKS_EVERY_S, SAVES_EVERY_MS = 1.0, 5_000
CATCH_UP_MS = 15 * MINUTE_MS  # the longest that a session is kept for what is still due
SOON_MS = 5 * MINUTE_MS
NAMED = 5  # instruments that an event names

Ask = Callable[[Mapping[str, str]], Awaitable[object]]
"""Sends the parameters of a call to the broker, and returns the data of its answer; BrokerError where there is none."""
Tell = Callable[[History], Awaitable[None]]
"""Writes history into the log, and comes back when it is there."""


class _Part(NamedTuple):
    """A timeframe of a need, and the stretch of whole candles that answers it."""

    need: Need
    timeframe_s: int
    stretch: Stretch


class Historian:
    """Knows what history these instruments need, and brings it while `run` runs.

    ``counts`` are the candles to have, by timeframe; timeframes that aren't whole minutes have no history.
    """

    def __init__(
        self,
        backlog: Backlog,
        instruments: Iterable[Instrument],
        *,
        configuration: Configure,
        clock: Clock,
        events: Events,
    ) -> None:
        self.asked = False  # somebody has asked for history, and it is not all there yet
        self._backlog, self._clock, self._events = backlog, clock, events
        self._instruments = [str(instrument) for instrument in instruments]
        self._brought: Counter[tuple[int, str]] = Counter()  # candles since the last event, by revision and instrument
        self._without: set[str] = set()  # instruments of which the broker has had nothing
        self._saved_ms = 0
        self.configure(configuration)

    def configure(self, configuration: Configure) -> None:
        """Go by this configuration from here on. Raises CalendarError."""
        self._calendar, self._classes = Calendar.parse(configuration.calendar), configuration.classes
        self.counts = {
            timeframe_s: max([FEWEST, *(PERIODS * indicators.create(spec).period for spec in specs)])
            for timeframe_s, specs in configuration.timeframes.items()
            if timeframe_s % 60 == 0
        }

    def begin(self, since_ms: int) -> None:
        """Note that nothing has been seen of any instrument since then, even if nothing comes before a restart."""
        self._backlog.begin_gap(self._instruments, since_ms)
        self._backlog.save()

    def warm(self) -> int:
        """Ask for what lacks for indicators to be ready. Return for how many instruments something is to be asked."""
        for instrument in self._instruments:
            self._need(instrument, {each: self.counts[each] for each in self._backlog.lacking(instrument, self.counts)})
        return len(self._backlog)

    def ask(self, request: Warmup) -> None:
        """Take a user's request in; one that was taken in before is not done again."""
        if request.id <= self._backlog.asked:
            return
        for instrument in request.instruments or self._instruments:
            if instrument not in self._instruments:
                self._events("history", f"{instrument} is not subscribed: add it to SUBSCRIBE_TOKENS")
                continue
            self._backlog.forget(instrument)
            self._need(instrument, self.counts, reset=request.reset)
        self._backlog.asked, self.asked = request.id, True
        self._backlog.save()

    def missed(self, gap: Gap) -> None:
        """Note that a gap has begun or ended."""
        if gap.to_ms is None:
            self._backlog.begin_gap(gap.instruments, gap.from_ms)
            return
        for instrument in gap.instruments:
            stretch = self._backlog.end_gap(instrument, Stretch(gap.from_ms, gap.to_ms))
            if traded_until(self._calendar, self._class(instrument), stretch) is None:
                continue
            ends_ms = {each: self._whole(instrument, each, stretch).to_ms for each in self.counts}
            due_ms = {each: end_ms + AFTER_MS for each, end_ms in ends_ms.items()}
            if due_ms:
                self._backlog.add(instrument, Need(stretch.from_ms, stretch.to_ms, due_ms, revision=1))

    async def run(self, *, ask: Ask, tell: Tell) -> None:
        """Bring what is due, one instrument after the other, at the pace that ``ask`` allows."""
        while True:
            due = self._backlog.due(self._clock.now_ms())
            if due is not None:
                await self._bring(due, ask, tell)
            else:
                self._report()
                if self.asked:
                    self.asked = False
                    self._events("warmed", f"request {self._backlog.asked} is done")
            if self._backlog.changed and self._clock.now_ms() - self._saved_ms >= (SAVES_EVERY_MS if due else 0):
                self._saved_ms = self._clock.now_ms()
                self._backlog.save()
            if due is None:
                await self._clock.sleep(LOOKS_EVERY_S)

    async def caught_up(self) -> None:
        """Wait, not for ever, until `run` has brought what is due now or soon."""
        until_ms = self._clock.now_ms() + CATCH_UP_MS
        while (now_ms := self._clock.now_ms()) < until_ms:
            next_ms = self._backlog.next_ms()
            if next_ms is None or next_ms > now_ms + SOON_MS:
                break
            await self._clock.sleep(LOOKS_EVERY_S)
        self._backlog.save()

    def _need(self, instrument: str, counts: Mapping[int, int], *, reset: bool = False) -> None:
        now_ms = self._clock.now_ms()
        for timeframe_s, count in counts.items():
            from_ms = reaching_back(self._calendar, self._class(instrument), timeframe_s, count, now_ms)
            if from_ms < now_ms:
                self._backlog.add(instrument, Need(from_ms, now_ms, {timeframe_s: now_ms}, int(reset), reset))
        if counts:
            self._backlog.promise(instrument, counts)

    async def _bring(self, due: Due, ask: Ask, tell: Tell) -> None:
        """Ask for what is due of an instrument, and write what comes."""
        instrument = Instrument.parse(due.instrument)
        for width, parts in self._by_width(due).items():
            hull = Stretch(min(one.stretch.from_ms for one in parts), max(one.stretch.to_ms for one in parts))
            candles: list[Candle] = []
            try:
                for call in calls(width, hull):
                    answer = read(await ask(call.parameters(instrument)), instrument, call)
                    candles += answer.candles
                    if answer.refused:
                        logger.warning("%d candles of %s can't be used", answer.refused, instrument)
            except BrokerError as error:
                logger.warning("no history of %s: %s", instrument, error)
                if not isinstance(error, RefusedError):
                    await self._clock.sleep(LOOKS_EVERY_S)
                candles = []
            for part in parts:
                await self._use(due.instrument, part, candles, tell)

    def _by_width(self, due: Due) -> dict[int, list[_Part]]:
        """Group what is due by the width of the candles that answer it."""
        groups: dict[int, list[_Part]] = {}
        for need, timeframes in due.needs:
            for timeframe_s in timeframes:
                stretch = need.stretch if need.revision == 0 else self._whole(due.instrument, timeframe_s, need.stretch)
                width = width_s(timeframe_s, stretch)
                assert width is not None, "only timeframes of whole minutes are asked for"
                groups.setdefault(width, []).append(_Part(need, timeframe_s, stretch))
        return groups

    async def _use(self, instrument: str, part: _Part, candles: list[Candle], tell: Tell) -> None:
        """Write what answers a part of a need, or ask for it again later."""
        need, timeframe_s, stretch = part
        inside = [one for one in candles if stretch.from_ms <= one.start_ms < stretch.to_ms]
        now_ms = self._clock.now_ms()
        until_ms = traded_until(self._calendar, self._class(instrument), stretch) or 0
        late = now_ms - until_ms < FRESH_MS and bool(inside) and candles[-1].start_ms < until_ms - MINUTE_MS
        if (not inside or late) and self._backlog.postpone(instrument, need, [timeframe_s], now_ms):
            return
        if not inside:
            self._without.add(instrument)
            return
        made = folded(inside, self._calendar, self._class(instrument), timeframe_s, stretch)
        if made:
            await tell(History(instrument, timeframe_s, made, need.revision, need.reset))
        self._brought[need.revision, instrument] += len(made)
        self._backlog.done(instrument, need, [timeframe_s])

    def _report(self) -> None:
        """Say what has come since the last time."""
        for revision, what in enumerate(("filled in", "corrected")):
            counts = {name: count for (of, name), count in self._brought.items() if of == revision}
            if counts:
                detail = f"{sum(counts.values()):,} candles {what}: {_named(counts)}"
                self._events("history", detail, instruments=len(counts))
        if self._without:
            self._events("history", f"nothing there: {_named(self._without)}", instruments=len(self._without))
        self._brought.clear()
        self._without.clear()

    def _whole(self, instrument: str, timeframe_s: int, stretch: Stretch) -> Stretch:
        try:
            return whole_candles(self._calendar, self._class(instrument), timeframe_s, stretch)
        except NotCovered:
            return stretch

    def _class(self, instrument: str) -> str:
        return self._classes.get(instrument) or default_class(instrument)


def _named(instruments: Iterable[str]) -> str:
    names = sorted(instruments)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

"""A backfiller with a broker that is played by a function, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.played_day import NSE, HandClock
from topology.clock import Clock
from topology.feeds.angel.backfill_queue import BackfillQueue
from topology.feeds.angel.backfiller import Backfiller
from topology.log.frames import Configure, FeedEventKind, Warmup
from topology.market import Calendar, Candle, Gap, Instrument
from topology.market.candle import BROKER
from topology.market.history import History
from topology.market.instruments import default_class
from topology.market.times import IST

MINUTE_MS = 60_000
Row = list[Any]


class Asked(NamedTuple):
    """A question, and when it was asked."""

    at_ms: int
    instrument: str
    interval: str
    from_ms: int
    to_ms: int


class AppendedHistory(NamedTuple):
    """History as it was written, and when."""

    at_ms: int
    history: History


def minute(instrument: str, start_ms: int, *, known_ms: int = 1 << 60) -> Row:
    """The row of a minute. Before it is over there is less in it."""
    base = 100 + (start_ms // MINUTE_MS * 7 + len(instrument)) % 97
    over = start_ms + MINUTE_MS <= known_ms
    at = datetime.fromtimestamp(start_ms / 1000, IST).isoformat()
    return [at, base, base + 2 if over else base, base - 1, base + 1 if over else base, 10 if over else 3]


def minutes(asked: Asked, *, known_ms: int, calendar: Calendar = NSE) -> list[Row]:
    """All minutes of the sessions that were asked for and had begun by then."""
    about = default_class(asked.instrument)
    starts_ms = range(asked.from_ms, min(asked.to_ms + 1, known_ms), MINUTE_MS)
    traded = [ms for ms in starts_ms if calendar.span(about, ms).session is not None]
    return [minute(asked.instrument, start_ms, known_ms=known_ms) for start_ms in traded]


def whole(instrument: str, timeframe_s: int, start_ms: int, until_ms: int) -> Candle:
    """What is right of a candle, of which the session may cut off the end."""
    ends_ms = min(start_ms + timeframe_s * 1000, until_ms)
    rows = [minute(instrument, ms) for ms in range(start_ms, ends_ms, MINUTE_MS)]
    high, low = max(row[2] for row in rows), min(row[3] for row in rows)
    prices = (rows[0][1] * 100, high * 100, low * 100, rows[-1][4] * 100)
    return Candle(instrument, timeframe_s, start_ms, *prices, 10 * len(rows), 0, BROKER)


class Desk:
    """A backfiller at work. ``answer`` is the broker: it may be set, and returns rows or raises."""

    def __init__(
        self,
        folder: Path,
        *,
        at_ms: int,
        instruments: Iterable[str],
        timeframes: Mapping[int, list[str]],
        lateness_ms: int = 1000,
        warm: bool = True,
    ) -> None:
        self.clock = HandClock(at_ms)
        self.answer: Callable[[Asked], object] = lambda asked: minutes(asked, known_ms=self.clock.ms)
        self.takes_s = 0.0  # a question
        self.asked: list[Asked] = []
        self.appended: list[AppendedHistory] = []
        self.events: list[tuple[str, str]] = []
        self.instruments, self.timeframes, self.lateness_ms = list(instruments), dict(timeframes), lateness_ms
        self._path = folder / "history.json"
        self._running: list[asyncio.Task[None]] = []
        if not warm:  # nothing lacks but what gaps hid
            queue = BackfillQueue(self._path, "log")
            for instrument in self.instruments:
                queue.promise(instrument, dict.fromkeys(timeframes, 10_000))
            queue.save()

    def start(self) -> None:
        """Start it, again with what is on disk alone."""
        self.kill()
        clock = Clock(self.clock.now_ms, self.clock.sleep)
        self.queue = BackfillQueue(self._path, "log")
        self.backfiller = Backfiller(
            self.queue,
            [Instrument.parse(each) for each in self.instruments],
            configuration=self.configuration(),
            clock=clock,
            events=self,
        )
        self.backfiller.warm()  # as the feed does, again and again
        working = (self.backfiller.run(ask=self._ask, append=self._append), self.backfiller.keep())
        self._running = [asyncio.create_task(each) for each in working]

    def kill(self) -> None:
        """End it in the middle of what it does."""
        for task in self._running:
            task.cancel()
        self._running = []

    def configuration(self) -> Configure:
        """The configuration in force."""
        return Configure(1, self.timeframes, {}, NSE.text, self.lateness_ms)

    async def go_on(self, seconds: float, *, step_s: float = 1.0) -> None:
        """Let time pass."""
        until_ms = self.clock.ms + round(seconds * 1000)
        while self.clock.ms < until_ms:
            self.clock.move(min(self.clock.ms + round(step_s * 1000), until_ms))
            await self.settle()

    async def go_to(self, ms: int, *, step_s: float = 1.0) -> None:
        """Let time pass until then."""
        await self.go_on((ms - self.clock.ms) / 1000, step_s=step_s)

    async def settle(self) -> None:
        """Wait until all that can be done now is done."""
        before = -1
        while before != (before := len(self.asked) + len(self.appended)):
            for _ in range(10):
                await asyncio.sleep(0)
        for task in self._running:
            if task.done():
                task.result()

    def gap(self, from_ms: int, to_ms: int | None = None, *instruments: str) -> None:
        """A gap begins, or has ended."""
        self.backfiller.missed(Gap(list(instruments or self.instruments), from_ms, to_ms))

    def request(self, number: int, *instruments: str, reset: bool = False) -> None:
        """A user asks."""
        self.backfiller.ask(Warmup(number, list(instruments), reset))

    def candles(self, timeframe_s: int) -> list[int]:
        """When the candles of a timeframe that were appended start."""
        return [
            candle.start_ms
            for _, history in self.appended
            if history.timeframe_s == timeframe_s
            for candle in history.candles
        ]

    def record(self, kind: FeedEventKind, detail: str = "", **_: Any) -> None:
        """Note an event."""
        self.events.append((kind, detail))

    async def _ask(self, sent: Mapping[str, str]) -> object:
        bounds = [
            round(datetime.fromisoformat(f"{sent[name]}+05:30").timestamp()) * 1000 for name in ("fromdate", "todate")
        ]
        asked = Asked(self.clock.ms, f"{sent['exchange']}:{sent['symboltoken']}", sent["interval"], *bounds)
        self.asked.append(asked)
        if self.takes_s:
            await self.clock.sleep(self.takes_s)
        return self.answer(asked)

    async def _append(self, history: History) -> None:
        self.appended.append(AppendedHistory(self.clock.ms, history))

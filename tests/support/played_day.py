"""A market day in one process: the simulated broker and the feed, on one clock that is moved by hand."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from datetime import date
from heapq import heappop, heappush
from importlib.resources import files
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import pytest

from tests.reference.brute_force import indian_ms
from topology.angel.rate_limits import RateLimits
from topology.angel.refusals import Refusals
from topology.clock import Clock
from topology.feeds import FrameContent
from topology.feeds.angel.backfill_queue import BackfillQueue
from topology.feeds.angel.backfiller import Backfiller
from topology.feeds.angel.broker_socket import BrokerSocket
from topology.feeds.angel.feed import AngelFeed
from topology.feeds.live import LiveFeed
from topology.feeds.subscriptions import Subscription, spread
from topology.log.frames import Configure, FeedEventKind
from topology.market import Calendar, Candle, Instrument, SecondCandles
from topology.market.history import History
from topology.settings import Settings
from topology.simulator import DEMONSTRATION, Simulator, Walk, catalogue, stream
from topology.simulator.source import Source

NSE = Calendar.parse(files("topology.market").joinpath("calendars/nse.json").read_text())
DAY_MS = 86_400_000
DAY = date(2022, 11, 22)
OPEN_MS = indian_ms(DAY, "09:15")
FAULTS = (
    "drop:for=12s", "abort", "silent:for=45s", "half-open", "duplicate:for=1m,chance=20%", "reorder:for=30s,chance=10%",
    "delay:for=20s,by=400ms", "wrong-sequence:for=30s", "garbage:for=20s", "truncate:for=20s", "oversize:for=20s",
    "volume-reset:for=20s", "clock-jump:for=15s", "expire-session", "rate-limit:for=30s,answer=429",
)  # fmt: skip
HEAR = stream.MarketStreams._hear  # as it is, however many worlds a test makes
STABLE = 4  # turns of the event loop in which nothing happens any more


class Noted(NamedTuple):
    """An event of the feed."""

    at_ms: int
    kind: str
    detail: str
    from_ms: int | None
    to_ms: int | None
    socket: int | None
    instruments: int


class HandClock:
    """A clock that stands where it is put; who sleeps by it wakes when it gets there."""

    def __init__(self, ms: int) -> None:
        self.ms = ms
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def now_ms(self) -> int:
        """Return the time, in milliseconds since the epoch."""
        return self.ms

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has gone on by this much."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self.ms + max(seconds, 0.001) * 1000, next(self._numbers), woken))
        await woken

    def move(self, ms: int) -> None:
        """Put it on, and wake whose time has come."""
        self.ms = ms
        while self._sleepers and self._sleepers[0][0] <= ms:
            woken = heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)


class Written:
    """Takes what the feed writes, and makes candles of it as the first stage does."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.log = SimpleNamespace(header=SimpleNamespace(partitions=1))
        self.frames: list[tuple[FrameContent, int | None]] = []
        self.clocks_ms: list[int] = []
        self.candles: list[Candle] = []
        self.history: list[History] = []
        self.in_gaps: dict[str, int] = {}
        self.first_volume: dict[str, tuple[int, int]] = {}  # of the newest day, by instrument: the day, and the volume
        self.late = 0
        self.seconds = SecondCandles(calendar)

    async def write_partition(self, _: int, content: FrameContent, clock_ms: int | None) -> None:
        """Take a frame."""
        self.frames.append((content, clock_ms))
        self.history += content.history
        for gap in content.gaps:
            self.seconds.interrupt(gap)
        for baseline in content.baselines:
            self._first(baseline.instrument, baseline.time_ms, baseline.day_volume)
            self.seconds.rebase(baseline)
        for tick in content.ticks:
            self._first(tick.instrument, tick.time_ms, tick.day_volume)
        closed, late, _, _ = self.seconds.apply(content.ticks, clock_ms)
        self.candles += closed
        self.late += len(late)
        for instrument, volume in self.seconds.gap_volumes().items():
            self.in_gaps[instrument] = self.in_gaps.get(instrument, 0) + volume
        if clock_ms is not None:
            self.clocks_ms.append(clock_ms)

    async def flush(self) -> None:
        """All is delivered."""

    def _first(self, instrument: str, time_ms: int, day_volume: int | None) -> None:
        if day_volume is None or self.calendar.span("equity", time_ms).session is None:
            return
        if self.first_volume.get(instrument, (0, 0))[0] != time_ms // DAY_MS:
            self.first_volume[instrument] = time_ms // DAY_MS, day_volume
            self.in_gaps[instrument] = 0


class World:
    """The broker with a source, and the feed subscribed to all of it in one mode.

    ``go_on`` lets time pass: in steps, each of which ends when all that follows from it has happened.
    """

    def __init__(
        self,
        source: Source,
        *,
        at_ms: int,
        mode: int,
        monkeypatch: pytest.MonkeyPatch,
        timeframes: dict[int, list[str]] | None = None,
        calendar: Calendar = NSE,
        standby: bool = False,
        **env: str,
    ) -> None:
        self.clock = HandClock(at_ms)
        self.simulator = Simulator(account=Settings.from_env({}).account, source=source, now_ms=self.clock.now_ms)
        self.written = Written(calendar)
        self.events: list[Noted] = []
        self.prepared_ms: list[int] = []
        self.folder = Path(tempfile.mkdtemp())
        self.wanted = [Subscription(Instrument.parse(one.instrument), mode) for one in source.listings]
        self.feed: AngelFeed
        self.running: asyncio.Task[None]
        self._env, self._standby = env, standby
        clock = Clock(self.clock.now_ms, self.clock.sleep)
        self.history = Backfiller(
            BackfillQueue(self.folder / "history.json", "played"),
            [one.instrument for one in self.wanted],
            configuration=Configure(1, timeframes or {}, {}, calendar.text, 1000),
            clock=clock,
            events=self,
        )
        self.live = LiveFeed(
            self.written,  # type: ignore[arg-type]
            frame_ms=50,
            now_ms=self.clock.now_ms,
            on_gap=self.history.missed,
        )
        self._connections: list[_Counted] = []
        self._far_ends: dict[int, _FarEnd] = {}  # by the port of the feed's end
        self._calls = 0
        self._watch(monkeypatch)

    async def __aenter__(self) -> Self:
        """Start both."""
        await self.simulator.__aenter__()
        names = {f"ANGEL_{name.upper()}": value for name, value in DEMONSTRATION.items()}
        urls = {
            "ANGEL_API_URL": self.simulator.api_url, "ANGEL_FEED_URL": self.simulator.feed_url,
            "ANGEL_MASTER_URL": self.simulator.master_url,
        }  # fmt: skip
        account = Settings.from_env({**names, **urls, **self._env}).account
        self.feed = AngelFeed(
            account,
            spread(self.wanted),
            live=self.live,
            calendar=self.written.calendar,
            classes={},
            clock=Clock(self.clock.now_ms, self.clock.sleep),
            limits=RateLimits(lambda: self.clock.ms / 1000, sleep=self.clock.sleep),
            refusals=Refusals(self.folder / "refused.json", account),
            prepare=self._prepared,
            history=self.history,
            events=self,
            since_ms=self.clock.ms,
            random=Random(1),
            standby=self._standby,
        )
        self.history.begin(self.clock.ms)
        self.running = asyncio.create_task(self.feed.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End both."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.simulator.__aexit__()
        shutil.rmtree(self.folder)

    async def go_on(self, seconds: float, *, step_ms: int = 250) -> None:
        """Let time pass."""
        until_ms = self.clock.ms + round(seconds * 1000)
        while self.clock.ms < until_ms:
            self.clock.move(min(self.clock.ms + step_ms, until_ms))
            await self.simulator.advance_to(self.clock.ms)
            await self.settle()
            await self.live.write_due()
            if self.running.done():
                self.running.result()

    async def skip_to(self, ms: int) -> None:
        """Let time pass in which little happens."""
        await self.go_on((ms - self.clock.ms) / 1000, step_ms=10_000)

    @property
    def sockets(self) -> int:
        """How many connections are open."""
        return sum(one.end is None for one in self._connections)

    async def settle(self) -> None:
        """Wait until nothing is under way between the broker and the feed."""
        stable = 0
        while stable < STABLE:
            stable = 0 if self._busy() else stable + 1
            await asyncio.sleep(0 if stable else 0.0005)

    def of(self, kind: str) -> list[Noted]:
        """Return the events of a kind."""
        return [event for event in self.events if event.kind == kind]

    async def _prepared(self) -> None:
        self.prepared_ms.append(self.clock.ms)

    def _busy(self) -> bool:
        opening = any(not (one.opened or one.end) for one in self._connections)
        ending = any(one.end and not one.closed for one in self._connections)
        up = [one for one in self._connections if one.opened and one.end is None]
        coming = any(one.packets or one.received < self._far_ends[one.port].sent for one in up)
        return bool(self._calls) or opening or ending or coming or self._at_odds(up)

    def _at_odds(self, up: Sequence[_Counted]) -> bool:
        """Whether a socket is up at one end only, or the broker hasn't heard all that the feed has said on one."""
        streams = self.simulator._streams
        cut_off = {_port(socket) for socket in streams._cut_off}  # the feed can't know
        at_broker = {port: self._far_ends[port].heard for port in map(_port, streams._sockets.values())}
        return at_broker != {one.port: one.said for one in up if one.port not in cut_off}

    def record(self, kind: FeedEventKind, detail: str = "", **about: Any) -> None:
        """Note an event of the feed."""
        bounds = about.get("from_ms"), about.get("to_ms")
        self.events.append(
            Noted(self.clock.ms, kind, detail, *bounds, about.get("socket"), about.get("instruments", 0))
        )

    def _watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count what is sent and what has come, and the calls in threads."""
        world, to_thread = self, asyncio.to_thread

        class Known(_Counted):
            def __init__(self, *about: Any, **named: Any) -> None:
                super().__init__(*about, **named)
                world._connections.append(self)

        class KnownFarEnd(_FarEnd):
            def __init__(self, *about: Any) -> None:
                super().__init__(*about)
                world._far_ends[_port(self)] = self

        async def counted_hear(streams: Any, socket: _FarEnd, text: str) -> None:
            await HEAR(streams, socket, text)
            socket.heard += 1

        async def counted_call(*work: Any, **named: Any) -> Any:
            world._calls += 1
            try:
                return await to_thread(*work, **named)
            finally:
                world._calls -= 1

        monkeypatch.setattr("topology.feeds.angel.feed.BrokerSocket", Known)
        monkeypatch.setattr(stream, "_Socket", KnownFarEnd)
        monkeypatch.setattr(stream.MarketStreams, "_hear", counted_hear)
        monkeypatch.setattr(asyncio, "to_thread", counted_call)


class _Counted(BrokerSocket):
    """A connection that counts what comes and what it says. ``port`` is that of this end."""

    port = received = said = 0
    closed = False

    def close(self) -> None:
        super().close()
        self.closed = True

    def _on_packet(self, data: bytes) -> None:
        super()._on_packet(data)
        self.received += 1

    def _on_open(self) -> None:
        app: Any = self._socket.wsapp  # open by now
        self.port, send = app.sock.sock.getsockname()[1], app.send

        def counted(*what: Any) -> None:
            self.said += 1
            send(*what)

        app.send = counted
        super()._on_open()


class _FarEnd(stream._Socket):
    """The broker's end of a connection: counts what it sends, and the texts that it has heard."""

    sent = heard = 0

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.sent += len(self.faults.waiting)
        super().flush()


def _port(socket: stream._Socket) -> int:
    """Return the port of the other end, the feed's."""
    return int(socket.transport.get_extra_info("peername")[1])


def by_second(candles: Sequence[Candle]) -> dict[tuple[str, int], Candle]:
    """Return candles by instrument and second."""
    return {(candle.instrument, candle.start_ms // 1000): candle for candle in candles}


def walk(instruments: int, rate: float) -> Walk:
    """Return the prints of so many instruments, ``rate`` a second all together."""
    return Walk(catalogue(DAY)[:instruments], seed=7, rate=rate, calendar=NSE)


def what_was_traded(candle: Candle | None) -> tuple[int, ...] | None:
    """Return what a candle says of trades, without its marks."""
    if candle is None:
        return None
    return candle.open, candle.high, candle.low, candle.close, candle.volume, candle.count


def covers(gap: Noted, second: int) -> bool:
    """Whether a gap or doubt overlaps with a second since the epoch."""
    assert gap.from_ms is not None
    assert gap.to_ms is not None
    return gap.from_ms < (second + 1) * 1000 and second * 1000 < gap.to_ms


def assert_volume_is_whole(world: World) -> None:
    """Candles, gaps and what was traded before the first packet together are the day volume as it was told last."""
    volumes: dict[str, int] = {}
    for candle in world.written.candles + world.written.seconds.forming(world.written.seconds.series):
        if candle.start_ms // DAY_MS == world.written.first_volume.get(candle.instrument, (0, 0))[0]:
            volumes[candle.instrument] = volumes.get(candle.instrument, 0) + candle.volume
    for instrument, series in world.written.seconds.series.items():
        if series.volume is not None:
            _, first = world.written.first_volume[instrument]
            in_gaps = world.written.in_gaps.get(instrument, 0)
            assert volumes.get(instrument, 0) + in_gaps + first == series.volume, instrument

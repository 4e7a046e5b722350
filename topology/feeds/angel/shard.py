"""A shard: the instruments of one socket. It is kept open and watched, and what it misses is reported as gaps."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Protocol

import msgspec

from topology.feeds.angel.backoff import SOCKET_S, Backoff
from topology.feeds.angel.connection import Came, Connection
from topology.feeds.angel.doubts import Doubts
from topology.feeds.angel.packets import PacketError, parse_all
from topology.feeds.angel.session import Tokens
from topology.feeds.angel.translate import Translator
from topology.feeds.angel.watch import INDEX_MS, OTHERS_MS, Health, Watch
from topology.feeds.clock import Clock
from topology.feeds.live import LiveFeed
from topology.market.gaps import Baseline, Gap
from topology.market.instruments import NUMBERS, Instrument, default_class
from topology.market.quotes import Quote
from topology.market.ticks import Tick

logger = logging.getLogger(__name__)

OPENS_WITHIN_S = 20.0
LOOKS_EVERY_S = 1.0
PING_EVERY_MS = 10_000
SILENT = f"the socket is {Health.SILENT}"
SILENT_SOCKETS = 3  # in a row, after which a new session is tried


class Wanted(Protocol):
    """A subscription: an instrument and the mode of its packets."""

    @property
    def instrument(self) -> Instrument:
        """What is subscribed."""

    @property
    def mode(self) -> int:
        """The mode of the packets: 1, 2 or 3."""


class Events(Protocol):
    """Takes what happens to a shard."""

    def __call__(
        self,
        kind: str,
        detail: str = "",
        *,
        socket: int | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
        instruments: int = 0,
    ) -> None:
        """Note an event; see :class:`topology.log.frames.FeedEvent`."""


class Shard:
    """One socket and its subscriptions. `run` lasts until it is cancelled.

    ``connect`` makes a connection with the tokens of the session, ``renew`` asks for new ones where these are dead;
    ``open_since_ms`` says since when the market has been open for these instruments, None while it is closed.
    """

    def __init__(
        self,
        number: int,
        wanted: Sequence[Wanted],
        *,
        live: LiveFeed,
        clock: Clock,
        connect: Callable[[], Awaitable[Connection]],
        renew: Callable[[Tokens], Awaitable[Tokens]],
        open_since_ms: Callable[[], int | None],
        events: Events,
        since_ms: int,
        random: Random,
    ) -> None:
        self.counts: Counter[str] = Counter()  # of packets: what came, and what could not be read, by reason
        self.newest_ms = since_ms  # of the good ticks: up to here nothing is missing
        self._number, self._wanted = number, wanted
        self._instruments = [str(one.instrument) for one in wanted]
        self._live, self._clock, self._connect, self._renew = live, clock, connect, renew
        self._open_since_ms, self._events = open_since_ms, events
        self._translator = Translator(self._instruments)
        self._backoff = Backoff(SOCKET_S, random)
        has_index = any(default_class(instrument) == "index" for instrument in self._instruments)
        self._usual_ms = INDEX_MS if has_index else OTHERS_MS
        self._gap_from_ms: int | None = None
        self._doubts = Doubts()
        self._silent_sockets = 0

    async def run(self) -> None:
        """Keep the socket open."""
        self._interrupt("the feed starts")
        while True:
            connection = await self._connect()
            try:
                why = await self._use(connection)
            finally:
                connection.close()
            self._interrupt(why)
            self._events("disconnected", why, socket=self._number)
            if self._needs_login(why):
                await self._renew(connection.tokens)
            await self._clock.sleep(self._backoff.next_s())

    def counted(self) -> Counter[str]:
        """Return how many packets came, and how often something was special about one."""
        return self.counts + self._translator.counts

    def _needs_login(self, why: str) -> bool:
        """Say whether the session is dead: the broker says so, or socket after socket brings no data."""
        self._silent_sockets = self._silent_sockets + 1 if why == SILENT else 0
        return why.endswith(("HTTP 401", "HTTP 403")) or (why == SILENT and self._silent_sockets % SILENT_SOCKETS == 0)

    def end(self) -> None:
        """Note that the day is over: what comes from here on is missing."""
        self._interrupt("the day is over")

    async def _use(self, connection: Connection) -> str:
        """Take what comes over a connection; return why it is over."""
        opened_ms = self._clock.now_ms()
        watch = Watch(opened_ms, self._usual_ms)
        subscribed, pinged_ms = False, opened_ms
        while not connection.ended:
            if connection.opened and not subscribed:
                subscribed = True
                await self._subscribe(connection)
            await self._wait(connection)
            now_ms = self._clock.now_ms()
            if subscribed and now_ms - pinged_ms >= PING_EVERY_MS:
                pinged_ms = now_ms
                await connection.ping()
            self._take_texts(connection)
            watch.alive(connection.alive_ms)
            if came := connection.take():
                watch.packets(came[-1].received_ms, len(came))
                self._take(came)
            self._usual_ms = watch.usual_ms
            if not subscribed and now_ms - opened_ms > OPENS_WITHIN_S * 1000:
                return "it did not open"
            health = watch.health(now_ms, open_since_ms=self._open_since_ms())
            if health in (Health.DEAD, Health.SILENT):
                self._events("stale", f"the socket is {health}", socket=self._number)
                return f"the socket is {health}"
        self._take(connection.take())
        return connection.ended

    async def _wait(self, connection: Connection) -> None:
        """Wait until something has come, or it is time to look at the connection's health."""
        coming = asyncio.ensure_future(connection.news.wait())
        looking = asyncio.ensure_future(self._clock.sleep(LOOKS_EVERY_S))
        try:
            await asyncio.wait((coming, looking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
            looking.cancel()
        connection.news.clear()

    async def _subscribe(self, connection: Connection) -> None:
        self._translator.subscribed(self._clock.now_ms())
        self._events("connected", f"{len(self._wanted)} instruments", socket=self._number)
        for mode in sorted({one.mode for one in self._wanted}):
            tokens: dict[int, list[str]] = {}
            for one in self._wanted:
                if one.mode == mode:
                    tokens.setdefault(NUMBERS[one.instrument.exchange], []).append(one.instrument.token)
            await connection.subscribe(mode, tokens)

    def _take_texts(self, connection: Connection) -> None:
        while connection.texts:
            text = connection.texts.popleft()
            with suppress(msgspec.DecodeError):
                answer = msgspec.json.decode(text)
                if isinstance(answer, dict) and answer.get("errorCode"):
                    detail = f"{answer.get('errorMessage', '')} ({answer['errorCode']})"
                    logger.warning("the broker has rejected a subscription: %s", detail)
                    self._events("rejected", detail, socket=self._number)

    def _take(self, came: Sequence[Came]) -> None:
        """Translate packets, and hand over what they tell."""
        ticks: list[Tick] = []
        quotes: list[Quote] = []
        baselines: list[Baseline] = []
        self.counts["received"] += len(came)
        for (received_ms, _), packet in zip(came, parse_all([data for _, data in came]), strict=True):
            if isinstance(packet, PacketError):
                self.counts[str(packet)] += 1
                self._doubts.begin(self._instruments, str(packet), self.newest_ms)
                continue
            if self._gap_from_ms is not None:
                self._resume(received_ms)
            tick, quote, baseline, doubt = self._translator.translate(packet, received_ms)
            if tick is not None:
                ticks.append(tick)
                self._judge(tick, doubt)
            elif quote is not None:
                self._doubts.settle(quote.instrument, received_ms)
            if quote is not None:
                quotes.append(quote)
            if baseline is not None:
                baselines.append(baseline)
        if baselines:
            self._live.rebase(baselines)
        if ticks:
            self._live.add(ticks, received_ms=came[0].received_ms)
        self._live.quote(quotes)
        self._tell_doubts()

    def _judge(self, tick: Tick, doubt: str) -> None:
        """Note how far all is right, and what isn't."""
        if doubt:
            self._doubts.begin([tick.instrument], doubt, min(tick.time_ms, self.newest_ms))
        else:
            self._doubts.settle(tick.instrument, tick.time_ms)
            self.newest_ms = max(self.newest_ms, tick.time_ms)

    def _tell_doubts(self) -> None:
        if (over := self._doubts.over()) is not None:
            gap = over.gap
            self._live.interrupt(gap)
            self._events(
                "doubt", over.why, socket=self._number, from_ms=gap.from_ms, to_ms=gap.to_ms,
                instruments=len(gap.instruments),
            )  # fmt: skip
        if (begun := self._doubts.begun()) is not None:
            self._live.interrupt(begun)

    def _interrupt(self, why: str) -> None:
        """Begin a gap where the newest tick was, unless there is one already."""
        if self._gap_from_ms is None:
            self._gap_from_ms = self.newest_ms
            self._live.interrupt(Gap(self._instruments, self.newest_ms))
            logger.info("socket %d misses data: %s", self._number, why)

    def _resume(self, at_ms: int) -> None:
        """End the gap: the first packet is there, and it is the state after it."""
        from_ms, self._gap_from_ms = self._gap_from_ms, None
        assert from_ms is not None
        to_ms = max(at_ms, from_ms) + 1  # the first packet is still of the gap: its volume is not its own alone
        self._backoff.reset()
        self._live.interrupt(Gap(self._instruments, from_ms, to_ms))
        # Until something of an instrument has come, it is not known to have come back.
        self._doubts.miss(self._instruments, to_ms)
        self._events("gap", socket=self._number, from_ms=from_ms, to_ms=to_ms, instruments=len(self._instruments))
        self._events("resumed", socket=self._number)

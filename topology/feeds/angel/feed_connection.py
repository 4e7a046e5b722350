"""A line: one socket to the broker and what is subscribed on it, kept open and watched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Protocol

import msgspec

from topology.angel.backoff import SOCKET_S, Backoff
from topology.angel.login import SessionTokens
from topology.clock import Clock
from topology.feeds.angel.broker_socket import BrokerSocket, RawPacket
from topology.feeds.angel.liveness import INDEX_MS, OTHERS_MS, Liveness, LivenessMonitor
from topology.feeds.subscriptions import Subscription
from topology.market.instruments import NUMBERS, default_class
from topology.market.times import LONG_AGO

logger = logging.getLogger(__name__)

OPENS_WITHIN_S = 20.0
LOOKS_EVERY_S = 1.0
PING_EVERY_MS = 10_000
DEAD, SILENT = (f"the socket is {health}" for health in (Liveness.DEAD, Liveness.SILENT))
SILENT_SOCKETS = 3  # in a row, after which a new session is tried


class PacketConsumer(Protocol):
    """Takes what happens on a line, which is known by its number."""

    def opened(self, connection: int) -> None:
        """The line is open; the instruments are being subscribed."""

    def take(self, connection: int, packets: Sequence[RawPacket]) -> bool:
        """Take packets; return whether any of them could be read."""

    def rejected(self, connection: int, why: str) -> None:
        """The broker has rejected a subscription."""

    def lost(self, connection: int, why: str) -> None:
        """The line is down."""


class FeedConnection:
    """One socket and its subscriptions. `run` lasts until it is cancelled.

    ``connect`` makes a connection with the tokens of the session, ``renew`` asks for new ones where these are dead;
    ``open_since_ms`` says since when the market has been open for these instruments, None while it is closed.
    """

    def __init__(
        self,
        number: int,
        subscriptions: Sequence[Subscription],
        consumer: PacketConsumer,
        *,
        clock: Clock,
        connect: Callable[[], Awaitable[BrokerSocket]],
        renew: Callable[[SessionTokens], Awaitable[SessionTokens]],
        open_since_ms: Callable[[], int | None],
        random: Random,
    ) -> None:
        self.alive_ms = LONG_AGO  # when the socket that is open has said anything
        self._number, self._subscriptions, self._consumer = number, subscriptions, consumer
        self._clock, self._connect, self._renew, self._open_since_ms = clock, connect, renew, open_since_ms
        self._backoff = Backoff(SOCKET_S, random)
        has_index = any(default_class(str(one.instrument)) == "index" for one in subscriptions)
        self._usual_ms = INDEX_MS if has_index else OTHERS_MS
        self._silent_sockets = 0

    async def run(self) -> None:
        """Keep the socket open."""
        while True:
            socket = await self._connect()
            try:
                why = await self._use(socket)
            finally:
                socket.close()
            self.alive_ms = LONG_AGO
            self._consumer.lost(self._number, why)
            if self._needs_login(why):
                await self._renew(socket.tokens)
            await self._clock.sleep(self._backoff.next_s())

    def _needs_login(self, why: str) -> bool:
        """Say whether the session is dead: the broker says so, or socket after socket brings no data."""
        self._silent_sockets = self._silent_sockets + 1 if why == SILENT else 0
        return why.endswith(("HTTP 401", "HTTP 403")) or (why == SILENT and self._silent_sockets % SILENT_SOCKETS == 0)

    async def _use(self, socket: BrokerSocket) -> str:
        """Take what comes over a connection; return why it is over."""
        opened_ms = self._clock.now_ms()
        monitor = LivenessMonitor(opened_ms, self._usual_ms)
        subscribed, pinged_ms = False, opened_ms
        while not socket.ended:
            if socket.opened and not subscribed:
                subscribed = True
                self._consumer.opened(self._number)
                await self._subscribe(socket)
            await self._wait(socket)
            now_ms = self._clock.now_ms()
            if subscribed and now_ms - pinged_ms >= PING_EVERY_MS:
                pinged_ms = now_ms
                await socket.ping()
            self._take_texts(socket)
            self.alive_ms = socket.alive_ms
            monitor.alive(socket.alive_ms)
            if packets := socket.take():
                monitor.packets(packets[-1].received_ms, len(packets))
                self._take(packets)
            self._usual_ms = monitor.usual_ms
            if not subscribed and now_ms - opened_ms > OPENS_WITHIN_S * 1000:
                return "it did not open"
            health = monitor.health(now_ms, open_since_ms=self._open_since_ms())
            if health in (Liveness.DEAD, Liveness.SILENT):
                return DEAD if health is Liveness.DEAD else SILENT
        self._take(socket.take())
        return socket.ended

    async def _wait(self, socket: BrokerSocket) -> None:
        """Wait until something has come, or it is time to look at the connection's health."""
        coming = asyncio.ensure_future(socket.news.wait())
        looking = asyncio.ensure_future(self._clock.sleep(LOOKS_EVERY_S))
        try:
            await asyncio.wait((coming, looking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
            looking.cancel()
        socket.news.clear()

    async def _subscribe(self, socket: BrokerSocket) -> None:
        for mode in sorted({one.mode for one in self._subscriptions}):
            tokens: dict[int, list[str]] = {}
            for one in self._subscriptions:
                if one.mode == mode:
                    tokens.setdefault(NUMBERS[one.instrument.exchange], []).append(one.instrument.token)
            await socket.subscribe(mode, tokens)

    def _take(self, packets: Sequence[RawPacket]) -> None:
        if self._consumer.take(self._number, packets):
            self._backoff.reset()

    def _take_texts(self, socket: BrokerSocket) -> None:
        while socket.texts:
            text = socket.texts.popleft()
            with suppress(msgspec.DecodeError):
                answer = msgspec.json.decode(text)
                if isinstance(answer, dict) and answer.get("errorCode"):
                    detail = f"{answer.get('errorMessage', '')} ({answer['errorCode']})"
                    logger.warning("the broker has rejected a subscription: %s", detail)
                    self._consumer.rejected(self._number, detail)

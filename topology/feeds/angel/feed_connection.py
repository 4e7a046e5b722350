"""A connection of the feed: one socket to the broker and what is subscribed on it, kept open and watched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from random import Random
from typing import Protocol

import msgspec

from topology.angel.client import ConnectionEnd, EndKind
from topology.angel.login import SessionTokens
from topology.backoff import Backoff
from topology.clock import Clock
from topology.feeds.angel.broker_socket import BrokerSocket, RawPacket
from topology.feeds.angel.liveness import INDEX_MS, OTHERS_MS, Liveness, LivenessMonitor
from topology.feeds.subscriptions import Subscription
from topology.market.instruments import NUMBERS, default_class
from topology.market.times import LONG_AGO

logger = logging.getLogger(__name__)

OPENS_WITHIN_S = 20.0
RETRY_S = (5.0, 60.0)
LOOKS_EVERY_S = 1.0
PING_EVERY_MS = 10_000
ENDS = {Liveness.DEAD: EndKind.DEAD, Liveness.SILENT: EndKind.SILENT}
"""The health that ends a connection, and what kind of end that is."""
SESSION_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
SILENT_SOCKETS = 3  # in a row, after which a new session is tried


class PacketConsumer(Protocol):
    """What a connection, which is known by its number, calls with what comes over it and becomes of it."""

    def on_open(self, connection: int) -> None:
        """It is open; the instruments are being subscribed."""

    def on_packets(self, connection: int, packets: Sequence[RawPacket]) -> bool:
        """Process packets; return whether any of them could be read."""

    def on_rejection(self, connection: int, detail: str) -> None:
        """The broker has rejected a subscription."""

    def on_end(self, connection: int, end: ConnectionEnd) -> None:
        """It is down."""


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
        self._backoff = Backoff(RETRY_S, random)
        has_index = any(default_class(str(one.instrument)) == "index" for one in subscriptions)
        self._usual_ms = INDEX_MS if has_index else OTHERS_MS
        self._silent_sockets = 0

    async def run(self) -> None:
        """Keep the socket open."""
        while True:
            socket = await self._connect()
            try:
                end = await self._stream(socket)
            finally:
                socket.close()
            self.alive_ms = LONG_AGO
            self._consumer.on_end(self._number, end)
            if self._needs_login(end):
                await self._renew(socket.tokens)
            await self._clock.sleep(self._backoff.next_s())

    def _needs_login(self, end: ConnectionEnd) -> bool:
        """Say whether the session is dead: the broker says so, or socket after socket brings no data."""
        silent = end.kind is EndKind.SILENT
        self._silent_sockets = self._silent_sockets + 1 if silent else 0
        return end.http_status in SESSION_REFUSED or (silent and self._silent_sockets % SILENT_SOCKETS == 0)

    async def _stream(self, socket: BrokerSocket) -> ConnectionEnd:
        """Process what comes over a connection until it is over; return why it is."""
        opened_ms = self._clock.now_ms()
        monitor = LivenessMonitor(opened_ms, self._usual_ms)
        subscribed, pinged_ms = False, opened_ms
        while socket.end is None:
            if socket.opened and not subscribed:
                subscribed = True
                self._consumer.on_open(self._number)
                await self._subscribe(socket)
            await self._wait(socket)
            now_ms = self._clock.now_ms()
            if subscribed and now_ms - pinged_ms >= PING_EVERY_MS:
                pinged_ms = now_ms
                await socket.ping()
            self._process_texts(socket)
            self.alive_ms = socket.alive_ms
            monitor.alive(socket.alive_ms)
            if packets := socket.drain():
                monitor.packets(packets[-1].received_ms, len(packets))
                self._process(packets)
            self._usual_ms = monitor.usual_ms
            if not subscribed and now_ms - opened_ms > OPENS_WITHIN_S * 1000:
                return ConnectionEnd(EndKind.UNOPENED)
            health = monitor.health(now_ms, open_since_ms=self._open_since_ms())
            if health in ENDS:
                return ConnectionEnd(ENDS[health])
        self._process(socket.drain())
        return socket.end

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

    def _process(self, packets: Sequence[RawPacket]) -> None:
        if self._consumer.on_packets(self._number, packets):
            self._backoff.reset()

    def _process_texts(self, socket: BrokerSocket) -> None:
        while socket.texts:
            text = socket.texts.popleft()
            with suppress(msgspec.DecodeError):
                answer = msgspec.json.decode(text)
                if isinstance(answer, dict) and answer.get("errorCode"):
                    detail = f"{answer.get('errorMessage', '')} ({answer['errorCode']})"
                    logger.warning("the broker has rejected a subscription: %s", detail)
                    self._consumer.on_rejection(self._number, detail)

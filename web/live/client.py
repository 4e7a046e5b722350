"""A client: what waits to be sent to it. One task sends; nobody else waits for a client that is slow."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from aiohttp import ClientError, WSCloseCode, WSMsgType, web

from web.live.channel import PositionGroup
from web.live.metrics import BYTES, DROPS, PUSHES, SLOW
from web.live.requests import Request

MOST_WAITING = 8 * 2**20
"""Bytes of confirmed messages and answers that wait; a client that lets more pile up is closed."""

LITTLE = 2**20
"""Bytes: with more waiting, what a client has asked for isn't looked up yet."""

MANY, PIECE = 256, 64 * 1024
"""With more pushes than that waiting, so many bytes of them go as one message, a line each."""

LARGE = 4 * 1024
"""Bytes from which on a message is compressed: to compress a small one takes longer than to send it."""

End = tuple[int, str]
GOES_AWAY: End = WSCloseCode.GOING_AWAY, "the gateway stops"
TOO_SLOW: End = WSCloseCode.TRY_AGAIN_LATER, "you read too slowly: connect again and resume"


class ClientSubscription(NamedTuple):
    """What a client has asked for, and the channels that it listens to for it."""

    request: Request
    channels: frozenset[str]


class Client:
    """A WebSocket that has been accepted. It implements `Listener`.

    ``subscriptions`` are by symbol and timeframe, or by channel and 0. ``ended`` has code and reason when it is to be
    closed.
    """

    def __init__(self, socket: web.WebSocketResponse, *, deflate: int) -> None:
        self.subscriptions: dict[tuple[str, int], ClientSubscription] = {}
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._socket, self._deflate = socket, deflate
        self._waiting: deque[tuple[bool, bytes]] = deque()  # whether it is a push, and the text
        self._size = 0
        self._newest: dict[str, bytes] = {}
        self._wake, self._sent = asyncio.Event(), asyncio.Event()

    @property
    def channels(self) -> set[str]:
        """The channels that it has subscribed."""
        return {channel for one in self.subscriptions.values() for channel in one.channels}

    def subscribe(self, subscribed: tuple[str, int], subscription: ClientSubscription) -> None:
        """Note what it has asked for."""
        self.subscriptions[subscribed] = subscription

    def withdraw(self, subscribed: tuple[str, int]) -> set[str]:
        """Take a subscription back, if there is one; return the channels that it alone had."""
        subscription = self.subscriptions.pop(subscribed, None)
        return set() if subscription is None else set(subscription.channels) - self.channels

    def withdraw_all(self) -> set[str]:
        """Take all subscriptions back; return their channels."""
        channels, self.subscriptions = self.channels, {}
        return channels

    def confirmed(self, channel: str, group: PositionGroup) -> None:
        """Queue confirmed messages of a channel; what still forms there is known by now."""
        self.forget(channel)
        self._queue(group.text, push=True)

    def newest(self, channel: str, data: bytes, text: bytes) -> None:  # noqa: ARG002 - the envelope has it
        """Let a value wait in place of the one before it."""
        self.forget(channel)
        self._newest[channel] = text
        self._wake.set()

    def push(self, text: bytes) -> None:
        """Queue a push of a value that was published before."""
        self._queue(text, push=True)

    def answer(self, text: bytes) -> None:
        """Queue an answer or another message that is no push."""
        self._queue(text, push=False)

    async def drained(self) -> None:
        """Wait until little waits to be sent."""
        while self._size > LITTLE and not self.ended.done():
            self._sent.clear()
            await self._sent.wait()

    def forget(self, channel: str) -> None:
        """Drop the value of a channel that waits."""
        if self._newest.pop(channel, None) is not None:
            DROPS.inc()

    def end(self, why: End) -> None:
        """Have it closed; what waits is dropped."""
        if not self.ended.done():
            self.ended.set_result(why)
            self._sent.set()
            self._waiting.clear()
            self._newest.clear()

    def _queue(self, text: bytes, *, push: bool) -> None:
        if self.ended.done():
            return
        self._waiting.append((push, text))
        self._size += len(text)
        self._wake.set()
        if self._size > MOST_WAITING:
            SLOW.inc()
            self.end(TOO_SLOW)

    async def send(self) -> None:
        """Send what waits, until the client is gone."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while (text := self._next()) is not None:
                    self._sent.set()
                    BYTES.inc(len(text))
                    compress = self._deflate if len(text) >= LARGE else 0
                    await self._socket.send_frame(text, WSMsgType.TEXT, compress)
        except (ConnectionError, ClientError):
            return

    def _next(self) -> bytes | None:
        """Return the next message: an answer, or a push; where very many wait as many as go into a piece."""
        if len(self._waiting) + len(self._newest) > MANY:
            return self._joined()
        if self._waiting:
            is_push, text = self._waiting.popleft()
            self._size -= len(text)
        elif self._newest:
            is_push, text = True, self._newest.pop(next(iter(self._newest)))
        else:
            return None
        PUSHES.inc(is_push)
        return text

    def _joined(self) -> bytes | None:
        """Return an answer, or pushes, a line each."""
        pushes: list[bytes] = []
        size = 0
        while self._waiting and size < PIECE:
            is_push, text = self._waiting[0]
            if not is_push and pushes:
                break
            self._waiting.popleft()
            self._size -= len(text)
            if not is_push:
                return text
            pushes.append(text)
            size += len(text)
        if not self._waiting and size < PIECE:
            pushes += self._newest.values()
            self._newest.clear()
        PUSHES.inc(len(pushes))
        return b"\n".join(pushes) if pushes else None

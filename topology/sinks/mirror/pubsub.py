"""What the mirror publishes, received on one connection to Redis' pub/sub.

The mirror's script publishes several values at once, and Redis runs it whole. So messages are passed on in pieces that
hold whole runs of the script: behind what has come goes a PING, and whatever comes before its answer was published by
runs that have ended. The same answer tells that a subscription stands, and that the connection lives.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import NamedTuple

import hiredis

from topology.sinks.mirror.mirror import MirrorAwayError

ANSWERS_WITHIN_S = 5.0
EVERYTHING = "pub:*"
_PING = hiredis.pack_command(("PING",))


class PubSubMessage(NamedTuple):
    """A value as it was published on a channel."""

    channel: str
    data: bytes


class PubSubConnection(asyncio.Protocol):
    """A connection that `connect_pubsub` made. ``ended`` is done when it is lost or closed.

    ``hears_all_channels`` is true while all channels are listened to, by a pattern.
    """

    def __init__(self, take: Callable[[list[PubSubMessage]], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take = take
        self._replies = hiredis.Reader()
        self._received: list[PubSubMessage] = []  # since the last answer to a PING
        self._answers: deque[asyncio.Future[None] | None] = deque()  # of each PING underway, None where it ends a piece
        self._marked = False  # whether a PING is underway behind what was received
        self.hears_all_channels = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop. What has come of a run that may not have ended is dropped: it is read again."""
        for answer in self._answers:
            if answer is not None and not answer.done():
                answer.set_exception(MirrorAwayError(f"Redis is away: {exc or 'it hung up'}", retry_after_s=1.0))
        self._answers.clear()
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._replies.feed(data)
        try:
            while (reply := self._replies.gets()) is not False:
                if isinstance(reply, hiredis.ReplyError):  # it refuses us
                    raise reply
                self._read(reply)
        except hiredis.HiredisError:
            self.close()
        if self._received and not self._marked:
            self._marked = True
            self._ping(None)

    async def subscribe(self, channels: Collection[str]) -> None:
        """Listen to channels; from the return on nothing is missed. Raises MirrorAwayError."""
        if channels:
            self._send("SUBSCRIBE", *channels)
        await self.caught_up()

    def unsubscribe(self, channels: Collection[str]) -> None:
        """Listen to them no longer."""
        if channels:
            self._send("UNSUBSCRIBE", *channels)

    async def listen_to_everything(self, everything: bool) -> None:
        """Listen to all channels of the mirror, or no longer. A message comes once all the same."""
        self._send("PSUBSCRIBE" if everything else "PUNSUBSCRIBE", EVERYTHING)
        await self.caught_up()

    async def caught_up(self) -> None:
        """Return when all that was published before the call has been passed on. Raises MirrorAwayError."""
        if self.ended.done():
            raise MirrorAwayError("Redis is away", retry_after_s=1.0)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ping(answer)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):  # wait_for can swallow a cancellation
                await answer
        except TimeoutError:
            self.close()
            raise MirrorAwayError(f"Redis is silent for {ANSWERS_WITHIN_S:.0f} s", retry_after_s=1.0) from None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _read(self, reply: object) -> None:
        match reply:
            case [b"message", bytes(channel), bytes(data)]:
                if not self.hears_all_channels:  # else it comes again, for the pattern
                    self._received.append(PubSubMessage(channel.decode(errors="replace"), data))
            case [b"pmessage", _, bytes(channel), bytes(data)]:
                self._received.append(PubSubMessage(channel.decode(errors="replace"), data))
            case [b"psubscribe", *_]:
                self.hears_all_channels = True
            case [b"punsubscribe", *_]:
                self.hears_all_channels = False
            case [b"pong", _] | b"PONG":
                self._answered()

    def _answered(self) -> None:
        received, self._received, self._marked = self._received, [], False
        if received:
            self._take(received)
        answer = self._answers.popleft()
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _ping(self, answer: asyncio.Future[None] | None) -> None:
        self._answers.append(answer)
        self._write(_PING)

    def _send(self, *words: str) -> None:
        self._write(hiredis.pack_command(words))  # type: ignore[arg-type] # its stub knows one word only

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def connect_pubsub(
    host: str, port: int, *, password: str | None, take: Callable[[list[PubSubMessage]], None]
) -> PubSubConnection:
    """Connect. ``take`` is called with what is published, whole runs of the mirror's script. Raises MirrorAwayError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            _, connection = await loop.create_connection(lambda: PubSubConnection(take), host, port)
    except (OSError, TimeoutError) as error:
        raise MirrorAwayError(f"Redis is away: {error}", retry_after_s=1.0) from error
    if password is not None:
        connection._send("AUTH", password)
    await connection.caught_up()
    return connection

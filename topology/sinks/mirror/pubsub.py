"""Hearing what the mirror says: one connection to Redis' pub/sub.

The mirror's script says several values at once, and Redis runs it whole. So what is heard is passed on in pieces that
hold whole runs of the script: behind what has come goes a PING, and whatever comes before its answer was said by runs
that have ended. The same answer tells that a subscription stands, and that the connection lives.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from topology.sinks.mirror.mirror import MirrorAwayError

ANSWERS_WITHIN_S = 5.0
EVERYTHING = "pub:*"
_PING = b"*1\r\n$4\r\nPING\r\n"


class PubSubMessage(NamedTuple):
    """A value as it was said on a channel."""

    channel: str
    data: bytes


Reply = bytes | int | None | list["Reply"]


class PubSubConnection(asyncio.Protocol):
    """A connection that `connect_pubsub` made. ``ended`` is done when it is lost or closed.

    ``hears_all_channels`` is true while all channels are listened to, by a pattern.
    """

    def __init__(self, take: Callable[[list[PubSubMessage]], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take = take
        self._buffer = bytearray()
        self._said: list[PubSubMessage] = []
        self._answers: deque[asyncio.Future[None] | None] = deque()  # of each PING underway, None where it ends a piece
        self._marked = False  # whether a PING is underway behind what is in _said
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
        self._buffer += data
        try:
            for reply in replies(self._buffer):
                self._read(reply)
        except ValueError:
            self.close()
        if self._said and not self._marked:
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
        """Listen to all channels of the mirror, or no longer. A value is heard once all the same."""
        self._send("PSUBSCRIBE" if everything else "PUNSUBSCRIBE", EVERYTHING)
        await self.caught_up()

    async def caught_up(self) -> None:
        """Return when all that was said before the call has been passed on. Raises MirrorAwayError."""
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

    def _read(self, reply: Reply) -> None:
        match reply:
            case [b"message", bytes(channel), bytes(data)]:
                if not self.hears_all_channels:  # else it comes again, for the pattern
                    self._said.append(PubSubMessage(channel.decode(errors="replace"), data))
            case [b"pmessage", _, bytes(channel), bytes(data)]:
                self._said.append(PubSubMessage(channel.decode(errors="replace"), data))
            case [b"psubscribe", *_]:
                self.hears_all_channels = True
            case [b"punsubscribe", *_]:
                self.hears_all_channels = False
            case [b"pong", _] | b"PONG":
                self._answered()

    def _answered(self) -> None:
        said, self._said, self._marked = self._said, [], False
        if said:
            self._take(said)
        answer = self._answers.popleft()
        if answer is not None and not answer.done():
            answer.set_result(None)

    def _ping(self, answer: asyncio.Future[None] | None) -> None:
        self._answers.append(answer)
        self._write(_PING)

    def _send(self, *words: str) -> None:
        self._write(command(*words))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def connect_pubsub(
    host: str, port: int, *, password: str | None, take: Callable[[list[PubSubMessage]], None]
) -> PubSubConnection:
    """Connect. ``take`` is called with what is said, whole runs of the mirror's script. Raises MirrorAwayError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            _, heard = await loop.create_connection(lambda: PubSubConnection(take), host, port)
    except (OSError, TimeoutError) as error:
        raise MirrorAwayError(f"Redis is away: {error}", retry_after_s=1.0) from error
    if password is not None:
        heard._send("AUTH", password)
    await heard.caught_up()
    return heard


def command(*words: str) -> bytes:
    r"""Return a command as Redis reads it.

    >>> command("GET", "a")
    b'*2\r\n$3\r\nGET\r\n$1\r\na\r\n'
    """
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def replies(buffer: bytearray) -> Iterator[Reply]:
    r"""Take whole replies off the front of a buffer; what begins one stays. Raises ValueError for what is none.

    An error that Redis tells is a ValueError too: it refuses us, or isn't what we take it for.

    >>> buffer = bytearray(b"+PONG\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n:1")
    >>> list(replies(buffer)), bytes(buffer)
    ([b'PONG', [b'pong', b'']], b':1')
    """
    done = 0
    try:
        while done < len(buffer):
            reply, done = _reply(buffer, done)
            yield reply
    except IndexError:
        pass
    finally:
        del buffer[:done]


def _reply(buffer: bytearray, start: int) -> tuple[Reply, int]:
    """Return the reply at ``start`` and where it ends. Raises IndexError where the end hasn't come yet."""
    end = buffer.find(b"\r\n", start)
    if end < 0:
        raise IndexError
    kind, line, start = buffer[start], bytes(buffer[start + 1 : end]), end + 2
    match kind:
        case 0x2B:  # +
            return line, start
        case 0x3A:  # :
            return int(line), start
        case 0x24:  # $
            end = start + int(line)
            if end < start:
                return None, start
            if end + 2 > len(buffer):
                raise IndexError
            return bytes(buffer[start:end]), end + 2
        case 0x2A:  # *
            parts: list[Reply] = []
            for _ in range(int(line)):
                part, start = _reply(buffer, start)
                parts.append(part)
            return parts, start
    raise ValueError(line.decode(errors="replace"))

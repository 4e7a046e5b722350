"""The mirror: latest values, streams and messages in Redis. Positions are moved by the script that writes the data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from topology.sinks.cursor import (
    NO_CURSOR,
    SinkAwayError,
    SinkCursor,
    SinkError,
    SinkRefusedError,
    Source,
    StoredFrame,
    is_mine,
    run_of,
    source_of,
    source_text,
    unapplied,
)
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.streams import Command, ListenedChannels, StreamCommands, listened_channels

POSITIONS = "mirror:positions"
PUBLISHING = "mirror:publishing"
HELD_S = 10  # seconds after which a mirror that died holds the channels no more
SENT = 6  # fields of a command
COMMANDS_PER_CALL = 1_000
"""A call holds Redis up for about 10 ms."""


class MirrorAwayError(SinkAwayError):
    """Redis can't be reached or accepts nothing: hold the frames and try again after ``retry_after_s`` seconds."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MirrorEmptiedError(SinkError):
    """Redis has lost what this mirror knows it held: a new ``Mirror`` reads again from what is left, at worst all."""


class SharedServerError(SinkRefusedError):
    """Live values are published on the server that simulated ones were to go to."""


class Mirrored(NamedTuple):
    """What became of a batch: commands executed, stream entries that were there, frames dropped as duplicates."""

    commands: int
    skipped: int
    duplicates: int


def connect(host: str, port: int, *, db: int, password: str | None = None, timeout_s: float = 2.0) -> Redis:
    """A client of Redis that never waits longer than ``timeout_s`` and never repeats a command by itself."""
    return Redis(
        host=host,
        port=port,
        db=db,
        password=password,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


async def hold_channels(client: Redis, *, simulated: bool) -> None:
    """Mark for some seconds that live values are published on this server: channels belong to no database.

    ``client`` is of database 0, in every namespace. Raises SharedServerError for simulated values while live ones are
    published, since nobody could tell them apart; MirrorAwayError.
    """
    try:
        if not simulated:
            await client.set(PUBLISHING, "live", ex=HELD_S)
        elif await client.exists(PUBLISHING):
            raise SharedServerError(
                "live values are published on this Redis, and simulated ones would come out among them: set another "
                "REDIS_ADDR for the simulation"
            )
    except (RedisError, OSError) as error:
        raise MirrorAwayError(f"Redis is away: {error}", retry_after_s=0) from error


async def query_listened_channels(client: Redis) -> ListenedChannels | None:
    """What somebody listens to, as Redis itself knows; None where somebody listens to a pattern, which may be all.

    Raises MirrorAwayError.
    """
    try:
        if await client.pubsub_numpat():
            return None
        channels = await client.pubsub_channels("pub:*")
    except (RedisError, OSError) as error:
        raise MirrorAwayError(f"Redis can't say who listens: {error}", retry_after_s=0) from error
    return listened_channels(map(_decoded, channels))


class Mirror:
    """The Redis database behind ``client``, for one run of one log. Calls take turns."""

    def __init__(self, client: Redis, *, log: str, run: int, streams: StreamCommands, breaker: Breaker) -> None:
        self.breaker = breaker
        self._client, self._log, self._run, self._streams = client, log, run, streams
        self._script = client.register_script(resources.files(__package__).joinpath("mirror.lua").read_text())
        self._turn = asyncio.Lock()
        self._held: dict[Source, str] = {}  # what Redis held under POSITIONS when it was last asked

    async def positions(self) -> dict[Source, SinkCursor]:
        """How far each source has been applied in this run; ticks in any run of the log.

        Raises ForeignLogError when Redis holds another log, MirrorAwayError, MirrorEmptiedError.
        """
        async with self._turn:
            async with self._reached():
                held = await self._client.hgetall(POSITIONS)
            texts = {source_of(_decoded(name)): _decoded(text) for name, text in held.items()}
            for source in self._held.keys() | texts.keys():
                self._adopt(source, texts.get(source, ""))
        applied = {source: self._applied(source, text) for source, text in self._held.items()}
        return {source: position for source, position in applied.items() if position != NO_CURSOR}

    async def apply(
        self, frames: Sequence[StoredFrame], *, live: bool = True, listened: ListenedChannels | None = None
    ) -> Mirrored:
        """Apply frames of one source, in the order of their offsets: confirmed rows once each, positions with them.

        With ``live`` false, the values of what is still forming are left out: after a wait they are of no use. They and
        ticks are only published where they are ``listened``; with None all are.

        Raises PositionError and ForeignFrameError as ``unapplied`` does, MirrorEmptiedError; MirrorAwayError, after
        which the same frames can be given again: what had been written is not repeated.
        """
        source = frames[0].source
        if any(stored.source != source for stored in frames):
            raise ValueError("frames of one source only")
        async with self._turn:
            return await self._apply(source, frames, live=live, listened=listened)

    async def _apply(
        self, source: Source, frames: Sequence[StoredFrame], *, live: bool, listened: ListenedChannels | None
    ) -> Mirrored:
        while True:
            held = self._held.get(source, "")
            batch = unapplied(self._applied(source, held), frames, log=self._log, run=self._run)
            commands = self._streams.commands(batch.frames, live=live, listened=listened) if batch.frames else []
            answer, skipped = await self._send(source, held, self._text(source, batch.applied), commands)
            if answer is None:
                return Mirrored(len(commands), skipped, batch.duplicates)
            self._adopt(source, answer)

    async def _send(self, source: Source, held: str, moved: str, commands: list[Command]) -> tuple[str | None, int]:
        """Call the script, often where there is much; the last call moves the position.

        Returns None and the number of entries skipped; or, when Redis doesn't hold ``held``, what it holds.
        Entries that a call before the last one has written are skipped by their ids when they come again; candles of
        history, which are only published, are published again.
        """
        skipped = 0
        calls = _calls(commands)
        for number, some in enumerate(calls, start=1):
            is_last = number == len(calls)
            args = [
                source_text(source),
                held,
                moved if is_last else "",
                *(part for command in some for part in command[:SENT]),
            ]
            async with self._reached():
                done, text, skipped_here = await self._script(keys=[POSITIONS], args=args)
            if not done:
                return _decoded(text), 0
            skipped += skipped_here
        self._held[source] = moved
        return None, skipped

    def _adopt(self, source: Source, text: str) -> None:
        """Go on from what Redis holds: a reply was lost, or another worker has gone on."""
        before, now = self._applied(source, self._held.get(source, "")), self._applied(source, text)
        if now.position < before.position:
            raise MirrorEmptiedError(
                f"Redis has lost {source_text(source)} from position {now.position + 1} to {before.position}: "
                "this role starts again and reads them from the log"
            )
        self._held[source] = text

    def _text(self, source: Source, applied: SinkCursor) -> str:
        return " ".join(map(str, (self._log, run_of(source[0], self._run), *applied)))

    def _applied(self, source: Source, text: str) -> SinkCursor:
        if not text:
            return NO_CURSOR
        log, *numbers = text.split()
        run, position, offset, clock_ms = map(int, numbers)
        remedy = "Redis can't be used here: choose another database, or empty this one with FLUSHDB"
        mine = is_mine(self._log, run_of(source[0], self._run), held_log=log, held_run=run, remedy=remedy)
        return SinkCursor(position, offset, clock_ms) if mine else NO_CURSOR

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[None]:
        """One call to Redis, through the breaker."""
        if not self.breaker.allows():
            raise MirrorAwayError("Redis is away, waiting", retry_after_s=self.breaker.retry_after_s())
        try:
            yield
        except (RedisError, OSError) as error:
            self.breaker.failed()
            raise MirrorAwayError(f"Redis is away: {error}", retry_after_s=self.breaker.retry_after_s()) from error
        except BaseException:
            self.breaker.failed()
            raise
        self.breaker.succeeded()


def _calls(commands: list[Command]) -> list[list[Command]]:
    """Cut commands into calls, at least one, but not between two that a frame has for the same channel.

    Readers know messages by their position, which is the same for these: they must not hear of some of them alone.
    """
    calls, start = [], 0
    for end in range(1, len(commands)):
        before, after = commands[end - 1], commands[end]
        if end - start >= COMMANDS_PER_CALL and _published_together(before) != _published_together(after):
            calls.append(commands[start:end])
            start = end
    return [*calls, commands[start:]]


def _published_together(command: Command) -> tuple[str, str, int]:
    return command.instrument, command.name, command.position


def _decoded(text: bytes | str) -> str:
    return text if isinstance(text, str) else text.decode(errors="replace")  # a channel may be called anything

"""The mirror as a sink: it waits for a Redis that is away, keeps other namespaces off, and looks who listens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from prometheus_client import Counter, Gauge, Histogram
from redis.asyncio import Redis

from topology.clock import SYSTEM
from topology.log.frames import DERIVED, TICKS, LogHeader
from topology.log.lag import FramePosition
from topology.settings import SIM, Settings
from topology.sinks.cursor import SinkCursor, SinkError, Source, StoredFrame, by_source, frame_positions
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.mirror import (
    Mirror,
    MirrorAwayError,
    connect,
    hold_channels,
    query_listened_channels,
)
from topology.sinks.mirror.streams import ListenedChannels, StreamCommands
from topology.sinks.sink import RUN, Output

logger = logging.getLogger(__name__)

BREAKER = Gauge("mdengine_redis_circuit_breaker_state", "0 closed, 1 half open, 2 open")
TRIPS = Gauge("mdengine_redis_circuit_breaker_trips_total", "How often the circuit breaker has opened")
WRITES = Histogram("mdengine_redis_write_duration_seconds", "A batch of one topic and partition into Redis")
FAILURES = Counter("mdengine_redis_write_failures_total", "Batches that Redis did not take; they are tried again")
PATIENCE_S = 60.0
FRESH_S = 2.0  # live values of a batch that waited longer for Redis are of no use to anybody
HOLD_S = 2.0
LISTENED_S = 1.0  # who begins to listen has live values after this at the latest


class MirrorSink:
    """Mirrors the log into Redis. While Redis is away it waits, and the log keeps what is confirmed.

    Implements `topology.sinks.sink.Sink`.
    """

    name: ClassVar = "mirror"
    stages: ClassVar[Sequence[str]] = (TICKS, *DERIVED)
    output: ClassVar[Output | None] = None
    batch_s = 0.0
    is_used = True

    _client: Redis
    _mirror: Mirror

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._publishes_all = settings.mirror_live == "all"
        self._listened: ListenedChannels | None = None if self._publishes_all else {}

    async def reached(self, header: LogHeader) -> Mapping[Source, FramePosition]:
        """Ask Redis how far it is."""
        async with self._connect(self._settings.redis_db) as client:
            return frame_positions(await self._mirror_behind(client, header).positions())

    async def open(self, header: LogHeader) -> None:
        """Make the client; Redis itself may come later."""
        self._client = self._connect(self._settings.redis_db)
        self._mirror = self._mirror_behind(self._client, header)

    async def positions(self) -> Mapping[Source, SinkCursor]:
        """Return how far Redis is, as soon as it answers; Faust does not wait for this for ever."""
        started_s = time.monotonic()
        while True:
            try:
                return await self._mirror.positions()
            except MirrorAwayError as error:
                if time.monotonic() - started_s > PATIENCE_S:
                    address = self._settings.redis_addr
                    raise SinkError(f"{error}, for {PATIENCE_S:.0f} s: start it at REDIS_ADDR={address}") from error
                await self._wait(error)

    async def write(self, frames: list[StoredFrame]) -> None:
        """Write a batch, source by source, waiting for Redis for as long as it takes."""
        for _, group in by_source(frames):
            await self._apply(list(group))

    def background(self) -> Iterable[Coroutine[Any, Any, None]]:
        """Return what keeps other namespaces off, and what looks who listens, where live values are only for them."""
        return [self._hold_channels(), *([] if self._publishes_all else [self._follow_listeners()])]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _connect(self, db: int) -> Redis:
        host, port = self._settings.redis_addr
        return connect(host, port, db=db, password=self._settings.redis_password or None)

    def _mirror_behind(self, client: Redis, header: LogHeader) -> Mirror:
        streams = StreamCommands(partitions=header.partitions, budget_mb=self._settings.redis_streams_mb)
        return Mirror(client, log=header.log, run=RUN, streams=streams, breaker=Breaker(time.monotonic))

    async def _apply(self, frames: list[StoredFrame]) -> None:
        started_s = time.monotonic()
        while True:
            try:
                with WRITES.time():
                    fresh = time.monotonic() - started_s < FRESH_S
                    await self._mirror.apply(frames, live=fresh, listened=self._listened)
            except MirrorAwayError as error:
                FAILURES.inc()
                await self._wait(error)
            else:
                self._show_breaker()
                return

    async def _wait(self, error: MirrorAwayError) -> None:
        logger.warning("%s", error)
        self._show_breaker()
        await asyncio.sleep(max(error.retry_after_s, 0.2))

    def _show_breaker(self) -> None:
        BREAKER.set(self._mirror.breaker.circuit)
        TRIPS.set(self._mirror.breaker.trips)

    async def _hold_channels(self) -> None:
        """Keep simulated values out of the channels of live ones. Raises SharedServerError in the simulated role."""
        async with self._connect(0) as client:
            while True:
                try:
                    await hold_channels(client, simulated=self._settings.namespace == SIM)
                except MirrorAwayError as error:
                    logger.debug("%s", error)  # whoever writes says so
                await SYSTEM.sleep(HOLD_S)

    async def _follow_listeners(self) -> None:
        """Ask Redis again and again who listens; while it is away nobody does."""
        while True:
            try:
                self._listened = await query_listened_channels(self._client)
            except MirrorAwayError as error:
                logger.warning("%s", error)
                self._listened = {}
            await SYSTEM.sleep(LISTENED_S)

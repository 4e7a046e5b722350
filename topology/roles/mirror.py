"""The role `mirror`: the newest values, streams and messages in Redis."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from itertools import groupby
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from redis.asyncio import Redis

from agents.process_guard import REFUSED, end_process
from topology.clock import SYSTEM
from topology.kafka import topics
from topology.log.frames import CANDLES, INDICATORS, TICKS, TIMEFRAMES
from topology.roles.sink import SinkRole
from topology.settings import SIM
from topology.sinks.cursor import ForeignLogError, PositionError, SinkCursor, Source, StoredFrame
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.mirror import (
    Mirror,
    MirrorAwayError,
    MirrorEmptiedError,
    SharedServerError,
    connect,
    hold_channels,
    query_listened_channels,
)
from topology.sinks.mirror.streams import ListenedChannels, StreamCommands

logger = logging.getLogger(__name__)

BREAKER = Gauge("mdengine_redis_circuit_breaker_state", "0 closed, 1 half open, 2 open")
TRIPS = Gauge("mdengine_redis_circuit_breaker_trips_total", "How often the circuit breaker has opened")
WRITES = Histogram("mdengine_redis_write_duration_seconds", "A batch of one topic and partition into Redis")
FAILURES = Counter("mdengine_redis_write_failures_total", "Batches that Redis did not take; they are tried again")
PATIENCE_S = 60.0
FRESH_S = 2.0  # live values of a batch that waited longer for Redis are of no use to anybody
HOLD_S = 2.0
WATCH_S = 1.0  # who begins to listen has live values after this at the latest


class MirrorRole(SinkRole):
    """Mirrors the log into Redis. While Redis is away it waits, and the log keeps what is confirmed."""

    name = "mirror"
    stages = (TICKS, CANDLES, TIMEFRAMES, INDICATORS)
    batch_s = 0.0

    _client: Redis
    _mirror: Mirror
    _watched: ListenedChannels | None

    async def connect(self, log: topics.Log) -> None:
        """Make the client; Redis itself may come later."""
        settings = self.settings
        self._watched = None if settings.mirror_live == "all" else {}
        host, port = settings.redis_addr
        self._client = connect(host, port, db=settings.redis_db, password=settings.redis_password or None)
        self._mirror = Mirror(
            self._client,
            log=log.header.log,
            run=0,
            streams=StreamCommands(partitions=log.header.partitions, budget_mb=settings.redis_streams_mb),
            breaker=Breaker(time.monotonic),
        )

    def background(self) -> Iterable[Coroutine[Any, Any, None]]:
        """Return what keeps other namespaces off, and what looks who listens, where live values are only for them."""
        return [self._hold(), *([] if self.settings.mirror_live == "all" else [self._watch()])]

    async def _hold(self) -> None:
        """Keep simulated values out of the channels of live ones: the role that is simulated ends."""
        host, port = self.settings.redis_addr
        async with connect(host, port, db=0, password=self.settings.redis_password or None) as client:
            while True:
                try:
                    await hold_channels(client, simulated=self.settings.namespace == SIM)
                except SharedServerError as error:
                    end_process(str(error), code=REFUSED)
                except MirrorAwayError as error:
                    logger.debug("%s", error)  # whoever writes says so
                await SYSTEM.sleep(HOLD_S)

    async def _watch(self) -> None:
        """Ask Redis again and again who listens; while it is away nobody does."""
        while True:
            try:
                self._watched = await query_listened_channels(self._client)
            except MirrorAwayError as error:
                logger.warning("%s", error)
                self._watched = {}
            await SYSTEM.sleep(WATCH_S)

    async def disconnect(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def positions(self) -> dict[Source, SinkCursor]:
        """Return how far Redis is, as soon as it answers; Faust does not wait for this for ever."""
        started_s = time.monotonic()
        while True:
            try:
                return await self._mirror.positions()
            except MirrorAwayError as error:
                if time.monotonic() - started_s > PATIENCE_S:
                    end_process(f"{error}, for {PATIENCE_S:.0f} s: start it at REDIS_ADDR={self.settings.redis_addr}")
                await self._wait(error)
            except MirrorEmptiedError as error:
                end_process(str(error))
            except ForeignLogError as error:
                end_process(str(error), code=REFUSED)

    async def write(self, frames: list[StoredFrame]) -> None:
        """Write a batch, source by source, waiting for Redis for as long as it takes."""
        for _, group in groupby(sorted(frames, key=_source), key=_source):
            await self._apply(list(group))

    async def _apply(self, frames: list[StoredFrame]) -> None:
        started_s = time.monotonic()
        while True:
            try:
                with WRITES.time():
                    fresh = time.monotonic() - started_s < FRESH_S
                    await self._mirror.apply(frames, live=fresh, listened=self._watched)
            except MirrorAwayError as error:
                FAILURES.inc()
                await self._wait(error)
            except (MirrorEmptiedError, PositionError) as error:
                end_process(str(error))
            except ForeignLogError as error:
                end_process(str(error), code=REFUSED)
            else:
                self._show()
                return

    async def _wait(self, error: MirrorAwayError) -> None:
        logger.warning("%s", error)
        self._show()
        await asyncio.sleep(max(error.retry_after_s, 0.2))

    def _show(self) -> None:
        BREAKER.set(self._mirror.breaker.circuit)
        TRIPS.set(self._mirror.breaker.trips)


def _source(stored: StoredFrame) -> Source:
    return stored.source

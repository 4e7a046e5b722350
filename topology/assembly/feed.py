"""The role `feed`: a source's ticks into the tick log. It is the only writer of the clock."""

from __future__ import annotations

import asyncio
import time

from faust.types import TP, EventT

from agents.lifeline import REFUSED, end
from agents.measures import Progress
from agents.stages import attach
from topology import topics, upstream
from topology.assembly.base import Companions, RoleApp
from topology.feeds.live import LiveFeed
from topology.feeds.walk import DEMONSTRATION, RandomWalk
from topology.feeds.writer import StaleSourceError, TickLogWriter
from topology.log.frames import COMMANDS
from topology.settings import SIM, Settings
from web import health

STEP_S = 0.5  # between two ticks of an instrument of the demonstration


def now_ms() -> int:
    """Return the time of day, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class FeedRole:
    """The demonstration: a random walk, SIMULATED, clock = now. It feeds a simulated log only."""

    def __init__(self, app: RoleApp, settings: Settings) -> None:
        self._settings = settings
        self._companions = Companions(settings)
        self._log = ""
        self._writer: TickLogWriter | None = None
        commands = topics.topic(settings.namespace, COMMANDS)

        attach(app, "feed", [commands], self._copy)
        upstream.install(app, {commands: self._copied})
        health.add(app, self._health)

    async def start(self, log: topics.Log) -> None:
        """Take the log's partitions over and start to write."""
        if log.header.namespace != SIM:
            end(f"the demonstration feeds simulated logs only: set TOPOLOGY_NAMESPACE={SIM}", code=REFUSED)
        self._log = log.header.log
        self._writer = await TickLogWriter(self._settings.bootstrap, log).__aenter__()
        try:
            self._writer.refuse_older(now_ms())
        except StaleSourceError as error:
            end(str(error), code=REFUSED)
        live = LiveFeed(self._writer, frame_ms=self._settings.frame_ms, now_ms=now_ms)
        self._companions.start([live.run(), self._walk(live)])

    async def close(self) -> None:
        """Deliver what was written."""
        self._companions.stop()
        if self._writer is not None:
            await self._writer.flush()

    async def stop(self) -> None:
        """Disconnect."""
        if self._writer is not None:
            await self._writer.__aexit__()

    async def _walk(self, live: LiveFeed) -> None:
        walk = RandomWalk(DEMONSTRATION, seed=now_ms())
        while True:
            live.add(walk.ticks(now_ms()))
            await asyncio.sleep(STEP_S)

    async def _copied(self, _tp: TP, _log_end: int) -> int:
        """Return the id of the newest command that the writer has been given at its start."""
        return 0 if self._writer is None else self._writer.log.configuration.id

    async def _copy(self, event: EventT[bytes]) -> None:
        """Copy a command that comes while the feed runs into every partition, with its next frame."""
        if self._writer is not None:
            self._writer.command([topics.configure_of(event.message)])

    def _health(self) -> health.Health:
        clock_ms = 0 if self._writer is None else self._writer.clock_ms
        running = now_ms() - clock_ms < 5000
        line = Progress("feed", -1, None if self._writer is None else self._writer.frames, 0, clock_ms, not running)
        return health.Health("feed", "running" if running else "standing still", self._log, [line])

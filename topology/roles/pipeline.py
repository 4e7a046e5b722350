"""The role `pipeline`: candles, timeframes and indicators."""

from __future__ import annotations

from typing import Any

from faust.types import TP

from agents import pipeline
from agents.frame_producer import FrameProducer
from agents.stage_runner import StageRunner
from agents.stage_wiring import StageWiring
from topology import faust_fixes
from topology.kafka import broker_log
from topology.log.frames import CANDLES, TICKS, TIMEFRAMES
from topology.roles.background import BackgroundTasks
from topology.roles.base import RoleApp, health_of
from topology.settings import Settings
from web.http import health


class PipelineRole:
    """The runners of the three stages and what they share."""

    def __init__(self, app: RoleApp, settings: Settings) -> None:
        self._app = app
        self._log = ""
        self._producer = FrameProducer(settings.bootstrap)
        self._background = BackgroundTasks(settings)
        wiring = StageWiring(
            app,
            prefix=settings.namespace,
            partitions=settings.topic_partitions,
            producer=self._producer,
            guard=self._background.guard,
            checkpoint_ms=settings.checkpoint_ms,
            live_ms=settings.live_interval_ms,
        )
        self._runners: dict[str, StageRunner[Any]] = {
            wiring.topic(TICKS): pipeline.candles(wiring),
            wiring.topic(CANDLES): pipeline.timeframes(wiring),
            wiring.topic(TIMEFRAMES): pipeline.indicators(wiring),
        }
        faust_fixes.install(app, dict.fromkeys(self._runners, self._open))
        app.on_partitions_revoked.connect(self._revoked)  # type: ignore[arg-type] # its type hides the arguments
        health.add(app, self._health)

    async def start(self, log: broker_log.Log) -> None:
        """Take over which log this is, and connect."""
        self._log = log.header.log
        for runner in self._runners.values():
            runner.start(self._log)
        await self._producer.start()
        watching = (runner.watch() for runner in self._runners.values())
        self._background.start([faust_fixes.watch_recovery(self._app), *watching])

    async def close(self) -> None:
        """Save every partition."""
        for runner in self._runners.values():
            await runner.close()

    async def stop(self) -> None:
        """Deliver what is left, and disconnect."""
        self._background.stop()
        await self._producer.stop()

    async def _open(self, tp: TP, log_end: int) -> int | None:
        return self._runners[tp.topic].open(tp.partition, log_end)

    async def _revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        for tp in revoked:
            if tp.topic in self._runners:
                self._runners[tp.topic].revoke(tp.partition)

    def _health(self) -> health.RoleHealth:
        readers = [line for runner in self._runners.values() for line in runner.metrics.progress()]
        return health_of(self._app, self._log, readers)

"""Builds the Faust app of a role out of the settings."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from agents import pipeline
from agents.arrow import Arrow
from agents.lifeline import REFUSED, StallGuard, end
from agents.outbox import Outbox
from agents.stages import Worker
from tables.state import MAX_RECORD_BYTES
from topology import topics, upstream
from topology.log.frames import CANDLES, TICKS, TIMEFRAMES
from topology.logs import configure_logging
from topology.settings import Settings, SettingsError, load
from web import health


class RoleApp(faust.App):
    """The app of a role: it refuses a broker or topics it can't use before it starts, and saves before it stops."""

    settings: Settings
    role: Any

    async def on_start(self) -> None:
        """Learn which log the topics hold, then start."""
        try:
            log = await topics.read(self.settings.bootstrap, self.settings.namespace)
        except topics.LogError as error:
            end(str(error), code=REFUSED)
        await self.role.start(log)
        await super().on_start()

    async def on_stop(self) -> None:
        """Save what is hot while the producer and the stores are still there, then stop."""
        await self.role.close()
        await super().on_stop()
        await self.role.stop()


class PipelineRole:
    """Candles, timeframes and indicators: three arrows and what they share."""

    def __init__(self, app: RoleApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._outbox = Outbox(settings.bootstrap, linger_ms=0)
        self._guard = StallGuard(settings.session_timeout_s / 2)
        self._log = ""
        self._tasks: list[asyncio.Task[None]] = []
        worker = Worker(
            app,
            prefix=settings.namespace,
            partitions=settings.topic_partitions,
            outbox=self._outbox,
            guard=self._guard,
            checkpoint_ms=settings.checkpoint_ms,
            live_ms=settings.live_interval_ms,
        )
        self._arrows: dict[str, Arrow[Any]] = {
            worker.topic(TICKS): pipeline.candles(worker),
            worker.topic(CANDLES): pipeline.timeframes(worker),
            worker.topic(TIMEFRAMES): pipeline.indicators(worker),
        }
        upstream.install(app, {topic: self._opened for topic in self._arrows})
        app.on_partitions_revoked.connect(self._revoked)
        health.add(app, self._health)

    async def start(self, log: topics.Log) -> None:
        """Take the identity of the log over and start what runs beside the agents."""
        if log.header.partitions != self._settings.topic_partitions:
            end(
                f"TOPIC_PARTITIONS={self._settings.topic_partitions}, but the log has {log.header.partitions} partitions: "
                f"set TOPIC_PARTITIONS={log.header.partitions}",
                code=REFUSED,
            )
        self._log = log.header.log
        for arrow in self._arrows.values():
            arrow.log = log.header.log
        await self._outbox.start()
        watches = [self._guard.watch(), *(arrow.watch() for arrow in self._arrows.values())]
        self._tasks = [asyncio.create_task(watch) for watch in watches]

    async def close(self) -> None:
        """Save every partition."""
        for arrow in self._arrows.values():
            await arrow.close()

    async def stop(self) -> None:
        """Deliver what is left."""
        for task in self._tasks:
            task.cancel()
        await self._outbox.stop()

    async def _opened(self, tp: TP) -> int | None:
        return self._arrows[tp.topic].open(tp.partition)

    async def _revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        for tp in revoked:
            if tp.topic in self._arrows:
                self._arrows[tp.topic].drop(tp.partition)

    def _health(self) -> health.Health:
        readers = [line for arrow in self._arrows.values() for line in arrow.measures.progress()]
        if self._app.rebalancing or not self._log:
            state = "recovering"
        else:
            state = "standing still" if any(line.still for line in readers) else "running"
        return health.Health("pipeline", state, self._log, readers)


def app_of_role() -> RoleApp:
    """Return the app of the role that the environment names. A wrong setting ends the process with one line."""
    try:
        settings = load()
        return build(settings)
    except SettingsError as error:
        sys.exit(str(error))


def build(settings: Settings) -> RoleApp:
    """Build the app of a role."""
    configure_logging(settings)
    app = RoleApp(
        f"{settings.namespace}.{settings.role}",
        broker=settings.broker_url,
        store="rocksdb://",
        datadir=str(Path(settings.data_dir) / "faust" / settings.role),
        autodiscover=False,
        topic_partitions=settings.topic_partitions,
        topic_disable_leader=True,
        topic_allow_declare=True,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_RECORD_BYTES,
        producer_max_request_size=MAX_RECORD_BYTES,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=max(0.3, settings.session_timeout_s / 6),
        broker_commit_interval=5.0,
        # Frames are acknowledged at checkpoints: waiting for those in a rebalance would wait for nothing.
        stream_wait_empty=False,
        stream_buffer_maxsize=1024,
        web_enabled=True,
        web_in_thread=False,
        web_tables_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.settings = settings
    app.role = PipelineRole(app, settings)
    return app


logger = logging.getLogger(__name__)

"""The role of a sink: an agent that feeds it from the log."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from faust.types import TP

from agents.process_guard import REFUSED, end_process
from agents.sink_runner import SinkRunner, or_end_role
from agents.stage_wiring import attach, records_behind
from topology import faust_fixes
from topology.kafka import broker_log, topics
from topology.roles.background import BackgroundTasks
from topology.roles.base import RoleApp, health_of
from topology.settings import Settings
from topology.sinks.cursor import SinkError
from topology.sinks.sink import Sink
from web.http import health


class SinkRole:
    """Reads the stages of a sink and hands them to it."""

    def __init__(self, app: RoleApp, settings: Settings, *, sink: type[Sink]) -> None:
        self._app, self._namespace = app, settings.namespace
        self._log = ""
        self._sink = sink(settings)
        self._background = BackgroundTasks(settings)
        self._runner = SinkRunner(
            self._sink,
            prefix=settings.namespace,
            guard=self._background.guard,
            behind=lambda stage, partition, offset: records_behind(app, self._topic(stage), partition, offset),
        )
        attach(app, sink.name, map(self._topic, sink.stages), self._runner.process)
        faust_fixes.install(app, {self._topic(stage): self._runner.open for stage in sink.stages})
        app.on_partitions_revoked.connect(self._revoked)  # type: ignore[arg-type] # its type hides the arguments
        health.add(app, self._health)

    async def start(self, log: broker_log.Log) -> None:
        """Take over which log this is, and open the sink, or end with the reason."""
        self._log = log.header.log
        self._runner.start(self._log)
        try:
            await self._sink.open(log.header)
        except SinkError as error:
            end_process(str(error), code=REFUSED)
        background = [_or_end_role(coroutine) for coroutine in self._sink.background()]
        self._background.start([self._runner.run(), self._runner.watch(), *background])

    async def close(self) -> None:
        """Write what has been read."""
        await self._runner.close()

    async def stop(self) -> None:
        """Close the sink."""
        self._background.stop()
        await self._sink.close()

    def _topic(self, stage: str) -> str:
        return topics.topic(self._namespace, stage)

    async def _revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        for tp in revoked:
            self._runner.revoke(tp)

    def _health(self) -> health.RoleHealth:
        readers = [line for metrics in self._runner.metrics.values() for line in metrics.progress()]
        return health_of(self._app, self._log, readers)


async def _or_end_role(work: Coroutine[Any, Any, None]) -> None:
    with or_end_role():
        await work

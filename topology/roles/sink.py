"""What the roles `archive` and `mirror` have in common: an agent that feeds a sink from the log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, ClassVar

from faust.types import TP

from agents.sink_runner import SinkRunner
from agents.stage_wiring import attach, records_behind
from topology import faust_fixes
from topology.kafka import topics
from topology.roles.base import BackgroundTasks, RoleApp, health_of
from topology.settings import Settings
from topology.sinks.cursor import SinkCursor, Source, StoredFrame
from web.http import health


class SinkRole(ABC):
    """Reads ``stages`` and hands what it reads to ``write``; ``positions`` says how far the sink is."""

    name: ClassVar[str]
    stages: ClassVar[Sequence[str]]
    batch_s: ClassVar[float]

    def __init__(self, app: RoleApp, settings: Settings) -> None:
        self.settings = settings
        self._app = app
        self._log = ""
        self._background = BackgroundTasks(settings)
        self._runner = SinkRunner(
            self.name,
            prefix=settings.namespace,
            positions=self.positions,
            write=self.write,
            guard=self._background.guard,
            behind=lambda stage, partition, offset: records_behind(app, self._topic(stage), partition, offset),
            batch_s=self.batch_s,
        )
        attach(app, self.name, map(self._topic, self.stages), self._runner.take)
        faust_fixes.install(app, {self._topic(stage): self._runner.open for stage in self.stages})
        app.on_partitions_revoked.connect(self._revoked)  # type: ignore[arg-type] # its type hides the arguments
        health.add(app, self._health)

    @abstractmethod
    async def positions(self) -> dict[Source, SinkCursor]:
        """Return how far the sink has applied each source."""

    @abstractmethod
    async def write(self, frames: list[StoredFrame]) -> None:
        """Write a batch, and come back when it is safe."""

    @abstractmethod
    async def connect(self, log: topics.Log) -> None:
        """Open the sink."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Close the sink."""

    def background(self) -> Iterable[Coroutine[Any, Any, None]]:
        """Return what else is to run for as long as the role does."""
        return ()

    async def start(self, log: topics.Log) -> None:
        """Take over which log this is, and open the sink."""
        self._log = self._runner.log = log.header.log
        await self.connect(log)
        self._background.start([self._runner.run(), self._runner.watch(), *self.background()])

    async def close(self) -> None:
        """Write what has been read."""
        await self._runner.close()

    async def stop(self) -> None:
        """Close the sink."""
        self._background.stop()
        await self.disconnect()

    def _topic(self, stage: str) -> str:
        return topics.topic(self.settings.namespace, stage)

    async def _revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        for tp in revoked:
            self._runner.drop(tp)

    def _health(self) -> health.RoleHealth:
        readers = [line for metrics in self._runner.metrics.values() for line in metrics.progress()]
        return health_of(self._app, self._log, readers)

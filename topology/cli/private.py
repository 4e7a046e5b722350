"""A pipeline of its own for one shot: embedded services on free ports in a temporary folder, and every role."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from topology.cli.supervisor import RoleProcess, Supervisor
from topology.configuration.environment import from_settings
from topology.embedded import Kafka, Valkey, free_port
from topology.kafka import broker_log, clients
from topology.log.frames import TICKS
from topology.log.lag import FramePosition
from topology.settings import LIVE, Address, Settings
from topology.sinks.cursor import SinkAwayError, Source
from topology.sinks.registry import SINKS
from topology.sinks.sink import Sink

SESSION_TIMEOUT_S = 6  # a worker that died is replaced after this long
POLL_S = 0.1

Ends = dict[int, int]
"""The newest position of each partition."""


class PrivatePipeline:
    """Everything that a recording needs to become candles, for as long as the context lasts.

    ``outputs`` holds where each sink that writes files does so; those that are ``wanted`` run beside the usual ones.
    """

    def __init__(
        self, settings: Settings, *, workers: int, wanted: Collection[str], progress: Callable[[str], None]
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="topology-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self.kafka = Kafka(folder / "kafka", free_port(), java_home=settings.java_home)
        self.valkey = Valkey(folder / "valkey", free_port())
        outputs = {sink.name: sink.output for sink in SINKS if sink.output is not None}
        self.outputs = {name: folder / "outputs" / name for name in outputs}
        paths: dict[str, Any] = {output.setting: self.outputs[name] for name, output in outputs.items()}
        self.supervisor = Supervisor()
        self.settings = replace(
            settings,
            broker_url=self.kafka.url,
            namespace=LIVE,
            data_dir=folder,
            redis_addr=Address("127.0.0.1", self.valkey.port),
            redis_password="",
            **paths,
        )
        self._variables = {output.variable: str(self.outputs[name]) for name, output in outputs.items()}
        self.log: broker_log.Log
        sinks = [sink(self.settings) for sink in SINKS]
        self._sinks = [sink for sink in sinks if sink.is_used or sink.name in wanted]
        self._workers, self._progress = workers, progress

    def __enter__(self) -> Self:
        """Start everything, in order."""
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, in order."""
        self._stop()

    def _start(self) -> None:
        settings = self.settings
        self.kafka.start(self._progress)
        self.valkey.start()
        self._progress("making the topics")
        self.log = asyncio.run(
            broker_log.create(settings.bootstrap, LIVE, settings.topic_partitions, from_settings(settings))
        )
        self._progress("starting the roles")
        for number in range(self._workers):
            self._start_role("pipeline", number)
        for sink in self._sinks:
            self._start_role(sink.name, 0)

    def _start_role(self, role: str, number: int) -> None:
        folder = self.settings.data_dir
        env = {
            "BROKER_URL": self.settings.broker_url,
            "TOPOLOGY_NAMESPACE": LIVE,
            "TOPIC_PARTITIONS": str(self.settings.topic_partitions),
            "DATA_DIR": str(folder),
            "FAUST_DATADIR": str(folder / f"{role}-{number}"),
            "REDIS_ADDR": str(self.settings.redis_addr),
            "REDIS_PASSWORD": "",
            "SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
            **self._variables,
        }
        log = folder / f"{role}-{number}.log"
        process = RoleProcess(f"{role} {number}", role=role, env=env, log=log, options=("--without-web",))
        self.supervisor.start(process)

    def _stop(self) -> None:
        self._progress("stopping")
        self.supervisor.stop()
        self.valkey.stop()
        self.kafka.stop()
        self._folder.cleanup()

    async def ends(self) -> Ends:
        """Return the newest position of each partition of the tick log."""
        ends = await clients.ends(self.settings.bootstrap, [self.log.topic(TICKS)], self.log.header.partitions)
        return {partition: end - 1 for (_, partition), end in ends.items()}

    async def wait_until(self, ends: Ends, shown: Callable[[float], None]) -> None:
        """Wait until every sink has applied all up to ``ends``; start again what dies meanwhile.

        ``shown`` is called with the part that is done, from 0 to 1.
        """
        while (done := await self._done(ends)) < 1:
            shown(done)
            await asyncio.to_thread(self.supervisor.keep_running)
            await asyncio.sleep(POLL_S)
        shown(1.0)

    async def _done(self, ends: Ends) -> float:
        applied = wanted = 0
        for sink in self._sinks:
            reached = await self._reached(sink)
            for stage in sink.stages:
                for partition, end in ends.items():
                    frame = reached.get((stage, partition))
                    applied += 0 if frame is None else min(frame.position, end) + 1
                    wanted += end + 1
        return applied / wanted if wanted else 1.0

    async def _reached(self, sink: Sink) -> Mapping[Source, FramePosition]:
        try:
            return await sink.reached(self.log.header)
        except SinkAwayError:
            return {}

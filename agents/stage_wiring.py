"""What the agents of a pipeline worker share, and the one way an agent is attached to its topic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import faust
from faust.types import TP, EventT, StreamT

from agents.frame_producer import FrameProducer
from agents.process_guard import StallGuard, or_end_process
from agents.stage_runner import StageRunner
from tables.state import StateTable
from topology.log.frames import DEAD_LETTERS, Decoder
from topology.log.stage import Stage

Core = TypeVar("Core")


class StageWiring:
    """A pipeline worker: its app, its producer, and how often each stage saves and shows live values."""

    def __init__(
        self,
        app: faust.App,
        *,
        prefix: str,
        partitions: int,
        producer: FrameProducer,
        guard: StallGuard,
        checkpoint_ms: Mapping[str, int],
        live_ms: int,
    ) -> None:
        self.app, self.prefix, self.partitions = app, prefix, partitions
        self.producer, self.guard = producer, guard
        self.checkpoint_ms, self.live_ms = checkpoint_ms, live_ms

    def attach(
        self,
        name: str,
        *,
        source: str,
        output: str,
        stage: type[Stage[Any, Any, Core]],
        decode: Decoder[Any] | None,
        row: Any,
    ) -> StageRunner[Core]:
        """Attach a stage to its topic. ``row`` is the type of its table's rows."""
        runner: StageRunner[Core] = StageRunner(
            name=name,
            output=self.topic(output),
            dead_letters=self.topic(DEAD_LETTERS),
            decode=decode,
            stage=stage,
            table=StateTable(self.app, name, row, partitions=self.partitions),
            producer=self.producer,
            guard=self.guard,
            behind=lambda partition, offset: records_behind(self.app, self.topic(source), partition, offset),
            checkpoint_s=self.checkpoint_ms[name] / 1000,
            live_s=self.live_ms / 1000,
        )

        attach(self.app, name, [self.topic(source)], runner.process)
        return runner

    def topic(self, stage: str) -> str:
        """Return the name of a stage's topic on the broker."""
        return f"{self.prefix}.{stage}"


def attach(
    app: faust.App, name: str, topics: Iterable[str], process: Callable[[EventT[bytes]], Awaitable[None]]
) -> None:
    """Attach an agent that hands each record of these topics, as bytes, to ``process``, which acknowledges it."""
    source = app.topic(*topics, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(source, name=name)
    async def agent(stream: StreamT[bytes]) -> None:
        async for event in stream.noack().events():  # type: ignore[attr-defined] # the type lacks it
            await or_end_process(process(event))


def records_behind(app: faust.App, topic: str, partition: int, offset: int) -> int:
    """Return how many records lie between ``offset``, which has been used, and the end of a partition."""
    end = app.consumer.highwater(TP(topic, partition))
    return 0 if end is None else max(0, end - 1 - offset)

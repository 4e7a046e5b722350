"""What the agents of a pipeline worker share, and the one way an agent is attached to its topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import faust
from faust.types import TP, StreamT, TopicT

from agents.arrow import Arrow
from agents.lifeline import StallGuard, or_end
from agents.outbox import Outbox
from tables.state import StateTable
from topology.log.frames import DEAD_LETTERS, Format
from topology.log.stage import Stage

Core = TypeVar("Core")


class Worker:
    """A pipeline worker: its app, its producer, and how often each stage saves and shows live values."""

    def __init__(
        self,
        app: faust.App,
        *,
        prefix: str,
        partitions: int,
        outbox: Outbox,
        guard: StallGuard,
        checkpoint_ms: Mapping[str, int],
        live_ms: int,
    ) -> None:
        self.app, self.prefix, self.partitions = app, prefix, partitions
        self.outbox, self.guard = outbox, guard
        self.checkpoint_ms, self.live_ms = checkpoint_ms, live_ms

    def attach(
        self, name: str, *, source: str, output: str, stage: type[Stage[Any, Any, Core]], decode: Format[Any] | None, row: Any
    ) -> Arrow[Core]:
        """Attach a stage to its topic. ``row`` is the type of its table's rows."""
        topic = raw_topic(self.app, self.topic(source))
        arrow: Arrow[Core] = Arrow(
            name=name,
            output=self.topic(output),
            dead_letters=self.topic(DEAD_LETTERS),
            decode=decode,
            stage=stage,
            table=StateTable(self.app, name, row, partitions=self.partitions),
            outbox=self.outbox,
            guard=self.guard,
            behind=lambda partition, offset: records_behind(self.app, self.topic(source), partition, offset),
            checkpoint_s=self.checkpoint_ms[name] / 1000,
            live_s=self.live_ms / 1000,
        )

        @self.app.agent(topic, name=name)
        async def agent(stream: StreamT[bytes]) -> None:
            async for event in stream.noack().events():
                await or_end(arrow.take(event))

        return arrow

    def topic(self, stage: str) -> str:
        """Return the name of a stage's topic on the broker."""
        return f"{self.prefix}.{stage}"


def raw_topic(app: faust.App, *names: str) -> TopicT[bytes]:
    """Return topics whose records stay bytes: their format is ours."""
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def records_behind(app: faust.App, topic: str, partition: int, offset: int) -> int:
    """Return how many records lie between ``offset``, which has been used, and the end of a partition."""
    end = app.consumer.highwater(TP(topic, partition))
    return 0 if end is None else max(0, end - 1 - offset)

"""Sends the frames of the stages. A record that can't be delivered ends the worker: nothing may go on without it."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from agents.process_guard import end_process
from tables.state import MAX_RECORD_BYTES

Delivery = asyncio.Future[RecordMetadata]


class FrameProducer:
    """An idempotent producer: a retried send is not written twice, and records of a partition keep their order."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect to the broker."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            enable_idempotence=True,
            max_request_size=MAX_RECORD_BYTES,
            max_batch_size=256 * 1024,
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Deliver what is left and disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def send(
        self, topic: str, value: bytes, *, partition: int, time_ms: int, key: bytes | None = None
    ) -> Delivery:
        """Hand a record over; the future that comes back is done once the broker has it."""
        assert self._producer is not None, "it is started with its app"
        sent: Delivery = await self._producer.send(
            topic, value, key=key, partition=partition, timestamp_ms=max(time_ms, 0)
        )
        sent.add_done_callback(_end_if_lost)
        return sent

    async def deliver(self, topic: str, value: bytes, *, partition: int, key: bytes) -> int:
        """Send a record to a changelog; return its offset once the broker has it."""
        assert self._producer is not None, "it is started with its app"
        sent: Delivery = await self._producer.send(topic, value, key=key, partition=partition)
        sent.add_done_callback(_end_if_lost)
        offset: int = (await sent).offset
        return offset


def _end_if_lost(sent: Delivery) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        end_process(f"a record could not be delivered: {error!r}")

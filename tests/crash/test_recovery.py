"""Faust's recovery may not let records through before it has set where to read on.

What is fetched in between is lost to the streams. The law of positions would hold back all that follows and end the
worker, so the loss itself never gets out; what is looked for here is its cause.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from faust.tables.recovery import Recovery

from tests.support.archived_rows import read_archive
from tests.support.cluster import Cluster, Feed, altered
from topology.faust_fixes import _stop_flow_first
from topology.feeds import TickBatch
from topology.feeds.writer import TickLogWriter

CAUGHT = 99
SEEKS_WHILE_RECORDS_FLOW = f"""
import os
from faust.transport.consumer import Consumer
original = Consumer.perform_seek
async def perform_seek(self):
    if self.flow_active:
        os._exit({CAUGHT})
    await original(self)
Consumer.perform_seek = perform_seek
"""
WITHOUT_THE_FIX = """
import topology.faust_fixes
topology.faust_fixes._stop_flow_first = lambda original: original
"""


class FakeConsumer:
    """Delivers the record it stands at as soon as it may, as the fetcher beside it does."""

    def __init__(self) -> None:
        self.flow_active, self.resumed, self.place = True, False, "anywhere"
        self.delivered: list[str] = []

    def assignment(self) -> set[str]:
        return {"ticks-0"}

    def resume_partitions(self, _partitions: set[str]) -> None:
        self.resumed = True
        self._fetch()

    def stop_flow(self) -> None:
        self.flow_active = False

    def resume_flow(self) -> None:
        self.flow_active = True
        self._fetch()

    async def perform_seek(self) -> None:
        self._fetch()
        self.place = "where the state is"

    def _fetch(self) -> None:
        if self.flow_active and self.resumed:
            self.delivered.append(self.place)


def recovery_of(consumer: FakeConsumer) -> Any:
    app = AsyncMock()
    app.consumer, app.consumer_generation_id = consumer, 1
    app.flow_control.resume = app.on_rebalance_end = app.assignor.assigned_standbys = lambda: None
    tables = SimpleNamespace(on_actives_ready=lambda: None, on_standbys_ready=lambda: None, values=list)
    recovery = AsyncMock(app=app, tables=tables, _set_recovery_ended=lambda: None, _is_changelog_tp=lambda tp: False)
    recovery.log.info = recovery.log.dev = lambda *_: None
    recovery.completed.set = lambda: None
    recovery._wait = lambda coroutine, **_: coroutine
    return recovery


@pytest.mark.parametrize("name", ["on_recovery_completed", "_resume_streams"])
async def test_no_record_is_delivered_before_the_seek(name: str) -> None:
    original = inspect.unwrap(getattr(Recovery, name))
    without, consumer = FakeConsumer(), FakeConsumer()
    await original(recovery_of(without), 1)
    await _stop_flow_first(original)(recovery_of(consumer), 1)
    assert without.delivered[0] == "anywhere", "Faust does it right by now: the fix can go"
    assert set(consumer.delivered) == {"where the state is"}


async def test_a_worker_seeks_while_nothing_flows_and_only_with_the_fix(
    new_cluster: Callable[..., Cluster], batches: list[TickBatch]
) -> None:
    cluster = new_cluster(workers=1)
    (worker,) = cluster.workers
    async with cluster, TickLogWriter(cluster.kafka.bootstrap, cluster.log) as writer:
        feed = Feed(writer, batches, 20)
        await feed.write_configuration()
        cluster.archive.start()
        worker.start(altered(WITHOUT_THE_FIX + SEEKS_WHILE_RECORDS_FLOW))
        assert worker.wait() == CAUGHT
        worker.start(altered(SEEKS_WHILE_RECORDS_FLOW))
        await feed.write_slice()
        await cluster.settle()
        assert worker.running
        assert len(read_archive(cluster.path).candles) > 0

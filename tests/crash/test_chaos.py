"""Everything that can happen to workers and broker, again and again; what comes out stays exact.

Each blow is followed by the death of everything and empty disks, since local state that survives hides what the log
has lost, and by more ticks, since only those show a state that has gone wrong.
"""

from __future__ import annotations

import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from tests.support.archived_rows import differences, read_archive
from tests.support.cluster import PLAIN, Cluster, Feed, altered
from tests.support.days import Recorded
from tests.support.until import until
from topology.feeds import TickBatch
from topology.feeds.writer import TickLogWriter
from topology.kafka import clients
from topology.log.frames import CANDLES

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3000)]

KILLS = 20
TABLES = ("candles", "timeframes", "indicators")
OFTEN = "candles=300,timeframes=500,indicators=700"  # checkpoints, so that many blows hit one
STOOD_STILL = 70  # the exit code of a worker that noticed
LEFT = 71

UNGUARDED = """
from agents.process_guard import StallGuard
StallGuard.check = lambda self: None
"""
LEAVES_IN_A_CHECKPOINT = """
import os, time
from tables.state import StateTable, _key, encode
save, saved = StateTable.save, []
async def leaving(self, partition, row, send):
    saved.append(partition)
    if len(saved) == {after}:
        {how}
    await save(self, partition, row, send)
StateTable.save = leaving
"""
AFTER_THE_OUTPUTS = f"os._exit({LEFT})"
AFTER_THE_LOCAL_STORE = f"self._store(partition).put(_key(partition), encode(row)); os._exit({LEFT})"
STANDS_STILL = "time.sleep(10)"


@asynccontextmanager
async def at_work(cluster: Cluster, batches: list[TickBatch], slices: int) -> AsyncIterator[Feed]:
    async with cluster, TickLogWriter(cluster.kafka.bootstrap, cluster.log) as writer:
        feed = Feed(writer, batches, slices)
        await feed.write_configuration()
        cluster.start()
        await cluster.settle()
        yield feed


async def some_way(cluster: Cluster, feed: Feed) -> None:
    """Feed a slice, and come back when a part of it has been worked on."""
    before = await cluster.done(CANDLES)
    await feed.write_slice()
    await cluster.gets_to(CANDLES, before + (await cluster.fed() - before) // 4)


async def after_the_end_of_everything(cluster: Cluster, feed: Feed, recorded: Recorded) -> list[str]:
    """Kill all, wipe all, let the pipeline catch up with what is left of the recording, and compare."""
    cluster.kill_and_wipe_everything()
    cluster.start()
    await feed.write_rest()
    await cluster.settle()
    return differences(read_archive(cluster.path), recorded.wanted)


async def test_one_to_four_workers_killed_and_told_to_stop(
    new_cluster: Callable[..., Cluster], batches: list[TickBatch], two_hundred: Recorded
) -> None:
    choose = random.Random(20221122)
    cluster = new_cluster(workers=4, CHECKPOINT_MS=OFTEN)
    async with at_work(cluster, batches, KILLS + 1) as feed:
        kills = 0
        while kills < KILLS:
            await some_way(cluster, feed)
            working = [worker for worker in cluster.workers if worker.running]
            for worker in choose.sample(working, min(len(working), choose.randint(1, 2))):
                if choose.random() < 0.25:
                    worker.terminate()
                else:
                    worker.kill()
                    kills += 1
                if choose.random() < 0.5:
                    worker.wipe()
            some = choose.sample(cluster.workers, choose.randint(1, 4))
            for worker in cluster.workers:
                if worker in some and not worker.running:
                    worker.start()
                elif worker not in some:
                    worker.terminate()
            if choose.random() < 0.2:
                cluster.kill_and_wipe_everything()
                cluster.start()
        assert await after_the_end_of_everything(cluster, feed, two_hundred) == []


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_worker_that_stood_still_wakes_up_beside_the_new_owner(
    new_cluster: Callable[..., Cluster], batches: list[TickBatch], two_hundred: Recorded, guarded: bool
) -> None:
    cluster = new_cluster(workers=2, CHECKPOINT_MS=OFTEN)
    async with at_work(cluster, batches, 8) as feed:
        for number in (0, 1, 0):
            worker, other = cluster.workers[number], cluster.workers[1 - number]
            worker.kill()
            other.kill()
            worker.start(PLAIN if guarded else altered(UNGUARDED))
            await some_way(cluster, feed)  # it has all partitions: there is no other
            worker.send(signal.SIGSTOP)
            other.start()
            await feed.write_slice()
            # Once the other one has worked on all of that, the session of this one is over.
            await cluster.gets_to(CANDLES, await cluster.fed())
            worker.send(signal.SIGCONT)
            if guarded:
                assert worker.wait() == STOOD_STILL
            await cluster.settle()
            cluster.kill_and_wipe_everything()
            cluster.start()
        assert await after_the_end_of_everything(cluster, feed, two_hundred) == []


@pytest.mark.parametrize("how", [AFTER_THE_OUTPUTS, AFTER_THE_LOCAL_STORE])
async def test_a_worker_that_leaves_in_the_middle_of_a_checkpoint(
    new_cluster: Callable[..., Cluster], batches: list[TickBatch], two_hundred: Recorded, how: str
) -> None:
    cluster = new_cluster(workers=2, CHECKPOINT_MS=OFTEN)
    async with at_work(cluster, batches, 6) as feed:
        for after in (1, 5, 12):
            for one in cluster.workers:
                one.kill()  # the one that is to leave works alone, so that it comes to its checkpoints
            worker = cluster.workers[after % 2]
            worker.start(altered(LEAVES_IN_A_CHECKPOINT.format(after=after, how=how)))
            await feed.write_slice()
            assert worker.wait() == LEFT
            await cluster.settle()  # with what it has left on its disk
            cluster.kill_and_wipe_everything()
            cluster.start()
        assert await after_the_end_of_everything(cluster, feed, two_hundred) == []


async def test_a_worker_that_stands_still_in_a_checkpoint_and_writes_an_older_row(
    new_cluster: Callable[..., Cluster], batches: list[TickBatch], two_hundred: Recorded
) -> None:
    cluster = new_cluster(workers=2, CHECKPOINT_MS=OFTEN)
    async with at_work(cluster, batches, 5) as feed:
        for after in (2, 7):
            worker, other = cluster.workers[after % 2], cluster.workers[1 - after % 2]
            worker.kill()
            other.kill()
            worker.start(altered(UNGUARDED + LEAVES_IN_A_CHECKPOINT.format(after=after, how=STANDS_STILL)))
            await feed.write_slice()
            await cluster.settle()
            cluster.kill_and_wipe_everything()
            cluster.start()
        assert await after_the_end_of_everything(cluster, feed, two_hundred) == []


async def test_older_rows_written_into_the_changelogs_by_hand(
    new_cluster: Callable[..., Cluster], batches: list[TickBatch], two_hundred: Recorded
) -> None:
    cluster = new_cluster(workers=2, CHECKPOINT_MS=OFTEN)
    async with at_work(cluster, batches, 6) as feed:
        for tables in (TABLES[:1], TABLES[1:], TABLES):
            older = {table: await newest_rows(cluster, table) for table in tables}
            await feed.write_slice()
            await cluster.settle()
            for worker in cluster.workers:
                worker.terminate()
            for table, rows in older.items():
                assert rows != await newest_rows(cluster, table)
            async with AIOKafkaProducer(bootstrap_servers=cluster.kafka.bootstrap) as producer:
                for table, rows in older.items():
                    for partition, (key, row) in rows.items():
                        await producer.send_and_wait(changelog(table), row, key=key, partition=partition)
            cluster.kill_and_wipe_everything()
            cluster.start()
            await cluster.settle()
        assert await after_the_end_of_everything(cluster, feed, two_hundred) == []


def changelog(table: str) -> str:
    return f"live.pipeline-{table}-changelog"


async def newest_rows(cluster: Cluster, table: str) -> dict[int, tuple[bytes, bytes]]:
    """Read the last record of each partition of a changelog: key and value."""
    rows = {}

    async def is_there() -> bool:
        async with clients.consumer(cluster.kafka.bootstrap) as reader:
            for partition in range(cluster.log.header.partitions):
                record = await clients.last_record(reader, TopicPartition(changelog(table), partition))
                if record is not None:
                    rows[partition] = record.key, record.value
        return len(rows) == cluster.log.header.partitions

    await until(is_there)
    return rows


async def test_the_broker_is_killed_and_started_again(
    new_cluster: Callable[..., Cluster], batches: list[TickBatch], two_hundred: Recorded
) -> None:
    cluster = new_cluster(workers=2, CHECKPOINT_MS=OFTEN)
    async with at_work(cluster, batches, 5) as feed:
        for _ in range(3):
            await some_way(cluster, feed)
            cluster.kafka.kill()
            cluster.kafka.start(print)
            await cluster.settle()
        assert await after_the_end_of_everything(cluster, feed, two_hundred) == []

"""Two workers that are killed while they work: nothing is missing, wrong or extra."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.crash.cluster import DERIVED, ROOT, Cluster, Feed, counted, positions
from tests.run.archived import differences, read_archive
from tests.run.days import Recorded
from topology.feeds import Batch
from topology.feeds.writer import TickLogWriter
from topology.log.frames import CANDLES, INDICATORS, TICKS

SLICES = 5


async def test_killed_workers_and_wiped_disks_change_nothing(
    new_cluster: Callable[..., Cluster], batches: list[Batch], two_hundred: Recorded
) -> None:
    cluster = new_cluster(workers=2)
    async with cluster, TickLogWriter(cluster.kafka.bootstrap, cluster.log) as writer:
        feed = Feed(writer, batches, SLICES)
        await writer.write([], None, everywhere=True)
        await writer.flush()
        cluster.start()
        await cluster.settle()
        for number, wiped in ((0, False), (1, True), (0, False)):
            before = await cluster.records(CANDLES)
            await feed.write_slice()
            await cluster.gets_to(CANDLES, before + (await cluster.records(TICKS) - before) // 4)
            cluster.workers[number].kill()
            assert await cluster.records(INDICATORS) < await cluster.records(TICKS), "killed in the middle"
            if wiped:
                cluster.workers[number].wipe()
            cluster.workers[number].start()
        await feed.write_slice()
        await cluster.settle()
        assert (await cluster.frames(CANDLES)).duplicates > 0
        # What survives on a disk would hide what the log has lost.
        cluster.kill_and_wipe_everything()
        cluster.start()
        await feed.write_rest()
        await cluster.settle()
        assert differences(read_archive(cluster.path), two_hundred.wanted) == []
        await assert_first_frame_of_each_position_is_archived(cluster)


async def assert_first_frame_of_each_position_is_archived(cluster: Cluster) -> None:
    ticks = await cluster.ends(TICKS)
    held = set(read_archive(cluster.path).causes.values())
    dropped = 0
    for stage in DERIVED:
        found = await cluster.frames(stage)
        dropped += found.duplicates
        for partition, frames in found.partitions.items():
            assert list(positions(frames)) == list(range(ticks[TICKS, partition]))
            first = {frame.position: frame for frame in reversed(frames)}
            assert [p for p in first if (first[p].rows != []) > ((partition, p) in held)] == []
            assert [f.position for f in frames if f.rows != first[f.position].rows] == []
            assert sum(counted(frames).values()) == len(frames)
    assert dropped > 0

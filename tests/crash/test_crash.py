"""Workers that are killed while they work: nothing is missing, wrong or extra."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.archived_rows import differences, read_archive
from tests.support.cluster import DERIVED, ROOT, Cluster, Feed
from tests.support.days import Recorded
from tests.support.until import until
from topology.feeds import TickBatch
from topology.feeds.writer import TickLogWriter
from topology.log.frames import CANDLES, INDICATORS, TICKS

SLICES = 5


async def test_killed_workers_and_wiped_disks_change_nothing(
    new_cluster: Callable[..., Cluster], batches: list[TickBatch], two_hundred: Recorded
) -> None:
    cluster = new_cluster(workers=2)
    async with cluster, TickLogWriter(cluster.kafka.bootstrap, cluster.log) as writer:
        feed = Feed(writer, batches, SLICES)
        await feed.write_configuration()
        cluster.start()
        await cluster.settle()
        for number, wiped in ((0, False), (1, True), (0, False)):
            before = await cluster.done(CANDLES)
            await feed.write_slice()
            await cluster.gets_to(CANDLES, before + (await cluster.fed() - before) // 4)
            cluster.workers[number].kill()
            assert await cluster.done(INDICATORS) < await cluster.fed(), "killed in the middle"
            if wiped:
                cluster.workers[number].wipe()
            cluster.workers[number].start()
        await feed.write_slice()
        await cluster.settle()
        assert differences_so_far(cluster, two_hundred) == []
        # What survives on a disk would hide what the log has lost.
        cluster.kill_and_wipe_everything()
        cluster.start()
        await feed.write_rest()
        await cluster.settle()
        assert differences(read_archive(cluster.path), two_hundred.wanted) == []
        assert await duplicates_that_lost(cluster) > 0


def differences_so_far(cluster: Cluster, recorded: Recorded) -> list[str]:
    """Compare what is archived; what comes only with the rest of the recording isn't missing yet."""
    return [line for line in differences(read_archive(cluster.path), recorded.wanted) if " missing," not in line]


async def duplicates_that_lost(cluster: Cluster) -> int:
    """Count the frames that the archive had to drop, and see that each repeats the first one of its position."""
    ends = await cluster.ends(TICKS)
    dropped = 0
    for stage in DERIVED:
        for partition, frames in (await cluster.frames(stage)).items():
            newest = -1
            rows: dict[int, Any] = {}
            for frame in frames:
                assert frame.position <= newest + 1, f"{stage} {partition}: a gap before {frame.position}"
                newest = max(newest, frame.position)
                assert frame.rows == rows.setdefault(frame.position, frame.rows)
            assert newest == ends[TICKS, partition] - 1
            dropped += len(frames) - len(rows)
    return dropped


def test_a_worker_of_the_command_that_is_killed_is_started_again(two_hundred: Recorded, tmp_path: Path) -> None:
    wanted, archive = two_hundred.wanted, tmp_path / "kept.db"
    command = [sys.executable, "-m", "topology.cli.main", "run", str(two_hundred.path), "--json", "--workers", "2"]
    env = {**os.environ, **two_hundred.variables, "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(
        [*command, "--archive", str(archive)],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for number in range(2):
            part = (1 + number) * len(wanted.accepted) // 8
            asyncio.run(until(partial(candles_are_archived, tmp_path, part, running)))
            os.kill(pid_in(tmp_path, f"pipeline-{number}.log"), signal.SIGKILL)
        out, err = running.communicate(timeout=200)
    finally:
        running.kill()
    assert running.returncode == 0, err
    assert json.loads(out)["restarts"] >= 2
    assert differences(read_archive(archive), wanted) == []


async def candles_are_archived(folder: Path, number: int, running: subprocess.Popen[str]) -> bool:
    assert running.poll() is None, running.communicate()
    return seconds_archived(folder) >= number


def seconds_archived(folder: Path) -> int:
    for path in folder.glob("topology-*/outputs/archive"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            try:
                return int(connection.execute("SELECT count(*) FROM candles_1s").fetchone()[0])
            except sqlite3.OperationalError:
                return 0  # it is being made
    return 0


def pid_in(folder: Path, log: str) -> int:
    """Return the process that has written last into a log."""
    (path,) = folder.glob(f"topology-*/{log}")
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.startswith("{")]
    return int(json.loads(lines[-1])["worker"])

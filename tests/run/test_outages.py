"""Redis away, or the archive's file locked by somebody else, in the middle: nothing is lost, and nothing comes twice.

How long it lasts is what these tests are about, so they wait for just that; 30 s belong to the long tests.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from redis import Redis

from tests.reference.brute_force import indian_ms
from tests.support.archived_rows import differences, read_archive
from tests.support.days import Recorded, record_few
from tests.support.mirrored_values import mirror_differences
from topology.cli.private import PrivatePipeline
from topology.feeds import TickBatch
from topology.feeds.recorded.files import scan
from topology.feeds.writer import TickLogWriter
from topology.market import Calendar
from topology.settings import Settings

HOW_LONG = pytest.mark.parametrize("away_s", [8, pytest.param(30, marks=pytest.mark.chaos)])
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The index for a whole day, so that streams get full, and some other instruments."""
    return record_few(tmp_path_factory.mktemp("few"))


@pytest.fixture
def pipeline(recorded: Recorded) -> Iterator[PrivatePipeline]:
    """A pipeline at work."""
    settings = Settings.from_env(recorded.variables)
    with PrivatePipeline(settings, workers=1, wanted=(), progress=print) as pipeline:
        yield pipeline


@asynccontextmanager
async def half_way(pipeline: PrivatePipeline, recorded: Recorded) -> AsyncIterator[None]:
    """Let the block run when half has been fed and some of it has arrived; then feed the other half, and wait for all.

    The other half is fed while what the block has begun still lasts.
    """
    batches = batches_of(recorded, pipeline.settings)
    middle = len(batches) // 2
    async with TickLogWriter(pipeline.settings.bootstrap, pipeline.log) as writer:
        await write(writer, [TickBatch([], None, day_end=True), *batches[:middle]])
        ends = await pipeline.ends()
        await pipeline.wait_until({source: end // 2 for source, end in ends.items()}, lambda _: None)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(writer, batches[middle:]))
            yield
    await pipeline.wait_until(await pipeline.ends(), lambda _: None)


async def write(writer: TickLogWriter, batches: list[TickBatch]) -> None:
    for batch in batches:
        await writer.write(batch.ticks, batch.clock_ms, everywhere=batch.day_end)
    await writer.flush()


def batches_of(recorded: Recorded, settings: Settings) -> list[TickBatch]:
    calendar = Calendar.parse(settings.calendar_text())
    recording = scan([recorded.path], None, covered=calendar.covered, block_rows=100)
    return list(recording.batches(lambda day: indian_ms(day, "15:30") + 2000))


def assert_whole(pipeline: PrivatePipeline, recorded: Recorded) -> None:
    archived = read_archive(pipeline.outputs["archive"])
    assert differences(archived, recorded.wanted) == []
    assert mirror_differences(pipeline.valkey.port, archived, recorded.rows) == []


def restarts(pipeline: PrivatePipeline) -> dict[str, int]:
    return {role.name: role.restarts for role in pipeline.supervisor.roles if role.restarts}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep an SQLite file locked by another process."""
    command = [sys.executable, "-c", LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        yield
        assert holder.poll() is None
        holder.communicate()


@contextmanager
def stopped(port: int) -> Iterator[None]:
    """Let Redis stand still: it keeps its connections and what it holds, and answers nothing."""
    with Redis(port=port) as redis:
        pid = int(redis.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@HOW_LONG
async def test_redis_stands_still_and_the_archive_is_locked(
    pipeline: PrivatePipeline, recorded: Recorded, away_s: int
) -> None:
    async with half_way(pipeline, recorded):
        with stopped(pipeline.valkey.port), locked(pipeline.outputs["archive"]):
            before = len(read_archive(pipeline.outputs["archive"]).causes)
            await asyncio.sleep(away_s)
            assert len(read_archive(pipeline.outputs["archive"]).causes) == before
    assert_whole(pipeline, recorded)
    assert restarts(pipeline) == {}


@HOW_LONG
async def test_redis_comes_back_empty(pipeline: PrivatePipeline, recorded: Recorded, away_s: int) -> None:
    async with half_way(pipeline, recorded):
        pipeline.valkey.kill()
        await asyncio.sleep(away_s)
        pipeline.valkey.start()
        with Redis(port=pipeline.valkey.port) as redis:
            redis.flushall()
    assert_whole(pipeline, recorded)
    assert set(restarts(pipeline)) <= {"mirror 0"}

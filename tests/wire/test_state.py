"""What an earlier commit has left on disk in the middle of a day is gone on with, as if nothing had happened.

The folder is packed in `tests/data/`; `make_state.py` says how it was made. What must come of it was written down by
the code of that commit, which fed the whole day in one go. A table, topic, key or column that is called otherwise now
would begin anew from the log, and come to the same: so what there is on the broker and on disk is compared too, and no
frame may have been made twice.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.wire import kept
from tests.wire.inside import BackfillQueue, Interval, last_record_of, read_events, subscriptions_of
from tests.wire.kept import INDEX, OTHER, STOCK, WITH_WEB, StateCluster
from tests.wire.written import check as check_list
from tests.wire.written import shape

TABLES = ("candles", "timeframes", "indicators")
DERIVED = ("candles_1s", "candles_tf", "indicators")


@pytest.fixture
def cluster(tmp_path: Path) -> StateCluster:
    """The folder as it was left."""
    return StateCluster(kept.unpack(tmp_path))


@pytest.fixture
def expected(cluster: StateCluster) -> dict[str, Any]:
    """What its day comes to."""
    found: dict[str, Any] = json.loads((cluster.folder.parent / "expected.json").read_text())
    assert found["commit"] == kept.COMMIT
    return found


async def go_on(cluster: StateCluster) -> None:
    """Feed the rest of the day, and wait for what comes of it."""
    slices = kept.recording(cluster.folder.parent / "recording.csv")
    await cluster.read_log()
    cluster.start()
    await cluster.write(slices[kept.cut_of(slices) :], kept.gaps_of(slices))
    await cluster.settle()


async def check(cluster: StateCluster, expected: dict[str, Any]) -> None:
    """Compare to the last bit what archive, Redis and broker hold."""
    found = kept.archive_rows(cluster.folder / "candles.db")
    for table, rows in expected["archive"].items():
        assert found[table] == rows, table
    values = kept.redis_values(cluster.valkey.port)
    assert values.keys() == expected["redis"].keys()
    for name, value in expected["redis"].items():
        assert values[name] == value, name
    assert await cluster.names() == expected["names"]
    frames = await cluster.ends("ticks")
    for stage in DERIVED:
        assert await cluster.ends(stage) == frames, f"{stage}: frames were made twice, so a state was not found"
    assert set((await cluster.ends("dead_letters")).values()) == {0}


async def test_the_day_goes_on_where_it_was_left(cluster: StateCluster, expected: dict[str, Any]) -> None:
    async with cluster.running():
        await go_on(cluster)
        await check(cluster, expected)
        await gateway_answers(cluster, expected)
        await pipeline_answers(cluster)
        await records_are_keyed(cluster)
        event = (await read_events(cluster.kafka.bootstrap, cluster.log))[0]
        assert (event.kind, event.socket, event.detail, event.to_ms, event.instruments) == (
            "gap",
            0,
            "a socket",
            None,
            1,
        )
        assert [(request.instruments, request.reset) for request in cluster.log.requests] == [([STOCK], True)]


async def test_it_goes_on_from_the_log_alone_where_the_tables_are_gone(
    cluster: StateCluster, expected: dict[str, Any]
) -> None:
    shutil.rmtree(cluster.folder / "live/pipeline-0")
    async with cluster.running():
        await go_on(cluster)
        await check(cluster, expected)


async def gateway_answers(cluster: StateCluster, expected: dict[str, Any]) -> None:
    """A gateway tells of the candles, by the names of the instrument master, and knows its token."""
    gateway = cluster.role("gateway")
    gateway.start(WITH_WEB)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{cluster.gateway_port}") as session:
            await asyncio.wait_for(_healthy(session), 60)
            told = await _get(session, "/api/candles?token=11536&exchange=NSE&tf=60&limit=5")
            latest = [json.loads(fields["data"]) for _, fields in expected["redis"][f"candle:60s:{STOCK}"][:-6:-1]]
            assert told == latest
            found = await _get(session, "/udf/search?query=tcs&limit=1")
            assert [(one["ticker"], one["symbol"]) for one in found] == [(STOCK, "TCS-EQ")]
            tokens = [f"{one['exchange']}:{one['token']}" for one in await _get(session, "/tokens")]
            assert sorted(tokens) == sorted([INDEX, STOCK, OTHER])
            lag = await _get(session, "/api/pipeline")
            assert [line["behind_frames"] for line in lag["stages"]] == [0] * 11
            async with session.post("/api/session", json={"token": kept.TOKEN}) as answer:
                assert (await answer.json())["authorized"], "the token of the folder is another one now"
        await asyncio.to_thread(gateway.terminate)
    finally:
        gateway.kill()


async def pipeline_answers(cluster: StateCluster) -> None:
    """A worker shows its health and metrics."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{cluster.pipeline_port}") as session:
        health = await _get(session, "/health")
        lines: list[str] = []
        async with asyncio.timeout(60):
            while sum(line.startswith("mdengine_checkpoint_offset{") for line in lines) < 3 * kept.PARTITIONS:
                async with session.get("/metrics") as answer:
                    kind, lines = answer.content_type, (await answer.text()).splitlines()
                await asyncio.sleep(0.05)
    shown = sorted({line.rpartition(" ")[0] for line in lines if line.startswith("mdengine")})
    told = [name for name in shown if "_created" not in name and "_bucket" not in name]
    readers = [f"{one['stage']} {one['partition']}" for one in health["readers"]]
    check_list("worker", {"health": shape(health), "readers": readers, "content type": kind, "metrics": told})


async def records_are_keyed(cluster: StateCluster) -> None:
    """What the stages write has no key, a row of a table that of its partition; all have the time of the market."""
    found: dict[str, Any] = {}
    for topic in (*(f"live.{stage}" for stage in DERIVED), *(f"live.pipeline-{name}-changelog" for name in TABLES)):
        record = await last_record_of(cluster.kafka.bootstrap, topic, partition=1)
        of_market = record.timestamp == kept.recording(cluster.folder.parent / "recording.csv")[-1].clock_ms
        key = None if record.key is None else record.key.decode()
        found[topic] = {"key": key, "headers": list(record.headers), "dated by the market": of_market}
    check_list("keys", found)


async def _healthy(session: aiohttp.ClientSession) -> None:
    while True:
        try:
            health = await _get(session, "/health")
            if health["redis"]:
                return check_list("health", shape(health))
        except aiohttp.ClientConnectorError:
            pass
        await asyncio.sleep(0.05)


async def _get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


def test_the_feed_knows_what_it_was_about_to_ask_for(cluster: StateCluster) -> None:
    folder = cluster.settings.namespace_dir
    log = (folder / "pipeline-0/log").read_text()
    backlog = BackfillQueue(folder / "history.json", log)
    assert (backlog.asked, backlog.warmed, len(backlog)) == (2, 0, 1)
    due = backlog.due(1 << 62)
    assert due is not None
    at_ms = 1_669_086_000_000
    told = [(one.timeframe_s, one.from_ms, one.to_ms, one.due_ms, one.revision, one.tries) for one in due.requests]
    warmup, repair = (60, at_ms - 86_400_000, at_ms, at_ms, 0, 1), (300, at_ms, at_ms + 60_000, at_ms, 1, 0)
    assert (due.instrument, told) == (STOCK, [warmup, repair])
    assert backlog.lacking(STOCK, {60: 251, 300: 250}) == [60]
    assert backlog.end_gap(STOCK, Interval(at_ms + 1, at_ms + 2)) == Interval(at_ms, at_ms + 2)


def test_a_contract_that_the_master_has_lost_since_is_left_out_as_it_was_seen_before(cluster: StateCluster) -> None:
    before = (cluster.folder / "live/subscribed.json").read_bytes()
    wanted = subscriptions_of(cluster.settings)  # it would raise for a symbol that was never seen
    assert [str(one.instrument) for one in wanted] == [INDEX, STOCK, OTHER]
    assert json.loads((cluster.folder / "live/subscribed.json").read_bytes()) == json.loads(before)

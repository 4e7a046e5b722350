"""What lies in Redis, in SQLite and in the data folder."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from tests.wire import samples
from tests.wire.inside import (
    LIVE,
    SIM,
    Archive,
    Breaker,
    CandleFrame,
    IndicatorFrame,
    Listing,
    Mirror,
    Refusals,
    Settings,
    StoredFrame,
    StreamCommands,
    Tick,
    TickFrame,
    TimeframeFrame,
    Valkey,
    connect_redis,
    hold_channels,
    stream_lengths,
    write_listings,
)
from tests.wire.kept import listing
from tests.wire.written import check

FRAMES = [
    StoredFrame("ticks", 1, 4711, samples.TICKS),
    StoredFrame("candles_1s", 1, 5000, samples.CANDLES),
    StoredFrame("candles_tf", 1, 6000, samples.TIMEFRAMES),
    StoredFrame("indicators", 1, 7000, samples.INDICATORS),
]
INDEX_TICK = TickFrame(1, samples.LOG, 1, 43, samples.AT_MS, 0, [], [Tick(samples.INDEX, 1_800_000, samples.AT_MS)])


async def test_redis_holds_and_says_what_is_written(valkey: Valkey) -> None:
    async with Redis(port=valkey.port, decode_responses=True) as redis, redis.pubsub() as ear:
        await redis.flushall()
        await ear.psubscribe("*")
        await _mirrored(valkey)
        said = await _said(ear, redis)
        found = {name: await _held(redis, name) for name in sorted([name async for name in redis.scan_iter()])}
        expires_s = await redis.ttl("mirror:publishing")
        assert 0 < expires_s <= 10
    check("redis", {"keys": found, "messages": said})


async def _mirrored(valkey: Valkey) -> None:
    """Mirror a frame of each stage, and say that live values are published."""
    client = connect_redis("127.0.0.1", valkey.port, db=0)
    streams = StreamCommands(partitions=4, budget_mb=2048)
    mirror = Mirror(client, log=samples.LOG, run=4, streams=streams, breaker=Breaker(lambda: 0.0))
    for stored in FRAMES:
        await mirror.apply([stored])
    await mirror.apply([StoredFrame("ticks", 0, 1, INDEX_TICK)])
    await hold_channels(client, simulated=False)
    await client.aclose()


async def _said(ear: PubSub, redis: Any) -> list[dict[str, Any]]:
    """Return all messages, in order: the last one is our own."""
    await redis.publish("the end", "")
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while True:
            message = await ear.get_message(timeout=1)
            if message is None or message["type"] != "pmessage":
                continue
            if message["channel"] == "the end":
                return found
            found.append({"channel": message["channel"], "data": json.loads(message["data"])})


async def _held(redis: Any, name: str) -> dict[str, Any]:
    kind = await redis.type(name)
    if kind == "stream":
        entries = [
            [key, {field: json.loads(data) for field, data in fields.items()}]
            for key, fields in await redis.xrange(name)
        ]
        return {"type": kind, "entries": entries}
    if kind == "hash":
        return {"type": kind, "fields": dict(sorted((await redis.hgetall(name)).items()))}
    text = await redis.get(name)
    return {"type": kind, "value": json.loads(text) if text.startswith("{") else text}


def test_streams_keep_as_many_entries_as_are_written() -> None:
    told = {
        "1 instrument, 7 indicators": stream_lengths(1, dict.fromkeys((5, 60, 120, 180, 300, 3600), 7), budget_mb=2048),
        "3,000 instruments": stream_lengths(3000, dict.fromkeys((60, 300), 7), budget_mb=2048),
    }
    check("streams", told)


def test_the_archive_has_the_tables_that_are_written(tmp_path: Path) -> None:
    path = tmp_path / "candles.db"
    archive = Archive(path, log=samples.LOG, run=4)
    archive.write([stored for stored in FRAMES if not isinstance(stored.frame, TickFrame)])
    archive.close()
    check("sqlite", {**_schema(path), "rows": _rows(path)})


def test_the_instrument_master_has_the_tables_that_are_written(tmp_path: Path) -> None:
    path = tmp_path / "instruments.db"
    rows: list[Listing] = [listing(samples.STOCK, "TCS-EQ", "TCS", "")]
    write_listings(path, rows, left_out={"x": 1}, fetched_at_ms=1, source="made up", accept=lambda _: None)
    check("instruments", {**_schema(path), "rows": _rows(path, "listings", "origin")})


def _schema(path: Path) -> dict[str, Any]:
    """Return everything that a file declares, a line a column."""
    found: dict[str, Any] = {}
    with closing(sqlite3.connect(path)) as connection:
        for pragma in ("user_version", "application_id", "journal_mode"):
            found[pragma] = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
        made = connection.execute("SELECT type, name, tbl_name FROM sqlite_master ORDER BY type, name").fetchall()
        found["made"] = [" ".join(row) for row in made]
        for kind, name, _ in made:
            if kind in ("table", "view"):
                columns = connection.execute(f'PRAGMA table_xinfo("{name}")').fetchall()
                found[f"{kind} {name}"] = list(map(_column, columns))
                strict = connection.execute("SELECT wr, strict FROM pragma_table_list(?)", [name]).fetchone()
                found[f"{kind} {name}"].append(f"without rowid {strict[0]}, strict {strict[1]}")
            elif kind == "index":
                parts = [row[2] for row in connection.execute(f'PRAGMA index_info("{name}")')]
                found[f"index {name}"] = parts
    return found


def _column(column: tuple[Any, ...]) -> str:
    _, name, kind, not_null, default, key, hidden = column
    words = [name, kind, "NOT NULL" * not_null, f"DEFAULT {default}" if default is not None else ""]
    words += [f"primary key {key}" if key else "", "hidden" if hidden else ""]
    return " ".join(filter(None, words))


def _rows(path: Path, *tables: str) -> dict[str, list[Any]]:
    """Return the rows of the tables, as they are written for the samples."""
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        named = tables or [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for name in sorted(named):
            found[name] = [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')]
    return found


def test_the_data_folder_has_the_files_that_are_written(tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    for namespace in (LIVE, SIM):
        settings = Settings.from_env({"TOPOLOGY_NAMESPACE": namespace})
        found[namespace] = {
            "SQLite": str(settings.sqlite_path), "Redis database": settings.redis_db,
            "folder": str(settings.namespace_dir), "token": str(settings.token_path),
        }  # fmt: skip
    account = Settings.from_env({"ANGEL_CLIENT_CODE": "A1"}).account
    refusals = Refusals(tmp_path / "refused.json", account)
    refusals.add()
    found["refused-logins.json"] = json.loads((tmp_path / "refused.json").read_text())
    check("folder", found)


def test_frames_of_the_samples_are_of_every_stage() -> None:
    assert [type(stored.frame) for stored in FRAMES] == [TickFrame, CandleFrame, TimeframeFrame, IndicatorFrame]

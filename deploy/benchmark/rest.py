"""What a page of 500 candles takes to ask for: the newest, and old ones out of an archive of ten million."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from aiohttp import ClientError, ClientSession
from redis.typing import EncodableT, FieldT

from benchmark.pipeline import Quantiles, quantiles
from benchmark.rig import FAUST, POLL_S, STARTS_WITHIN_S, BenchError, Process, Rig
from topology.configuration.environment import from_settings
from topology.embedded import Valkey, free_port
from topology.embedded.loopback import LOOPBACK
from topology.settings import SIM, Settings
from topology.sinks.archive.archive import Archive
from topology.sinks.mirror.mirror import connect
from topology.sinks.values import SecondCandleJson, TickJson

PAGE, REQUESTS, AT_ONCE = 500, 1_000, 4
INSTRUMENTS, OF_SECONDS = 100, 4
SECONDS = 12_000  # what a stream holds
FIRST_S, MINUTE_S = 1_600_000_000 // 60 * 60, 60
PAUSE_S = 0.04  # between the requests of a client: four of them stay below what one may ask for

Queries = Callable[[], Iterator[str]]

_TIMEFRAMES = """
INSERT INTO candles_tf (exchange, token, tf, ts, open, high, low, close, volume, count, marks, partition, position)
VALUES ('NSE', ?, 60, ?, 100, 120, 90, 110, 5, 60, 0, 0, ?)"""
_SECONDS = """
INSERT INTO candles_1s (exchange, token, ts, open, high, low, close, volume, ticks_count, marks, partition, position)
VALUES ('NSE', ?, ?, 100, 120, 90, 110, 5, 1, 0, 0, ?)"""


class Asking(msgspec.Struct, frozen=True):
    """How long a page of ``PAGE`` candles took, asked for by ``AT_ONCE`` clients at once. ``rows`` are archived."""

    what: str
    rows: int
    took: Quantiles
    cpu_ms: float
    load: float


async def asking(rows: int) -> list[Asking]:
    """Fill an archive with so many candles of a minute, and Redis with the newest seconds; ask a gateway for pages."""
    settings = Settings.from_env({"TOPOLOGY_NAMESPACE": SIM})
    async with Rig(settings, from_settings(settings)) as rig:
        valkey = Valkey(rig.folder / "valkey", free_port())
        valkey.start()
        try:
            await asyncio.to_thread(_fill_archive, rig.folder / SIM / "candles.db", rig.log.header.log, rows)
            await _fill_redis(valkey.port)
            gateway, url = _started(rig, valkey)
            async with ClientSession() as session:
                await until_there(session, gateway, f"{url}/api/tfs")
                return [
                    await _asked(session, gateway, url, what=what, queries=query, rows=rows)
                    for what, query in (("the newest, in Redis", _newest), ("old ones, in SQLite", _old(rows)))
                ]
        finally:
            valkey.kill()


def _fill_archive(path: Path, log: str, rows: int) -> None:
    Archive(path, log=log, run=0).close()
    each = rows // INSTRUMENTS
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for number in range(INSTRUMENTS):
            minutes = ((_token(number), FIRST_S + n * MINUTE_S, n) for n in range(each))
            connection.executemany(_TIMEFRAMES, minutes)
        for number in range(OF_SECONDS):
            connection.executemany(_SECONDS, ((_token(number), FIRST_S + n, n) for n in range(SECONDS)))
        connection.execute("COMMIT")


async def _fill_redis(port: int) -> None:
    client = connect(LOOPBACK, port, db=1)
    for number in range(INSTRUMENTS):
        tick = TickJson(_token(number), "NSE", 110, 1, FIRST_S * 1000, 0, 0)
        await client.set(f"tick:latest:NSE:{_token(number)}", msgspec.json.encode(tick))
    for number in range(OF_SECONDS):
        async with client.pipeline(transaction=False) as together:
            for n in range(SECONDS):
                data = SecondCandleJson(_token(number), "NSE", 1, FIRST_S + n, 100, 120, 90, 110, 5, 1, False, n, 0)
                entry: dict[FieldT, EncodableT] = {"data": msgspec.json.encode(data)}
                together.xadd(f"candle:1s:NSE:{_token(number)}", entry, id=f"{(FIRST_S + n) * 1000}-0")
            await together.execute()
    await client.aclose()


def _token(number: int) -> str:
    return str(1000 + number)


def _started(rig: Rig, valkey: Valkey) -> tuple[Process, str]:
    port = free_port()
    env = {"REDIS_ADDR": f"{LOOPBACK}:{valkey.port}", "DASHBOARD_ADDR": f":{port}", "GATEWAY_ADDR": f":{free_port()}"}
    return rig.run("gateway", FAUST, {**rig.env("gateway"), **env}), f"http://{LOOPBACK}:{port}"


async def until_there(session: ClientSession, process: Process, url: str) -> None:
    """Wait until a process answers well. Raises BenchError where it ends, or doesn't answer."""
    deadline_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline_s:
        process.cpu_s()
        try:
            async with session.get(url) as answer:
                if answer.status == 200:
                    return
        except ClientError:
            pass
        await asyncio.sleep(POLL_S)
    raise BenchError(f"nobody answers at {url}: {process.log.read_text()[-2000:]}")


def _newest() -> Iterator[str]:
    while True:
        yield f"token={_token(random.randrange(OF_SECONDS))}&tf=1&limit={PAGE}"


def _old(rows: int) -> Queries:
    each = rows // INSTRUMENTS

    def queries() -> Iterator[str]:
        while True:
            before_s = FIRST_S + random.randrange(PAGE, each) * MINUTE_S
            yield f"token={_token(random.randrange(INSTRUMENTS))}&tf=60&limit={PAGE}&before={before_s}"

    return queries


async def _asked(
    session: ClientSession, gateway: Process, url: str, *, what: str, queries: Queries, rows: int
) -> Asking:
    taken_ms: list[float] = []

    async def client() -> None:
        for query, _ in zip(queries(), range(REQUESTS // AT_ONCE), strict=False):
            started_s = time.perf_counter()
            async with session.get(f"{url}/api/candles?{query}") as answer:
                body = await answer.read()
                taken_ms.append((time.perf_counter() - started_s) * 1000)
                if answer.status != 200 or body.count(b'"ts":') != PAGE:
                    raise BenchError(f"{query}: {answer.status} {body[:200]!r}")
            await asyncio.sleep(PAUSE_S)

    cpu_s = gateway.cpu_s()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    cpu_ms = (gateway.cpu_s() - cpu_s) / len(taken_ms) * 1000
    return Asking(what, rows, quantiles(taken_ms), cpu_ms, os.getloadavg()[0])

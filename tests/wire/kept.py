"""A data folder that a commit has left in the middle of a day: how it is run, and what is to be read in it."""

from __future__ import annotations

import asyncio
import csv
import os
import sqlite3
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

from tests.support.cluster import PLAIN, Process
from tests.support.until import until
from tests.wire.inside import (
    LIVE,
    FrameContent,
    Gap,
    Instrument,
    Kafka,
    Listing,
    Log,
    Settings,
    Tick,
    TickLogWriter,
    Valkey,
    free_port,
    kafka_admin,
    partition_of,
    read_log,
    topic_ends,
)

COMMIT = "2fb48a8"
"""The commit whose code has made the packed folder."""

PACKED = Path(__file__).parents[1] / f"data/state-of-{COMMIT}.tar.xz"
PARTITIONS = 2
INDEX, STOCK, OTHER = "NSE:99926000", "NSE:11536", "BSE:500325"
SLICE_MS = 2_000
TOKEN = "the-token-of-a-folder-that-was-packed"  # of nobody's gateway
WITH_WEB = PLAIN[:-1]
VARIABLES = {
    "TOPOLOGY_NAMESPACE": LIVE,
    "TOPIC_PARTITIONS": str(PARTITIONS),
    "ENABLED_TFS": "60,120,300",
    "INDICATOR_CONFIGS": "SMA:3,EMA:4,RSI:5,SMMA:3",
    "CHECKPOINT_MS": "candles=2000,timeframes=3000,indicators=4000",
    "SUBSCRIBE_TOKENS": "NIFTY,TCS-EQ:snap,RELIANCE-EQ,NIFTY22NOV22FUT",
    "SESSION_TIMEOUT_S": "6",
}


class Slice(NamedTuple):
    """What the feed writes at once: ticks, and then its clock."""

    ticks: list[Tick]
    clock_ms: int


def recording(path: Path) -> list[Slice]:
    """Read a recording (time in milliseconds, instrument, price in paise, volume of the day), slice by slice."""
    with path.open(newline="") as file:
        ticks = [
            Tick(
                row["instrument"], int(row["price"]), int(row["time_ms"]), int(row["volume"]) if row["volume"] else None
            )
            for row in csv.DictReader(file)
        ]
    slices = [
        Slice(list(some), (number + 1) * SLICE_MS) for number, some in groupby(ticks, lambda t: t.time_ms // SLICE_MS)
    ]
    return [*slices, Slice([], slices[-1].clock_ms + 60_000)]  # a clock past the close, so that all candles close


def _tick(row: dict[str, str]) -> Tick:
    volume = int(row["volume"]) if row["volume"] else None
    return Tick(row["instrument"], int(row["price"]), int(row["time_ms"]), volume)


class StateCluster:
    """Broker, Redis and roles of a data folder. Ports are free ones, each time others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kafka = Kafka(folder / "kafka", free_port())
        self.valkey = Valkey(folder / "valkey", free_port())
        self.gateway_port, self.pipeline_port = free_port(), free_port()
        self.variables = {
            **VARIABLES,
            "BROKER_URL": self.kafka.url,
            "REDIS_ADDR": f"127.0.0.1:{self.valkey.port}",
            "DATA_DIR": str(folder),
            "SQLITE_PATH": str(folder / "candles.db"),
            "METRICS_ADDR": f":{self.pipeline_port}",
            "DASHBOARD_ADDR": f":{self.gateway_port}",
            "GATEWAY_ADDR": f":{free_port()}",
        }
        self.settings = Settings.from_env(self.variables)
        self.roles = [self.role(name) for name in ("pipeline", "mirror", "archive")]
        self.log: Log

    def role(self, name: str) -> Process:
        """Make a role's process, which isn't started yet, with the folder that `topology up` would give it."""
        return Process(name, 0, self.folder / LIVE, {**os.environ, **self.variables})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run broker, Redis and all roles but feed and gateway; stop them in order, so that all is saved."""
        (self.folder / LIVE).mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self.kafka.start, print)
        self.valkey.start()
        try:
            yield
            for role in self.roles:
                if role.running:
                    await asyncio.to_thread(role.terminate)
        finally:
            for role in self.roles:
                role.kill()
            self.valkey.stop()
            self.kafka.stop()

    def start(self) -> None:
        """Start the roles; the pipeline shows its pages."""
        for role in self.roles:
            role.start(WITH_WEB if role is self.roles[0] else PLAIN)

    async def write(self, slices: Sequence[Slice], gaps: dict[int, Gap]) -> None:
        """Write slices into the tick log as a feed does, and the gaps before the slices of these clocks."""
        async with TickLogWriter(self.kafka.bootstrap, self.log) as writer:
            for ticks, clock_ms in slices:
                for partition in range(PARTITIONS):
                    own = [tick for tick in ticks if partition_of(tick.instrument, PARTITIONS) == partition]
                    gap = gaps.get(clock_ms)
                    is_here = gap is not None and partition_of(gap.instruments[0], PARTITIONS) == partition
                    content = FrameContent(own, gaps=[gap] if gap is not None and is_here else [])
                    await writer.write_partition(partition, content, clock_ms)
            await writer.flush()

    async def settle(self) -> None:
        """Wait until archive and Redis have all that follows from the tick log."""
        wanted = await self.ends("ticks")

        def is_done() -> bool:
            for role in self.roles:
                assert role.running, role.log.read_text(errors="replace")[-3000:]
            held = {**self.archived(), **self.mirrored()}
            found = [held.get((who, stage, p), -1) for who, stage in READERS for p in range(PARTITIONS)]
            return found == [wanted[p] - 1 for _ in READERS for p in range(PARTITIONS)]

        await until(is_done)

    async def ends(self, stage: str) -> dict[int, int]:
        """Return how many records each partition of a stage's topic has."""
        found = await topic_ends(self.kafka.bootstrap, [f"{LIVE}.{stage}"], PARTITIONS)
        return {partition: end for (_, partition), end in found.items()}

    def archived(self) -> dict[tuple[str, str, int], int]:
        """Return the positions in SQLite."""
        path = self.folder / "candles.db"
        if not path.exists():
            return {}
        with closing(sqlite3.connect(path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'positions'").fetchone():
                return {}
            rows = connection.execute("SELECT stage, partition, position FROM positions").fetchall()
        return {("archive", stage, partition): position for stage, partition, position in rows}

    def mirrored(self) -> dict[tuple[str, str, int], int]:
        """Return the positions in Redis."""
        with Redis(port=self.valkey.port, decode_responses=True) as redis:
            held: Any = redis.hgetall("mirror:positions")
        places = {tuple(field.split(":")): int(text.split()[2]) for field, text in held.items()}
        return {("mirror", stage, int(partition)): position for (stage, partition), position in places.items()}

    async def names(self) -> dict[str, list[str]]:
        """Return what the broker calls its topics and groups, and the worker its tables on disk."""
        async with kafka_admin(self.kafka.bootstrap) as admin:
            names = sorted(await admin.list_topics())
            groups = sorted(str(group[0]) for group in await admin.list_consumer_groups())
        tables = (self.folder / LIVE / "pipeline-0").glob("*/tables/*")
        return {
            "topics": names,
            "groups": groups,
            "tables": sorted(f"{path.parent.parent.name}/{path.name}" for path in tables),
        }

    async def read_log(self) -> Log:
        """Read which log the broker has."""
        self.log = await read_log(self.kafka.bootstrap, LIVE)
        return self.log


READERS = [("archive", stage) for stage in ("candles_1s", "candles_tf", "indicators")]
READERS += [("mirror", stage) for stage in ("ticks", "candles_1s", "candles_tf", "indicators")]


def gaps_of(slices: Sequence[Slice]) -> dict[int, Gap]:
    """Give the gaps of the day, by the clock of their slice: one lasts while the folder is packed."""
    cut = cut_of(slices)
    from_ms = slices[cut - 10].clock_ms
    begun, over = Gap([STOCK], from_ms), Gap([STOCK], from_ms, slices[cut + 5].clock_ms)
    return {slices[cut - 9].clock_ms: begun, slices[cut + 6].clock_ms: over}


def cut_of(slices: Sequence[Slice]) -> int:
    """Return how many slices were written before the folder was packed: in the middle of a minute."""
    return len(slices) * 5 // 9


def archive_rows(path: Path) -> dict[str, list[str]]:
    """Return what an archive holds, a line a row: floats as they are written are exact."""
    candle, cause = "open, high, low, close, volume", "marks, partition, position"
    told = {
        "candles_1s": f"exchange, token, ts, {candle}, ticks_count, source, {cause}",
        "candles_tf": f"exchange, token, tf, ts, {candle}, count, source, revision, {cause}",
        "indicators": "exchange, token, name, tf, ts, value, partition, position",
        "gaps": "exchange, token, from_ms, to_ms, broken, partition, position",
        "positions": "stage, partition, run, position, clock_ms, row_count, gaps, accepted, late, out_of_session",
    }
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: sorted(" ".join(map(repr, row)) for row in connection.execute(f"SELECT {columns} FROM {table}"))
            for table, columns in told.items()
        }


def redis_values(port: int) -> dict[str, Any]:
    """Return what Redis holds: latest values as their text, streams as ids with their text; not the positions."""
    found: dict[str, Any] = {}
    with Redis(port=port, decode_responses=True) as redis:
        for name in sorted(redis.scan_iter(count=1000)):
            if redis.type(name) == "stream":
                found[name] = [[key, fields] for key, fields in redis.xrange(name)]
            elif redis.type(name) == "string" and name != "mirror:publishing":
                found[name] = redis.get(name)
    return found


def listing(instrument: str, symbol: str, name: str, kind: str) -> Listing:
    """Make a listing of the instrument master."""
    known = {"AMXIDX": "index", "FUTIDX": "derivative"}
    return Listing(
        instrument=Instrument.parse(instrument), symbol=symbol, name=name, expiry=None, strike=None, lot_size=1,
        tick_size=5, instrument_type=kind, price_divisor=100, instrument_class=known.get(kind, "equity"),
    )  # fmt: skip


def unpack(folder: Path) -> Path:
    """Unpack the folder that was kept; return it. Beside it lie the recording and what has to come of it."""
    with tarfile.open(PACKED) as packed:
        packed.extractall(folder, filter="data")
    return folder / "data"

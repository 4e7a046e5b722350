"""What the mirror's live values cost it and Redis: all of them, and those that somebody listens to."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from topology import indicators
from topology.embedded import Valkey, free_port
from topology.embedded.loopback import LOOPBACK
from topology.log.frames import (
    CANDLES,
    DERIVED,
    INDICATORS,
    TICK_FRAME,
    TICKS,
    TIMEFRAMES,
    CandleFrame,
    Configure,
    IndicatorFrame,
    IndicatorValue,
    TickFrame,
    TimeframeFrame,
    encode,
)
from topology.log.partition import partition_of
from topology.market import Candle, Tick
from topology.settings import Settings
from topology.sinks.cursor import StoredFrame
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.mirror import Mirror, connect, query_listened_channels
from topology.sinks.mirror.streams import StreamCommands

INSTRUMENTS, PARTITIONS = 3_000, 4
SECONDS = 5
WATCHED = (0, 1, 50)  # how many instruments a page shows with all that there is of them
START_MS = 1_669_088_700_000

Record = tuple[str, int, int, bytes]  # stage, partition, position, frame


class Mirroring(msgspec.Struct, frozen=True):
    """What a second of the market took: messages, CPU milliseconds of the mirror (with decoding) and of Redis.

    ``listened`` is the number of instruments that are listened to, None where all is published.
    """

    listened: int | None
    said: float
    mirror_ms: float
    redis_ms: float


async def mirroring() -> list[Mirroring]:
    """Measure a market in which every instrument has a tick, and then live values, once a second."""
    names = [f"NSE:{token}" for token in range(1, INSTRUMENTS + 1)]
    records = list(_records(names))
    return [await _measured(names, records, listened) for listened in (None, *WATCHED)]


def _records(names: Sequence[str]) -> Iterator[Record]:
    """The frames of each quarter of a second, in which a quarter of the instruments has something new."""
    settings = Settings.from_env({})
    kinds = [indicators.name(spec) for spec in settings.indicators]
    parts: Mapping[int, list[str]] = {
        partition: [name for name in names if partition_of(name, PARTITIONS) == partition]
        for partition in range(PARTITIONS)
    }
    for position in range(4 * SECONDS):
        now_ms = START_MS + 250 * position
        for partition, instruments in parts.items():
            some = instruments[position % 4 :: 4]
            head = (1, "log", 0, position, now_ms, list[Configure](), "")
            seconds, values, bars = [], [], []
            for name in some:
                seconds.append(_candle(name, 1, now_ms // 1000 * 1000))
                for timeframe_s in settings.enabled_tfs:
                    bars.append(_candle(name, timeframe_s, START_MS))
                    values += [IndicatorValue(name, kind, timeframe_s, START_MS, 181_700.123) for kind in kinds]
            ticks = TickFrame(1, "log", 1, position, now_ms, 0, [], [Tick(name, 181_700, now_ms) for name in some])
            yield TICKS, partition, position, encode(ticks)
            yield CANDLES, partition, position, encode(CandleFrame(*head, seconds, seconds))
            yield TIMEFRAMES, partition, position, encode(TimeframeFrame(*head, [], bars))
            yield INDICATORS, partition, position, encode(IndicatorFrame(*head, [], values))


def _candle(name: str, timeframe_s: int, start_ms: int) -> Candle:
    return Candle(name, timeframe_s, start_ms, 181_700, 181_800, 181_600, 181_750, 120, 7)


async def _measured(names: Sequence[str], records: Sequence[Record], listened: int | None) -> Mirroring:
    with tempfile.TemporaryDirectory(prefix="topology-bench-") as folder:
        server = Valkey(Path(folder), free_port())
        server.start()
        try:
            async with connect(LOOPBACK, server.port, db=0) as client, client.pubsub() as listener:
                if listened:
                    await listener.subscribe(*_channels(names[:listened]))
                return await _run(client, records, listened)
        finally:
            server.kill()


def _channels(names: Sequence[str]) -> list[str]:
    settings = Settings.from_env({})
    of_timeframes = [
        f"{kind}:{timeframe_s}s"
        for kind in ("candle", *(f"ind:{indicators.name(spec)}" for spec in settings.indicators))
        for timeframe_s in settings.enabled_tfs
    ]
    return [f"pub:{kind}:{name}" for kind in ("tick", "candle:1s", *of_timeframes) for name in names]


async def _run(client: Redis, records: Sequence[Record], listened: int | None) -> Mirroring:
    streams = StreamCommands(partitions=PARTITIONS, budget_mb=512)
    mirror = Mirror(client, log="log", run=0, streams=streams, breaker=Breaker(time.monotonic))
    who = None if listened is None else await query_listened_channels(client)
    before, started_s = await _spent(client), time.process_time()
    for stage, partition, position, record in records:
        frame = TICK_FRAME.decode(record) if stage == TICKS else DERIVED[stage].decode(record)
        await mirror.apply([StoredFrame(stage, partition, position, frame)], listened=who)
    cpu_s, after = time.process_time() - started_s, await _spent(client)
    said, redis_s = (end - start for start, end in zip(before, after, strict=True))
    return Mirroring(listened, said / SECONDS, cpu_s / SECONDS * 1000, redis_s / SECONDS * 1000)


async def _spent(client: Redis) -> tuple[float, float]:
    """Return how many messages have been published so far, and the CPU seconds that the server has used."""
    calls = (await client.info("commandstats")).get("cmdstat_publish", {"calls": 0})["calls"]
    cpu = await client.info("cpu")
    return calls, cpu["used_cpu_user"] + cpu["used_cpu_sys"]

"""The three measurements of the pipeline: catching up, live, and starting again without its disk."""

from __future__ import annotations

import asyncio
import functools
import math
import signal
import time
from collections.abc import Iterable, Sequence

import msgspec
from aiokafka import TopicPartition

from benchmark.limits import Limits, limits
from benchmark.load import Batch, Market
from benchmark.rig import Rig
from topology.clock import now_ms
from topology.feeds.writer import TickLogWriter
from topology.kafka import clients
from topology.log.frames import CANDLES, INDICATORS, TICKS, TIMEFRAMES

SETTLING_S = 3.0  # of a live run, before its latencies count
DERIVED = (CANDLES, TIMEFRAMES, INDICATORS)


class CatchingUp(msgspec.Struct, frozen=True):
    """A worker that reads ticks that are all in the log already, and what bounds it."""

    ticks_per_s: float
    cpu_us: float
    frames: int
    ticks: int
    limits: Limits


class Quantiles(msgspec.Struct, frozen=True):
    """How many milliseconds something takes."""

    p50_ms: float
    p99_ms: float


class Latency(msgspec.Struct, frozen=True):
    """A worker at the end of the log: how long frames take to come out of each stage, and the cores that it uses."""

    stages: dict[str, Quantiles]
    cores: float


class Recovery(msgspec.Struct, frozen=True):
    """Seconds from the start of a worker until it has caught up with one frame a partition.

    ``restart_s`` is after a clean stop; ``wiped_s`` after SIGKILL, with its disk removed.
    """

    restart_s: float
    wiped_s: float


async def fill(rig: Rig, batches: Iterable[Batch]) -> int:
    """Write batches into the tick log as fast as it goes; return the number of ticks."""
    ticks = 0
    async with TickLogWriter(rig.bootstrap, rig.log) as writer:
        for batch in batches:
            await writer.write(batch.ticks, batch.clock_ms, everywhere=batch.everywhere)
            ticks += len(batch.ticks)
        await writer.flush()
    return ticks


async def catching_up(rig: Rig, batches: Iterable[Batch]) -> CatchingUp:
    """Fill the log while no worker runs, then start one: from its first candle frame to its last indicator frame."""
    starts, made = await rig.ends(TICKS), sum(await rig.ends(CANDLES))
    ticks = await fill(rig, batches)
    frames = sum(await rig.ends(TICKS)) - sum(starts)
    bounds = await limits(rig, starts, ticks)
    worker = rig.start_worker()
    await rig.until(CANDLES, made + 1)
    started_s, cpu_s = time.monotonic(), worker.cpu_s()
    await rig.until_caught_up()
    seconds, cpu_s = time.monotonic() - started_s, worker.cpu_s() - cpu_s
    rig.end_worker()
    return CatchingUp(ticks / seconds, cpu_s / ticks * 1e6, frames, ticks, bounds)


async def latency(rig: Rig, market: Market, *, ticks_per_s: int, frame_ms: int, seconds: float) -> Latency:
    """Feed in real time; every partition gets its frame at the same moment, which is the worst one for a worker."""
    worker = rig.worker or rig.start_worker()
    await fill(rig, [Batch([], now_ms(), everywhere=True)])
    await rig.until_caught_up()
    clock = _Clock(rig)
    watching = asyncio.create_task(clock.watch())
    feed = functools.partial(_feed, market, ticks_per_s=ticks_per_s, frame_ms=frame_ms)
    async with TickLogWriter(rig.bootstrap, rig.log) as writer:
        await feed(clock, writer, seconds=SETTLING_S)
        clock.forget()
        started_s, cpu_s = time.monotonic(), worker.cpu_s()
        await feed(clock, writer, seconds=seconds)
        cores = (worker.cpu_s() - cpu_s) / (time.monotonic() - started_s)
    await rig.until_caught_up()
    watching.cancel()
    return Latency(clock.quantiles(), cores)


async def _feed(
    market: Market, clock: _Clock, writer: TickLogWriter, *, ticks_per_s: int, frame_ms: int, seconds: float
) -> None:
    start_ms = now_ms()
    until_ms = start_ms + round(seconds * 1000)
    while start_ms < until_ms:
        batch = market.frame(start_ms, ticks_per_s=ticks_per_s, frame_ms=frame_ms)
        await asyncio.sleep(max(0, batch.clock_ms - now_ms()) / 1000)
        clock.sent(batch.clock_ms)
        await writer.write(batch.ticks, batch.clock_ms, everywhere=True)
        start_ms = batch.clock_ms


class _Clock:
    """Notes how long frames take. A frame is known by its clock, which is the timestamp of its records."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._sent_s: dict[int, float] = {}
        self._taken_ms: dict[str, list[float]] = {stage: [] for stage in DERIVED}

    def sent(self, clock_ms: int) -> None:
        """Note that a frame with this clock goes out to every partition now."""
        self._sent_s[clock_ms] = time.monotonic()

    def forget(self) -> None:
        """Forget every frame so far."""
        self._sent_s.clear()
        for taken in self._taken_ms.values():
            taken.clear()

    def quantiles(self) -> dict[str, Quantiles]:
        """Return what was found, by stage."""
        return {stage: quantiles(taken) for stage, taken in self._taken_ms.items()}

    async def watch(self) -> None:
        """Read what comes out of the stages from now on."""
        rig = self._rig
        stages = {rig.log.topic(stage): stage for stage in DERIVED}
        async with clients.consumer(rig.bootstrap) as reader:
            reader._fetcher._prefetch_backoff = 0  # as our own consumers have it: see topology/faust_fixes.py
            places = [TopicPartition(topic, partition) for topic in stages for partition in range(rig.partitions)]
            reader.assign(places)
            await reader.seek_to_end(*places)
            while True:
                for place, records in (await reader.getmany(timeout_ms=1000)).items():
                    came_s = time.monotonic()
                    for record in records:
                        if (sent_s := self._sent_s.get(record.timestamp)) is not None:
                            self._taken_ms[stages[place.topic]].append((came_s - sent_s) * 1000)


def quantiles(values: Sequence[float]) -> Quantiles:
    """Return the two that are told of these."""
    ordered = sorted(values)
    p50, p99 = (ordered[math.ceil(len(ordered) * part) - 1] for part in (0.5, 0.99))
    return Quantiles(p50, p99)


async def recovery(rig: Rig) -> Recovery:
    """Stop the worker and start it again, with its disk and without."""
    rig.end_worker()
    restart_s = await _restart(rig)
    rig.end_worker(signal.SIGKILL)
    rig.wipe()
    return Recovery(restart_s, await _restart(rig))


async def _restart(rig: Rig) -> float:
    await fill(rig, [Batch([], now_ms(), everywhere=True)])
    started_s = time.monotonic()
    rig.start_worker()
    await rig.until_caught_up()
    return time.monotonic() - started_s

"""The role `feed` on one core, under full load: what a packet costs, how soon it is in the log, and what is missing.

The simulated broker sends a random walk over three sockets. Any interval of that walk can be found again: so what the
log holds is compared, print by print, with what was printed.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiokafka import TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from benchmark.pipeline import Quantiles, quantiles
from benchmark.rig import FAUST, POLL_S, STARTS_WITHIN_S, BenchError, Process, Rig
from topology.clock import now_ms
from topology.configuration.environment import from_settings
from topology.embedded import free_port
from topology.kafka import clients
from topology.log.frames import TICK_FRAME, TICKS
from topology.log.partition import partition_of
from topology.market import Calendar
from topology.market.calendar import indian_day
from topology.market.times import IST
from topology.settings import SIM, Settings
from topology.simulator import DEMONSTRATION, MASTER_PATH, STREAM_PATH, Walk, catalogue
from topology.simulator.listings import SimulatedListing

INSTRUMENTS, PACKETS_PER_S, SEED = 3000, 12_000, 1
SETTLING_S = 10.0  # of the feed, when every instrument has come
ON_ITS_WAY_MS = 2000  # what isn't in the log by then is missing
LONGEST_START = timedelta(minutes=5)
DELIVERY = "mdengine_feed_delivery_seconds"

Trade = tuple[int, int, int]  # time, price, quantity


class Feeding(msgspec.Struct, frozen=True):
    """The role `feed`, restricted to one core.

    ``receipt`` is from the receipt of a frame's first packet until the log has acknowledged the frame, as the role's
    own histogram tells; ``end_to_end`` from a packet's exchange time until a reader of the log has it, which holds the
    simulator's steps of 5 ms too. ``missing`` were printed and are not in the log, ``surplus`` the other way round.
    ``load`` is what else the machine did: its load average over the last minute.
    """

    seconds: float
    packets: int
    missing: int
    surplus: int
    cpu_us: float
    cores: float
    frames_per_s: float
    receipt: Quantiles
    end_to_end: Quantiles
    load: float


async def feeding(seconds: int) -> Feeding:
    """Start broker, simulator and feed, and measure the feed for so long."""
    settings = Settings.from_env({"TOPOLOGY_NAMESPACE": SIM})
    calendar = _open_now(timedelta(seconds=seconds) + LONGEST_START)
    listings = catalogue(indian_day(now_ms()))[:INSTRUMENTS]
    configuration = from_settings(settings)
    # No timeframes: the feed has no history to bring meanwhile.
    configuration = msgspec.structs.replace(configuration, calendar=calendar, timeframes={})
    async with Rig(settings, configuration) as rig:
        web = f"http://127.0.0.1:{free_port()}"
        feed = await _started(rig, listings, calendar, web=web)
        tail = _Tail(rig)
        watching = asyncio.create_task(tail.watch())
        await tail.until(lambda: len(tail.seen) == INSTRUMENTS, feed)
        await asyncio.sleep(SETTLING_S)
        interval = await _measured(feed, tail, seconds, web=web)
        await tail.until(lambda: min(tail.clocks_ms) > interval.until_ms + ON_ITS_WAY_MS, feed)
        watching.cancel()
        walk = Walk(listings, seed=SEED, rate=PACKETS_PER_S, calendar=Calendar.parse(calendar))
        packets, missing, surplus = await _compared(rig, walk, interval.from_ms, interval.until_ms)
    measured_s = (interval.until_ms - interval.from_ms) / 1000
    return Feeding(
        seconds=measured_s,
        packets=packets,
        missing=missing,
        surplus=surplus,
        cpu_us=interval.cpu_s / packets * 1e6,
        cores=interval.cpu_s / measured_s,
        frames_per_s=interval.frames / measured_s,
        receipt=interval.receipt,
        end_to_end=interval.end_to_end,
        load=os.getloadavg()[0],
    )


class _Stretch(NamedTuple):
    """What was measured in an interval of time while it went by."""

    from_ms: int
    until_ms: int
    cpu_s: float
    frames: int
    receipt: Quantiles
    end_to_end: Quantiles


async def _measured(feed: Process, tail: _Tail, seconds: int, *, web: str) -> _Stretch:
    before = await _delivery(web)
    tail.taken_ms.clear()
    frames, from_ms, cpu_s = tail.frames, now_ms(), feed.cpu_s()
    await asyncio.sleep(seconds)
    frames, until_ms, cpu_s = tail.frames - frames, now_ms(), feed.cpu_s() - cpu_s
    taken_ms = tail.taken_ms[:]
    delivered = {at_most_ms: count - before[at_most_ms] for at_most_ms, count in (await _delivery(web)).items()}
    receipt = Quantiles(_quantile(delivered, 0.5), _quantile(delivered, 0.99))
    return _Stretch(from_ms, until_ms, cpu_s, frames, receipt, quantiles(taken_ms))


def _open_now(length: timedelta) -> str:
    """Give a calendar whose session has just opened: the simulator has little of a day to find."""
    opens = datetime.now(IST).replace(second=0, microsecond=0)
    closes = opens + length
    if closes.date() != opens.date():
        raise BenchError(f"a session doesn't go over midnight in India: wait {length}")
    classes = ["index", "equity", "equity_cas", "derivative", "commodity", "currency"]
    hours = {"since": "2020-01-01", "classes": classes, "sessions": [f"{opens:%H:%M}-{closes:%H:%M}"]}
    return msgspec.json.encode({
        "name": "open now", "checked": str(opens.date()), "first_day": "2020-01-01", "last_day": "2099-12-31",
        "weekdays": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        "regular": [{**hours, "source": "made up for a measurement; no exchange trades so"}],
    }).decode()  # fmt: skip


async def _started(rig: Rig, listings: Sequence[SimulatedListing], calendar: str, *, web: str) -> Process:
    """Start the simulator, and the feed on a core of its own."""
    place = f"127.0.0.1:{free_port()}"
    about = {"CALENDAR_FILE": str(_written(rig.folder / "calendar.json", calendar))}
    wanted = _written(rig.folder / "instruments.txt", "\n".join(listing.instrument for listing in listings))
    options = ["--addr", place, "--instruments", str(INSTRUMENTS), "--rate", str(PACKETS_PER_S), "--seed", str(SEED)]
    simulator = rig.run("simulator", ["topology.cli.main", "simulate", *options], about)
    deadline_s = time.monotonic() + STARTS_WITHIN_S
    while not await asyncio.to_thread(_page, f"http://{place}/health"):
        simulator.cpu_s()
        if time.monotonic() > deadline_s:
            raise BenchError("the simulator does not answer")
        await asyncio.sleep(POLL_S)
    about |= {f"ANGEL_{name.upper()}": value for name, value in DEMONSTRATION.items()}
    about |= {"ANGEL_API_URL": f"http://{place}", "ANGEL_FEED_URL": f"ws://{place}{STREAM_PATH}"}
    about |= {"ANGEL_MASTER_URL": f"http://{place}{MASTER_PATH}", "SUBSCRIBE_TOKENS": f"@{wanted}"}
    port = web.rpartition(":")[2]
    core = max(os.sched_getaffinity(0))
    return rig.run("feed", [*FAUST, "--web-port", port], {**rig.env("feed"), **about}, core=core)


def _written(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def _page(url: str) -> str:
    """Return what is there, nothing where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read(), "utf-8")
    except OSError:
        return ""


class _Tail:
    """Reads the tick log while it is written; ``taken_ms`` is how long each tick took from its exchange time."""

    def __init__(self, rig: Rig) -> None:
        self.seen: set[str] = set()
        self.clocks_ms = [0] * rig.partitions
        self.frames = 0
        self.taken_ms: list[int] = []
        self._rig = rig

    async def until(self, condition: Callable[[], bool], feed: Process) -> None:
        """Wait until this is so, and the feed lives."""
        deadline_s = time.monotonic() + STARTS_WITHIN_S
        while not condition():
            feed.cpu_s()
            if time.monotonic() > deadline_s:
                raise BenchError(f"the feed does not bring what it should: {feed.log.read_text()[-2000:]}")
            await asyncio.sleep(POLL_S)

    async def watch(self) -> None:
        """Read what is written from now on."""
        rig = self._rig
        async with clients.consumer(rig.bootstrap) as reader:
            reader._fetcher._prefetch_backoff = 0  # as our own consumers have it: see topology/faust_fixes.py
            places = [TopicPartition(rig.log.topic(TICKS), partition) for partition in range(rig.partitions)]
            reader.assign(places)
            await reader.seek_to_end(*places)
            while True:
                for place, records in (await reader.getmany(timeout_ms=1000)).items():
                    came_ms = now_ms()
                    for record in records:
                        frame = TICK_FRAME.decode(record.value)
                        self.frames += 1
                        self.clocks_ms[place.partition] = frame.clock_ms
                        self.taken_ms += [came_ms - tick.time_ms for tick in frame.ticks]
                        self.seen.update(tick.instrument for tick in frame.ticks)


async def _delivery(web: str) -> dict[float, float]:
    """Return how many frames took how long at most, in milliseconds, since the feed was started."""
    page = await asyncio.to_thread(_page, f"{web}/metrics")
    samples = [one for family in text_string_to_metric_families(page) for one in family.samples]
    return {float(one.labels["le"]) * 1000: one.value for one in samples if one.name == f"{DELIVERY}_bucket"}


def _quantile(buckets: Mapping[float, float], part: float) -> float:
    """Return a quantile of a histogram as Prometheus does: a bucket counts as filled evenly."""
    wanted = part * max(buckets.values())
    from_ms = below = 0.0
    for until_ms, count in buckets.items():
        if count >= wanted:
            return (
                from_ms if math.isinf(until_ms) else from_ms + (until_ms - from_ms) * (wanted - below) / (count - below)
            )
        from_ms, below = until_ms, count
    raise AssertionError("the last bucket holds all")


async def _compared(rig: Rig, walk: Walk, from_ms: int, until_ms: int) -> tuple[int, int, int]:
    """Return how many prints there were in a while, how many of them the log lacks, and how many others it has."""
    printed = missing = surplus = 0
    for partition in range(rig.partitions):
        found = await _trades(rig, partition, from_ms, until_ms)
        for place, listing in enumerate(walk.listings):
            if partition_of(listing.instrument, rig.partitions) == partition:
                due = Counter((one.time_ms, one.price, one.quantity) for one in walk.prints(place, from_ms, until_ms))
                printed += due.total()
                missing += (due - found[listing.instrument]).total()
                surplus += (found[listing.instrument] - due).total()
    return printed, missing, surplus


async def _trades(rig: Rig, partition: int, from_ms: int, until_ms: int) -> Mapping[str, Counter[Trade]]:
    """Return the ticks of ``[from_ms, until_ms)`` in the log, by instrument."""
    found: defaultdict[str, Counter[Trade]] = defaultdict(Counter)
    place = TopicPartition(rig.log.topic(TICKS), partition)
    async with clients.consumer(rig.bootstrap) as reader:
        end = (await reader.end_offsets([place]))[place]
        async for record in clients.records(reader, place, 0, end):
            for tick in TICK_FRAME.decode(record.value).ticks:
                if from_ms <= tick.time_ms < until_ms:
                    found[tick.instrument][tick.time_ms, tick.price, tick.quantity or 0] += 1
    return found

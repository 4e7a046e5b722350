"""`deploy/bench`: measures pipeline, feed, mirror and WebSocket, prints tables, keeps the raw figures as JSON."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmark.feed import feeding
from benchmark.load import MINUTE_MS, Market
from benchmark.mirror import mirroring
from benchmark.parser import parsing
from benchmark.pipeline import catching_up, fill, latency, recovery
from benchmark.report import Found, Result, show
from benchmark.rest import asking
from benchmark.rig import BenchError, Rig
from benchmark.screen import showing
from benchmark.websocket import pushing
from topology.clock import now_ms
from topology.embedded import EmbeddedError
from topology.log.frames import Configure
from topology.settings import SIM, Settings

MARKET_TICKS_PER_S = 10_000
FRAMES_MS = (50, 200)
SCREEN_RATES = (100, 2000)
PIPELINE = ("catching-up", "latency", "recovery")
PARTS = (*PIPELINE, "parser", "feed", "mirror", "rest", "websocket", "screen")


class Size(NamedTuple):
    """How much is measured."""

    instruments: tuple[int, ...]
    history_minutes: int
    market_s: int
    live_s: int
    feed_s: int
    archived_rows: int
    clients: tuple[int, ...]


FULL = Size(
    (1, 50, 500, 5000),
    history_minutes=500,
    market_s=120,
    live_s=30,
    feed_s=300,
    archived_rows=10_000_000,
    clients=(1, 100, 1000),
)
QUICK = Size((50, 500), history_minutes=60, market_s=40, live_s=8, feed_s=25, archived_rows=1_000_000, clients=(1, 100))


def main() -> int:
    """Run it; return the exit code."""
    options = _parser().parse_args()
    if not Path("/proc/self/stat").exists():
        print("deploy/bench: reads CPU times from /proc, which only Linux has", file=sys.stderr)
        return 1
    size = QUICK if options.quick else FULL
    found = Found({"system": platform.platform(), "python": platform.python_version()})
    try:
        _measure(found, size, options)
    except (BenchError, EmbeddedError) as error:
        print(f"deploy/bench: {error}", file=sys.stderr)
        return 1
    show(found)
    print(f"raw figures: {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy/bench",
        description="Measures pipeline, feed, mirror and gateway on this machine, with a broker of their own.",
        epilog="example: deploy/bench --instruments 500 --parts catching-up",
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--json", type=Path, default=Path("data/bench.json"), help="where raw figures go (%(default)s)")
    parser.add_argument("--instruments", type=int, nargs="+", metavar="N", help="numbers of instruments")
    parser.add_argument("--rates", type=int, nargs="+", default=[2000, 10_000], metavar="N", help="live ticks/s")
    parser.add_argument("--frames", type=int, nargs="+", default=[10, 50], metavar="MS", help="FRAME_MS for a screen")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (all)")
    return parser


def _measure(found: Found, size: Size, options: argparse.Namespace) -> None:
    """Measure what is asked for, and keep what has been found so far after each part."""
    if "parser" in options.parts:
        _step("the parser of the broker's packets")
        found.parser = parsing()
        _keep(options.json, found)
    if "feed" in options.parts:
        _step(f"the feed, for {size.feed_s} s")
        found.feed = asyncio.run(feeding(size.feed_s))
        _keep(options.json, found)
    if "mirror" in options.parts:
        _step("the mirror")
        found.mirror = asyncio.run(mirroring())
        _keep(options.json, found)
    if "rest" in options.parts:
        _step(f"REST, with {size.archived_rows:,} candles")
        found.rest = asyncio.run(asking(size.archived_rows))
        _keep(options.json, found)
    if "websocket" in options.parts:
        _step("the gateway's WebSocket")
        found.websocket = asyncio.run(pushing())
        _keep(options.json, found)
    if "screen" in options.parts:
        for frame_ms in options.frames:
            _step(f"from packet to client, frames of {frame_ms} ms")
            found.screen += asyncio.run(showing(SCREEN_RATES, size.clients, frame_ms=frame_ms, seconds=size.live_s))
            _keep(options.json, found)
    if set(options.parts) & set(PIPELINE):
        for instruments in options.instruments or size.instruments:
            found.results.append(asyncio.run(_pipeline(instruments, size, options)))
            _keep(options.json, found)


async def _pipeline(instruments: int, size: Size, options: argparse.Namespace) -> Result:
    result, market = Result(instruments), Market(instruments)
    settings = Settings.from_env({"TOPOLOGY_NAMESPACE": SIM})
    async with Rig(settings, _configuration(settings)) as rig:
        _step(f"{instruments} instruments: {size.history_minutes} minutes of history")
        start_ms = now_ms() - size.market_s * 1000 * len(FRAMES_MS) - (size.history_minutes + 1) * MINUTE_MS
        await fill(rig, market.history(start_ms, size.history_minutes))
        rig.start_worker()
        await rig.until_caught_up()
        if "catching-up" in options.parts:
            rig.end_worker()
            start_ms += size.history_minutes * MINUTE_MS
            for frame_ms in FRAMES_MS:
                _step(f"{instruments} instruments: catching up, frames of {frame_ms} ms")
                batches = market.frames(start_ms, size.market_s, ticks_per_s=MARKET_TICKS_PER_S, frame_ms=frame_ms)
                result.catching_up[frame_ms] = await catching_up(rig, batches)
                start_ms += size.market_s * 1000
            rig.start_worker()
        for ticks_per_s in options.rates if "latency" in options.parts else ():
            _step(f"{instruments} instruments: live, {ticks_per_s} ticks/s")
            result.latency[ticks_per_s] = await latency(
                rig, market, ticks_per_s=ticks_per_s, frame_ms=settings.frame_ms, seconds=size.live_s
            )
        if "recovery" in options.parts:
            _step(f"{instruments} instruments: recovery")
            result.recovery = await recovery(rig)
    return result


def _configuration(settings: Settings) -> Configure:
    return Configure(
        id=0,
        timeframes={timeframe_s: list(settings.indicators) for timeframe_s in settings.enabled_tfs},
        classes={},
        calendar=settings.calendar_text(),
        lateness_ms=settings.allowed_lateness_ms,
    )


def _step(text: str) -> None:
    print(f"-- {text}", file=sys.stderr, flush=True)


def _keep(file: Path, found: Found) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


if __name__ == "__main__":
    sys.exit(main())

"""The tables that `deploy/bench` prints."""

from __future__ import annotations

import msgspec
from rich.console import Console
from rich.table import Table

from benchmark.limits import Limits
from benchmark.pipeline import CatchingUp, Latency, Recovery
from benchmark.rig import SESSION_TIMEOUT_S
from topology.log.frames import CANDLES, INDICATORS, TIMEFRAMES


class Result(msgspec.Struct):
    """What was measured with a number of instruments: by frame length in ms, by live ticks per second."""

    instruments: int
    catching_up: dict[int, CatchingUp] = {}
    latency: dict[int, Latency] = {}
    recovery: Recovery | None = None


def show(results: list[Result]) -> None:
    """Print every figure, with its ratio to what bounds it."""
    console = Console(highlight=False, width=140)
    for table in (_catching_up(results), _latency(results), _recovery(results)):
        if table.row_count:
            console.print(table)


def _catching_up(results: list[Result]) -> Table:
    columns = ["instruments", "frames, ms", "ticks a frame", "ticks/s", "us/tick", "us/frame"]
    columns += ["1 s core", "3 stages", "bare loop"]
    table = _table("Catching up, one worker: CPU per tick, and in brackets how many times its limits", columns)
    for result in results:
        for frame_ms, found in result.catching_up.items():
            limit: Limits = found.limits
            per_frame = found.cpu_us * found.ticks / found.frames
            cells = [f"{result.instruments:,}", str(frame_ms), f"{found.ticks / found.frames:.0f}"]
            cells += [f"{found.ticks_per_s:,.0f}", f"{found.cpu_us:.2f}", f"{per_frame:,.0f}"]
            for us in (limit.core_us, limit.stages_us, limit.loop_us):
                cells.append(f"{us:.2f} ({found.cpu_us / us:.1f})")
            table.add_row(*cells)
    return table


def _latency(results: list[Result]) -> Table:
    stages = {CANDLES: "1 s candle", TIMEFRAMES: "timeframe", INDICATORS: "indicator"}
    columns = ["instruments", "ticks/s", *stages.values(), "cores"]
    table = _table("Live, one worker: p50/p99 ms from a tick frame to the frame of each stage", columns)
    for result in results:
        for ticks_per_s, found in result.latency.items():
            cells = [f"{found.stages[stage].p50_ms:.0f}/{found.stages[stage].p99_ms:.0f}" for stage in stages]
            table.add_row(f"{result.instruments:,}", f"{ticks_per_s:,}", *cells, f"{found.cores:.2f}")
    return table


def _recovery(results: list[Result]) -> Table:
    columns = ["instruments", "restarted", "killed, disk wiped", "ratio"]
    title = f"Seconds until a worker has caught up (a killed one is missed after {SESSION_TIMEOUT_S} s)"
    table = _table(title, columns)
    for result in results:
        if (found := result.recovery) is not None:
            ratio = found.wiped_s / found.restart_s
            table.add_row(f"{result.instruments:,}", f"{found.restart_s:.1f}", f"{found.wiped_s:.1f}", f"{ratio:.1f}")
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right")
    return table

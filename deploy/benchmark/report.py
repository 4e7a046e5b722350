"""The tables that `deploy/bench` prints."""

from __future__ import annotations

import msgspec
from rich.console import Console
from rich.table import Table

from benchmark.feed import Feeding
from benchmark.limits import Limits
from benchmark.mirror import INSTRUMENTS, Mirroring
from benchmark.parser import BATCHES, Parsing
from benchmark.pipeline import CatchingUp, Latency, Recovery
from benchmark.rest import AT_ONCE, PAGE, Asking
from benchmark.rig import SESSION_TIMEOUT_S
from benchmark.screen import CHANNELS as SCREEN_CHANNELS
from benchmark.screen import KINDS, Showing
from benchmark.websocket import CHANNELS, Pushing
from topology.log.frames import CANDLES, INDICATORS, TIMEFRAMES


class Result(msgspec.Struct):
    """What was measured with a number of instruments: by frame length in ms, by live ticks per second."""

    instruments: int
    catching_up: dict[int, CatchingUp] = {}
    latency: dict[int, Latency] = {}
    recovery: Recovery | None = None


class Found(msgspec.Struct):
    """All that was measured, and on what."""

    machine: dict[str, str]
    parser: list[Parsing] = []
    feed: Feeding | None = None
    mirror: list[Mirroring] = []
    rest: list[Asking] = []
    websocket: list[Pushing] = []
    screen: list[Showing] = []
    results: list[Result] = []


def show(found: Found) -> None:
    """Print every figure, with its ratio to what bounds it."""
    console = Console(highlight=False, width=140)
    results = found.results
    of_pipeline = (_catching_up(results), _latency(results), _recovery(results))
    for table in (
        _parser(found.parser),
        _feed(found.feed),
        _mirror(found.mirror),
        _rest(found.rest),
        _websocket(found.websocket),
        _screen(found.screen),
        *of_pipeline,
    ):
        if table.row_count:
            console.print(table)


def _parser(modes: list[Parsing]) -> Table:
    columns = ["mode", "client", *(f"batches of {size}" for size in BATCHES), "translation"]
    table = _table("The parser: CPU us per packet (in brackets: how many times as fast as the client's)", columns)
    for found in modes:
        ours = [f"{us:.2f} ({found.sdk_us / us:.1f})" for us in found.ours_us.values()]
        table.add_row(found.mode, f"{found.sdk_us:.1f}", *ours, f"{found.translate_us:.1f}")
    return table


def _feed(found: Feeding | None) -> Table:
    columns = ["packets", "packets/s", "missing", "surplus", "us/packet", "cores", "frames/s"]
    columns += ["receipt to log, ms", "exchange to reader, ms", "load"]
    table = _table("The feed on one core; p50/p99 of frames from their first receipt, and of ticks", columns)
    if found is not None:
        cells = [f"{found.packets:,}", f"{found.packets / found.seconds:,.0f}", str(found.missing), str(found.surplus)]
        cells += [f"{found.cpu_us:.1f}", f"{found.cores:.2f}", f"{found.frames_per_s:.0f}"]
        cells += [f"{took.p50_ms:.0f}/{took.p99_ms:.0f}" for took in (found.receipt, found.end_to_end)]
        table.add_row(*cells, f"{found.load:.1f}")
    return table


def _websocket(found: list[Pushing]) -> Table:
    columns = ["clients", "messages/s", "all compressed", "pushes/s", "MB/s", "CPU %", "CPU us a push", "KB a client"]
    table = _table(f"The WebSocket: {len(CHANNELS)} channels, nine of ten messages are forming ones", columns)
    for one in found:
        counted = f"{one.pushed:,.0f}", f"{one.bytes / 1e6:.1f}", f"{one.cpu_percent:.0f}", f"{one.push_us:.1f}"
        table.add_row(f"{one.clients:,}", f"{one.said:,}", str(one.compressed), *counted, f"{one.client_kb:.0f}")
    return table


def _mirror(found: list[Mirroring]) -> Table:
    columns = ["instruments watched", "messages", "mirror, CPU ms", "Redis, CPU ms"]
    title = f"The mirror: a second of {INSTRUMENTS:,} instruments"
    table = _table(title, columns)
    for one in found:
        listened = "MIRROR_LIVE=all" if one.listened is None else str(one.listened)
        table.add_row(listened, f"{one.said:,.0f}", f"{one.mirror_ms:.0f}", f"{one.redis_ms:.0f}")
    return table


def _rest(found: list[Asking]) -> Table:
    columns = ["candles", "rows in SQLite", "p50/p99, ms", "gateway, CPU ms", "load"]
    table = _table(f"REST: a page of {PAGE} candles, asked for by {AT_ONCE} clients at once", columns)
    for one in found:
        cells = [one.what, f"{one.rows:,}", f"{one.took.p50_ms:.1f}/{one.took.p99_ms:.1f}", f"{one.cpu_ms:.1f}"]
        table.add_row(*cells, f"{one.load:.1f}")
    return table


def _screen(found: list[Showing]) -> Table:
    columns = ["ticks/s", "frames, ms", "clients", "messages/s", "last price", "forming candle", "peek"]
    columns += ["gateway", "mirror", "pipeline", "feed", "KB a client", "load"]
    title = f"From packet to client, p50/p99 ms, clients with {len(SCREEN_CHANNELS)} channels each; cores of the roles"
    table = _table(title, columns)
    for one in found:
        cells = [f"{one.ticks_per_s:,}", str(one.frame_ms), f"{one.clients:,}", f"{one.messages_per_s:,.0f}"]
        for kind in KINDS:
            took = one.took.get(kind)
            cells.append("-" if took is None else f"{took.p50_ms:.0f}/{took.p99_ms:.0f}")
        cells += [f"{one.cores[role]:.2f}" for role in ("gateway", "mirror", "pipeline", "feed")]
        table.add_row(*cells, f"{one.client_kb:.0f}", f"{one.load:.1f}")
    return table


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

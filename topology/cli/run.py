"""`topology run FILE...`: recorded days through a private pipeline, in one shot."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from topology.angel.master.listings import FILE_NAME
from topology.angel.master.symbols import resolve_at
from topology.cli import aligned
from topology.cli.private import Ends, PrivatePipeline
from topology.feeds import FeedError
from topology.feeds.recorded.files import RecordedFiles, scan
from topology.feeds.writer import TickLogWriter
from topology.market import Calendar
from topology.market.times import DAY_MS, midnight_ms
from topology.settings import LIVE, Settings
from topology.sinks.archive.archive import Summary, summary
from topology.sinks.archive.sink import ArchiveSink
from topology.sinks.registry import SINKS

EXAMPLE = """example:
  topology run 2022-11-22.csv 2022-11-28.csv.gz --instrument NSE:99926000 --archive candles.db"""
STRICT = 3  # the exit code of --strict when something was not as it should be


class Outcome(msgspec.Struct, frozen=True):
    """What `--json` prints: read = accepted + late + out_of_session + rejected; ``candles`` is by seconds."""

    read: int
    accepted: int
    late: int
    out_of_session: int
    rejected: dict[str, int]
    candles: dict[str, int]
    indicators: int
    seconds: float
    ticks_per_s: float
    restarts: int
    notes: list[str]


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "run",
        help="turn recorded days into candles and indicators, in one shot",
        description="Feeds recorded ticks through a pipeline of its own (a broker, Redis and workers, for this run "
        "only) and says what came out. Columns: timestamp,price and, if wanted, instrument and volume (of the day, "
        "cumulative). A time without a zone is Indian time; prices are in rupees.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".csv or .csv.gz; any order of days")
    parser.add_argument(
        "--instrument", metavar="I", help="what files without an instrument column hold: NSE:99926000, or its symbol"
    )
    for sink in SINKS:
        if sink.output is not None:
            parser.add_argument(f"--{sink.name}", type=Path, metavar=sink.output.metavar, help=sink.output.help)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="pipeline workers (default 1)")
    parser.add_argument(
        "--strict",
        action="store_true",
        help=f"exit with {STRICT} when a row was rejected or late, or a day had no session",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code. Raises FeedError for what can't be used, before anything is started."""
    settings = replace(settings, namespace=LIVE)
    if not 1 <= arguments.workers <= settings.topic_partitions:
        raise FeedError(
            f"--workers {arguments.workers} is wrong: from 1 to {settings.topic_partitions} "
            "(a worker per partition at most: TOPIC_PARTITIONS)"
        )
    for name, path in _wanted(arguments).items():
        if path.exists():
            raise FeedError(f"{path} is there already: name another file with --{name}, or delete it")
    calendar = Calendar.parse(settings.calendar_text())
    instrument = arguments.instrument
    if instrument is not None:
        instrument = str(resolve_at(instrument, settings.namespace_dir / FILE_NAME))
    with _Screen(shown=not arguments.json) as screen:
        screen.step("reading the files")
        recording = scan(arguments.files, instrument, covered=calendar.covered)
        outcome = _process(recording, calendar, arguments, settings, screen)
    if arguments.json:
        print(msgspec.json.encode(outcome).decode())
    else:
        _show(outcome, recording)
    return STRICT if arguments.strict and (outcome.late or outcome.rejected or outcome.notes) else 0


def _process(
    recording: RecordedFiles, calendar: Calendar, arguments: argparse.Namespace, settings: Settings, screen: _Screen
) -> Outcome:
    notes = [_closed(calendar, day) for day in recording.days if calendar.day_close_ms(day) is None]
    if not recording.rows:
        nothing = Summary({}, 0, 0, 0, 0, 0)
        return _outcome(recording, nothing, timeframes_s=settings.enabled_tfs, seconds=0.0, restarts=0, notes=notes)
    wanted = _wanted(arguments)
    with PrivatePipeline(settings, workers=arguments.workers, wanted=wanted, progress=screen.step) as pipeline:
        seconds = asyncio.run(_feed(recording, calendar, pipeline, screen))
        pipeline.supervisor.stop()
        archived = summary(pipeline.outputs[ArchiveSink.name])
        for name, path in wanted.items():
            _keep(pipeline.outputs[name], path)
        restarts = sum(role.restarts for role in pipeline.supervisor.roles)
    return _outcome(
        recording, archived, timeframes_s=settings.enabled_tfs, seconds=seconds, restarts=restarts, notes=notes
    )


async def _feed(recording: RecordedFiles, calendar: Calendar, pipeline: PrivatePipeline, screen: _Screen) -> float:
    """Feed the recording and wait until all of it has arrived. Return the seconds that this took."""
    margin_ms = pipeline.log.configuration.lateness_ms + 1000

    def day_end_ms(day: date) -> int:
        close_ms = calendar.day_close_ms(day)
        return close_ms + margin_ms if close_ms is not None else midnight_ms(day) + DAY_MS

    async with TickLogWriter(pipeline.settings.bootstrap, pipeline.log) as writer:
        # The first frames hold the configuration. When they have arrived, every role is at work.
        await writer.write([], None, everywhere=True)
        await writer.flush()
        await pipeline.wait_until(await pipeline.ends(), lambda _: None)
        screen.step("feeding")
        started_s = time.monotonic()
        watching = asyncio.create_task(_keep_running(pipeline))
        for batch in recording.batches(day_end_ms):
            await writer.write(batch.ticks, batch.clock_ms, everywhere=batch.day_end)
        await writer.flush()
        watching.cancel()
    ends: Ends = await pipeline.ends()
    await pipeline.wait_until(ends, screen.done)
    return time.monotonic() - started_s


async def _keep_running(pipeline: PrivatePipeline) -> None:
    while True:
        await asyncio.to_thread(pipeline.supervisor.keep_running)
        await asyncio.sleep(0.5)


def _closed(calendar: Calendar, day: date) -> str:
    name = calendar.holiday_name(day)
    return f"{day}: the market was closed ({name or day.strftime('%A')}), so its ticks make no candle"


def _wanted(arguments: argparse.Namespace) -> dict[str, Path]:
    """Return where the output of which sink is to be kept."""
    paths = {sink.name: getattr(arguments, sink.name) for sink in SINKS if sink.output is not None}
    return {name: path for name, path in paths.items() if path is not None}


def _keep(made: Path, wanted: Path) -> None:
    """Copy what a sink has written, without what it keeps there for itself."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if made.is_dir():
        shutil.copytree(made, wanted, ignore=shutil.ignore_patterns(".*"))
    else:
        shutil.copyfile(made, wanted)


def _outcome(
    recording: RecordedFiles,
    archived: Summary,
    *,
    timeframes_s: Sequence[int],
    seconds: float,
    restarts: int,
    notes: list[str],
) -> Outcome:
    ticks = archived.accepted + archived.late + archived.out_of_session
    return Outcome(
        read=recording.read,
        accepted=archived.accepted,
        late=archived.late,
        out_of_session=archived.out_of_session,
        rejected=dict(recording.rejected),
        candles={str(seconds): archived.candles.get(seconds, 0) for seconds in (1, *timeframes_s)},
        indicators=archived.indicators,
        seconds=round(seconds, 3),
        ticks_per_s=round(ticks / seconds, 1) if seconds else 0.0,
        restarts=restarts,
        notes=notes,
    )


def _show(outcome: Outcome, recording: RecordedFiles) -> None:
    rows = [("rows read", outcome.read), ("ticks accepted", outcome.accepted), ("late", outcome.late)]
    rows += [("out of session", outcome.out_of_session)]
    rows += [(f"rejected: {reason}", number) for reason, number in outcome.rejected.items()]
    rows += [(f"candles of {seconds} s", number) for seconds, number in outcome.candles.items()]
    rows += [("indicator values", outcome.indicators)]
    table = aligned([(name, f"{number:,}") for name, number in rows], right={1})
    pace = f"{outcome.seconds:.1f} s, {outcome.ticks_per_s:,.0f} ticks/s"
    print(*table, *recording.first_rejected.values(), *outcome.notes, pace, sep="\n")


class _Screen:
    """Steps and a bar on stderr where that is a terminal; nothing in a pipe, and nothing with ``shown`` false."""

    def __init__(self, *, shown: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(
            *columns, console=Console(stderr=True), transient=True, disable=not (shown and sys.stderr.isatty())
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> _Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, text: str) -> None:
        """Say what is being done."""
        self._progress.update(self._task, description=text, total=None)

    def done(self, part: float) -> None:
        """Show how much of it is done, from 0 to 1."""
        self._progress.update(self._task, description="waiting for the sinks", total=1.0, completed=part)

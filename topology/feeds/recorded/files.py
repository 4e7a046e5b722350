"""Recorded files as a feed: read once to know them and refuse what cannot be used, then once more to feed them.

The first pass (`scan`) finds the days and counts what it rejects; the second (`RecordedFiles.batches`) yields the rows
of one day of all files before those of the next, each day file after file and in each file in its order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import date
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import NamedTuple

from topology.feeds import FeedError, TickBatch
from topology.feeds.recorded.fields import RowError
from topology.feeds.recorded.lines import LineFile, LineStart
from topology.feeds.recorded.rows import NOT_COVERED, RowReader, read_header
from topology.market.instruments import Instrument, InstrumentError
from topology.market.ticks import Tick
from topology.market.times import day_ordinal

BLOCK_ROWS = 4_000


class _SourceFile:
    """A file, the reader of its rows, and how many of them are to be fed."""

    def __init__(self, path: Path, reader: RowReader) -> None:
        self.path = path
        self.reader = reader
        self.rows = 0


class _Section(NamedTuple):
    """The rows of one day in one block of lines: how many, and the smallest of their times."""

    source: _SourceFile
    place: LineStart
    lines: int
    rows: int
    smallest_ms: int


class RecordedFiles:
    """What the files hold. ``read`` counts their rows: those to be fed (``rows``) and those ``rejected``, by reason.

    ``first_rejected`` names file, line and problem of the first row rejected for each reason. Made by `scan`.
    """

    def __init__(self) -> None:
        self.rejected: Counter[str] = Counter()
        self.first_rejected: dict[str, str] = {}
        self._sources: list[_SourceFile] = []
        self._sections: dict[int, list[_Section]] = defaultdict(list)

    @property
    def rows(self) -> int:
        """The number of rows to feed."""
        return sum(source.rows for source in self._sources)

    @property
    def read(self) -> int:
        """The number of rows in the files, blank lines and headers not counted."""
        return self.rows + self.rejected.total()

    @property
    def days(self) -> list[date]:
        """The days with a row to feed, in India, in order."""
        return [date.fromordinal(day) for day in sorted(self._sections)]

    def batches(self, day_end_ms: Callable[[date], int]) -> Iterator[TickBatch]:
        """Every row that was not rejected, in batches of a block's rows, with the clock that may be written after each.

        The clock is the smallest time of all rows still to come: however the instruments follow each other in the
        files, it makes no row late, and it never goes back. Each day ends with a batch without ticks whose clock is
        ``day_end_ms`` of the day (later where rows were newer, earlier where the next day's first row is older).
        Raises `FeedError` where a file is not what it was when it was scanned.
        """
        days = sorted(self._sections)
        tomorrows_ms = [min(section.smallest_ms for section in self._sections[day]) for day in days[1:]]
        clock_ms = 0
        with _OpenFiles([section for day in days for section in self._sections[day]]) as files:
            for day, tomorrow_ms in zip_longest(days, tomorrows_ms):
                sections = self._sections[day]
                for section, coming_ms in zip_longest(sections, _smallest_from(sections[1:])):
                    yield TickBatch(_ticks(section, day, files.read(section)), coming_ms, day_end=False)
                    clock_ms = coming_ms or clock_ms
                end_ms = day_end_ms(date.fromordinal(day))
                clock_ms = max(clock_ms, min(end_ms, tomorrow_ms or end_ms))
                yield TickBatch([], clock_ms, day_end=True)

    def _add(self, source: _SourceFile, file: LineFile, block_rows: int) -> None:
        read, place = self.read, file.place
        self._sources.append(source)
        while lines := file.read(place, block_rows):
            self._add_block(source, place, lines)
            place = file.place
        if self.read == read:
            raise FeedError(f"{source.path} has a header but no rows")

    def _add_block(self, source: _SourceFile, place: LineStart, lines: list[bytes]) -> None:
        times_ms: dict[int, list[int]] = defaultdict(list)
        for number, line in enumerate(lines, place.line + 1):
            try:
                tick = source.reader.tick(line)
            except RowError as error:
                problem = f"{source.path}, line {number}: {error}"
                if error.reason == NOT_COVERED and not (source.rows or times_ms):
                    raise FeedError(problem) from None
                self.rejected[error.reason] += 1
                self.first_rejected.setdefault(error.reason, problem)
            else:
                if tick is not None:
                    times_ms[day_ordinal(tick.time_ms)].append(tick.time_ms)
        for day, times in times_ms.items():
            source.rows += len(times)
            self._sections[day].append(_Section(source, place, len(lines), len(times), min(times)))


def scan(
    paths: Iterable[Path],
    instrument: str | None,
    *,
    covered: Callable[[date], bool],
    block_rows: int = BLOCK_ROWS,
) -> RecordedFiles:
    """Read files to their end, and refuse with `FeedError` what cannot be used before anything else is started.

    ``instrument`` is that of the files that have no such column. ``covered`` tells the days that the calendar knows: a
    row of another one is rejected, and a file that starts with one refused. Rejected rows, even all of them, are not an
    error. A batch has up to ``block_rows`` rows.
    """
    try:
        named = str(Instrument.parse(instrument)) if instrument is not None else None
    except InstrumentError as error:
        raise FeedError(str(error)) from None
    recording = RecordedFiles()
    for path in paths:
        with LineFile(path) as file:
            recording._add(_source(file, named, covered), file, block_rows)
    return recording


def _source(file: LineFile, instrument: str | None, covered: Callable[[date], bool]) -> _SourceFile:
    header = file.read(file.place, 1)
    if not header:
        raise FeedError(f"{file.path} is empty")
    try:
        columns = read_header(header[0])
    except FeedError as error:
        raise FeedError(f"{file.path}: {error}") from None
    if columns.instrument is None and instrument is None:
        raise FeedError(f"{file.path} has no instrument column: name one, such as --instrument NSE:99926000")
    return _SourceFile(file.path, RowReader(columns, instrument or "", covered=covered))


class _OpenFiles(ExitStack):
    """Files that stay open from the first of their sections to the last: a gzip file has no quick way back into it."""

    def __init__(self, sections: list[_Section]) -> None:
        super().__init__()
        self._last = {section.source: section for section in sections}
        self._files: dict[_SourceFile, LineFile] = {}

    def read(self, section: _Section) -> list[bytes]:
        source = section.source
        if source not in self._files:
            self._files[source] = self.enter_context(LineFile(source.path))
        lines = self._files[source].read(section.place, section.lines)
        if self._last[source] is section:
            self._files.pop(source).close()
        return lines


def _ticks(section: _Section, day: int, lines: list[bytes]) -> list[Tick]:
    """The ticks of a section; what it rejects was counted by the scan."""
    tick_of = section.source.reader.tick
    ticks: list[Tick] = []
    for line in lines:
        try:
            tick = tick_of(line)
        except RowError:
            continue
        if tick is not None and day_ordinal(tick.time_ms) == day:
            ticks.append(tick)
    if len(ticks) != section.rows:
        raise FeedError(f"{section.source.path} has changed since it was first read: run it again")
    return ticks


def _smallest_from(sections: list[_Section]) -> list[int]:
    """For each section the smallest time in it and those after it."""
    return list(accumulate((section.smallest_ms for section in reversed(sections)), min))[::-1]

"""The archive against a model: whatever is repeated, the tables equal a dictionary and the counts are those of once."""

import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from topology.log.frames import (
    CANDLES,
    INDICATORS,
    TIMEFRAMES,
    CandleFrame,
    Configure,
    IndicatorFrame,
    IndicatorValue,
    TickFrame,
    TimeframeFrame,
)
from topology.market.candle import BROKER, PARTIAL, Candle
from topology.market.gaps import Gap
from topology.market.history import History
from topology.market.second_candles import LateTick
from topology.sinks.archive.archive import (
    SCHEMA_VERSION,
    Archive,
    ArchiveError,
    ArchiveFullError,
    ArchiveLockedError,
    Summary,
    read_positions,
    summary,
)
from topology.sinks.cursor import AnyFrame, ForeignLogError, PositionError, SinkCursor, Source, StoredFrame, Written

DAY_MS = 1_669_088_700_000

Told = tuple[list[tuple[int, int]], int]  # closes by number of candle, and the revision
Repaired = tuple[list[tuple[int, list[Told], bool]], list[tuple[object, ...]]]


def candle(instrument: str, position: int, *, timeframe_s: int, close: int) -> Candle:
    start_ms = DAY_MS + position * timeframe_s * 1000
    return Candle(instrument, timeframe_s, start_ms, 100, 110, 90, close, 5, 3, 3 if timeframe_s > 1 else 0)


def stored(
    stage: str,
    position: int,
    *,
    offset: int | None = None,
    partition: int = 0,
    run: int = 1,
    log: str = "log",
    close: int = 105,
    rows: int = 1,
    gaps: Sequence[Gap] = (),
) -> StoredFrame:
    """A frame of a stage with ``rows`` rows, of as many instruments."""
    head = (1, log, run, position, DAY_MS + position * 1000, list[Configure](), "")
    frame: AnyFrame
    names = [f"NSE:{partition}{number}" for number in range(rows)]
    match stage:
        case "candles_1s":
            late = [LateTick("NSE:1", DAY_MS, 1500)] * (position % 2)
            candles = [candle(name, position, timeframe_s=1, close=close) for name in names]
            frame = CandleFrame(*head, candles, [], accepted=3, out_of_session=position, late=late, gaps=list(gaps))
        case "candles_tf":
            candles = [candle(name, position, timeframe_s=60, close=close) for name in names]
            frame = TimeframeFrame(*head, candles, [])
        case _:
            start_ms = DAY_MS + position * 60_000
            frame = IndicatorFrame(
                *head, [IndicatorValue(name, "SMA_9", 60, start_ms, close / 3) for name in names], []
            )
    return StoredFrame(stage, partition, position if offset is None else offset, frame)


def told(position: int, *histories: Told, run: int = 1, row: bool = False, marks: int = BROKER) -> StoredFrame:
    """A frame with history of ``NSE:00``: by candle number, its close, each with revision; ``row``: and a live row."""
    frame = stored("candles_tf", position, run=run, rows=int(row)).frame
    history = [
        History(
            "NSE:00",
            60,
            [replace(candle("NSE:00", at, timeframe_s=60, close=close), count=0, marks=marks) for at, close in closes],
            revision,
        )
        for closes, revision in histories
    ]
    return StoredFrame(TIMEFRAMES, 0, position, replace(frame, history=history))


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "candles.db"


@pytest.fixture
def archive(path: Path) -> Iterator[Archive]:
    with closing(Archive(path, log="log", run=1, patience_s=0.2)) as archive:
        yield archive


SOURCES = [(stage, partition) for stage in (CANDLES, TIMEFRAMES, INDICATORS) for partition in (0, 1)]


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[list[StoredFrame], bool]]:
    """Batches as an archive sees them that dies now and then: sources mixed, intervals repeated with new offsets.

    A repeated frame has another close than the first one, which must win.
    """
    reached, offsets, sequence = dict.fromkeys(SOURCES, 0), dict.fromkeys(SOURCES, 0), []
    for _ in range(draw(st.integers(1, 8))):
        batch = []
        for source in draw(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=4)):
            start = max(0, reached[source] - draw(st.integers(0, 3)))
            end = max(start + 1, reached[source] + draw(st.integers(0, 3)))
            for position in range(start, end):
                offset = offsets[source]
                batch.append(stored(source[0], position, partition=source[1], offset=offset, close=100 + offset))
                offsets[source] += 1
            reached[source] = max(reached[source], end)
        sequence.append((batch, draw(st.booleans())))
    return sequence


_KEYED = "SELECT '{0}', partition, position, {1} FROM {0}"


def _value(row: Candle | IndicatorValue) -> float:
    return row.value if isinstance(row, IndicatorValue) else row.close


@settings(max_examples=60, deadline=None)
@given(batches())
def test_the_tables_hold_each_row_once_as_first_seen_and_the_counts_are_those_of_once(
    sequence: list[tuple[list[StoredFrame], bool]],
) -> None:
    first, last = dict[tuple[str, int, int], StoredFrame](), dict[Source, int]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candles.db"
        for batch, written_twice in sequence:
            with closing(Archive(path, log="log", run=1)) as archive:
                archive.write(batch)
                if written_twice:
                    assert archive.write(batch) == Written(rows=0, duplicates=len(batch))
            for frame in batch:
                first.setdefault((*frame.source, frame.position), frame)
                last[frame.source] = frame.offset

        model = {
            key: _value(frame.frame.rows[0]) for key, frame in first.items() if not isinstance(frame.frame, TickFrame)
        }
        found = rows(path, f"{_KEYED.format(CANDLES, 'close')} UNION ALL {_KEYED.format(TIMEFRAMES, 'close')}")
        found += rows(path, _KEYED.format(INDICATORS, "value"))
        assert {tuple(key): value for *key, value in found} == model
        assert len(found) == len(model)

        seconds = [frame.frame for frame in first.values() if isinstance(frame.frame, CandleFrame)]
        assert summary(path)[2:] == (
            sum(frame.accepted for frame in seconds),
            sum(len(frame.late) for frame in seconds),
            sum(frame.out_of_session for frame in seconds),
            0,
        )
        positions = read_positions(path, log="log", run=1)
        assert {source: applied.offset for source, applied in positions.items()} == last
        assert rows(path, "SELECT sum(row_count) FROM positions") == [(len(first),)]


CANDLES_TF = "SELECT ts, close, count, source, revision, marks, position FROM candles_tf ORDER BY ts"


def in_table(number: int, close: int, *, position: int, revision: int | None = None) -> tuple[object, ...]:
    """A row of `CANDLES_TF`: of history where there is a revision, else one that ticks made."""
    made = (3, "live", 0, 3) if revision is None else (0, "broker", revision, 4)
    return (1669088700 + 60 * number, close, *made, position)


@st.composite
def repaired(draw: st.DrawFn) -> Repaired:
    """Frames in order, most with a row of their own, with history of candles up to there; and what a table holds."""
    frames, table = [], dict[int, tuple[object, ...]]()
    for position in range(draw(st.integers(1, 8))):
        row = draw(st.sampled_from([True, True, False]))
        if row:
            table[position] = in_table(position, 105, position=position)
        drawn = draw(st.lists(st.tuples(st.sets(st.integers(0, position), max_size=3), st.integers(0, 1)), max_size=2))
        histories = list[Told]()
        for number, (numbers, revision) in enumerate(drawn):
            close = 200 + 10 * position + number
            for at in numbers:
                if revision or at not in table:
                    table[at] = in_table(at, close, position=position, revision=revision)
            histories.append(([(at, close) for at in sorted(numbers)], revision))
        frames.append((position, histories, row))
    return frames, [table[at] for at in sorted(table)]


@settings(max_examples=60, deadline=None)
@given(repaired(), st.data())
def test_history_fills_in_and_corrects_however_frames_are_batched_and_so_it_does_in_a_later_run(
    repair: Repaired, data: st.DataObject
) -> None:
    frames, table = repair
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candles.db"
        for run in (1, 2):
            cuts = data.draw(st.lists(st.integers(0, len(frames)), max_size=3).map(sorted))
            with closing(Archive(path, log="log", run=run)) as archive:
                for start, end in pairwise([0, *cuts, len(frames)]):
                    archive.write([told(at, *history, run=run, row=row) for at, history, row in frames[start:end]])
            assert rows(path, CANDLES_TF) == table


def test_what_fills_in_says_so_and_leaves_rows_that_ticks_made_alone(archive: Archive, path: Path) -> None:
    archive.write([stored(TIMEFRAMES, 0)])
    archive.write([told(1, ([(0, 999), (1, 999)], 0)), told(2, ([(1, 998), (2, 998)], 0))])

    assert rows(path, CANDLES_TF) == [
        in_table(0, 105, position=0),
        in_table(1, 999, position=1, revision=0),
        in_table(2, 998, position=2, revision=0),
    ]


def test_only_what_the_broker_has_told_is_labelled_as_the_brokers(archive: Archive, path: Path) -> None:
    archive.write([told(0, ([(0, 999)], 0), marks=0), told(1, ([(1, 998)], 0), marks=BROKER | PARTIAL)])
    archive.write([told(2, ([(2, 997)], 1), marks=PARTIAL)])

    assert rows(path, "SELECT source, marks, revision FROM candles_tf ORDER BY ts") == [
        ("live", 0, 0), ("broker", BROKER | PARTIAL, 0), ("live", PARTIAL, 1)
    ]  # fmt: skip


def test_what_corrects_replaces_the_whole_row_with_the_marks_of_history_and_the_position_of_its_frame(
    archive: Archive, path: Path
) -> None:
    archive.write([stored(TIMEFRAMES, 0), told(1, ([(1, 104)], 0))])
    archive.write([told(2, ([(0, 999), (1, 998)], 1))])

    assert rows(path, "SELECT * FROM candles_tf") == [
        ("NSE", "00", 60, 1669088700, 100, 110, 90, 999, 5, 0, "broker", 1, 4, 0, 2),
        ("NSE", "00", 60, 1669088760, 100, 110, 90, 998, 5, 0, "broker", 1, 4, 0, 2),
    ]


def test_a_row_that_ticks_made_and_its_correction_may_come_in_one_batch_or_one_frame(
    archive: Archive, path: Path
) -> None:
    archive.write([stored(TIMEFRAMES, 0), told(1, ([(0, 999)], 1)), told(2, ([(2, 998)], 1), row=True)])

    assert rows(path, CANDLES_TF) == [
        in_table(0, 999, position=1, revision=1),
        in_table(2, 998, position=2, revision=1),
    ]


def test_a_repair_is_not_undone_by_what_fills_in_after_it(archive: Archive, path: Path) -> None:
    archive.write([told(0, ([(0, 999)], 1)), told(1, ([(0, 998)], 0))])

    assert rows(path, CANDLES_TF) == [in_table(0, 999, position=0, revision=1)]


def test_the_summary_counts_a_candle_once_wherever_it_is_from(archive: Archive, path: Path) -> None:
    written = archive.write(
        [stored(TIMEFRAMES, 0), told(1, ([(0, 999), (1, 999)], 1), row=True), told(2, ([(2, 1)], 0))]
    )

    assert written == Written(rows=5, duplicates=0)
    assert summary(path).candles == {1: 0, 60: 3}
    assert rows(path, "SELECT row_count FROM positions") == [(2,)]


def test_a_row_has_every_column_in_paise_and_epoch_seconds(archive: Archive, path: Path) -> None:
    archive.write([stored(CANDLES, 0, partition=2), stored(TIMEFRAMES, 1), stored(INDICATORS, 1, close=100)])

    assert rows(path, "SELECT * FROM candles_1s") == [
        ("NSE", "20", 1669088700, 100, 110, 90, 105, 5, 3, "live", 0, 2, 0),
    ]
    assert rows(path, "SELECT * FROM candles_tf") == [
        ("NSE", "00", 60, 1669088760, 100, 110, 90, 105, 5, 3, "live", 0, 3, 0, 1),
    ]
    assert rows(path, "SELECT * FROM indicators") == [("NSE", "00", "SMA_9", 60, 1669088760, 100 / 3, 0, 1)]


def test_the_summary_counts_candles_by_timeframe_and_what_became_of_the_ticks(archive: Archive, path: Path) -> None:
    archive.write([stored(CANDLES, position, rows=2) for position in range(4)])
    archive.write([stored(TIMEFRAMES, 0, rows=2), stored(INDICATORS, 0), stored(INDICATORS, 1, rows=0)])

    assert summary(path) == Summary({1: 8, 60: 2}, indicators=1, accepted=12, late=2, out_of_session=6, gaps=0)


def test_the_summary_of_an_empty_archive_is_zero(archive: Archive, path: Path) -> None:
    assert summary(path) == Summary({1: 0}, indicators=0, accepted=0, late=0, out_of_session=0, gaps=0)


def test_a_frame_without_rows_moves_the_position(archive: Archive) -> None:
    assert archive.write([stored(CANDLES, 0, rows=0)]) == Written(rows=0, duplicates=0)
    assert archive.positions() == {(CANDLES, 0): SinkCursor(0, 0, DAY_MS)}


def test_a_batch_with_a_frame_too_far_on_is_refused_as_a_whole(archive: Archive, path: Path) -> None:
    with pytest.raises(PositionError):
        archive.write([stored(CANDLES, 0), stored(CANDLES, 2)])

    assert archive.positions() == {}
    assert rows(path, "SELECT * FROM candles_1s") == []


def test_a_later_run_starts_from_nothing_and_its_rows_and_counts_replace(archive: Archive, path: Path) -> None:
    archive.write([stored(CANDLES, position) for position in range(3)])
    with closing(Archive(path, log="log", run=2)) as rebuilt:
        assert rebuilt.positions() == {}
        rebuilt.write([stored(CANDLES, position, run=2, close=999) for position in range(2)])

    assert rows(path, "SELECT close FROM candles_1s ORDER BY ts") == [(999,), (999,), (105,)]
    assert summary(path).accepted == 6


def test_an_earlier_run_may_not_write_beside_a_later_one(archive: Archive, path: Path) -> None:
    with closing(Archive(path, log="log", run=2)) as rebuilt:
        rebuilt.write([stored(CANDLES, 0, run=2)])

    with pytest.raises(ForeignLogError, match="it holds run 2"):
        archive.write([stored(CANDLES, 0)])


def test_the_file_of_another_log_is_refused_with_what_to_do(archive: Archive, path: Path) -> None:
    archive.write([stored(CANDLES, 0)])

    with pytest.raises(
        ForeignLogError, match=r"candles\.db .*set another SQLITE_PATH or move the file away: it holds log"
    ):
        Archive(path, log="other", run=1)
    with pytest.raises(ForeignLogError):
        read_positions(path, log="other", run=1)


def test_two_archives_that_write_the_same_frames_write_them_once(archive: Archive, path: Path) -> None:
    frames = [stored(CANDLES, position) for position in range(3)]
    with closing(Archive(path, log="log", run=1)) as twin:
        archive.write(frames[:2])
        assert twin.write(frames) == Written(rows=1, duplicates=2)
        assert archive.write(frames) == Written(rows=0, duplicates=3)


def test_there_are_no_positions_where_there_is_no_file(path: Path) -> None:
    assert read_positions(path, log="log", run=1) == {}


def test_there_are_no_positions_while_the_tables_are_being_made(path: Path) -> None:
    schema = resources.files("topology.sinks.archive").joinpath("schema.sql").read_text()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in schema.split(";\n"):
            assert read_positions(path, log="log", run=1) == {}
            connection.execute(statement)
    assert read_positions(path, log="log", run=1) == {}


LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@pytest.fixture
def locker(archive: Archive, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the file locked until it reads a line."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_file_locked_by_another_process_only_delays(
    locker: subprocess.Popen[str], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write() -> Written:
        with closing(Archive(path, log="log", run=1)) as archive:
            return archive.write([stored(CANDLES, 0)])

    written = []
    writer = threading.Thread(target=lambda: written.append(write()))
    writer.start()
    while "is locked by another process: waiting" not in caplog.text:
        writer.join(0.05)
        assert writer.is_alive()
    locker.communicate("release\n")
    writer.join(30)

    assert written == [Written(rows=1, duplicates=0)]


def test_a_file_that_stays_locked_stops_with_what_to_do_and_takes_the_frames_later(
    locker: subprocess.Popen[str], archive: Archive
) -> None:
    with pytest.raises(ArchiveLockedError, match="stays locked by another process: end what holds it"):
        archive.write([stored(CANDLES, 0)])
    locker.communicate("release\n")

    assert archive.write([stored(CANDLES, 0)]) == Written(rows=1, duplicates=0)


def test_a_full_disk_stops_with_what_to_do_and_loses_nothing(archive: Archive, path: Path) -> None:
    archive.write([stored(CANDLES, 0)])
    many = [stored(CANDLES, position, rows=50) for position in range(1, 100)]
    (pages,) = archive._connection.execute("PRAGMA page_count").fetchone()
    archive._connection.execute(f"PRAGMA max_page_count = {pages + 5}")

    with pytest.raises(ArchiveFullError, match=r"no room left for .*candles\.db: free some disk space"):
        archive.write(many)
    assert archive.positions() == {(CANDLES, 0): SinkCursor(0, 0, DAY_MS)}
    assert rows(path, "SELECT count(*) FROM candles_1s") == [(1,)]

    archive._connection.execute("PRAGMA max_page_count = 100000")
    assert archive.write(many) == Written(rows=99 * 50, duplicates=0)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"timestamp,price\n" * 100)

    with pytest.raises(ArchiveError, match=r"can't be used \(file is not a database\)"):
        Archive(path, log="log", run=1)


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE candles_1s (token TEXT)")

    with pytest.raises(ArchiveError, match="is not an archive of this version: set another SQLITE_PATH"):
        Archive(path, log="log", run=1)


def test_an_archive_of_the_version_before_is_taken_over_with_its_rows(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(Path(__file__).with_name("archive_2.sql").read_text())
    tables = ("candles_1s", "candles_tf", "indicators")
    before = [rows(path, f"SELECT * FROM {table}") for table in tables]

    with closing(Archive(path, log="log", run=1)) as archive:
        assert archive.positions() == {(CANDLES, 0): SinkCursor(0, 0, DAY_MS)}
        assert [rows(path, f"SELECT * FROM {table}") for table in tables] == before
        archive.write([stored(CANDLES, 1, gaps=[Gap(["NSE:00"], DAY_MS)])])

    assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert rows(path, "SELECT token, from_ms FROM gaps") == [("00", DAY_MS)]
    assert summary(path) == Summary({1: 2, 60: 1}, indicators=1, accepted=6, late=1, out_of_session=1, gaps=0)


@pytest.mark.parametrize("version", [1, SCHEMA_VERSION + 1])
def test_an_archive_of_any_other_version_is_refused(archive: Archive, path: Path, version: int) -> None:
    archive._connection.execute(f"PRAGMA user_version = {version}")

    with pytest.raises(ArchiveError, match="is not an archive of this version"):
        Archive(path, log="log", run=1)


def test_a_path_that_leads_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ArchiveError, match=r"can't be made .*: set another SQLITE_PATH"):
        Archive(tmp_path / "file" / "candles.db", log="log", run=1)

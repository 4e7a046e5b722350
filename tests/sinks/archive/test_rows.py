"""What becomes of gaps in the archive: told at their begin and at their end, in any batches, and again by a replay."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.feeds.angel.suspect_spans import SuspectSpans
from topology.log.frames import CANDLES, CandleFrame
from topology.market.gaps import Gap
from topology.sinks.archive.archive import Archive
from topology.sinks.cursor import PositionError, StoredFrame, Written

ONE, TWO = INSTRUMENTS = ("NSE:1", "BSE:2")

Table = dict[tuple[str, int], tuple[int | None, bool]]
Doubted = tuple[list[list[Gap]], list[tuple[str, int, int]]]


def telling(position: int, *gaps: Gap, run: int = 1) -> StoredFrame:
    """A frame that tells of gaps."""
    frame = CandleFrame(1, "log", run, position, 1000 + position, [], "", [], [], gaps=list(gaps))
    return StoredFrame(CANDLES, 0, position, frame)


def held(path: Path) -> Table:
    """What the archive holds of gaps: by instrument and start, the end and whether it was broken."""
    query = "SELECT exchange || ':' || token, from_ms, to_ms, broken FROM gaps"
    with closing(sqlite3.connect(path)) as connection:
        return {(name, from_ms): (to_ms, bool(broken)) for name, from_ms, to_ms, broken in connection.execute(query)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "candles.db"


@pytest.fixture
def archive(path: Path) -> Iterator[Archive]:
    with closing(Archive(path, log="log", run=1)) as archive:
        yield archive


def test_a_gap_is_a_row_of_each_instrument_while_it_lasts_and_its_end_is_written_into_it(
    archive: Archive, path: Path
) -> None:
    assert archive.write([telling(0, Gap([ONE, TWO], 500))]) == Written(rows=2, duplicates=0)
    assert held(path) == {(ONE, 500): (None, True), (TWO, 500): (None, True)}

    archive.write([telling(1), telling(2, Gap([ONE, TWO], 500, 800))])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM gaps").fetchall() == [
            ("BSE", "2", 500, 800, 1, 0, 2),
            ("NSE", "1", 500, 800, 1, 0, 2),
        ]


def test_the_end_of_one_is_that_of_what_was_told_with_another_start(archive: Archive, path: Path) -> None:
    """So a feed does that died in a gap, and so do doubts that began with those of other instruments."""
    archive.write([telling(0, Gap([ONE, TWO], 500)), telling(1, Gap([ONE], 400)), telling(2, Gap([ONE], 450, 800))])

    assert held(path) == {
        (ONE, 400): (800, True),
        (ONE, 450): (800, True),
        (ONE, 500): (800, True),
        (TWO, 500): (None, True),
    }


def test_what_has_begun_later_than_an_end_still_lasts_also_in_one_frame(archive: Archive, path: Path) -> None:
    archive.write([telling(0, Gap([ONE], 500, 800), Gap([ONE], 790, None, False), Gap([ONE], 900))])
    assert held(path) == {(ONE, 500): (800, True), (ONE, 790): (None, False), (ONE, 900): (None, True)}

    archive.write([telling(1, Gap([ONE], 790, 850, False))])
    assert held(path) == {(ONE, 500): (800, True), (ONE, 790): (850, False), (ONE, 900): (None, True)}


def test_a_gap_that_is_also_in_doubt_from_its_start_on_stays_one_in_which_all_was_missed(
    archive: Archive, path: Path
) -> None:
    archive.write([telling(0, Gap([ONE], 500)), telling(1, Gap([ONE], 500, None, False))])
    archive.write([telling(2, Gap([ONE], 500, 800)), telling(3, Gap([ONE], 500, 800, False))])

    assert held(path) == {(ONE, 500): (800, True)}


def test_gaps_are_written_with_the_rest_or_not_at_all(archive: Archive, path: Path) -> None:
    with pytest.raises(PositionError):
        archive.write([telling(0, Gap([ONE], 500)), telling(2)])

    assert held(path) == {}


@st.composite
def gaps_told(draw: st.DrawFn) -> list[list[Gap]]:
    """Frames of a feed that may forget what it has told: begins and ends, each with any start before it."""
    frames, now_ms = [], 100
    for _ in range(draw(st.integers(1, 8))):
        gaps = []
        for _ in range(draw(st.integers(0, 3))):
            names = draw(st.lists(st.sampled_from(INSTRUMENTS), min_size=1, max_size=2, unique=True))
            from_ms = now_ms - draw(st.integers(1, 4))
            gaps.append(Gap(names, from_ms, draw(st.sampled_from([None, now_ms])), draw(st.booleans())))
            now_ms += draw(st.integers(0, 2))
        frames.append(gaps)
    return frames


def expected(frames: list[list[Gap]]) -> Table:
    """What a table holds after these frames."""
    table = Table()
    for gap in (gap for gaps in frames for gap in gaps):
        for name in gap.instruments:
            for (of, from_ms), (to_ms, broken) in table.items():
                if of == name and to_ms is None and gap.to_ms is not None and from_ms < gap.to_ms:
                    table[of, from_ms] = gap.to_ms, broken
            _, broken = table.get((name, gap.from_ms), (None, False))
            table[name, gap.from_ms] = gap.to_ms, broken or gap.broken
    return table


@settings(max_examples=60, deadline=None)
@given(gaps_told(), st.data())
def test_the_table_is_that_of_the_frames_in_order_however_batched_and_a_replay_never_changes_it(
    frames: list[list[Gap]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candles.db"
        for run in (1, 2):
            cuts = data.draw(st.lists(st.integers(0, len(frames)), max_size=3).map(sorted))
            with closing(Archive(path, log="log", run=run)) as archive:
                for start, end in pairwise([0, *cuts, len(frames)]):
                    archive.write([telling(at, *frames[at], run=run) for at in range(start, end)])
                    assert held(path) == expected(frames if run == 2 else frames[:end])


@st.composite
def doubted(draw: st.DrawFn) -> Doubted:
    """What doubts tell, and for each that is over its instrument, start and end; at the end all of them are over."""
    doubts, told, over, began = SuspectSpans(), [], [], dict[str, int]()
    steps = draw(st.lists(st.tuples(st.sampled_from(["begin", "settle"]), st.sampled_from(INSTRUMENTS)), max_size=20))
    for now_ms, (step, name) in enumerate([*steps, *(("settle", name) for name in INSTRUMENTS)], 100):
        if step == "begin":
            from_ms = now_ms - draw(st.integers(0, 5))
            doubts.begin([name], "truncated", from_ms)
            began[name] = min(from_ms, began.get(name, from_ms))
        elif (began_ms := began.pop(name, None)) is not None:
            over.append((name, began_ms, now_ms))
            doubts.settle(name, now_ms)
        else:
            doubts.settle(name, now_ms)
        if draw(st.booleans()) or not began:
            ended = doubts.settled()
            told.append([gap for gap in (ended and ended.gap, doubts.begun()) if gap])
    return told, over


@settings(max_examples=60, deadline=None)
@given(doubted())
def test_doubts_that_are_over_leave_no_row_without_an_end_and_lie_within_rows(doubted: Doubted) -> None:
    told, over = doubted
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candles.db"
        with closing(Archive(path, log="log", run=1)) as archive:
            archive.write([telling(0), *(telling(at, *gaps) for at, gaps in enumerate(told, 1))])
        table = held(path)

    ends = {key: to_ms for key, (to_ms, _) in table.items() if to_ms is not None}
    assert len(ends) == len(table)
    for name, from_ms, to_ms in over:
        assert any(of == name and start <= from_ms and to_ms < ends[of, start] for of, start in ends)

from __future__ import annotations

import gzip
import os
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.feeds import FeedError, TickBatch
from topology.feeds.recorded.files import scan
from topology.feeds.recorded.rows import LONGEST_LINE
from topology.market.ticks import Tick
from topology.market.times import DAY_MS, day_ordinal, midnight_ms

INDEX = "NSE:99926000"
CLOSE_MS = (15 * 60 + 30) * 60_000
LATENESS_MS = 1_000
DAY = date(2022, 11, 22)

MARKET_DATA = Path(os.environ.get("MARKET_DATA_DIR", Path(__file__).parents[4] / "shared" / "data")) / "nifty50"

Write = Callable[[bytes], Path]
Row = tuple[int, str, int, int]

# Rows as (day, instrument, millisecond of the day, price): few instruments and days, so that they meet.
rows_of_a_file = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([INDEX, "NSE:2885", "NSE:11536"]),
        st.integers(9 * 3_600_000, 16 * 3_600_000),
        st.integers(1, 10_000_000),
    ),
    min_size=1,
    max_size=40,
)
recordings = st.lists(rows_of_a_file, min_size=1, max_size=3)


def covered(day: date) -> bool:
    return 2022 <= day.year <= 2026


def past_the_close_ms(day: date) -> int:
    return midnight_ms(day) + CLOSE_MS + LATENESS_MS


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    folder = tmp_path_factory.mktemp("recordings")

    def write(content: bytes) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.csv"
        path.write_bytes(content)
        return path

    return write


def text_of(rows: list[Row]) -> bytes:
    lines = [b"timestamp,price,instrument"]
    for day, instrument, day_ms, price in rows:
        seconds, millisecond = divmod(day_ms, 1000)
        time = f"{DAY + timedelta(days=day)} {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        lines.append(f"{time}.{millisecond:03d},{price // 100}.{price % 100:02d},{instrument}".encode())
    return b"\n".join(lines)


def ticks_of(rows: list[Row]) -> list[Tick]:
    start_ms = midnight_ms(DAY)
    return [Tick(instrument, price, start_ms + day * DAY_MS + day_ms) for day, instrument, day_ms, price in rows]


def batches(paths: list[Path], *, block_rows: int = 4_000) -> list[TickBatch]:
    recording = scan(paths, None, covered=covered, block_rows=block_rows)
    return list(recording.batches(past_the_close_ms))


def fed(batches: list[TickBatch]) -> list[Tick]:
    return [tick for batch in batches for tick in batch.ticks]


@given(recordings, st.integers(1, 7))
def test_rows_come_day_by_day_and_in_a_day_file_after_file_whatever_the_block_size(
    write: Write, files: list[list[Row]], block_rows: int
) -> None:
    written = [tick for rows in files for tick in ticks_of(rows)]
    expected = sorted(written, key=lambda tick: day_ordinal(tick.time_ms))
    assert fed(batches([write(text_of(rows)) for rows in files], block_rows=block_rows)) == expected


@given(recordings, st.integers(1, 7))
def test_no_row_is_older_than_a_clock_before_it_and_clocks_never_go_back(
    write: Write, files: list[list[Row]], block_rows: int
) -> None:
    clock_ms = 0
    for batch in batches([write(text_of(rows)) for rows in files], block_rows=block_rows):
        assert len(batch.ticks) <= block_rows
        assert all(tick.time_ms >= clock_ms for tick in batch.ticks)
        assert batch.clock_ms is None or batch.clock_ms >= clock_ms
        clock_ms = batch.clock_ms or clock_ms


@given(recordings, st.integers(1, 7))
def test_every_day_ends_once_with_a_clock_past_its_close(write: Write, files: list[list[Row]], block_rows: int) -> None:
    days = sorted({day_ordinal(tick.time_ms) for rows in files for tick in ticks_of(rows)})
    ends = [
        batch for batch in batches([write(text_of(rows)) for rows in files], block_rows=block_rows) if batch.day_end
    ]
    assert len(ends) == len(days)
    for end, day in zip(ends, days, strict=True):
        assert end.ticks == []
        assert end.clock_ms is not None
        assert end.clock_ms >= past_the_close_ms(date.fromordinal(day))


@given(st.lists(st.binary(max_size=40) | st.just(b"2022-11-22 09:15:00,1.5"), max_size=30), st.integers(1, 5))
def test_every_row_is_fed_or_rejected_with_a_reason(write: Write, junk: list[bytes], block_rows: int) -> None:
    lines = b"\n".join([b"timestamp,price", b"2022-11-22 09:15:00,1", *junk])
    recording = scan([write(lines)], INDEX, covered=covered, block_rows=block_rows)
    rows = [line for line in lines.split(b"\n")[1:] if line.strip()]
    assert recording.read == len(rows)
    assert recording.read == len(fed(list(recording.batches(past_the_close_ms)))) + recording.rejected.total()
    assert set(recording.first_rejected) == set(recording.rejected)


@given(recordings)
def test_the_clock_of_rows_in_order_is_the_time_of_the_next_row(write: Write, files: list[list[Row]]) -> None:
    rows = sorted((row for rows in files for row in rows), key=lambda row: (row[0], row[2]))
    made = batches([write(text_of(rows))], block_rows=1)
    for batch, following in pairwise(made):
        if not batch.day_end and not following.day_end:
            assert batch.clock_ms == following.ticks[0].time_ms


def test_the_first_row_rejected_for_each_reason_is_shown_with_file_and_line(write: Write) -> None:
    path = write(b"timestamp,price\n2022-11-22 09:15:00,1\n\n2022-11-22 09:15:01,0\nnever,1\n2022-11-22 09:15:02,-1\n")
    recording = scan([path], INDEX, covered=covered)
    assert recording.rejected == Counter(price_not_positive=2, time_invalid=1)
    assert recording.first_rejected["price_not_positive"].startswith(f"{path}, line 4: the price '0' ")
    assert recording.first_rejected["time_invalid"].startswith(f"{path}, line 5: the time 'never' ")


def test_a_row_of_a_day_that_is_not_covered_is_rejected_where_the_file_starts_with_one_that_is(write: Write) -> None:
    recording = scan(
        [write(b"timestamp,price\n2022-11-22 09:15:00,1\n2031-01-01 09:15:00,1\n")], INDEX, covered=covered
    )
    assert recording.rejected == Counter(year_not_covered=1)
    assert recording.days == [DAY]


def test_equal_lines_are_two_ticks_and_a_time_that_goes_back_is_kept(write: Write) -> None:
    content = b"timestamp,price\n2022-11-22 09:15:01,1\n2022-11-22 09:15:01,1\n2022-11-22 09:15:00,2\n"
    made = list(scan([write(content)], INDEX, covered=covered).batches(past_the_close_ms))
    assert [tick.price for tick in fed(made)] == [1_00, 1_00, 2_00]


def test_rows_past_the_close_keep_the_clock_of_the_day_end_from_going_back(write: Write) -> None:
    content = b"timestamp,price\n2022-11-22 15:40:00,1\n2022-11-22 15:41:00,1\n"
    *_, end = scan([write(content)], INDEX, covered=covered, block_rows=1).batches(past_the_close_ms)
    assert end.clock_ms == midnight_ms(DAY) + (15 * 60 + 41) * 60_000


def test_a_day_end_after_midnight_makes_no_row_of_the_next_day_late(write: Write) -> None:
    content = b"timestamp,price\n2022-11-22 23:59:59,1\n2022-11-23 00:00:00,1\n"
    recording = scan([write(content)], INDEX, covered=covered)
    made = list(recording.batches(lambda day: midnight_ms(day) + DAY_MS + LATENESS_MS))
    ends = [batch.clock_ms for batch in made if batch.day_end]
    next_ms = midnight_ms(DAY) + DAY_MS
    assert ends == [next_ms, next_ms + DAY_MS + LATENESS_MS]


def test_a_line_without_end_is_one_rejected_row_and_the_next_line_is_read(write: Write) -> None:
    endless = b"9" * (5 * LONGEST_LINE)
    recording = scan([write(b"timestamp,price\n" + endless + b"\n2022-11-22 09:15:00,1")], INDEX, covered=covered)
    assert recording.rejected == Counter(line_too_long=1)
    assert [tick.price for tick in fed(list(recording.batches(past_the_close_ms)))] == [1_00]


def test_a_file_of_bad_rows_alone_has_nothing_to_feed(write: Write) -> None:
    recording = scan([write(b"timestamp,price\nnever,1\n")], INDEX, covered=covered)
    assert (recording.read, recording.rows, recording.days) == (1, 0, [])
    assert list(recording.batches(past_the_close_ms)) == []


def test_a_gzip_file_is_read_like_a_plain_one_whatever_the_order_of_its_days(tmp_path: Path, write: Write) -> None:
    rows = [(day, INDEX, 9 * 3_600_000 + second * 1000, 1_00) for second in range(50) for day in (2, 0, 1)]
    packed = tmp_path / "day.csv.gz"
    packed.write_bytes(gzip.compress(text_of(rows)))
    assert batches([packed], block_rows=7) == batches([write(text_of(rows))], block_rows=7)


def test_a_file_that_changes_between_the_two_passes_is_refused(write: Write) -> None:
    path = write(b"timestamp,price\n2022-11-22 09:15:00,1\n2022-11-22 09:15:01,1\n")
    recording = scan([path], INDEX, covered=covered)
    path.write_bytes(b"timestamp,price\n2022-11-22 09:15:00,1\n")
    with pytest.raises(FeedError, match="has changed"):
        list(recording.batches(past_the_close_ms))


def refusal(path: Path, instrument: str | None = INDEX) -> str:
    with pytest.raises(FeedError) as refused:
        scan([path], instrument, covered=covered)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_a_file_that_cannot_be_used_is_refused_in_one_line_that_names_it(tmp_path: Path, write: Write) -> None:
    day = b"timestamp,price\n2022-11-22 09:15:00,1\n"
    (tmp_path / "ticks.txt").write_bytes(day)
    (tmp_path / "plain.csv.gz").write_bytes(day)
    (tmp_path / "empty.csv.gz").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    unusable = {
        tmp_path / "absent.csv": "No such file",
        tmp_path / "folder": "is a folder",
        tmp_path / "pipe.csv": "is not a regular file",
        tmp_path / ("long" * 100 + ".csv"): "File name too long",
        tmp_path / "ticks.txt": "is not a .csv or .csv.gz file",
        tmp_path / "plain.csv.gz": "Not a gzipped file",
        tmp_path / "empty.csv.gz": "is empty",
        write(b""): "is empty",
        write(b"timestamp,price\n\n"): "no rows",
        write(b"2022-11-22 09:15:00,1\n"): "the first line must be timestamp,price",
        write(b"timestamp,price\n2019-11-22 09:15:00,1\n"): "2019 in CALENDAR_FILE",
    }
    for path, why in unusable.items():
        message = refusal(path)
        assert str(path) in message
        assert why in message


def test_a_gzip_file_cut_in_the_middle_is_refused_with_the_line(tmp_path: Path) -> None:
    rows = [(0, INDEX, 9 * 3_600_000 + second * 1000, 1_00 + second * second % 977) for second in range(5_000)]
    whole = gzip.compress(text_of(rows))
    for length in (len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut.csv.gz"
        path.write_bytes(whole[:length])
        assert f"{path}, line " in refusal(path)


def test_a_file_without_instruments_needs_one_to_be_named(write: Write) -> None:
    path = write(b"timestamp,price\n2022-11-22 09:15:00,1\n")
    assert "--instrument NSE:99926000" in refusal(path, None)
    assert "NIFTY" in refusal(path, "NIFTY")


def test_one_file_that_cannot_be_used_refuses_them_all(write: Write) -> None:
    good, bad = write(b"timestamp,price\n2022-11-22 09:15:00,1\n"), write(b"")
    with pytest.raises(FeedError, match="is empty"):
        scan([good, bad], INDEX, covered=covered)


def recorded_day(tmp_path: Path, name: str) -> Path:
    """A real day, or a generated one where there are no real ones."""
    if (MARKET_DATA / name).exists() or os.environ.get("CI") == "true":
        return MARKET_DATA / name
    warnings.warn("no real days in MARKET_DATA_DIR: this test uses a generated one", stacklevel=1)
    path = tmp_path / name
    path.write_bytes(text_of([(0, INDEX, 33_300_000 + 1000 * n, 1_784_805 + n) for n in range(20_000)]))
    return path


def test_every_line_of_a_recorded_day_is_a_tick(tmp_path: Path) -> None:
    path = recorded_day(tmp_path, "2022-11-22.csv")
    recording = scan([path], INDEX, covered=covered)
    lines = path.read_text().splitlines()[1:]
    ticks = fed(list(recording.batches(past_the_close_ms)))
    assert recording.rejected == Counter()
    assert recording.days == [DAY]
    assert recording.read == recording.rows == len(ticks) == len(lines)
    assert [tick.price for tick in ticks] == [round(float(line.split(",")[1]) * 100) for line in lines]


def test_recordings_of_several_days_are_fed_in_the_order_of_their_days(tmp_path: Path, write: Write) -> None:
    later, earlier = ([(day, INDEX, 33_300_000 + 1000 * n, 1_00) for n in range(10)] for day in (1, 0))
    recording = scan([write(text_of(later)), write(text_of(earlier))], None, covered=covered)
    assert recording.days == [DAY, DAY + timedelta(days=1)]
    assert fed(list(recording.batches(past_the_close_ms))) == ticks_of(earlier) + ticks_of(later)

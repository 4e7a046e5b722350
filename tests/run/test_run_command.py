"""`topology run` as a user meets it: a holiday, a day that ends early, bad rows, bad files, wrong settings."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import msgspec
import pytest

from tests.reference.brute_force import expected, indian_ms, trading_hours
from tests.run.conftest import Ran, Run
from tests.support.archived_rows import differences, read_archive
from tests.support.days import NIFTY_50, read_rows, write_csv

MONDAY = date(2022, 11, 28)
HOURS = trading_hours(MONDAY, MONDAY)
HEADER = "timestamp,price\n"
FIELDS = ("read", "accepted", "late", "out_of_session", "rejected", "candles", "indicators", "seconds", "ticks_per_s")


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def assert_adds_up(done: Ran) -> None:
    found = done.json
    assert set(FIELDS) <= set(found)
    parts = found["accepted"] + found["late"] + found["out_of_session"] + sum(found["rejected"].values())
    assert found["read"] == parts


def assert_refused(done: Ran, *told: str) -> None:
    assert done.code not in (0, 3)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert "Traceback" not in done.err
    for text in told:
        assert text in done.err


def test_a_holiday_makes_no_candle_which_strict_does_not_allow(run: Run, market_data: Path) -> None:
    file = market_data / "2022-11-08.csv.gz"
    done = run(file, "--instrument", NIFTY_50, "--json", "--strict")
    assert done.code != 0
    assert done.json["candles"].get("1", 0) == 0
    assert done.json["out_of_session"] == done.json["read"] == len(read_rows(file))
    assert_adds_up(done)
    assert any("2022-11-08" in note and "closed" in note for note in done.json["notes"])


def test_a_day_that_ends_early_gets_all_its_candles(run: Run, market_data: Path, tmp_path: Path) -> None:
    end_ms = indian_ms(MONDAY, "11:23:45")
    rows = [row for row in read_rows(market_data / f"{MONDAY}.csv") if row.time_ms <= end_ms]
    early = write_csv(tmp_path / "early.csv", rows)
    outputs = ("--archive", tmp_path / "early.db", "--jsonl", tmp_path / "early")
    done = run(early, *outputs, "--json", "--strict", INDICATOR_CONFIGS="SMA:9")
    assert done.code == 0, done.err
    wanted = expected(rows, HOURS, timeframes_s=(60, 120, 180, 300), specs=("SMA:9",))
    assert max(start_ms for _, seconds, start_ms in wanted.candles if seconds == 1) == end_ms
    assert differences(read_archive(tmp_path / "early.db"), wanted) == []
    assert rows_of_lines(tmp_path / "early") == rows_of_tables(tmp_path / "early.db")


def rows_of_lines(folder: Path) -> list[tuple[object, ...]]:
    """Each row of the JSON lines of a day: which it is, what it says, and where it comes from."""
    (day,) = folder.iterdir()
    assert day.name == f"{MONDAY}.jsonl"
    rows = [msgspec.json.decode(line) for line in day.read_bytes().splitlines()]
    return sorted(
        (row.get("name", ""), row["tf"], row["ts"], row.get("close") or row["value"], row["partition"], row["position"])
        for row in rows
    )


def rows_of_tables(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(
            connection.execute(
                "SELECT '', 1, ts, close, partition, position FROM candles_1s UNION ALL "
                "SELECT '', tf, ts, close, partition, position FROM candles_tf UNION ALL "
                "SELECT name, tf, ts, round(value, 4), partition, position FROM indicators"
            )
        )


def test_good_rows_survive_bad_ones_which_are_counted_and_shown(run: Run, tmp_path: Path) -> None:
    good = [f"2022-11-28 09:15:{second:02d},18500.{second:02d}\n" for second in range(30)]
    bad = [
        "2022-11-28 09:15:00,\n", "2022-11-28 09:15:00,nan\n", "2022-11-28 09:15:00,inf\n", "2022-11-28 09:15:00,0\n",
        "2022-11-28 09:15:00,-4\n", "2022-11-28 09:15\n", "yesterday,18500\n", "2022-11-28 09:15:01,nan\n",
    ]  # fmt: skip
    lines = [line for pair in zip(good, bad, strict=False) for line in pair] + good[len(bad) :]
    file = written(tmp_path / "mixed.csv", HEADER + "".join(lines))
    clean = written(tmp_path / "clean.csv", HEADER + "".join(good))
    done = run(file, "--instrument", NIFTY_50, "--archive", tmp_path / "mixed.db", "--json")
    assert done.code == 0, done.err
    assert_adds_up(done)
    assert done.json["rejected"] == {
        "price_empty": 1, "price_nan": 2, "price_infinite": 1, "price_not_positive": 2,
        "short_line": 1, "time_invalid": 1,
    }  # fmt: skip
    wanted = expected(read_rows(clean), HOURS, timeframes_s=(60, 120, 180, 300))
    assert differences(read_archive(tmp_path / "mixed.db"), wanted) == []


def test_the_summary_tells_what_was_left_out_and_nothing_else_goes_into_a_pipe(run: Run, tmp_path: Path) -> None:
    lines = ["2022-11-08 10:00:00,18500.5", "2022-11-28 09:15:01,nan", "2022-11-28 09:15:02,nan", "soon,1"]
    file = written(tmp_path / "bad.csv", HEADER + "\n".join(lines) + "\n2022-11-28 09:15:03,18500.5\n")
    done = run(file, "--instrument", NIFTY_50)
    assert done.code == 0
    assert "2022-11-08: the market was closed" in done.out
    assert f"{file}, line 3:" in done.out
    assert f"{file}, line 4:" not in done.out
    assert f"{file}, line 5:" in done.out
    assert "candles of 300 s" in done.out
    assert done.err == ""
    assert not {"\x1b", "\r"} & set(done.out)


def no_file(folder: Path) -> Path:
    return folder / "absent.csv"


def a_folder(folder: Path) -> Path:
    return folder


def an_empty_file(folder: Path) -> Path:
    return written(folder / "empty.csv", "")


def no_gzip(folder: Path) -> Path:
    return written(folder / "plain.csv.gz", HEADER + "2022-11-28 09:15:00,18500.5\n")


def half_a_gzip(folder: Path) -> Path:
    packed = gzip.compress((HEADER + "2022-11-28 09:15:00,18500.5\n" * 1000).encode())
    (folder / "half.csv.gz").write_bytes(packed[: len(packed) // 2])
    return folder / "half.csv.gz"


def a_wrong_header(folder: Path) -> Path:
    return written(folder / "wrong.csv", "time,close\n2022-11-28 09:15:00,18500.5\n")


def no_header(folder: Path) -> Path:
    return written(folder / "bare.csv", "2022-11-28 09:15:00,18500.5\n")


@pytest.mark.parametrize("make", [no_file, a_folder, an_empty_file, no_gzip, half_a_gzip, a_wrong_header, no_header])
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(
    run: Run, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    file = make(tmp_path)
    assert_refused(run(file, "--instrument", NIFTY_50), str(file))


def test_a_file_without_instruments_needs_one_to_be_named(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path / "one.csv", HEADER + "2022-11-28 09:15:00,18500.5\n")
    assert_refused(run(file), str(file), "--instrument")
    assert_refused(run(file, "--instrument", "NIFTY"), "NIFTY")


@pytest.mark.parametrize("workers", ["0", "5"])
def test_there_is_a_worker_per_partition_at_most(run: Run, tmp_path: Path, workers: str) -> None:
    file = written(tmp_path / "one.csv", HEADER + "2022-11-28 09:15:00,18500.5\n")
    assert_refused(run(file, "--instrument", NIFTY_50, "--workers", workers), f"--workers {workers}", "1 to 4")


def test_an_archive_that_is_there_already_is_left_alone(run: Run, tmp_path: Path) -> None:
    file = written(tmp_path / "one.csv", HEADER + "2022-11-28 09:15:00,18500.5\n")
    kept = written(tmp_path / "kept.db", "mine")
    assert_refused(run(file, "--instrument", NIFTY_50, "--archive", kept), str(kept))
    assert kept.read_text() == "mine"


@pytest.mark.parametrize(
    ("variable", "value"), [("ENABLED_TFS", "60,4"), ("INDICATOR_CONFIGS", "SMA:1000"), ("TOPIC_PARTITIONS", "many")]
)
def test_a_wrong_setting_is_one_line_that_names_it(run: Run, tmp_path: Path, variable: str, value: str) -> None:
    file = written(tmp_path / "one.csv", HEADER + "2022-11-28 09:15:00,18500.5\n")
    assert_refused(run(file, "--instrument", NIFTY_50, **{variable: value}), variable, value)

"""The real days, end to end: what the command archives equals what is calculated by hand."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tests.reference.brute_force import Expected, expected, indian_ms, trading_hours
from tests.run.conftest import Run
from tests.support.archived_rows import Archived, differences, read_archive
from tests.support.days import NIFTY_50, read_rows

TIMEFRAMES_S = (60, 120, 180, 300)
SPECS = ("SMA:9", "SMA:20", "SMA:50", "SMA:200", "EMA:9", "EMA:21", "RSI:14", "SMMA:14")
WITH_SMMA = {"INDICATOR_CONFIGS": ",".join(SPECS)}
TUESDAY, MONDAY = date(2022, 11, 22), date(2022, 11, 28)


@pytest.fixture(scope="module")
def wanted(market_data: Path) -> Expected:
    """What has to come of all days."""
    rows = [row for path in sorted(market_data.glob("*.csv*")) for row in read_rows(path)]
    return expected(rows, trading_hours(date(2022, 10, 27), MONDAY), timeframes_s=TIMEFRAMES_S, specs=SPECS)


@pytest.fixture(scope="module")
def archived(run: Run, market_data: Path, wanted: Expected, tmp_path_factory: pytest.TempPathFactory) -> Archived:
    """What one run over all days has archived."""
    path = tmp_path_factory.mktemp("all") / "candles.db"
    files = sorted(market_data.glob("*.csv*"), reverse=True)  # it puts the days in order itself
    done = run(*files, "--instrument", NIFTY_50, "--archive", path, "--json", **WITH_SMMA)
    assert done.code == 0, done.err
    counts = [done.json[name] for name in ("accepted", "late", "out_of_session")]
    assert counts == [len(wanted.accepted), len(wanted.late), len(wanted.out_of_session)]
    return read_archive(path)


def test_every_candle_and_value_of_every_day_equals_the_calculation(archived: Archived, wanted: Expected) -> None:
    assert len(wanted.candles) > 250_000
    assert differences(archived, wanted) == []


@pytest.mark.parametrize(
    ("day", "numbers"), [(TUESDAY, [22_481, 375, 188, 125, 75]), (MONDAY, [21_509, 360, 181, 120, 73])]
)
def test_a_day_has_its_candles_of_each_timeframe(archived: Archived, day: date, numbers: list[int]) -> None:
    from_ms, until_ms = indian_ms(day, "00:00"), indian_ms(day, "24:00")
    found = Counter(seconds for _, seconds, start_ms in archived.candles if from_ms <= start_ms < until_ms)
    assert [found[seconds] for seconds in (1, *TIMEFRAMES_S)] == numbers


def test_the_last_candle_is_cut_by_the_close(archived: Archived) -> None:
    starts = [start for _, seconds, start in archived.candles if seconds == 120 and start < indian_ms(TUESDAY, "24:00")]
    assert max(starts) == indian_ms(TUESDAY, "15:29")


def test_the_holiday_has_no_candle(archived: Archived) -> None:
    holiday = date(2022, 11, 8)
    assert [k for k in archived.candles if indian_ms(holiday, "00:00") <= k[2] < indian_ms(holiday, "24:00")] == []


def test_two_days_in_one_run_end_with_the_known_values(run: Run, market_data: Path, tmp_path: Path) -> None:
    files = [market_data / f"{day}.csv" for day in (TUESDAY, MONDAY)]
    done = run(*files, "--instrument", NIFTY_50, "--archive", tmp_path / "two.db", "--json", **WITH_SMMA)
    assert done.code == 0, done.err
    values = read_archive(tmp_path / "two.db").values
    at_the_end = {
        name: value for (_, name, seconds, ts), value in values.items() if (seconds, ts) == (60, 1669629540_000)
    }
    assert at_the_end == pytest.approx(
        {
            "SMA_9": 1855272.2222,
            "SMA_20": 1855775.75,
            "SMA_50": 1857764.5,
            "SMA_200": 1859077.35,
            "EMA_9": 1855339.2553,
            "EMA_21": 1855925.9169,
            "RSI_14": 37.0250,
            "SMMA_14": 1856228.8705,
        },
        abs=5e-5,
    )

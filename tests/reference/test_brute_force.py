"""The reference itself, against figures worked out by hand and against those that were published with the days."""

import ast
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given

from tests.reference import brute_force
from tests.reference.brute_force import Ohlc, Row, ema, expected, indian_ms, recorded, rsi, sma, smma, trading_hours
from tests.support.generated import FRIDAY, INSTRUMENTS, MONDAY, NSE_HOURS, WEDNESDAY, recordings

NIFTY = INSTRUMENTS[0]
SPECS = ["SMA:9", "SMA:20", "SMA:50", "SMA:200", "EMA:9", "EMA:21", "RSI:14", "SMMA:14"]


def row(clock: str, price: int = 100, volume: int | None = None) -> Row:
    return Row(NIFTY, indian_ms(MONDAY, clock), price, volume)


def test_it_shares_no_code_with_the_project() -> None:
    tree = ast.parse(Path(brute_force.__file__).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {module.split(".")[0] for module in modules} <= sys.stdlib_module_names


@given(recordings(disorder_ms=4000))
def test_each_row_is_accepted_or_late_or_out_of_session_and_each_accepted_one_is_counted_once(rows: list[Row]) -> None:
    result = expected(rows, NSE_HOURS, timeframes_s=[7])
    assert sorted(result.accepted + result.late + result.out_of_session) == list(range(len(rows)))
    for timeframe_s in (1, 7):
        counts = [candle.ticks for (_, tf, _), candle in result.candles.items() if tf == timeframe_s]
        assert sum(counts) == len(result.accepted)


def test_sessions_are_the_weekdays_that_are_no_holiday() -> None:
    assert [open_ms for open_ms, _ in trading_hours(FRIDAY, WEDNESDAY)] == [
        indian_ms(day, "09:15") for day in (FRIDAY, MONDAY, WEDNESDAY)
    ]
    assert {close_ms - open_ms for open_ms, close_ms in NSE_HOURS} == {375 * 60_000}
    assert indian_ms(date(2022, 11, 28), "15:29") == 1_669_629_540_000


def test_rows_by_hand() -> None:
    rows = [
        row("09:14:59", 1),
        row("09:15:00.500", 105, 10),
        row("09:15:00.200", 103, 14),
        row("09:15:01.900", 104, 12),
        row("09:15:02", 109, 20),
        row("09:15:00.900", 1, 99),
        row("09:15:01.950", 101, 21),
        row("15:30:00", 1),
    ]
    result = expected(rows, NSE_HOURS, timeframes_s=[5], specs=["SMA:1"])
    assert (result.accepted, result.late, result.out_of_session) == ([1, 2, 3, 4, 6], [5], [0, 7])
    open_ms = indian_ms(MONDAY, "09:15")
    assert result.candles == {
        (NIFTY, 1, open_ms): Ohlc(103, 105, 103, 105, 4, 2),
        (NIFTY, 1, open_ms + 1000): Ohlc(104, 104, 101, 101, 1, 2),
        (NIFTY, 1, open_ms + 2000): Ohlc(109, 109, 109, 109, 6, 1),
        (NIFTY, 5, open_ms): Ohlc(103, 109, 101, 109, 11, 5),
    }
    assert result.values == {(NIFTY, "SMA_1", 5, open_ms): 109}


def test_a_clock_makes_a_row_late_only_where_clocks_are_given() -> None:
    rows = [row("10:00:00"), row("10:00:00.500")]
    clocks_ms = [0, indian_ms(MONDAY, "10:00:02")]
    assert expected(rows, NSE_HOURS).late == []
    assert expected(rows, NSE_HOURS, clocks_ms=clocks_ms).late == [1]
    assert expected(rows, NSE_HOURS, clocks_ms=clocks_ms, lateness_ms=1001).late == []


def test_averages_by_hand() -> None:
    assert sma([10, 20, 60, 70], 3) == [None, None, 30, 50]
    assert ema([10, 20, 60, 70, 10], 3) == [None, None, 30, 50, 30]
    assert smma([10, 20, 60, 90, 50], 3) == [None, None, 30, 50, 50]
    assert sma([], 3) == ema([], 3) == smma([], 3) == rsi([], 3) == []


def test_rsi_by_hand() -> None:
    assert rsi([10, 16, 14, 14, 17], 2) == pytest.approx([None, None, 75, 75, 90])
    assert rsi([10, 11, 12], 2) == [None, None, 100]
    assert rsi([10, 10, 10], 2) == [None, None, 50]
    assert rsi([12, 11, 10], 2) == [None, None, 0]


def test_the_published_figures_of_two_days(market_data: Path) -> None:
    rows = recorded(market_data / "2022-11-22.csv", NIFTY) + recorded(market_data / "2022-11-28.csv", NIFTY)
    days = [date(2022, 11, 22), date(2022, 11, 28)]
    result = expected(rows, trading_hours(*days), timeframes_s=[60, 120, 180, 300], specs=SPECS)
    second_day_ms = indian_ms(days[1], "00:00")
    found = Counter((timeframe_s, start_ms >= second_day_ms) for _, timeframe_s, start_ms in result.candles)
    assert [found[tf, False] for tf in (1, 60, 120, 180, 300)] == [22_481, 375, 188, 125, 75]
    assert [found[tf, True] for tf in (1, 60, 120, 180, 300)] == [21_509, 360, 181, 120, 73]
    last_ms = indian_ms(days[1], "15:29")
    values = [round(result.values[NIFTY, spec.replace(":", "_"), 60, last_ms], 4) for spec in SPECS]
    assert values == [
        1855272.2222, 1855775.75, 1857764.5, 1859077.35, 1855339.2553, 1855925.9169, 37.0250, 1856228.8705,
    ]  # fmt: skip


def test_a_holiday_with_rows_in_it_has_no_candle(market_data: Path) -> None:
    rows = recorded(market_data / "2022-11-08.csv.gz", NIFTY)
    result = expected(rows, NSE_HOURS, timeframes_s=[60], specs=SPECS)
    assert result.out_of_session == list(range(len(rows)))
    assert result.candles == {}

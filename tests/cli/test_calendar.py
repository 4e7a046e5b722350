from datetime import date
from pathlib import Path

import pytest

import topology.market
from topology.cli.calendar import describe
from topology.market.calendar import Calendar, NotCovered

FILES = Path(topology.market.__path__[0]) / "calendars"
NSE = Calendar.parse((FILES / "nse.json").read_text())
ALWAYS_OPEN = Calendar.parse((FILES / "always_open.json").read_text())
LONG_BEFORE = date(2026, 6, 1)


def test_a_trading_day_lists_the_sessions_of_each_class() -> None:
    assert describe(NSE, date(2026, 8, 3), today=LONG_BEFORE) == [
        "Mon 2026-08-03: open",
        "  index       09:15-15:30",
        "  equity      09:15-15:30",
        "  equity_cas  09:15-15:15",
        "  derivative  09:15-15:40",
        "next trading day: Tue 2026-08-04",
        f"calendar: NSE and BSE, equity and equity derivatives, version {NSE.version}, covers 2022-01-01 to 2026-12-31",
    ]


def test_a_holiday_is_named_and_closed() -> None:
    lines = describe(NSE, date(2022, 11, 8), today=LONG_BEFORE)
    assert lines[0] == "Tue 2022-11-08: closed, Guru Nanak Jayanti"
    assert lines[1] == "  index       closed"
    assert "next trading day: Wed 2022-11-09" in lines


def test_a_session_on_a_holiday_names_both() -> None:
    lines = describe(NSE, date(2024, 11, 1), today=LONG_BEFORE)
    assert lines[:2] == ["Fri 2024-11-01: open, Diwali Laxmi Pujan, Muhurat trading", "  index       18:00-19:00"]


def test_two_sessions_of_a_day_stand_in_one_line() -> None:
    assert "  equity      09:15-10:00, 11:30-12:30" in describe(NSE, date(2024, 3, 2), today=LONG_BEFORE)


def test_a_saturday_with_a_session_is_the_next_trading_day() -> None:
    assert "next trading day: Sat 2024-01-20" in describe(NSE, date(2024, 1, 19), today=LONG_BEFORE)


def test_unconfirmed_rows_are_shown_as_off() -> None:
    lines = describe(NSE, date(2026, 11, 8), today=LONG_BEFORE)
    assert lines[0] == "Sun 2026-11-08: closed"
    assert any(line.startswith("  off, as it is not confirmed: Muhurat trading 18:15-19:15") for line in lines)


def test_a_session_up_to_midnight_ends_at_24() -> None:
    assert "  currency    00:00-24:00" in describe(ALWAYS_OPEN, date(2026, 11, 8), today=LONG_BEFORE)


def test_after_the_last_trading_day_no_next_one_is_made_up() -> None:
    assert "next trading day: none up to 2026-12-31" in describe(NSE, date(2026, 12, 31), today=LONG_BEFORE)


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        (date(2026, 12, 1), "WARNING: cover ends in 30 days, on 2026-12-31: extend topology/market/calendars/nse.json"),
        (date(2026, 12, 31), "WARNING: cover ends in 0 days"),
        (date(2027, 1, 1), "WARNING: cover has ended, on 2026-12-31"),
    ],
)
def test_the_end_of_cover_is_warned_of_from_30_days_before(today: date, expected: str) -> None:
    last = describe(NSE, date(2026, 11, 20), today=today)[-1]
    assert last.startswith(expected)
    assert "CALENDAR_FILE" in last


def test_31_days_before_the_end_of_cover_there_is_no_warning() -> None:
    assert not any("WARNING" in line for line in describe(NSE, date(2026, 11, 20), today=date(2026, 11, 30)))


def test_a_day_that_is_not_covered_is_an_error() -> None:
    with pytest.raises(NotCovered):
        describe(NSE, date(2027, 1, 1), today=LONG_BEFORE)

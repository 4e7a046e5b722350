"""When the feed has to be there."""

from __future__ import annotations

from datetime import date
from importlib.resources import files

import pytest

from tests.reference.brute_force import indian_ms
from topology.feeds.angel.hours import Hours, next_hours, open_since_ms
from topology.market import Calendar, CalendarError

CALENDARS = files("topology.market").joinpath("calendars")
NSE = Calendar.parse(CALENDARS.joinpath("nse.json").read_text())
ALWAYS = Calendar.parse(CALENDARS.joinpath("always_open.json").read_text())


def at(day: str, time: str) -> int:
    return indian_ms(date.fromisoformat(day), time)


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        (at("2022-11-28", "08:00"), at("2022-11-28", "09:15"), at("2022-11-28", "15:30")),
        (at("2022-11-28", "12:00"), at("2022-11-28", "09:15"), at("2022-11-28", "15:30")),
        (at("2022-11-28", "15:30"), at("2022-11-29", "09:15"), at("2022-11-29", "15:30")),
        (at("2022-11-25", "16:00"), at("2022-11-28", "09:15"), at("2022-11-28", "15:30")),  # a weekend
        (at("2022-11-07", "16:00"), at("2022-11-09", "09:15"), at("2022-11-09", "15:30")),  # a holiday
        (at("2022-10-24", "10:00"), at("2022-10-24", "18:15"), at("2022-10-24", "19:15")),  # muhurat
        (at("2024-03-02", "08:00"), at("2024-03-02", "09:15"), at("2024-03-02", "12:30")),  # two sessions
    ],
)
def test_the_next_hours_are_those_of_the_trading_day_that_goes_on_or_comes(now: int, opens: int, closes: int) -> None:
    assert next_hours(NSE, ["index", "equity"], now) == Hours(opens, closes)


def test_the_hours_are_those_of_all_classes_together() -> None:
    now = at("2026-11-25", "08:00")
    assert next_hours(NSE, ["equity_cas"], now).close_ms == at("2026-11-25", "15:15")
    assert next_hours(NSE, ["equity_cas", "derivative"], now).close_ms == at("2026-11-25", "15:40")


def test_the_end_of_the_calendar_is_an_error_that_says_so() -> None:
    with pytest.raises(CalendarError, match="2027-01-01 is not covered"):
        next_hours(NSE, ["index"], at("2026-12-31", "16:00"))


def test_it_is_told_since_when_the_market_is_open() -> None:
    assert open_since_ms(NSE, ["index"], at("2022-11-28", "09:14:59")) is None
    assert open_since_ms(NSE, ["index"], at("2022-11-28", "10:00")) == at("2022-11-28", "09:15")
    assert open_since_ms(NSE, ["equity_cas", "derivative"], at("2026-11-25", "15:20")) == at("2026-11-25", "09:15")
    assert open_since_ms(NSE, ["equity_cas"], at("2026-11-25", "15:20")) is None
    assert open_since_ms(ALWAYS, ["index"], at("2022-11-26", "03:00")) == at("2022-11-26", "00:00")

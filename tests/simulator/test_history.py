from __future__ import annotations

from datetime import date

import pytest

from tests.support.simulator_client import NSE, OPEN_MS, at
from topology.simulator import Walk, catalogue
from topology.simulator.history import INTERVALS, HistoryError, rows
from topology.simulator.source import MINUTE_MS

WALK = Walk(catalogue(date(2022, 11, 22))[:3], seed=5, rate=0.5, calendar=NSE)
LATER_MS = at("2022-11-30 12:00")


def asked(
    interval: str, from_text: str, to_text: str, *, now_ms: int = LATER_MS
) -> list[tuple[str, float, float, float, float, int]]:
    return rows(WALK, 1, interval=interval, from_text=from_text, to_text=to_text, now_ms=now_ms)


def test_minutes_are_in_rupees_and_indian_time() -> None:
    found = asked("ONE_MINUTE", "2022-11-22 09:00", "2022-11-22 16:00")
    candles = WALK.candles(1, OPEN_MS, OPEN_MS + 375 * MINUTE_MS)
    assert len(found) == len(candles) == 375
    first, candle = found[0], candles[0]
    assert first[0] == "2022-11-22T09:15:00+05:30"
    assert [round(price * 100) for price in first[1:5]] == [candle.open, candle.high, candle.low, candle.close]
    assert first[5] == candle.volume


def test_both_ends_are_among_the_answer() -> None:
    found = asked("ONE_MINUTE", "2022-11-22 10:00", "2022-11-22 10:02")
    assert [row[0][11:16] for row in found] == ["10:00", "10:01", "10:02"]


@pytest.mark.parametrize(("interval", "minutes"), [(name, minutes) for name, (minutes, _) in INTERVALS.items()])
def test_wider_candles_are_made_of_the_minutes_from_the_open(interval: str, minutes: int) -> None:
    found = asked(interval, "2022-11-22 00:00", "2022-11-22 15:29")
    ones = WALK.candles(1, OPEN_MS, OPEN_MS + 375 * MINUTE_MS)
    groups = [ones[start : start + minutes] for start in range(0, 375, minutes)]
    assert [row[1:] for row in found] == [
        (
            group[0].open / 100,
            max(candle.high for candle in group) / 100,
            min(candle.low for candle in group) / 100,
            group[-1].close / 100,
            sum(candle.volume for candle in group),
        )
        for group in groups
    ]
    assert found[0][0][11:16] == ("00:00" if interval == "ONE_DAY" else "09:15")


def test_what_is_not_printed_yet_is_not_known() -> None:
    now_ms = OPEN_MS + 90_000
    found = asked("ONE_MINUTE", "2022-11-22 09:15", "2022-11-22 15:29", now_ms=now_ms)
    prints = list(WALK.prints(1, OPEN_MS + MINUTE_MS, now_ms + 1))
    assert len(found) == 2
    assert round(found[-1][4] * 100) == prints[-1].price
    assert asked("ONE_MINUTE", "2022-11-22 09:15", "2022-11-22 15:29", now_ms=OPEN_MS - 1) == []


@pytest.mark.parametrize(
    ("interval", "from_text", "to_text", "said"),
    [
        ("TWO_MINUTE", "2022-11-22 09:15", "2022-11-22 09:20", "ONE_MINUTE"),
        ("ONE_MINUTE", "2022-11-22", "2022-11-22 09:20", "written as"),
        ("ONE_MINUTE", "2022-11-22 09:20", "2022-11-22 09:15", "before"),
        ("ONE_MINUTE", "2022-10-01 09:15", "2022-11-22 09:15", "30 days"),
        ("FIVE_MINUTE", "2022-01-03 09:15", "2022-11-22 09:15", "100 days"),
    ],
)
def test_a_question_that_the_broker_refuses(interval: str, from_text: str, to_text: str, said: str) -> None:
    with pytest.raises(HistoryError, match=said):
        asked(interval, from_text, to_text)

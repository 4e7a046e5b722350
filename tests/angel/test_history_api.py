"""Calls for the broker's candles, and what its answers are worth."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.brute_force import indian_ms
from topology.angel.history_api import DAY_MS, INTERVALS, HistoryCall, calls, read, width_s
from topology.market import Candle, Instrument
from topology.market.candle import BROKER
from topology.market.ticks import LARGEST
from topology.market.times import Interval

DAY = date(2022, 11, 22)
OPEN_MS = indian_ms(DAY, "09:15")
SBIN, DOLLAR, CASTOR = (Instrument.parse(text) for text in ("NSE:3045", "CDE:1", "NCX:7"))
HOUR = HistoryCall(60, Interval(OPEN_MS, OPEN_MS + 3_600_000))
WIDTHS = st.sampled_from(sorted(INTERVALS))
STRETCHES = st.builds(
    lambda from_ms, long_ms: Interval(from_ms, from_ms + long_ms),
    st.integers(OPEN_MS - 900 * DAY_MS, OPEN_MS),
    st.one_of(st.integers(1, DAY_MS), st.integers(1, 900 * DAY_MS), st.integers(1, 30).map(lambda n: n * 30 * DAY_MS)),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
NUMBERS = st.none() | st.integers() | st.floats() | st.text("0123456789.-+einfatNy ", max_size=12)
TIMES = st.datetimes(timezones=st.none() | st.just(timezone(timedelta(hours=5, minutes=30)))).map(
    lambda time: time.isoformat()
)
NEARLY_ROWS = st.tuples(TIMES | NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS).map(list)


def row(clock: str, *values: object) -> list[object]:
    return [f"2022-11-22T{clock}:00+05:30", *values]


def candle(clock: str, *values: int, instrument: Instrument = SBIN) -> Candle:
    open_, high, low, close, volume = values
    return Candle(str(instrument), 60, indian_ms(DAY, clock), open_, high, low, close, volume, 0, BROKER)


@given(WIDTHS, STRETCHES)
def test_calls_cover_a_stretch_exactly_and_none_is_longer_than_the_broker_allows(
    width: int, interval: Interval
) -> None:
    made = list(calls(width, interval))
    assert [call.interval.from_ms for call in made] == [interval.from_ms, *(call.interval.to_ms for call in made[:-1])]
    assert made[-1].interval.to_ms == interval.to_ms
    assert all(0 < to_ms - from_ms <= INTERVALS[width][1] * DAY_MS for _, (from_ms, to_ms) in made)
    assert {call.width_s for call in made} == {width}


@given(WIDTHS, STRETCHES)
def test_a_call_names_indian_minutes_and_every_candle_that_starts_in_its_stretch_lies_between_them(
    width: int, interval: Interval
) -> None:
    for call in calls(width, interval):
        sent = call.parameters(SBIN)
        first, last = (
            round(datetime.fromisoformat(f"{sent[name]}+05:30").timestamp()) * 1000 for name in ("fromdate", "todate")
        )
        from_ms, to_ms = call.interval
        assert first <= from_ms < first + 60_000
        assert last < to_ms <= last + 60_000, "a candle that starts at the end is of the next call"
        assert last - first < INTERVALS[width][1] * DAY_MS + 60_000


def test_a_call_goes_by_the_names_of_the_broker() -> None:
    assert HOUR.parameters(SBIN) == {
        "exchange": "NSE", "symboltoken": "3045", "interval": "ONE_MINUTE",
        "fromdate": "2022-11-22 09:15", "todate": "2022-11-22 10:14",
    }  # fmt: skip
    assert [HOUR.parameters(one)["exchange"] for one in (DOLLAR, CASTOR)] == ["CDS", "NCDEX"]


@given(st.integers(1, 1_440).map(lambda minutes: minutes * 60), STRETCHES)
def test_candles_of_a_minute_are_asked_for_where_one_call_brings_them_and_else_the_widest_that_fit(
    timeframe_s: int, interval: Interval
) -> None:
    width = width_s(timeframe_s, interval)
    assert width is not None
    assert timeframe_s % width == 0
    fitting = [each for each in INTERVALS if timeframe_s % each == 0 and len(list(calls(each, interval))) == 1]
    assert width == (min(fitting) if fitting else max(each for each in INTERVALS if timeframe_s % each == 0))


@given(st.integers(1, 86_400).filter(lambda timeframe_s: timeframe_s % 60), STRETCHES)
def test_there_are_none_for_timeframes_that_are_no_whole_minutes(timeframe_s: int, interval: Interval) -> None:
    assert width_s(timeframe_s, interval) is None


def test_rupees_become_paise_exactly() -> None:
    rows = [row("09:15", 610.05, 612.35, 609.95, 610.1, 1200), row("09:16", 610, "610.00", 610.0, 610, "0")]
    assert read(rows, SBIN, HOUR) == (
        [candle("09:15", 61005, 61235, 60995, 61010, 1200), candle("09:16", 61000, 61000, 61000, 61000, 0)],
        0,
    )
    (made,), _ = read([row("09:15", 83.2525, 83.26, 83.25, 83.2575, 9)], DOLLAR, HOUR)
    assert made == candle("09:15", 832_525_000, 832_600_000, 832_500_000, 832_575_000, 9, instrument=DOLLAR)


@given(st.integers(1, 2 * 10**9).map(lambda n: 5 * n))
def test_every_step_of_five_paise_is_read_as_it_is_up_to_a_hundred_million_rupees(paise: int) -> None:
    (made,), _ = read([row("09:15", *[paise / 100] * 4, 1)], SBIN, HOUR)
    assert (made.open, made.high, made.low, made.close) == (paise,) * 4


@pytest.mark.parametrize("data", [None, "", "AB1004", {}, {"candles": []}, 7, True, []])
def test_no_rows_at_all_are_no_error(data: object) -> None:
    assert read(data, SBIN, HOUR) == ([], 0)


@pytest.mark.parametrize(
    "wrong",
    [
        None, [], {}, "09:15", row("09:15"), row("09:15", 1, 2, 1, 1), row("09:15", 1, 2, 1, None, 5),
        row("09:15", 1, 2, 1, "", 5), row("09:15", 1, "high", 1, 1, 5), row("09:15", 1, 2, 1, 1, -5),
        row("09:15", 1, 2, 1, 1, 0.5), row("09:15", 1, 2, 1, 1, LARGEST + 1), row("09:15", -1, 2, -1, 1, 5),
        row("09:15", 0, 0, 0, 0, 0), row("09:15", 1, 1, 2, 1, 5), row("09:15", 3, 2, 1, 1, 5),
        row("09:15", 1, 2, 1, 3, 5), row("09:15", 0.001, 2, 0.001, 1, 5), row("09:15", 1, "inf", 1, 1, 5),
        row("09:15", 1, 1e300, 1, 1, 5), row("09:15", "nan", "nan", "nan", "nan", 5),
        row("09:14", 1, 2, 1, 1, 5), row("10:15", 1, 2, 1, 1, 5), row("25:00", 1, 2, 1, 1, 5),
        ["2022-11-22T09:15:00", 1, 2, 1, 1, 5], ["2022-11-22T09:15:07+05:30", 1, 2, 1, 1, 5],
        ["0001-01-01T00:00:00", 1, 2, 1, 1, 5], ["", 1, 2, 1, 1, 5], [None, 1, 2, 1, 1, 5],
    ],
)  # fmt: skip
def test_a_row_that_is_no_candle_is_left_out_and_costs_no_other(wrong: object) -> None:
    good = row("09:20", 1, 2, 1, 1, 5)
    assert read([wrong, good, wrong], SBIN, HOUR) == ([candle("09:20", 100, 200, 100, 100, 5)], 2)


def test_rows_come_in_order_and_the_last_of_a_minute_counts() -> None:
    rows = [row("09:17", 3, 3, 3, 3, 3), row("09:15", 1, 1, 1, 1, 1), row("09:17", 4, 4, 4, 4, 4)]
    assert read(rows, SBIN, HOUR) == (
        [candle("09:15", 100, 100, 100, 100, 1), candle("09:17", 400, 400, 400, 400, 4)],
        1,
    )


@given(JSON | st.lists(JSON | NEARLY_ROWS, max_size=8), st.sampled_from([SBIN, DOLLAR]))
def test_whatever_comes_is_read_or_left_out(data: object, instrument: Instrument) -> None:
    made, refused = read(data, instrument, HOUR)
    assert len(made) + refused == (len(data) if isinstance(data, list) else 0)
    starts_ms = [one.start_ms for one in made]
    assert starts_ms == sorted(set(starts_ms))
    for one in made:
        assert 0 < one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high <= LARGEST
        assert 0 <= one.volume <= LARGEST

"""Candles of the past, against brute force: days with one session, with two, in the evening, and without any."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import topology.market
from tests.reference.brute_force import Row, SessionTimes, expected, indian_ms
from topology.market import Calendar, Candle, Gap
from topology.market.calendar import NotCovered, indian_day
from topology.market.candle import BROKER, PARTIAL
from topology.market.history import candle_interval, resampled, traded_until, warmup_start, widened_to_candles
from topology.market.times import Interval

FILES = Path(topology.market.__path__[0]) / "calendars"
NSE = Calendar.parse((FILES / "nse.json").read_text())
NIFTY, MINUTE_MS, DAY_MS = "NSE:99926000", 60_000, 86_400_000
TIMEFRAMES_S = [120, 180, 300, 3600, 86_400]


def at(day: str, clock: str = "00:00") -> int:
    """Milliseconds of an Indian time."""
    return indian_ms(date.fromisoformat(day), clock)


# Days before and after a holiday, before, with and after two sessions on a Saturday, and an evening on a holiday.
SESSIONS: list[SessionTimes] = [
    (at("2024-03-07", "09:15"), at("2024-03-07", "15:30")),
    (at("2024-03-11", "09:15"), at("2024-03-11", "15:30")),
    (at("2024-05-17", "09:15"), at("2024-05-17", "15:30")),
    (at("2024-05-18", "09:15"), at("2024-05-18", "10:00")),
    (at("2024-05-18", "11:30"), at("2024-05-18", "12:30")),
    (at("2024-05-21", "09:15"), at("2024-05-21", "15:30")),
    (at("2024-11-01", "18:00"), at("2024-11-01", "19:00")),
]
EVERYTHING = Interval(at("2024-01-01"), at("2024-12-31"))

# From the open on, and back from the close: few, so that boundaries are hit and times repeat.
OFFSETS_MS = (0, 1, 59_999, 60_000, 119_999, 120_000, 179_000, 300_000, 1_799_000, 2_640_000, 3_540_000)

classes = st.sampled_from(NSE.classes)
timeframes_s = st.sampled_from([60, *TIMEFRAMES_S])


@st.composite
def moments(draw: st.DrawFn, *, inside: bool = False) -> int:
    """A time at the edge of a session or of a candle of it, a bit before or after."""
    open_ms, close_ms = draw(st.sampled_from(SESSIONS))
    offset_ms = draw(st.sampled_from(OFFSETS_MS))
    if inside:
        assume(offset_ms < close_ms - open_ms)
        return open_ms + offset_ms if draw(st.booleans()) else close_ms - 1 - offset_ms
    return draw(st.sampled_from([open_ms, close_ms])) + draw(st.sampled_from([-1, 1])) * offset_ms


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    first_ms, second_ms = draw(moments()), draw(moments())
    assume(first_ms != second_ms)
    return Interval(min(first_ms, second_ms), max(first_ms, second_ms))


ticks = st.lists(
    st.builds(Row, st.just(NIFTY), moments(inside=True), st.integers(1000, 1010), st.none() | st.integers(0, 50)),
    max_size=25,
).map(lambda rows: sorted(rows, key=lambda row: row.time_ms))


def made_of(rows: list[Row], timeframe_s: int) -> list[Candle]:
    """Candles by brute force, as a broker tells them."""
    candles = expected(rows, SESSIONS, timeframes_s=[timeframe_s]).candles
    return [Candle(*key, *candle, BROKER) for key, candle in sorted(candles.items()) if key[1] == timeframe_s]


def candle(start_ms: int, close: int = 100, *, timeframe_s: int = 60, marks: int = BROKER) -> Candle:
    return Candle(NIFTY, timeframe_s, start_ms, close, close, close, close, 5, 0, marks)


def session_of(time_ms: int) -> SessionTimes | None:
    return next(((opens, closes) for opens, closes in SESSIONS if opens <= time_ms < closes), None)


def candle_around(timeframe_s: int, time_ms: int) -> Interval | None:
    """By brute force: of all candles of its session the one that a time lies in."""
    if (session := session_of(time_ms)) is None:
        return None
    starts = range(*session, timeframe_s * 1000)
    return next(
        Interval(start_ms, min(start_ms + timeframe_s * 1000, session[1]))
        for start_ms in reversed(starts)
        if start_ms <= time_ms
    )


# -- Folding


@settings(max_examples=300)
@given(ticks, st.sampled_from(TIMEFRAMES_S))
def test_minutes_fold_to_the_candles_that_their_ticks_make(rows: list[Row], timeframe_s: int) -> None:
    assert resampled(made_of(rows, 60), NSE, "index", timeframe_s, EVERYTHING) == made_of(rows, timeframe_s)


@given(ticks, st.sampled_from(TIMEFRAMES_S), intervals())
def test_only_candles_that_lie_wholly_in_the_stretch_come_out(
    rows: list[Row], timeframe_s: int, interval: Interval
) -> None:
    def whole(made: Candle) -> bool:
        found = candle_around(timeframe_s, made.start_ms)
        return found is not None and interval.from_ms <= found.from_ms and found.to_ms <= interval.to_ms

    wanted = [made for made in made_of(rows, timeframe_s) if whole(made)]
    assert resampled(made_of(rows, 60), NSE, "index", timeframe_s, interval) == wanted


@given(ticks, st.sampled_from(TIMEFRAMES_S), intervals())
def test_what_lies_outside_of_the_stretch_is_of_no_matter(
    rows: list[Row], timeframe_s: int, interval: Interval
) -> None:
    minutes = made_of(rows, 60)
    inside = [
        made for made in minutes if interval.from_ms <= made.start_ms and made.start_ms + 60_000 <= interval.to_ms
    ]
    of_all, of_inside = (resampled(told, NSE, "index", timeframe_s, interval) for told in (minutes, inside))
    assert of_inside == of_all


@given(ticks, st.sampled_from(TIMEFRAMES_S), intervals())
def test_a_stretch_of_whole_candles_loses_none_that_it_overlaps_with(
    rows: list[Row], timeframe_s: int, interval: Interval
) -> None:
    wide = widened_to_candles(NSE, "index", timeframe_s, interval)
    overlapping = [
        made
        for made in made_of(rows, timeframe_s)
        if (found := candle_around(timeframe_s, made.start_ms))
        and found.from_ms < interval.to_ms
        and interval.from_ms < found.to_ms
    ]
    assert resampled(made_of(rows, 60), NSE, "index", timeframe_s, wide) == overlapping


def test_a_day_of_minutes_is_cut_at_its_close() -> None:
    day = [candle(at("2024-05-17", "09:15") + MINUTE_MS * minute, 100 + minute) for minute in range(375)]
    (*_, last_hour) = hours = resampled(day, NSE, "index", 3600, EVERYTHING)
    assert [(hour.start_ms - at("2024-05-17", "09:15")) // MINUTE_MS for hour in hours] == [*range(0, 361, 60)]
    assert last_hour == Candle(NIFTY, 3600, at("2024-05-17", "15:15"), 460, 474, 460, 474, 75, 0, BROKER)
    assert resampled(day, NSE, "index", 86_400, EVERYTHING) == [
        Candle(NIFTY, 86_400, at("2024-05-17", "09:15"), 100, 474, 100, 474, 5 * 375, 0, BROKER)
    ]


def test_minutes_fold_to_themselves() -> None:
    minutes = [candle(at("2024-05-18", clock)) for clock in ("09:15", "09:59", "11:30")]
    assert resampled(minutes, NSE, "index", 60, EVERYTHING) == minutes


def test_each_session_of_a_day_has_candles_of_its_own() -> None:
    minutes = [candle(at("2024-05-18", clock)) for clock in ("09:15", "09:59", "11:30", "12:29")]
    days = resampled(minutes, NSE, "index", 86_400, EVERYTHING)
    assert [(day.start_ms, day.volume) for day in days] == [
        (at("2024-05-18", "09:15"), 10), (at("2024-05-18", "11:30"), 10)
    ]  # fmt: skip


def test_what_the_broker_tells_of_times_outside_of_the_sessions_is_left_out() -> None:
    clocks = ("09:00", "09:14", "09:15", "09:16", "15:29", "15:30", "15:40")
    minutes = [candle(at("2024-05-17", clock)) for clock in clocks]
    assert [made.start_ms for made in resampled(minutes, NSE, "index", 120, EVERYTHING)] == [
        at("2024-05-17", "09:15"), at("2024-05-17", "15:29")
    ]  # fmt: skip
    assert [made.volume for made in resampled(minutes, NSE, "index", 120, EVERYTHING)] == [10, 5]


def test_a_candle_has_the_marks_of_its_minutes() -> None:
    start_ms = at("2024-05-17", "09:15")
    minutes = [candle(start_ms), candle(start_ms + MINUTE_MS, marks=BROKER | PARTIAL)]
    assert [made.marks for made in resampled(minutes, NSE, "index", 120, EVERYTHING)] == [BROKER | PARTIAL]


def test_the_sessions_are_those_of_the_class() -> None:
    minutes = [candle(at("2026-08-04", "15:14")), candle(at("2026-08-04", "15:15")), candle(at("2026-08-04", "15:35"))]
    interval = Interval(at("2026-08-04"), at("2026-08-05"))
    found = {
        name: [made.volume for made in resampled(minutes, NSE, name, 86_400, interval)]
        for name in ("index", "equity_cas", "derivative")
    }
    assert found == {"index": [10], "equity_cas": [5], "derivative": [15]}


def test_no_candles_fold_to_none() -> None:
    assert resampled([], NSE, "index", 120, EVERYTHING) == []


def test_a_day_that_the_calendar_lacks_is_an_error() -> None:
    with pytest.raises(NotCovered):
        resampled([candle(at("2021-12-31", "10:00"))], NSE, "index", 120, EVERYTHING)


# -- Bounds


@given(timeframes_s, moments())
def test_the_bounds_are_those_of_the_candle_around_a_time(timeframe_s: int, time_ms: int) -> None:
    assert candle_interval(NSE, "index", timeframe_s, time_ms) == candle_around(timeframe_s, time_ms)


@given(timeframes_s, intervals())
def test_whole_candles_reach_from_the_start_of_the_first_to_the_end_of_the_last(
    timeframe_s: int, interval: Interval
) -> None:
    first, last = (candle_around(timeframe_s, time_ms) for time_ms in (interval.from_ms, interval.to_ms - 1))
    assert widened_to_candles(NSE, "index", timeframe_s, interval) == Interval(
        first.from_ms if first else interval.from_ms, last.to_ms if last else interval.to_ms
    )


@given(timeframes_s, intervals())
def test_a_stretch_of_whole_candles_stays_as_it_is(timeframe_s: int, interval: Interval) -> None:
    wide = widened_to_candles(NSE, "index", timeframe_s, interval)
    assert widened_to_candles(NSE, "index", timeframe_s, wide) == wide


def test_a_day_that_the_calendar_lacks_has_no_bounds() -> None:
    covered = Interval(at("2021-12-31", "10:00"), at("2022-01-03", "10:00"))
    with pytest.raises(NotCovered):
        candle_interval(NSE, "index", 60, covered.from_ms)
    with pytest.raises(NotCovered):
        widened_to_candles(NSE, "index", 60, covered)


# -- Reaching back


def sessions_of(instrument_class: str, first: date, last: date) -> list[SessionTimes]:
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [session[:2] for day in days for session in NSE.sessions(instrument_class, day)]


def ended(sessions: list[SessionTimes], timeframe_s: int, before_ms: int) -> int:
    """By brute force: how many candles of these sessions end before a time, or at it."""
    width_ms = timeframe_s * 1000
    return sum(
        min(start_ms + width_ms, closes) <= before_ms
        for opens, closes in sessions
        for start_ms in range(opens, min(closes, before_ms), width_ms)
    )


@given(classes, timeframes_s, st.integers(1, 800), moments())
def test_reaching_back_finds_the_latest_session_from_which_on_there_are_enough_candles(
    instrument_class: str, timeframe_s: int, count: int, before_ms: int
) -> None:
    day = indian_day(before_ms)
    sessions = sessions_of(instrument_class, day - timedelta(days=30), day + timedelta(days=1))
    enough = [number for number in range(len(sessions)) if ended(sessions[number:], timeframe_s, before_ms) >= count]
    assume(enough)
    assert warmup_start(NSE, instrument_class, timeframe_s, count, before_ms) == sessions[enough[-1]][0]


@given(timeframes_s, st.integers(1, 10**9))
def test_reaching_back_further_than_the_calendar_ends_at_its_first_open(timeframe_s: int, more: int) -> None:
    before_ms = at("2022-01-05", "11:00")
    count = ended(sessions_of("index", date(2022, 1, 1), date(2022, 1, 5)), timeframe_s, before_ms)
    found = {warmup_start(NSE, "index", timeframe_s, wanted, before_ms) for wanted in (count, count + more)}
    assert found == {at("2022-01-03", "09:15")}


@pytest.mark.parametrize(
    ("before", "count", "found"),
    [
        (("2024-05-21", "09:16"), 1, ("2024-05-21", "09:15")),
        (("2024-05-21", "09:15:59"), 1, ("2024-05-18", "11:30")),  # over a weekend and a holiday
        (("2024-05-21", "09:15"), 60, ("2024-05-18", "11:30")),
        (("2024-05-21", "09:15"), 61, ("2024-05-18", "09:15")),
        (("2024-05-21", "09:15"), 105, ("2024-05-18", "09:15")),
        (("2024-05-21", "09:15"), 106, ("2024-05-17", "09:15")),
        (("2024-05-19", "12:00"), 0, ("2024-05-19", "12:00")),
        (("2022-01-02", "12:00"), 5, ("2022-01-02", "12:00")),  # before the first open of the calendar
    ],
)
def test_reaching_back_counts_the_minutes_that_have_ended(
    before: tuple[str, str], count: int, found: tuple[str, str]
) -> None:
    assert warmup_start(NSE, "index", 60, count, at(*before)) == at(*found)


def test_a_candle_that_the_close_cuts_has_ended_with_it() -> None:
    assert warmup_start(NSE, "index", 3600, 7, at("2024-05-17", "15:30")) == at("2024-05-17", "09:15")
    assert warmup_start(NSE, "index", 3600, 7, at("2024-05-17", "15:29")) == at("2024-05-16", "09:15")


def test_it_can_not_reach_back_from_a_time_that_the_calendar_lacks() -> None:
    with pytest.raises(NotCovered):
        warmup_start(NSE, "index", 60, 1, at("2027-01-04", "10:00"))


# -- Until when there was trading


@given(classes, intervals())
def test_trading_lasts_until_the_last_session_of_a_stretch_ends_or_the_stretch_does(
    instrument_class: str, interval: Interval
) -> None:
    assume(interval.to_ms - interval.from_ms < 10 * DAY_MS)
    sessions = sessions_of(instrument_class, indian_day(interval.from_ms), indian_day(interval.to_ms))
    traded = [closes for opens, closes in sessions if opens < interval.to_ms and interval.from_ms < closes]
    until_ms = min(traded[-1], interval.to_ms) if traded else None
    assert traded_until(NSE, instrument_class, interval) == until_ms


@pytest.mark.parametrize(
    ("first", "last", "until"),
    [
        (("2024-05-17", "10:00"), ("2024-05-17", "10:00"), None),
        (("2024-05-18", "10:00"), ("2024-05-18", "11:30"), None),
        (("2024-05-18", "09:59"), ("2024-05-18", "11:30"), ("2024-05-18", "10:00")),
        (("2024-05-18", "09:59"), ("2024-05-18", "11:31"), ("2024-05-18", "11:31")),
        (("2026-12-31", "15:29"), ("2027-01-02", "10:00"), ("2026-12-31", "15:30")),
        (("2026-12-31", "15:30"), ("2027-01-02", "10:00"), None),
    ],
)
def test_trading_lasts_as_long_as_the_calendar_tells(
    first: tuple[str, str], last: tuple[str, str], until: tuple[str, str] | None
) -> None:
    assert traded_until(NSE, "index", Interval(at(*first), at(*last))) == (at(*until) if until else None)


def test_a_stretch_without_an_end_is_asked_about_too() -> None:
    interval = Interval(at("2026-12-31", "10:00"), Gap([NIFTY], 0).end_ms)
    assert traded_until(NSE, "index", interval) == at("2026-12-31", "15:30")

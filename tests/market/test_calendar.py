import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topology.market
from topology.market.calendar import Calendar, CalendarError, NotCovered, Session, Span, indian_day
from topology.market.times import IST

FILES = Path(topology.market.__path__[0]) / "calendars"
NSE = Calendar.parse((FILES / "nse.json").read_text())
ALWAYS_OPEN = Calendar.parse((FILES / "always_open.json").read_text())
DAY_MS = 86_400_000

NOT_IN_XBOM = {
    date(2022, 10, 24): "muhurat on a holiday; XBOM has regular sessions only",
    date(2023, 11, 12): "muhurat on a Sunday",
    date(2024, 3, 2): "disaster recovery drill on a Saturday",
    date(2024, 5, 18): "disaster recovery drill on a Saturday",
    date(2024, 11, 1): "muhurat on a holiday",
    date(2025, 10, 21): "muhurat on a holiday",
    date(2026, 2, 1): "Budget day on a Sunday, not yet in XBOM",
}


def ms(text: str) -> int:
    """Milliseconds of an Indian time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=IST).timestamp() * 1000)


def hours(calendar: Calendar, instrument_class: str, day: str) -> list[str]:
    """Sessions as Indian hours."""
    return [
        "-".join(datetime.fromtimestamp(at / 1000, IST).strftime("%H:%M") for at in session[:2])
        for session in calendar.sessions(instrument_class, date.fromisoformat(day))
    ]


def document(**changes: object) -> str:
    """A small calendar of January 2030, as JSON text."""
    regular = {"since": "2030-01-01", "classes": ["index"], "sessions": ["09:15-15:30"], "source": "test"}
    whole = {
        "name": "test",
        "checked": "2029-12-01",
        "first_day": "2030-01-01",
        "last_day": "2030-01-31",
        "weekdays": ["Mon", "Tue", "Wed", "Thu", "Fri"],
        "regular": [regular],
    }
    return json.dumps(whole | changes)


def regular(**changes: object) -> list[dict[str, object]]:
    return [{"since": "2030-01-01", "classes": ["index"], "sessions": ["09:15-15:30"], "source": "test"} | changes]


classes = st.sampled_from(NSE.classes)
covered_days = st.dates(NSE.first_day, NSE.last_day)
times = st.integers(ms("2022-01-01"), ms("2027-01-01") - 1)


@given(classes, times, st.data())
def test_a_span_is_the_answer_for_every_time_in_it(instrument_class: str, time_ms: int, data: st.DataObject) -> None:
    span = NSE.span(instrument_class, time_ms)
    assert span.from_ms <= time_ms < span.until_ms
    inside = data.draw(st.integers(span.from_ms, span.until_ms - 1))
    for same in (span.from_ms, inside, span.until_ms - 1):
        assert NSE.span(instrument_class, same) == span


@given(classes, covered_days)
def test_the_spans_of_a_day_follow_each_other_and_hold_its_sessions(instrument_class: str, day: date) -> None:
    at, end = ms(str(day)), ms(str(day)) + DAY_MS
    found = []
    while at < end:
        span = NSE.span(instrument_class, at)
        assert span.from_ms == at
        if span.session:
            assert (span.from_ms, span.until_ms) == span.session[:2]
            found.append(span.session)
        at = span.until_ms
    assert at == end
    assert tuple(found) == NSE.sessions(instrument_class, day)


@given(covered_days)
def test_the_close_of_a_day_is_the_latest_of_all_classes(day: date) -> None:
    closes = {session.close_ms for name in NSE.classes for session in NSE.sessions(name, day)}
    assert NSE.day_close_ms(day) == max(closes, default=None)


@given(st.sampled_from(ALWAYS_OPEN.classes), st.integers(ms("2020-01-01"), ms("2100-01-01") - 1))
def test_the_demonstration_calendar_is_always_open(instrument_class: str, time_ms: int) -> None:
    midnight_ms = ms(str(indian_day(time_ms)))
    session = Session(midnight_ms, midnight_ms + DAY_MS, "regular")
    assert ALWAYS_OPEN.span(instrument_class, time_ms) == Span(midnight_ms, midnight_ms + DAY_MS, session)


def test_the_demonstration_calendar_also_has_the_classes_that_no_other_one_covers() -> None:
    assert set(ALWAYS_OPEN.classes) == {*NSE.classes, "commodity", "currency"}


def test_the_open_days_of_2022_to_2026_are_those_of_exchange_calendars_and_the_listed_exceptions() -> None:
    xbom = exchange_calendars.get_calendar("XBOM", start="2022-01-01", end="2026-12-31")
    theirs = {session.date() for session in xbom.sessions}
    every_day = [date(2022, 1, 1) + timedelta(days=n) for n in range(365 * 5 + 1)]
    assert every_day[-1] == date(2026, 12, 31)
    for name in NSE.classes:
        ours = {day for day in every_day if NSE.sessions(name, day)}
        assert ours - theirs == set(NOT_IN_XBOM)
        assert theirs - ours == set()


def test_a_regular_day_is_one_session_from_0915_to_1530() -> None:
    day = date(2022, 11, 22)
    session = Session(ms("2022-11-22T09:15"), ms("2022-11-22T15:30"), "regular")
    assert NSE.sessions("index", day) == (session,)
    assert NSE.day_close_ms(day) == session.close_ms
    assert NSE.holiday_name(day) is None


def test_the_open_belongs_to_the_session_and_the_close_does_not() -> None:
    opens, closes = ms("2022-11-22T09:15"), ms("2022-11-22T15:30")
    assert NSE.span("index", opens - 1) == Span(ms("2022-11-22"), opens, None)
    assert NSE.span("index", opens).session is not None
    assert NSE.span("index", closes - 1).session is not None
    assert NSE.span("index", closes) == Span(closes, ms("2022-11-23"), None)


def test_guru_nanak_jayanti_2022_is_closed() -> None:
    day = date(2022, 11, 8)
    assert [NSE.sessions(name, day) for name in NSE.classes] == [()] * len(NSE.classes)
    assert NSE.holiday_name(day) == "Guru Nanak Jayanti"
    assert NSE.day_close_ms(day) is None
    assert NSE.span("index", ms("2022-11-08T10:00")) == Span(ms("2022-11-08"), ms("2022-11-09"), None)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2022-10-24", ["18:15-19:15"]),
        ("2023-11-12", ["18:15-19:15"]),
        ("2024-01-20", ["09:15-15:30"]),
        ("2024-03-02", ["09:15-10:00", "11:30-12:30"]),
        ("2024-05-18", ["09:15-10:00", "11:30-12:30"]),
        ("2024-11-01", ["18:00-19:00"]),
        ("2025-02-01", ["09:15-15:30"]),
        ("2025-10-21", ["13:45-14:45"]),
        ("2026-02-01", ["09:15-15:30"]),
    ],
)
def test_special_sessions_have_their_own_hours(day: str, expected: list[str]) -> None:
    assert all(hours(NSE, name, day) == expected for name in NSE.classes)
    assert {session.name for session in NSE.sessions("index", date.fromisoformat(day))}.isdisjoint({"regular"})


@pytest.mark.parametrize(
    ("instrument_class", "before", "after"),
    [
        ("index", "09:15-15:30", "09:15-15:30"),
        ("equity", "09:15-15:30", "09:15-15:30"),
        ("equity_cas", "09:15-15:30", "09:15-15:15"),
        ("derivative", "09:15-15:30", "09:15-15:40"),
    ],
)
def test_the_closing_auction_changed_the_hours_of_its_stocks_and_of_derivatives(
    instrument_class: str, before: str, after: str
) -> None:
    assert hours(NSE, instrument_class, "2026-07-31") == [before]
    assert hours(NSE, instrument_class, "2026-08-03") == [after]


def test_unconfirmed_rows_are_there_and_off() -> None:
    assert hours(NSE, "equity_cas", "2026-12-07") == ["09:15-15:15"]
    assert hours(NSE, "derivative", "2026-12-07") == ["09:15-15:40"]
    assert len(NSE.unconfirmed(date(2026, 12, 7))) == 2
    assert NSE.sessions("index", date(2026, 11, 8)) == ()
    assert NSE.unconfirmed(date(2026, 11, 8))[0].startswith("Muhurat trading 18:15-19:15")
    assert NSE.unconfirmed(date(2026, 11, 9)) == ()


def test_2023_is_covered() -> None:
    assert hours(NSE, "equity", "2023-06-28") == ["09:15-15:30"]
    assert NSE.holiday_name(date(2023, 6, 29)) == "Bakri Id"


@pytest.mark.parametrize("day", [date(2021, 12, 31), date(2027, 1, 1)])
@pytest.mark.parametrize(
    "ask",
    [
        lambda day: NSE.sessions("index", day),
        lambda day: NSE.span("index", ms(str(day))),
        NSE.day_close_ms,
        NSE.holiday_name,
        NSE.unconfirmed,
    ],
)
def test_a_day_that_is_not_covered_is_an_error_that_says_what_to_do(ask: Callable[[date], object], day: date) -> None:
    assert not NSE.covered(day)
    with pytest.raises(NotCovered, match=rf"^{day} is not covered .*2022-01-01 to 2026-12-31.*CALENDAR_FILE$"):
        ask(day)


@pytest.mark.parametrize("day", [date(2024, 6, 4), date(2024, 6, 9)], ids=["a weekday", "a Sunday"])
def test_a_class_that_is_not_covered_is_an_error_even_on_a_closed_day(day: date) -> None:
    with pytest.raises(NotCovered, match=r"'commodity' is not covered .*CALENDAR_FILE$"):
        NSE.sessions("commodity", day)


def test_a_time_beyond_all_calendars_is_not_covered() -> None:
    with pytest.raises(NotCovered, match="no calendar covers"):
        NSE.span("index", 10**18)


def test_the_indian_day_begins_at_1830_utc() -> None:
    assert indian_day(ms("2022-11-22") - 1) == date(2022, 11, 21)
    assert indian_day(ms("2022-11-22")) == date(2022, 11, 22)
    assert datetime.fromtimestamp(ms("2022-11-22") / 1000, IST).utcoffset() == timedelta(hours=5.5)


@pytest.mark.parametrize("calendar", [NSE, ALWAYS_OPEN], ids=["nse", "always open"])
def test_the_text_is_small_and_can_be_parsed_again(calendar: Calendar) -> None:
    again = Calendar.parse(calendar.text)
    assert (again.text, again.version) == (calendar.text, calendar.version)
    assert len(calendar.text) < 12_000


def test_the_text_does_not_depend_on_layout_and_the_version_is_of_the_text() -> None:
    compact, spread = Calendar.parse(document()), Calendar.parse(json.dumps(json.loads(document()), indent=4))
    assert (compact.text, compact.version) == (spread.text, spread.version)
    assert Calendar.parse(document(name="another")).version != compact.version


HOURS = "write HH:MM-HH:MM, from 00:00 to 24:00, in order"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Input data was truncated"),
        ("{", "Input data was truncated"),
        ("[]", "Expected `object`, got `array`"),
        (document(first_day="1 January 2030"), r"date - at `\$.first_day`"),
        (document(first_day="2030-02-01"), "last_day 2030-01-31 is before first_day 2030-02-01"),
        (document(weekdays=["Monday"]), r"Invalid enum value 'Monday' - at `\$.weekdays"),
        (document(holiday=[]), "unknown field `holiday`"),
        (document(regular=regular(sessions=["9:15-15:30"])), rf"regular\[0\] has the session '9:15-15:30': {HOURS}"),
        (document(regular=regular(sessions=["15:30-09:15"])), HOURS),
        (document(regular=regular(sessions=["09:15-24:01"])), HOURS),
        (document(regular=regular(sessions=["11:30-12:30", "09:15-10:00"])), HOURS),
        (document(regular=regular(sessions=["09:15-10:00", "09:45-12:30"])), HOURS),
        (document(regular=regular(sessions=[])), r"regular\[0\] has no sessions"),
        (document(regular=regular() + regular()), r"regular\[1\] is the second row of index since 2030-01-01"),
        (document(regular=regular(since="2030-01-02")), "no confirmed row of index that holds on 2030-01-01"),
        (document(special=[{"day": "2031-01-01", "name": "x", "source": "x"}]), r"special\[0\] has 2031-01-01"),
        (document(special=[{"day": "2030-01-05", "name": "x", "source": "x"}] * 2), r"special\[1\] is the second row"),
        (document(holidays=[{"source": "x", "days": {"2031-01-01": "x"}}]), r"holidays\[0\] has 2031-01-01"),
    ],
)
def test_a_bad_text_is_refused_with_one_line_that_says_where(text: str, message: str) -> None:
    with pytest.raises(CalendarError, match=message) as error:
        Calendar.parse(text)
    assert str(error.value).startswith("calendar: ")
    assert "\n" not in str(error.value)

"""Generated recordings: rows of a few days around the moments where something can go wrong.

A Friday and the Monday after it, a holiday on Tuesday and a Wednesday: `NSE_HOURS` are their sessions, `ALL_HOURS` the
same days on a calendar that is always open.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from hypothesis import strategies as st

from tests.reference.brute_force import Row, indian_ms, trading_hours

INSTRUMENTS = ("NSE:99926000", "NSE:1594", "BSE:500325")
FRIDAY, MONDAY, HOLIDAY, WEDNESDAY = date(2022, 11, 4), date(2022, 11, 7), date(2022, 11, 8), date(2022, 11, 9)
NSE_HOURS = trading_hours(FRIDAY, WEDNESDAY)
ALL_HOURS = trading_hours(FRIDAY, WEDNESDAY, hours=("00:00", "24:00"), weekdays=range(7), holidays=())
END_MS = indian_ms(WEDNESDAY, "24:01")  # a clock that closes everything, whatever the lateness

MOMENTS = (
    indian_ms(FRIDAY, "15:29:57"),  # the close
    indian_ms(MONDAY, "09:14:57"),  # the open
    indian_ms(MONDAY, "09:16:57"),  # a boundary of 120 s, but not of epoch minutes modulo two
    indian_ms(MONDAY, "11:00:00"),
    indian_ms(MONDAY, "23:59:57"),  # from session to session where it is always open
    indian_ms(HOLIDAY, "10:00:00"),
    indian_ms(WEDNESDAY, "09:14:57"),
    indian_ms(WEDNESDAY, "15:29:57"),
)

# Few, so that times repeat and boundaries are hit.
OFFSETS_MS = (0, 1, 400, 999, 1000, 1001, 1999, 2000, 2999, 3000, 3500, 4000, 5000, 8000, 20_000)
VOLUMES = (None, 0, 5, 9, 9, 10, 30, 70)

Batch = tuple[list[Row], int | None]  # rows and the clock after them, None where it stays


@st.composite
def recordings(draw: st.DrawFn, *, disorder_ms: int = 0) -> list[Row]:
    """Rows in the order of their times; with ``disorder_ms`` each arrives up to so much later than it happened."""
    moments = draw(st.lists(st.sampled_from(MOMENTS), min_size=1, max_size=3, unique=True))
    size = draw(st.integers(0, 30))
    numbers = draw(st.lists(st.integers(0, 10_000_000), min_size=size, max_size=size))
    arrivals = [_arrival(number, moments, disorder_ms) for number in numbers]
    return [row for _, row in sorted(arrivals, key=lambda arrival: arrival[0])]


def _arrival(number: int, moments: Sequence[int], disorder_ms: int) -> tuple[int, Row]:
    """Read a row and the time of its arrival out of one number: far fewer draws, and it shrinks as well."""

    def pick(choices: int) -> int:
        nonlocal number
        number, picked = divmod(number, choices)
        return picked

    instrument = INSTRUMENTS[pick(len(INSTRUMENTS))]
    time_ms = moments[pick(len(moments))] + OFFSETS_MS[pick(len(OFFSETS_MS))]
    row = Row(instrument, time_ms, 1000 + pick(20), VOLUMES[pick(len(VOLUMES))])
    return time_ms + pick(5) * disorder_ms // 4, row


@st.composite
def batches(draw: st.DrawFn, rows: Sequence[Row]) -> list[Batch]:
    """Cut rows anywhere, with clocks as a file has them: none is newer than a row to come. The last ends the days."""
    cuts = draw(_cuts(rows))
    cut: list[Batch] = []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        coming_ms = min((row.time_ms for row in rows[end:]), default=END_MS)
        behind_ms = draw(st.none() | st.sampled_from((0, 1, 500, 1000, 2000, 60_000)))
        cut.append((list(rows[start:end]), None if behind_ms is None else coming_ms - behind_ms))
    return [*cut, ([], END_MS)]


@st.composite
def live_batches(draw: st.DrawFn, rows: Sequence[Row]) -> list[Batch]:
    """Cut rows anywhere, with clocks that go forth and back and may make rows late, also without any row."""
    times = [row.time_ms for row in rows] or [MOMENTS[0]]
    clock_ms = st.builds(int.__add__, st.sampled_from(times), st.integers(-3000, 3000))
    cuts = draw(_cuts(rows))
    cut = [
        (list(rows[start:end]), draw(st.none() | clock_ms))
        for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)
    ]
    return [*cut, ([], END_MS)]


def _cuts(rows: Sequence[Row]) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(rows)), max_size=8).map(sorted)

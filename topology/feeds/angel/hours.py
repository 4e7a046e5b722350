"""When the feed has to be there: from the first open to the last close of a day, by the calendar. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from topology.market.calendar import Calendar, indian_day


class Hours(NamedTuple):
    """A trading day: its first open and last close, in milliseconds since the epoch."""

    open_ms: int
    close_ms: int


def next_hours(calendar: Calendar, classes: Iterable[str], now_ms: int) -> Hours:
    """Return the hours of the trading day that goes on or comes next, for these instrument classes.

    Raises NotCovered where the calendar ends before it.
    """
    wanted, day = sorted(set(classes)), indian_day(now_ms)
    while True:
        sessions = [session for name in wanted for session in calendar.sessions(name, day)]
        if sessions and (close_ms := max(session.close_ms for session in sessions)) > now_ms:
            return Hours(min(session.open_ms for session in sessions), close_ms)
        day += timedelta(days=1)


def open_since_ms(calendar: Calendar, classes: Iterable[str], now_ms: int) -> int | None:
    """Return since when the market has been open for any of these classes, None while it is closed for all."""
    spans = [calendar.span(name, now_ms) for name in set(classes)]
    return min((span.session.open_ms for span in spans if span.session is not None), default=None)

"""Times of the Indian market: milliseconds since the epoch, UTC, in which days begin at midnight in India. Pure."""

from __future__ import annotations

from datetime import date, timedelta, timezone
from typing import NamedTuple

IST = timezone(timedelta(hours=5, minutes=30), "IST")  # India has no daylight saving time
IST_MS = 19_800_000
"""How far Indian time is ahead of UTC, all year round."""

SECOND_MS, MINUTE_MS, DAY_MS = 1_000, 60_000, 86_400_000

LONG_AGO, FAR = -(1 << 62), 1 << 62
"""Before and after all times there are, where arithmetic on a hot path has no use for None."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Interval(NamedTuple):
    """An interval of time ``[from_ms, to_ms)``, in milliseconds since the epoch."""

    from_ms: int
    to_ms: int


def midnight_ms(day: date) -> int:
    """Return midnight in India at the start of a day.

    >>> midnight_ms(date(1970, 1, 2))
    66600000
    """
    return (day.toordinal() - _EPOCH_DAY) * DAY_MS - IST_MS


def last_midnight_ms(time_ms: int) -> int:
    """Return midnight in India at the start of the day that a time lies in."""
    return time_ms - (time_ms + IST_MS) % DAY_MS


def day_ordinal(time_ms: int) -> int:
    """Return the day in India at a time, numbered as `datetime.date.toordinal` does: `indian_day` for every row."""
    return (time_ms + IST_MS) // DAY_MS + _EPOCH_DAY

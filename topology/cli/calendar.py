"""`topology calendar`: what the session calendar says about a day."""

from __future__ import annotations

import argparse
from datetime import date, datetime, timedelta
from typing import Any

from topology.market.calendar import Calendar
from topology.market.times import IST
from topology.settings import Settings

EXAMPLE = """example:
  topology calendar --date 2026-11-08"""
WARNING_DAYS = 30


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "calendar",
        description="Shows the sessions of a day in Indian time, the next trading day, and which calendar says so: "
        "CALENDAR_FILE, or else the one of the namespace.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--date", type=_date, metavar="D", help="the day, as 2026-11-08 (default: today in India)")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code. Raises NotCovered for a day that the calendar doesn't know."""
    today = datetime.now(IST).date()
    calendar = Calendar.parse(settings.calendar_text())
    for line in describe(calendar, arguments.date or today, today=today):
        print(line)
    return 0


def describe(calendar: Calendar, day: date, *, today: date) -> list[str]:
    """Describe a day: sessions per instrument class in Indian time, the next trading day, and the end of cover.

    A line that starts with ``WARNING`` says so when cover ends within 30 days of ``today``. Raises NotCovered when
    the calendar doesn't know ``day``.
    """
    lines = [_headline(calendar, day)]
    lines += [f"  {name:<12}{_hours(calendar, name, day)}" for name in calendar.classes]
    lines += [f"  off, as it is not confirmed: {row}" for row in calendar.unconfirmed(day)]
    following = _next_trading_day(calendar, day)
    lines.append(f"next trading day: {_long(following) if following else f'none up to {calendar.last_day}'}")
    lines.append(
        f"calendar: {calendar.name}, version {calendar.version}, covers {calendar.first_day} to {calendar.last_day}"
    )
    return lines + _warning(calendar, today)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write it as 2026-11-08") from None


def _headline(calendar: Calendar, day: date) -> str:
    names = {session.name for name in calendar.classes for session in calendar.sessions(name, day)} - {"regular"}
    state = "closed" if calendar.day_close_ms(day) is None else "open"
    holiday = calendar.holiday_name(day)
    return ", ".join([f"{_long(day)}: {state}", *([holiday] if holiday else []), *sorted(names)])


def _hours(calendar: Calendar, instrument_class: str, day: date) -> str:
    sessions = calendar.sessions(instrument_class, day)
    return ", ".join(f"{_clock(s.open_ms, day)}-{_clock(s.close_ms, day)}" for s in sessions) or "closed"


def _clock(time_ms: int, day: date) -> str:
    at = datetime.fromtimestamp(time_ms / 1000, IST)
    return f"{at:%H:%M}" if at.date() == day else "24:00"


def _next_trading_day(calendar: Calendar, day: date) -> date | None:
    while day < calendar.last_day:
        day += timedelta(days=1)
        if calendar.day_close_ms(day) is not None:
            return day
    return None


def _long(day: date) -> str:
    return f"{day:%a} {day}"


def _warning(calendar: Calendar, today: date) -> list[str]:
    left = (calendar.last_day - today).days
    if left > WARNING_DAYS:
        return []
    ends = f"ends in {left} days" if left >= 0 else "has ended"
    return [
        f"WARNING: cover {ends}, on {calendar.last_day}: extend topology/market/calendars/nse.json, "
        "or name a file that covers more in CALENDAR_FILE"
    ]

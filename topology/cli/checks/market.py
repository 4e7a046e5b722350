"""What must be known of the market: the calendar of the next weeks, and the broker's instruments."""

from __future__ import annotations

from datetime import date, timedelta

from topology.angel.master.listings import FILE_NAME
from topology.cli.checks import Finding, bad, ok, warn
from topology.market.calendar import Calendar
from topology.settings import Settings

CALENDAR, MASTER = "calendar", "instruments"
AHEAD_DAYS = 30
DAY_S = 86_400.0
FRESH_S, USABLE_S = DAY_S, 7 * DAY_S


def calendar(settings: Settings, today: date) -> list[Finding]:
    """Whether the calendar covers today (in India) and the days after it."""
    advice = "extend topology/market/calendars/nse.json, or name a file that covers more in CALENDAR_FILE"
    try:
        sessions = Calendar.parse(settings.calendar_text())
    except (ValueError, OSError) as error:  # a CalendarError, or no text at all
        return [bad(CALENDAR, f"it can't be used ({error})", "correct the file that CALENDAR_FILE names")]
    covers = f"{sessions.name}, version {sessions.version}, covers {sessions.first_day} to {sessions.last_day}"
    if not sessions.covered(today):
        return [bad(CALENDAR, f"today, {today}, is not covered: {covers}", advice)]
    if not sessions.covered(today + timedelta(days=AHEAD_DAYS)):
        return [warn(CALENDAR, f"the next {AHEAD_DAYS} days are not covered: {covers}", advice)]
    return [ok(CALENDAR, covers)]


def master(settings: Settings, now_s: float) -> list[Finding]:
    """Whether the broker's list of instruments is here and of today; ``now_s`` is the time, seconds since the epoch."""
    advice = "run `topology instruments update`"
    age_s = master_age_s(settings, now_s)
    if age_s is None:
        return [bad(MASTER, "there is no copy of the broker's list of instruments", advice)]
    age = f"the copy of the broker's list is {age_s / 3600:.0f} hours old"
    if age_s <= FRESH_S:
        return [ok(MASTER, age)]
    return [(warn if age_s <= USABLE_S else bad)(MASTER, age, advice)]


def master_age_s(settings: Settings, now_s: float) -> float | None:
    """Return how old the copy of the broker's list of instruments is, in seconds; None where there is none."""
    try:
        written_s = (settings.namespace_dir / FILE_NAME).stat().st_mtime
    except OSError:
        return None
    return max(0.0, now_s - written_s)

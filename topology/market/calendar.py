"""The session calendar: when an instrument class trades, as dated data.

A calendar is a JSON text (``topology/market/calendars/`` has two) with the days it covers, its trading weekdays, the
regular sessions of each instrument class with the day since which they hold, special sessions and holidays. Each row
names its source; a row with ``"confirmed": false`` is carried along but is off. Hours are Indian time.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime
from typing import Literal, NamedTuple

import msgspec

from topology.market.times import DAY_MS, IST, MINUTE_MS, midnight_ms

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS = re.compile(r"([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])")


class CalendarError(ValueError):
    """The text of a calendar can't be used, or a calendar has no answer; the message is one line."""


class NotCovered(CalendarError):  # noqa: N818 - it reads as what it says: the day or the class is not covered
    """The calendar says nothing about this day or this instrument class. Guessing would make wrong candles."""


class Session(NamedTuple):
    """An interval of continuous trading, ``[open_ms, close_ms)``, in milliseconds since the epoch, UTC."""

    open_ms: int
    close_ms: int
    name: str


class Span(NamedTuple):
    """The interval of time ``[from_ms, until_ms)`` with one answer: this session, or closed where it is None."""

    from_ms: int
    until_ms: int
    session: Session | None


class _Regular(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    since: date
    classes: list[str]
    sessions: list[str]
    source: str
    confirmed: bool = True


class _Special(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A day with a session where there would be none, or other ones; without hours: those of a regular day."""

    day: date
    name: str
    source: str
    sessions: list[str] = []
    confirmed: bool = True


class _Holidays(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    days: dict[date, str]


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    checked: date
    first_day: date
    last_day: date
    weekdays: list[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]]
    regular: list[_Regular]
    special: list[_Special] = []
    holidays: list[_Holidays] = []


_Hours = tuple[tuple[int, int], ...]  # (open, close) in minutes of the Indian day, in order


class Calendar:
    """When each instrument class trades. Never changes; two with the same ``text`` are the same.

    ``text`` is the canonical JSON text, which can be parsed again; ``version`` is a digest of it; ``name`` is for
    people. The calendar covers ``first_day`` to ``last_day``, both included, and the instrument classes ``classes``.
    """

    __slots__ = (
        "_document", "_holidays", "_regular", "_special", "classes", "first_day", "last_day", "name", "text", "version"
    )  # fmt: skip

    def __init__(self, document: _Document) -> None:
        if document.last_day < document.first_day:
            raise CalendarError(f"calendar: last_day {document.last_day} is before first_day {document.first_day}")
        self._document = document
        self.name, self.first_day, self.last_day = document.name, document.first_day, document.last_day
        self._regular = _regular(document)
        self._special = _special(document)
        self._holidays = _holidays(document)
        self.classes = tuple(self._regular)
        self.text = msgspec.json.encode(document).decode()
        self.version = hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @classmethod
    def parse(cls, text: str) -> Calendar:
        """Read a calendar from JSON text; CalendarError says what is wrong with it and where."""
        try:
            document = msgspec.json.decode(text, type=_Document)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise CalendarError(f"calendar: {error}") from error
        return cls(document)

    def covered(self, day: date) -> bool:
        """Whether the calendar knows this day."""
        return self.first_day <= day <= self.last_day

    def holiday_name(self, day: date) -> str | None:
        """Name the holiday that a day is, if it is one; an ordinary weekend isn't. Raises NotCovered."""
        self._require(day)
        return self._holidays.get(day)

    def sessions(self, instrument_class: str, day: date) -> tuple[Session, ...]:
        """Sessions of an Indian day, in order, empty when the class doesn't trade. Raises NotCovered."""
        self._require(day)
        regular = self._regular_hours(instrument_class, day)
        special = self._special.get(day)
        if special is not None:
            name, hours = special[0], special[1] or regular
        elif day in self._holidays or _WEEKDAYS[day.weekday()] not in self._document.weekdays:
            return ()
        else:
            name, hours = "regular", regular
        start_ms = midnight_ms(day)
        return tuple(Session(start_ms + o * MINUTE_MS, start_ms + c * MINUTE_MS, name) for o, c in hours)

    def span(self, instrument_class: str, time_ms: int) -> Span:
        """Return the session around a time, or the closed interval; closed intervals end with the Indian day.

        The answer is the same for every time in ``[from_ms, until_ms)``, so it may be kept until then. Raises
        NotCovered.
        """
        day = indian_day(time_ms)
        from_ms = midnight_ms(day)
        for session in self.sessions(instrument_class, day):
            if time_ms < session.open_ms:
                return Span(from_ms, session.open_ms, None)
            if time_ms < session.close_ms:
                return Span(session.open_ms, session.close_ms, session)
            from_ms = session.close_ms
        return Span(from_ms, midnight_ms(day) + DAY_MS, None)

    def day_close_ms(self, day: date) -> int | None:
        """Return the latest close of any class, None on a day without a session. Raises NotCovered."""
        closes = [session.close_ms for name in self.classes for session in self.sessions(name, day)]
        return max(closes, default=None)

    def unconfirmed(self, day: date) -> tuple[str, ...]:
        """Describe the rows that would change this day if they were confirmed, and their sources. Raises NotCovered."""
        self._require(day)
        special = [
            f"{row.name} {' '.join(row.sessions)} ({row.source})"
            for row in self._document.special
            if not row.confirmed and row.day == day
        ]
        regular = [
            f"{', '.join(row.classes)} {' '.join(row.sessions)} since {row.since} ({row.source})"
            for row in self._document.regular
            if not row.confirmed and row.since <= day
        ]
        return (*special, *regular)

    def _require(self, day: date) -> None:
        if not self.covered(day):
            raise NotCovered(
                f"{day} is not covered by the calendar {self.name!r} ({self.first_day} to {self.last_day}): "
                "name one that covers it in CALENDAR_FILE"
            )

    def _regular_hours(self, instrument_class: str, day: date) -> _Hours:
        if instrument_class not in self._regular:
            raise NotCovered(
                f"the instrument class {instrument_class!r} is not covered by the calendar {self.name!r}: "
                "name one that covers it in CALENDAR_FILE"
            )
        return next(hours for since, hours in self._regular[instrument_class] if since <= day)


def indian_day(time_ms: int) -> date:
    """Return the calendar day in India at a time in milliseconds since the epoch. NotCovered beyond the year 9999."""
    try:
        return datetime.fromtimestamp(time_ms // 1000, IST).date()
    except (ValueError, OverflowError, OSError) as error:
        raise NotCovered(f"no calendar covers the time {time_ms} ms") from error


def _regular(document: _Document) -> dict[str, list[tuple[date, _Hours]]]:
    """Confirmed hours per instrument class, the newest first; the oldest hold on the first day that is covered."""
    rows: dict[str, list[tuple[date, _Hours]]] = {}
    for number, row in enumerate(document.regular):
        where = f"regular[{number}]"
        hours = _hours(row.sessions, where)
        if not hours:
            raise CalendarError(f"calendar: {where} has no sessions")
        for name in row.classes if row.confirmed else ():
            phases = rows.setdefault(name, [])
            if any(since == row.since for since, _ in phases):
                raise CalendarError(f"calendar: {where} is the second row of {name} since {row.since}")
            phases.append((row.since, hours))
    for name, phases in rows.items():
        phases.sort(reverse=True)
        if phases[-1][0] > document.first_day:
            raise CalendarError(f"calendar: regular has no confirmed row of {name} that holds on {document.first_day}")
    return rows


def _special(document: _Document) -> dict[date, tuple[str, _Hours]]:
    rows: dict[date, tuple[str, _Hours]] = {}
    for number, row in enumerate(document.special):
        where = f"special[{number}]"
        hours = _hours(row.sessions, where)
        _require_inside(document, row.day, where)
        if row.confirmed and row.day in rows:
            raise CalendarError(f"calendar: {where} is the second row of {row.day}")
        if row.confirmed:
            rows[row.day] = (row.name, hours)
    return rows


def _holidays(document: _Document) -> dict[date, str]:
    rows: dict[date, str] = {}
    for number, block in enumerate(document.holidays):
        for day, name in block.days.items():
            _require_inside(document, day, f"holidays[{number}]")
            rows[day] = name
    return rows


def _require_inside(document: _Document, day: date, where: str) -> None:
    if not document.first_day <= day <= document.last_day:
        raise CalendarError(
            f"calendar: {where} has {day}, which is not from {document.first_day} to {document.last_day}"
        )


def _hours(sessions: list[str], where: str) -> _Hours:
    hours: list[tuple[int, int]] = []
    for text in sessions:
        match = _HOURS.fullmatch(text)
        earliest = hours[-1][1] if hours else 0
        opens, closes = (int(match[i]) * 60 + int(match[i + 1]) for i in (1, 3)) if match else (0, 0)
        if not earliest <= opens < closes <= 24 * 60:
            raise CalendarError(
                f"calendar: {where} has the session {text!r}: write HH:MM-HH:MM, from 00:00 to 24:00, in order"
            )
        hours.append((opens, closes))
    return tuple(hours)

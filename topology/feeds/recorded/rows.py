"""The rows of a recorded file: a header that names the columns, then one tick a line. Pure.

Columns are ``timestamp`` and ``price``, and ``instrument`` and ``volume`` where there are any, in any order. A row is a
line: a quoted field may hold commas, but no line break. A blank line is not a row.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from topology.feeds import FeedError
from topology.feeds.recorded.fields import RowError, TimeReader, paise, unreadable, volume
from topology.market.instruments import Instrument, InstrumentError
from topology.market.ticks import Tick
from topology.market.times import DAY_MS, day_ordinal, midnight_ms

LONGEST_LINE = 4096
"""Bytes; a longer line is no row of a recorded file, and is not kept in memory."""

NOT_COVERED = "year_not_covered"

_KNOWN_INSTRUMENTS = 100_000


class Columns(NamedTuple):
    """How many columns a file has, and where each stands."""

    width: int
    timestamp: int
    price: int
    instrument: int | None
    volume: int | None


def read_header(line: bytes) -> Columns:
    """The columns that the first line of a file names. Raises `FeedError` where it isn't a header."""
    line = line.removeprefix(codecs.BOM_UTF8)
    try:
        names = [name.strip().lower() for name in next(csv.reader([line.decode()]), [])]
    except (UnicodeDecodeError, csv.Error):
        names = []
    allowed = {"timestamp", "price", "instrument", "volume"}
    if not {"timestamp", "price"} <= set(names) <= allowed or len(set(names)) != len(names):
        shown = line[:60].decode(errors="replace").strip()
        raise FeedError(f"the first line must be timestamp,price[,instrument][,volume] in any order, not {shown!r}")
    at = {name: names.index(name) for name in names}
    return Columns(len(names), at["timestamp"], at["price"], at.get("instrument"), at.get("volume"))


def _unquoted(line: bytes) -> list[bytes]:
    try:
        return [field.encode() for field in next(csv.reader([line.decode()]))]
    except UnicodeDecodeError:
        raise RowError("encoding", "the line is not UTF-8 text") from None
    except csv.Error as error:
        raise RowError("short_line", f"the line cannot be split into columns: {error}") from None


class RowReader:
    """Turns the lines of one file into ticks.

    ``instrument`` is the canonical text of the instrument of every row of a file without such a column; in one that has
    the column it is not used. ``covered`` tells the days that the calendar knows.
    """

    def __init__(self, columns: Columns, instrument: str, *, covered: Callable[[date], bool]) -> None:
        self._columns = columns
        self._instrument = instrument
        self._covered = covered
        self._time_ms = TimeReader().time_ms
        self._day_start_ms = self._day_end_ms = 0
        self._instruments: dict[bytes, str] = {}

    def tick(self, line: bytes) -> Tick | None:
        """The tick of a line, or None where it is blank.

        Raises `RowError`: the reasons of `fields`, and ``line_too_long``, ``short_line`` (also one with too many
        columns), ``encoding``, ``instrument_invalid``, ``year_not_covered``.
        """
        columns = self._columns
        if len(line) > LONGEST_LINE:
            raise RowError("line_too_long", f"the line has more than {LONGEST_LINE} bytes")
        line = line.rstrip()
        fields = _unquoted(line) if b'"' in line else line.split(b",")
        if len(fields) != columns.width:
            if not line:
                return None
            raise RowError("short_line", f"the line has {len(fields)} columns, the header {columns.width}")
        time_ms = self._time_ms(fields[columns.timestamp])
        if not self._day_start_ms <= time_ms < self._day_end_ms:
            self._enter_day(day_ordinal(time_ms))
        price = paise(fields[columns.price])
        instrument = self._instrument if columns.instrument is None else self._named(fields[columns.instrument])
        if columns.volume is None:
            return Tick(instrument, price, time_ms)
        return Tick(instrument, price, time_ms, volume(fields[columns.volume]))

    def _enter_day(self, ordinal: int) -> None:
        day = date.fromordinal(ordinal)
        if not self._covered(day):
            raise RowError(
                NOT_COVERED,
                f"{day} is not covered by the calendar: name one that has the year {day.year} in CALENDAR_FILE",
            )
        self._day_start_ms = midnight_ms(day)
        self._day_end_ms = self._day_start_ms + DAY_MS

    def _named(self, text: bytes) -> str:
        known = self._instruments.get(text)
        if known is not None:
            return known
        try:
            instrument = str(Instrument.parse(text.decode().strip()))
        except (UnicodeDecodeError, InstrumentError):
            raise unreadable("instrument_invalid", "instrument", text) from None
        if len(self._instruments) >= _KNOWN_INSTRUMENTS:
            self._instruments.clear()
        self._instruments[text] = instrument
        return instrument

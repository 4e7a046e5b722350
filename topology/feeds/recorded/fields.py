"""The values of a recorded row: times, prices and volumes, from their text in the file. Pure.

Every function takes the bytes of one field and returns whole numbers, exact to the last digit, or raises `RowError`.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction

from topology.market.times import IST_MS, midnight_ms

LARGEST = 2**63 - 1
_REMEMBERED = 100_000
_LONGEST_NUMBER = 64

_TIME = re.compile(rb"([12]\d{3})-(\d\d)-(\d\d)[T ]([01]\d|2[0-3]):([0-5]\d)(:[0-5]\d)(.*)", re.DOTALL)
_SUFFIX = re.compile(rb"(?:\.(\d{1,9}))? ?(?:(Z)|([+-])(0\d|1[0-4])(?::?([0-5]\d))?)?")
_SECONDS = {b":%02d" % second: second * 1000 for second in range(60)}

_DECIMAL = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_NAN = re.compile(rb"[+-]?nan", re.IGNORECASE)
_INFINITE = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)
_PAISE = {b"": 0} | {b"%d" % n: 10 * n for n in range(10)} | {b"%02d" % n: n for n in range(100)}
_WHOLE = re.compile(rb"(\d+)(?:\.0*)?")


class RowError(Exception):
    """A row that cannot be used: ``reason`` is a short stable word to count by, the message says what is wrong."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


def unreadable(reason: str, name: str, text: bytes) -> RowError:
    """The error for a field called ``name``; bytes that are not UTF-8 text are the reason before any other."""
    try:
        shown = text.decode()
    except UnicodeDecodeError:
        return RowError("encoding", f"the {name} is not UTF-8 text")
    return RowError(reason, f"the {name} {shown[:40]!r} cannot be used ({reason})")


class TimeReader:
    """Reads times, and remembers the parts it has seen: a recorded day has few different minutes.

    >>> TimeReader().time_ms(b"1970-01-01T05:30:01.5")
    1500
    """

    def __init__(self) -> None:
        self._minutes: dict[bytes, int] = {}
        self._suffixes: dict[bytes, int] = {}

    def time_ms(self, text: bytes) -> int:
        """Milliseconds since the epoch of ``YYYY-MM-DD HH:MM:SS``, with ``T`` or a space in the middle.

        A fraction of a second may follow and is cut to milliseconds, so that a tick stays in its second; then a zone
        (``Z``, ``+05:30``, ``+0530``, ``+05``). Without one it is Indian time. Raises `RowError` ``time_invalid``.
        """
        try:
            return self._minutes[text[:16]] + _SECONDS[text[16:19]] + self._suffixes[text[19:]]
        except KeyError:
            return self._new_time_ms(text.strip())

    def _new_time_ms(self, text: bytes) -> int:
        parts = _TIME.fullmatch(text)
        suffix = parts and _SUFFIX.fullmatch(parts[7])
        if not parts or not suffix:
            raise unreadable("time_invalid", "time", text)
        year, month, day, hour, minute = map(int, parts.groups()[:5])
        try:
            start_ms = midnight_ms(date(year, month, day))
        except ValueError:
            raise unreadable("time_invalid", "time", text) from None
        minute_ms = start_ms + (hour * 60 + minute) * 60_000
        suffix_ms = _suffix_ms(suffix)
        _remember(self._minutes, text[:16], minute_ms)
        _remember(self._suffixes, text[19:], suffix_ms)
        return minute_ms + _SECONDS[parts[6]] + suffix_ms


def _suffix_ms(suffix: re.Match[bytes]) -> int:
    """What a fraction and a zone add to a time that was read as Indian."""
    fraction, utc, sign, hours, minutes = suffix.groups()
    milliseconds = int((fraction or b"").ljust(3, b"0")[:3])
    if utc:
        return milliseconds + IST_MS
    if sign:
        ahead_ms = (int(hours) * 60 + int(minutes or b"0")) * 60_000
        return milliseconds + IST_MS + (ahead_ms if sign == b"-" else -ahead_ms)
    return milliseconds


def _remember(known: dict[bytes, int], text: bytes, value: int) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[text] = value


def paise(text: bytes) -> int:
    """The paise in a price in rupees, without a floating-point number on the way.

    More than two decimals are rounded half to even, and an exponent is allowed (spreadsheets write ``1E+05``).
    Raises `RowError` ``price_empty``, ``price_nan``, ``price_infinite``, ``price_not_positive`` (less than half a
    paisa too) or ``price_invalid`` (not a number, or one that 64 bits do not hold).

    >>> paise(b"17848.05"), paise(b"17848.055"), paise(b"1e3")
    (1784805, 1784806, 100000)
    """
    rupees, _, fraction = text.partition(b".")
    hundredths = _PAISE.get(fraction)
    if hundredths is not None and rupees.isdigit() and len(rupees) < _LONGEST_NUMBER:
        price = int(rupees) * 100 + hundredths
    else:
        price = _unusual_paise(text.strip())
    if 0 < price <= LARGEST:
        return price
    raise unreadable("price_invalid" if price > 0 else "price_not_positive", "price", text)


def _unusual_paise(text: bytes) -> int:
    if not text:
        raise RowError("price_empty", "the price is empty")
    if _NAN.fullmatch(text):
        raise unreadable("price_nan", "price", text)
    if _INFINITE.fullmatch(text):
        raise unreadable("price_infinite", "price", text)
    if len(text) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(text):
        raise unreadable("price_invalid", "price", text)
    return round(Fraction(text.decode()) * 100)


def volume(text: bytes) -> int | None:
    """The cumulative volume of the day, a whole number that is not negative; None where the field is empty.

    ``1200.0`` is whole: dataframes write so. Raises `RowError` ``volume_invalid``.
    """
    text = text.strip()
    if not text:
        return None
    whole = _WHOLE.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if whole is None or int(whole[1]) > LARGEST:
        raise unreadable("volume_invalid", "volume", text)
    return int(whole[1])
